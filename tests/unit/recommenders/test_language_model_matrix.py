"""Every backbone with every adapter, head and prompt: it works, or is refused with a sentence."""

from __future__ import annotations

import itertools
from pathlib import Path

import lm_cases
import numpy as np
import pytest

from llmrec.core.config import build, check
from llmrec.core.errors import ConfigError
from llmrec.core.types import Queries, make_queries
from llmrec.recommenders.base import load_recommender

TITLES_BY_ITEM = "generates titles token by token, but prompt=items gives each item one token"
WORDS_BY_ITEM = "answers with the words yes or no, but prompt=items has no words"
RATINGS_BY_ITEM = "answers with a word for each rating, but prompt=items has no words"
CANNOT_WRITE = "bert reads in both directions and cannot generate"
NOTHING_LEARNED = "nothing would be learned; choose adapter=full or adapter=lora"
ENCODER_ALONE = "prefix works in the decoder of an encoder-decoder, but this head reads its encoder"

# (backbone, adapter, head, prompt), "*" for any: why it is refused. Nothing else is.
REFUSED = {
    ("*", "*", "title", "items"): TITLES_BY_ITEM,
    ("*", "*", "yes_no", "items"): WORDS_BY_ITEM,
    ("*", "*", "rating_tokens", "items"): RATINGS_BY_ITEM,
    ("bert", "*", "title", "text"): CANNOT_WRITE,
    ("gpt2", "frozen", "title", "text"): NOTHING_LEARNED,
    ("t5", "frozen", "title", "text"): NOTHING_LEARNED,
    **{
        (backbone, adapter, head, "text"): NOTHING_LEARNED
        for adapter in ("int8", "nf4")
        for backbone, head in [
            ("gpt2", "title"),
            ("t5", "title"),
            ("*", "yes_no"),
            ("*", "rating_tokens"),
        ]
    },
    ("*", "frozen", "yes_no", "text"): NOTHING_LEARNED,
    ("*", "frozen", "rating_tokens", "text"): NOTHING_LEARNED,
    **{("t5", "prefix", head, "*"): ENCODER_ALONE for head in ("like", "rating")},
    ("t5", "prefix", "next", "text"): ENCODER_ALONE,
}
COMBINATIONS = list(
    itertools.product(lm_cases.BACKBONES, lm_cases.ADAPTERS, lm_cases.HEADS, lm_cases.PROMPTS)
)


def refusal(combination: tuple[str, ...]) -> str | None:
    for pattern, sentence in REFUSED.items():
        if all(want in ("*", have) for want, have in zip(pattern, combination, strict=True)):
            return sentence
    return None


REFUSALS = [combination for combination in COMBINATIONS if refusal(combination)]
ACCEPTED = [combination for combination in COMBINATIONS if not refusal(combination)]


@pytest.mark.parametrize("combination", REFUSALS, ids="-".join)
def test_what_cannot_work_is_refused_before_anything_loads(combination: tuple[str, ...]) -> None:
    spec = lm_cases.spec(*combination)
    (problem,) = check("recommender", spec)
    assert problem.where == "head"
    assert refusal(combination) in problem.what
    with pytest.raises(ConfigError):
        build("recommender", spec)


@pytest.mark.parametrize("combination", ACCEPTED, ids="-".join)
def test_it_trains_scores_and_is_stored(combination: tuple[str, ...], tmp_path: Path) -> None:
    if combination[1].startswith(("int8", "nf4")):
        pytest.importorskip("bitsandbytes", reason="adapter int8 needs the extra llm8bit")
    spec = lm_cases.spec(*combination)
    assert check("recommender", spec) == []
    split = lm_cases.split()
    fitted = build("recommender", spec, seed=1).fit(split.train, split.valid)
    assert 0 < fitted.info.trainable <= fitted.info.parameters
    assert fitted.info.weights.startswith("random init")

    queries, targets = make_queries(split.train.union(split.valid), split.test)
    scores = fitted.score(queries)
    assert scores.shape == (len(queries), split.train.n_items)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()

    asked = np.concatenate([targets.items.padded(), np.full((len(queries), 1), -1)], axis=1)
    some = fitted.score(queries, asked)
    expected = np.take_along_axis(scores, asked[:, :1], axis=1)
    # 8-bit matrix products see the whole batch, so another batch changes more.
    close = 2e-2 if combination[1].startswith("int8") else 1e-4
    np.testing.assert_allclose(some[:, :1], expected, atol=close, rtol=close)

    strangers = Queries.from_histories([[], [1], []])
    answered = fitted.score(strangers)
    assert np.isfinite(answered).all()
    np.testing.assert_allclose(answered[0], answered[2], atol=close, rtol=close)

    fitted.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(queries), scores)
    assert loaded.info == fitted.info
    assert loaded.tasks == fitted.tasks


def test_the_table_of_refusals_has_no_row_too_many() -> None:
    for pattern in REFUSED:
        assert any(
            all(want in ("*", have) for want, have in zip(pattern, combination, strict=True))
            for combination in COMBINATIONS
        )
    assert len(ACCEPTED) + len(REFUSALS) == 3 * 13 * 6 * 2
