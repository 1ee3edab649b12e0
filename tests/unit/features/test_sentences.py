"""Sentence embeddings: of items, of what users wrote; cached, and forgotten on request."""

from __future__ import annotations

from pathlib import Path

import lm_cases
import numpy as np
import pytest
from feature_cases import REVIEWS, TITLES, at, data

from llmrec.backbones import embed
from llmrec.backbones.embed import embed_texts
from llmrec.core.errors import DataError
from llmrec.core.types import Queries, Ragged
from llmrec.data.forget import forget
from llmrec.features.sentences import SentenceEmbedding


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = lm_cases.checkpoint("bert", "token_logits", tmp_path_factory.mktemp("encoder"))
    return {"name": "bert", "checkpoint": str(folder)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_items_and_what_was_written(encoder: dict, pooling: str) -> None:
    options = {"backbone": encoder, "pooling": pooling}
    items = SentenceEmbedding(**options).fit(data()).items()
    np.testing.assert_array_equal(items, embed_texts(encoder, TITLES, pooling=pooling))
    about = SentenceEmbedding(**options, source="written").fit(data()).items()
    reviews = embed_texts(encoder, REVIEWS, pooling=pooling)
    both = reviews[[1, 3]]  # of item 1
    expected = both.mean(axis=0) if pooling == "mean" else both.max(axis=0)
    np.testing.assert_allclose(about[1], expected, atol=1e-6)
    np.testing.assert_array_equal(about[4], 0)
    user = SentenceEmbedding(**options, source="written", of="user").fit(data())
    time = np.array([at(2), at(4)])
    rows = user.queries(Queries(np.array([0, 0]), Ragged.empty(2), time=time))
    np.testing.assert_allclose(rows[0], reviews[0], atol=1e-6)
    both = reviews[[0, 2]]
    expected = both.mean(axis=0) if pooling == "mean" else both.max(axis=0)
    np.testing.assert_allclose(rows[1], expected, atol=1e-6)


def test_a_second_fit_encodes_nothing_until_somebody_is_forgotten(
    encoder: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": encoder, "source": "written"}
    first = SentenceEmbedding(**options).fit(data()).items()
    encode, asked = embed._encode, []

    def watched(part: object, texts: list[str], *given: object) -> object:
        asked.extend(texts)
        return encode(part, texts, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(embed, "_encode", watched)
    again = SentenceEmbedding(**options).fit(data()).items()
    assert asked == []
    np.testing.assert_array_equal(again, first)
    assert forget(["bob"]).embeddings == 2
    SentenceEmbedding(**options).fit(data())
    assert sorted(asked) == ["fine", "good good"]


def test_a_random_encoder_is_refused() -> None:
    with pytest.raises(DataError, match="pretrained weights"):
        SentenceEmbedding(backbone={"name": "bert"}).fit(data())
