"""Text embeddings: each text once, cached by content, empty texts zero."""

from __future__ import annotations

from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.backbones import embed
from llmrec.backbones.embed import embed_texts

TEXTS = ["Red Fox", "", "The Old River", "Red Fox", "   ", "A long title about a night train"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = lm_cases.checkpoint("bert", "token_logits", tmp_path_factory.mktemp("encoder"))
    return {"name": "bert", "checkpoint": str(folder)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(embed, "_encode", refuse)


def test_vectors_have_unit_length_and_empty_texts_are_zero(encoder: dict) -> None:
    vectors = embed_texts(encoder, TEXTS)
    assert vectors.shape == (6, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[3])
    np.testing.assert_array_equal(vectors[[1, 4]], 0)
    np.testing.assert_allclose(np.linalg.norm(vectors[[0, 2, 5]], axis=1), 1, rtol=1e-5)
    assert not np.allclose(vectors[0], vectors[2])


def test_the_second_call_encodes_nothing(encoder: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embed_texts(encoder, TEXTS)
    forbid(monkeypatch)
    np.testing.assert_array_equal(embed_texts(encoder, TEXTS), first)
    # The order of the texts does not matter: the cache is of their set.
    backwards = embed_texts(encoder, TEXTS[::-1])
    np.testing.assert_array_equal(backwards, first[::-1])


@pytest.mark.parametrize("change", ["texts", "length", "pooling", "weights"])
def test_what_changes_the_numbers_is_encoded_anew(
    change: str, encoder: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed_texts(encoder, TEXTS)
    forbid(monkeypatch)
    texts, options = TEXTS, {}
    if change == "texts":
        texts = [*TEXTS, "one more"]
    elif change == "length":
        options = {"max_length": 3}
    elif change == "pooling":
        encoder = {**encoder, "pooling": "first"}
    else:
        folder = lm_cases.checkpoint("bert", "token_logits", tmp_path / "other", seed=6)
        encoder = {**encoder, "checkpoint": str(folder)}
    with pytest.raises(AssertionError, match="encoded again"):
        embed_texts(encoder, texts, **options)


def test_batches_do_not_matter(encoder: dict, cache: Path) -> None:
    whole = embed_texts(encoder, TEXTS)
    for file in cache.rglob("*.npy"):
        file.unlink()
    np.testing.assert_allclose(embed_texts(encoder, TEXTS, batch_size=1), whole, atol=1e-5)


def test_a_language_model_starts_from_the_texts_of_its_items(encoder: dict) -> None:
    split = lm_cases.split()
    parts = {"prompt": {"init": "text", "text_encoder": encoder}}
    before = torch.random.get_rng_state()
    model = lm_cases.model(parts=parts).fit(split.train, split.valid)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.info.weights == f"random init, item text: {encoder['checkpoint']}"
    shuffled = lm_cases.model(parts={"prompt": {**parts["prompt"], "init": "shuffled"}})
    assert "shuffled item text" in shuffled.weights
    assert lm_cases.model().weights == "random init, no text"
    again = lm_cases.model(parts=parts).fit(split.train, split.valid)
    queries = lm_cases.queries()
    np.testing.assert_array_equal(model.score(queries), again.score(queries))
