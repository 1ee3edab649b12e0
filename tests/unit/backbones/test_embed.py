"""Text embeddings: each text once, cached by content, empty texts zero."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.backbones import embed
from llmrec.backbones.embed import embed_texts
from llmrec.core.config import build
from llmrec.data.forget import forget
from llmrec.data.privacy import new_key, pseudonym, read_key

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
    # Nor do order and company matter: the cache is of single texts.
    np.testing.assert_array_equal(embed_texts(encoder, TEXTS[::-1]), first[::-1])
    np.testing.assert_array_equal(embed_texts(encoder, TEXTS[2:3]), first[2:3])


def test_only_new_texts_are_encoded(encoder: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embed_texts(encoder, TEXTS)
    asked: list[list[str]] = []
    encode = embed._encode

    def watched(part: object, texts: list[str], *options: object) -> object:
        asked.append(texts)
        return encode(part, texts, *options)  # type: ignore[arg-type]

    monkeypatch.setattr(embed, "_encode", watched)
    again = embed_texts(encoder, [*TEXTS, "one more"])
    assert asked == [["one more"]]
    np.testing.assert_array_equal(again[:-1], first)


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


def test_a_fresh_cache_gives_the_same_bits_in_any_company(
    encoder: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embed_texts(encoder, TEXTS)
    for number, text in enumerate(TEXTS):
        monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / f"cache {number}"))
        np.testing.assert_array_equal(embed_texts(encoder, [text])[0], whole[number])
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "large"))
    many = [f"{word} number {n}" for n in range(60) for word in ("tree", "a very long river")]
    np.testing.assert_array_equal(embed_texts(encoder, [*many, *TEXTS])[-len(TEXTS) :], whole)


def test_what_was_encoded_before_an_interruption_is_kept(
    encoder: dict, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [f"{'long ' * (n % 3)}text {n}" for n in range(300)]
    whole = embed_texts(encoder, many)
    shutil.rmtree(cache)
    monkeypatch.setattr(embed, "KEPT_AT_ONCE", 100)
    encode = embed._encode

    def interrupted(*given: object) -> Iterator[object]:
        blocks = encode(*given)  # type: ignore[arg-type]
        yield next(blocks)
        raise KeyboardInterrupt

    monkeypatch.setattr(embed, "_encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed_texts(encoder, many)
    asked: list[int] = []

    def counted(part: object, texts: list[str], *options: object) -> object:
        asked.append(len(texts))
        return encode(part, texts, *options)  # type: ignore[arg-type]

    monkeypatch.setattr(embed, "_encode", counted)
    np.testing.assert_array_equal(embed_texts(encoder, many), whole)
    assert 0 < asked[0] < 300


def test_the_largest_value_of_each_dimension(encoder: dict) -> None:
    """Max pooling, against transformers used directly."""
    part = build("backbone", encoder)
    tokenizer = part.tokenizer([])
    model = part.load("pooled", tokenizer=tokenizer).eval()
    text = TEXTS[-1]
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    expected = states.amax(0)
    expected = (expected / expected.norm()).numpy()
    found = embed_texts(encoder, TEXTS, pooling="max")
    np.testing.assert_allclose(found[-1], expected, atol=1e-5)
    assert not np.allclose(found, embed_texts(encoder, TEXTS, pooling="mean"))
    np.testing.assert_array_equal(
        embed_texts(encoder, TEXTS), embed_texts(encoder, TEXTS, pooling="mean")
    )


def test_what_a_user_wrote_is_forgotten(
    encoder: dict, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = ["ann", "ann", "bob", "bob", "", ""]
    embed_texts(encoder, TEXTS, owners=owners)
    new_key(cache.parent / "key")
    key = read_key(cache.parent / "key")
    embed_texts(encoder, ["dear diary"], owners=[pseudonym("ann", key)])
    assert forget(["ann"]).embeddings == 1
    assert forget(["ann"], cache.parent / "key").embeddings == 1
    forbid(monkeypatch)
    embed_texts(encoder, [TEXTS[2], TEXTS[5]])
    for gone in (TEXTS[0], "dear diary"):
        with pytest.raises(AssertionError, match="encoded again"):
            embed_texts(encoder, [gone])


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
