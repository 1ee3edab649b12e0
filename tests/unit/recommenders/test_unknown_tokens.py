"""Text that a tokenizer does not know is counted and kept with the result of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lm_cases
import numpy as np
import pytest

from llmrec.backbones.tokenizers import train_tokenizer, unknown_token
from llmrec.core.config import build
from llmrec.core.types import Dataset
from llmrec.recommenders.base import load_recommender

TEMPLATE = "{{ history | map(attribute='title') | join(' ') }}"


def vectors(folder: Path, words: str) -> dict[str, Any]:
    """Return a backbone of a file with vectors of some words."""
    path = folder / "vectors.txt"
    path.write_text("".join(f"{word} {i} 1 0.5\n" for i, word in enumerate(words.split())))
    return {"name": "word_vectors", "path": str(path)}


def with_text(backbone: dict[str, Any], train: Dataset, **options: Any) -> Any:
    spec = lm_cases.spec(prompt="text", parts={"prompt": {"template": TEMPLATE}}, **options)
    return build("recommender", {**spec, "backbone": backbone}, seed=1).fit(train)


@pytest.mark.parametrize(("words", "share"), [("red", 0.75), ("red fox blue owl", 0.0)])
def test_the_share_of_unknown_words_is_that_of_the_training_texts(
    words: str, share: float, tmp_path: Path
) -> None:
    # Each history is read once, without the item to be found: "Red Fox" and "Blue Owl".
    titles = {"title": np.array(["Red Fox", "Blue Owl"], object)}
    train = replace(lm_cases.dataset([[0, 1], [1, 0]]), item_fields=titles)
    model = with_text(vectors(tmp_path, words), train)
    assert model.info.details["unknown_share"] == share
    model.save(tmp_path / "kept")
    assert load_recommender(tmp_path / "kept").info.details["unknown_share"] == share


@pytest.mark.parametrize("name", ["bert", "t5", "gpt2"])
def test_a_tokenizer_trained_here_knows_its_texts(name: str) -> None:
    model = lm_cases.model(name, prompt="text").fit(lm_cases.split().train)
    assert model.info.details["unknown_share"] == 0.0


def test_prompts_without_words_have_no_such_share() -> None:
    model = lm_cases.model().fit(lm_cases.split().train)
    assert "unknown_share" not in model.info.details


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_the_unknown_token_is_that_which_a_tokenizer_writes(kind: Any) -> None:
    tokenizer = train_tokenizer(kind, ["alpha beta"], 300)
    rows = tokenizer(["alpha", "漢"], add_special_tokens=False)["input_ids"]
    unknown = unknown_token(tokenizer)
    assert unknown not in rows[0]
    assert (unknown in rows[1]) == (kind != "bpe")  # bytes are never unknown


def test_a_token_that_ends_texts_is_not_unknown_text() -> None:
    gpt2 = SimpleNamespace(unk_token_id=7, bos_token_id=7, eos_token_id=7)
    assert unknown_token(gpt2) is None
