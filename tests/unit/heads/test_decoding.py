"""Decoding titles: exact when every beam is kept, never outside the catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.types import Queries, Ragged
from llmrec.evaluation.evaluate import evaluate, make_exam
from llmrec.evaluation.options import EvaluationOptions
from llmrec.recommenders.base import load_recommender
from llmrec.training.batches import TextBatches

# Three items share one title; one title begins another; one spells an end token.
TITLES = [*lm_cases.TITLES[:6], "Red Fox", "Red", "Red Fox", "<eos> Blue <eos>"]


def train_side():
    train = lm_cases.split().train
    return replace(train, item_fields={"title": np.array(TITLES, object)})


@pytest.fixture(scope="module", params=["gpt2", "t5"])
def fitted(request: pytest.FixtureRequest):
    parts = {"head": {"n_beams": 50}, "backbone": {"initializer_range": 0.3}}
    model = lm_cases.model(request.param, "full", "title", "text", parts=parts, learning_rate=0.01)
    return model.fit(train_side())


def asked() -> Queries:
    return Queries.from_histories([[0, 1, 2], [], [5], [3, 4, 7, 8, 1], [7]])


def exact(fitted, queries: Queries) -> np.ndarray:
    """Return the log-likelihood of every title after every prompt, by teacher forcing."""
    assembled = fitted._model
    net, batches, end = assembled.net, assembled.batches, assembled.tokenizer.eos_token_id
    assert isinstance(batches, TextBatches)
    prompts = batches.tokens(queries.histories, None, None)
    scores = np.empty((len(queries), assembled.n_items))
    for row in range(len(queries)):
        for item, identifier in enumerate(assembled.identifiers):
            prompt, answer = prompts[row].tolist(), [*identifier, end]
            with torch.inference_mode():
                if net.backbone.direction == "seq2seq":
                    start = net.model.config.decoder_start_token_id
                    logits = net.model(
                        input_ids=torch.tensor([prompt]),
                        decoder_input_ids=torch.tensor([[start, *answer[:-1]]]),
                    ).logits[0]
                else:
                    logits = net.model(torch.tensor([[*prompt, *answer]])).logits[0]
                    logits = logits[len(prompt) - 1 : -1]
            steps = logits.double().log_softmax(-1)[range(len(answer)), answer]
            scores[row, item] = float(steps.sum())
    return scores


def test_the_scores_are_the_exact_log_likelihoods(fitted) -> None:
    queries = asked()
    scores, truth = fitted.score(queries), exact(fitted, queries)
    assert truth.std(1).min() > 0.5  # or agreement would mean little
    np.testing.assert_allclose(scores, truth, atol=1e-4, rtol=1e-4)


def test_items_of_one_title_share_its_score(fitted) -> None:
    scores = fitted.score(asked())
    np.testing.assert_array_equal(scores[:, 0], scores[:, 6])
    np.testing.assert_array_equal(scores[:, 0], scores[:, 8])
    assert (scores[:, 0] != scores[:, 7]).all()
    assert fitted._model.trie.n_leaves == len(TITLES) - 2


def test_nothing_invalid_and_nothing_twice_is_written(fitted) -> None:
    fitted._model.facts = {"generated": 0, "invalid": 0, "duplicate": 0}
    fitted.score(asked())
    generated = len(asked()) * (len(TITLES) - 2)
    assert fitted._model.facts == {"generated": generated, "invalid": 0, "duplicate": 0}


def test_padding_and_company_change_nothing(fitted) -> None:
    queries = asked()
    together = fitted.score(queries)
    for row in range(len(queries)):
        alone = fitted.score(queries.take([row]))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_beams", [1, 2, 3])
def test_few_beams_rank_what_they_wrote_above_the_rest(fitted, n_beams: int) -> None:
    queries = asked()
    truth = exact(fitted, queries)
    whole = fitted._model.head.n_beams
    fitted._model.head.n_beams = n_beams
    try:
        scores = fitted.score(queries)
    finally:
        fitted._model.head.n_beams = whole
    assert np.isfinite(scores).all()
    for row in range(len(queries)):
        floor = scores[row].min()
        written = np.flatnonzero(scores[row] > floor)
        assert 0 < len({TITLES[item] for item in written}) <= n_beams
        if n_beams > 1:  # a single beam has no score of its own
            np.testing.assert_allclose(
                scores[row, written], truth[row, written], atol=1e-4, rtol=1e-4
            )
        assert floor == pytest.approx(scores[row, written].min() - 1)


def test_titles_are_cut_to_the_length_allowed() -> None:
    parts = {"head": {"max_identifier_length": 2}}
    model = lm_cases.model("gpt2", "full", "title", "text", parts=parts).fit(train_side())
    assert max(map(len, model._model.identifiers)) == 2
    assert np.isfinite(model.score(asked())).all()


def test_training_learns_to_write_the_next_title() -> None:
    # Always the same pair: after an even item comes the next odd one.
    train = lm_cases.dataset([[2 * (u % 4), 2 * (u % 4) + 1] for u in range(16)])
    model = lm_cases.model(
        "t5", "full", "title", "text", epochs=30, batch_size=4, learning_rate=0.01
    ).fit(train)
    queries = Queries(np.full(4, -1), Ragged.from_rows([[0], [2], [4], [6]]))
    assert model.score(queries).argmax(1).tolist() == [1, 3, 5, 7]


def test_an_exam_reports_the_rates_of_its_own_answers(fitted) -> None:
    split = replace(lm_cases.split(), train=train_side())
    options = EvaluationOptions.from_config({"task": "ranking", "metrics": ["ndcg@10"]})
    exam = make_exam(split, options)
    fitted.score(asked())  # somebody else's questions
    first = evaluate(fitted, exam, label="titles").info.details
    again = evaluate(fitted, exam, label="titles").info.details
    assert first == again
    assert first["generated"] == len(exam) * fitted._model.trie.n_leaves
    assert (first["invalid_rate"], first["duplicate_rate"]) == (0.0, 0.0)


@pytest.mark.parametrize("backbone", ["gpt2", "t5"])
def test_queries_find_what_comes_next(backbone: str, tmp_path: Path) -> None:
    # Always the same pair: after an even item comes the next odd one.
    train = lm_cases.dataset([[2 * (u % 4), 2 * (u % 4) + 1] for u in range(16)])
    parts = {
        "head": {"mode": "query", "n_beams": 3, "n_retrieved": 6},
        # So narrow a GPT-2 looks at nothing if it starts near zero: it learns the frequencies.
        "backbone": {"initializer_range": 0.1, "dropout": 0.0} if backbone == "gpt2" else {},
    }
    model = lm_cases.model(
        backbone, "full", "title", "text", epochs=60, batch_size=4, learning_rate=0.01, parts=parts
    ).fit(train)
    queries = Queries(np.full(4, -1), Ragged.from_rows([[0], [2], [4], [6]]))
    scores = model.score(queries)
    assert scores.argmax(1).tolist() == [1, 3, 5, 7]
    assert model._model.trie is None
    counts = model.take_counts()
    assert counts["generated"] == 12
    assert 0 <= counts["invalid_rate"] <= 1
    model.save(tmp_path / "saved")
    again = load_recommender(tmp_path / "saved")
    np.testing.assert_array_equal(again.score(queries), scores)
