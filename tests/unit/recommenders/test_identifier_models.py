"""Language models that read and write identifiers: exact scores, learning, saving, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.backbones.base import inner
from llmrec.core.config import build, check
from llmrec.core.protocols import FitContext
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Queries, Ragged
from llmrec.prompts.identifiers import started
from llmrec.recommenders.assembly import assemble
from llmrec.recommenders.base import load_recommender

SEMANTIC = {"name": "semantic", "features": ["interactions"], "codebook_size": 4, "n_levels": 2}
IDENTIFIERS = {"numeric": {"name": "numeric"}, "semantic": SEMANTIC}


def spec(
    backbone: str,
    identifier: str = "semantic",
    prompt: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    made = lm_cases.spec(
        backbone,
        head="title",
        prompt="text",
        parts={"head": {"n_beams": 50}, "backbone": {"initializer_range": 0.2}},
        identifier=IDENTIFIERS[identifier],
        **options,
    )
    return {**made, "prompt": {"name": "identifiers", "max_length": 6, **(prompt or {})}}


def fitted(*args: Any, **options: Any):
    model = build("recommender", spec(*args, **options), seed=1)
    return model.fit(lm_cases.split().train, lm_cases.split().valid)


def asked() -> Queries:
    rows = [[0, 1, 2], [], [5], [3, 4, 7, 8, 1, 0, 2, 6], [7, 2]]
    return Queries(np.array([0, -1, 3, 4, -1]), Ragged.from_rows(rows))


def exact(model: Any, queries: Queries) -> np.ndarray:
    """Return the log-likelihood of every item after every history, by whole forward passes."""
    assembled = model._model
    net, batches = assembled.net, assembled.batches
    starts = batches.vocabulary.starts(queries.users)
    scores = np.empty((len(queries), assembled.n_items))
    for row in range(len(queries)):
        history = queries.histories[row][-batches.max_length :]
        n_read = len(history)
        if net.backbone.direction == "seq2seq" and batches.context:
            n_read = max(min(n_read, 1), n_read - batches.context)
        read = [int(starts[row]), *batches.table[history[:n_read]].ravel().tolist()]
        for item in range(assembled.n_items):
            code = batches.table[item].tolist()
            with torch.inference_mode():
                if net.backbone.direction == "seq2seq":
                    given = batches.table[history[n_read:]].ravel().tolist()
                    start = net.model.config.decoder_start_token_id
                    logits = net.model(
                        input_ids=torch.tensor([read]),
                        decoder_input_ids=torch.tensor([[start, *given, *code[:-1]]]),
                    ).logits[0]
                else:
                    logits = net.model(torch.tensor([[*read, *code[:-1]]])).logits[0]
            steps = logits[-len(code) :].double().log_softmax(-1)[range(len(code)), code]
            scores[row, item] = float(steps.sum())
    return scores


@pytest.mark.parametrize("identifier", ["numeric", "semantic"])
@pytest.mark.parametrize(
    ("backbone", "prompt"),
    [
        ("gpt2", {}),
        ("gpt2", {"user_tokens": 3}),
        ("t5", {"targets": "rest", "user_tokens": 3}),
        ("t5", {"targets": "next"}),
    ],
)
def test_the_scores_are_the_exact_log_likelihoods(
    backbone: str, prompt: dict[str, Any], identifier: str
) -> None:
    model = fitted(backbone, identifier, prompt)
    scores, truth = model.score(asked()), exact(model, asked())
    assert truth.std(1).min() > 0.1  # or agreement would mean little
    np.testing.assert_allclose(scores, truth, atol=1e-4, rtol=1e-4)
    assert model.take_counts()["invalid_rate"] == 0


@pytest.mark.parametrize(
    ("backbone", "targets"), [("gpt2", "rest"), ("t5", "rest"), ("t5", "next")]
)
def test_it_learns_what_comes_next(backbone: str, targets: str) -> None:
    # A ring: after each item comes the next one, wherever the history began.
    train = lm_cases.dataset([[(u + step) % 8 for step in range(5)] for u in range(24)])
    made = spec(
        backbone,
        "numeric",
        {"targets": targets, "max_length": 5},
        epochs=60,
        batch_size=8,
        learning_rate=0.01,
        examples_per_user=None,
    )
    made["backbone"] |= {"dropout": 0.0, "initializer_range": 0.02}
    model = build("recommender", made, seed=1).fit(train)
    queries = Queries.from_histories([[0, 1], [2, 3, 4], [6, 7], [5, 6, 7, 0]])
    assert model.score(queries).argmax(1).tolist() == [2, 5, 0, 1]


@pytest.mark.parametrize("backbone", ["gpt2", "t5"])
def test_a_saved_model_scores_the_same(backbone: str, tmp_path: Path) -> None:
    model = fitted(backbone, prompt={"user_tokens": 4})
    model.save(tmp_path / "saved")
    again = load_recommender(tmp_path / "saved")
    np.testing.assert_allclose(model.score(asked()), again.score(asked()), rtol=1e-6)
    assert again.info.details["collision_rate"] == model.info.details["collision_rate"]
    assert again.info.weights == "random init, no text"


def test_company_and_batch_size_change_nothing() -> None:
    model = fitted("t5")
    together = model.score(asked())
    for row in range(len(asked())):
        alone = model.score(asked().take([row]))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["gpt2", "t5"])
def test_a_killed_training_resumes_to_the_same_numbers(backbone: str, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    train, valid = lm_cases.split().train, lm_cases.split().valid
    options = {"epochs": 4, "batch_size": 4}
    whole = build("recommender", spec(backbone, **options), seed=1).fit(train, valid)

    def kill(share: float, _: str) -> None:
        if share > 0.6:
            raise StopError

    context = FitContext(folder=tmp_path, progress=kill)
    with pytest.raises(StopError):
        build("recommender", spec(backbone, **options), seed=1).fit(train, valid, context)
    context = FitContext(folder=tmp_path, resume=True)
    again = build("recommender", spec(backbone, **options), seed=1).fit(train, valid, context)
    np.testing.assert_array_equal(whole.score(asked()), again.score(asked()))


def test_numbers_in_a_text_prompt() -> None:
    made = lm_cases.spec(
        "t5",
        head="title",
        prompt="text",
        parts={
            "prompt": {
                "template": "{% for item in history %}{{ item.identifier }} {% endfor %}next",
            }
        },
        identifier={"name": "numeric"},
    )
    model = build("recommender", made, seed=1).fit(lm_cases.split().train)
    assembled = model._model
    numbers = model._identifier.numbers(lm_cases.split().train)
    written = assembled.tokenizer.batch_decode([row.tolist() for row in assembled.identifiers])
    assert [text.strip() for text in written] == [f"item_{n}" for n in numbers]
    (prompt,) = assembled.batches.prompt.render(
        assembled.batches.items, Ragged.from_rows([[3, 1]]), None, None
    )
    assert prompt == f"item_{numbers[3]} item_{numbers[1]} next"
    assert assembled.trie.n_leaves == len(numbers)


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"identifier": None}, "identifier", "needs one"),
        ({"head": lm_cases.HEADS["next"]}, "identifier", "leave it null"),
        ({"head": lm_cases.HEADS["next"], "identifier": None}, "prompt", "head=generative"),
        ({"prompt": lm_cases.PROMPTS["text"]}, "identifier", "a text prompt cannot spell"),
        ({"backbone": lm_cases.backbone("bert")}, "head", "cannot generate"),
        ({"backbone": {"name": "t5", "checkpoint": "some/where"}}, "backbone", "vocabulary"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], where: str, words: str) -> None:
    (problem,) = check("recommender", {**spec("gpt2"), **changes})
    assert problem.where == where
    assert words in problem.what


def test_a_history_too_long_for_the_backbone_is_refused() -> None:
    made = spec("gpt2", prompt={"max_length": 60})
    with pytest.raises(Exception, match=r"backbone.max_positions"):
        build("recommender", made, seed=1).fit(lm_cases.split().train)


def test_users_without_a_number_begin_with_the_start_token() -> None:
    vocabulary = fitted("gpt2", prompt={"user_tokens": 3})._model.batches.vocabulary
    starts = vocabulary.starts(np.array([-1, 0, 1, 2, 3, 4, 5, 6, 7]))
    assert starts[0] == vocabulary.bos_token_id
    assert set(starts[1:].tolist()) == {3, 4, 5}


def test_embeddings_start_at_what_the_codes_stand_for() -> None:
    rng = np.random.default_rng(0)
    centres = [rng.standard_normal((6, 5)).astype(np.float32) for _ in range(2)]
    centres[0][1] = centres[0][0] + 0.01
    random = rng.standard_normal((15, 8)).astype(np.float32) * 0.02
    own = started(random, centres, np.random.default_rng(1))
    assert own.shape == random.shape
    assert own.std() == pytest.approx(random.std(), rel=0.2)
    cosine = np.corrcoef(own)
    assert cosine[0, 1] > 0.99  # like centres
    inside, across = cosine[:6, :6].sum() - 6, cosine[:6, 6:12].sum()
    assert inside / 30 > across / 36 + 0.2  # a level has a direction of its own
    np.testing.assert_allclose(own[12:] - own[12], (random[12:] - random[12]) * 0.5**0.5, atol=1e-6)


def test_a_model_starts_at_the_centres_unless_told_otherwise() -> None:
    def assembled(init: str, adapter: str = "full") -> tuple[Any, np.ndarray]:
        made = spec("t5", prompt={"init": init}, adapter=adapter)
        model = build("recommender", made, seed=1)
        whole = assemble(model, lm_cases.split().train)
        table = inner(whole.net.model).get_input_embeddings().weight.detach().numpy()
        return model, table[whole.tokenizer.first_code :]

    _, random = assembled("random")
    model, centred = assembled("centres")
    codes = model._identifier.codes(lm_cases.split().train, None)
    rng = np.random.default_rng(derive_seed(model.seed, "levels of codes"))
    np.testing.assert_array_equal(centred, started(random, codes.centres, rng))
    assert (random != centred).all()
    np.testing.assert_array_equal(centred, assembled("centres", "lora")[1])
