"""Tokenizers trained here: they reload, repeat, round-trip, and know training texts only."""

from __future__ import annotations

from pathlib import Path

import lm_cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from llmrec.backbones.tokenizers import train_tokenizer
from llmrec.core.errors import DataError

KINDS = ("bpe", "wordpiece", "unigram")
TEXTS = [*lm_cases.TITLES, "Will the user like Red Fox?", "Café Überraschung 12"]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_come_back(kind: str) -> None:
    tokenizer = train_tokenizer(kind, TEXTS, 300)
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        back = tokenizer.decode(ids)
        if kind == "wordpiece":  # lower case, accents off, as BERT's
            assert back.replace(" ", "") == (
                text.lower().replace("é", "e").replace("ü", "u").replace(" ", "")
            )
        else:
            assert back.strip() == text
        assert tokenizer.unk_token_id not in ids


@given(text=st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_byte_level_bpe_knows_every_string(text: str) -> None:
    ids = BPE(text, add_special_tokens=False)["input_ids"]
    assert BPE.decode(ids) == text


BPE = train_tokenizer("bpe", TEXTS, 300)


@pytest.mark.parametrize("kind", KINDS)
def test_training_repeats_and_reloads(kind: str, tmp_path: Path) -> None:
    first, again = train_tokenizer(kind, TEXTS, 300), train_tokenizer(kind, TEXTS, 300)
    assert first.get_vocab() == again.get_vocab()
    assert len(first) <= 300
    first.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert loaded.get_vocab() == first.get_vocab()
    assert loaded.special_tokens_map == first.special_tokens_map
    assert loaded.padding_side == "right"
    for text in TEXTS:
        assert loaded(text)["input_ids"] == first(text)["input_ids"]
    roles = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
    ids = [getattr(loaded, f"{role}_token_id") for role in roles]
    assert None not in ids
    assert len(set(ids)) == len(roles)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_learn_from_is_a_sentence(kind: str) -> None:
    with pytest.raises(DataError, match="a tokenizer needs item texts"):
        train_tokenizer(kind, ["", "  "], 300)


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_titles_outside_training_leave_no_trace_in_the_vocabulary(name: str) -> None:
    split = lm_cases.split()
    assert split.train.item_counts[lm_cases.UNSEEN_ITEM] == 0
    model = lm_cases.model(name, prompt="text").fit(split.train, split.valid)
    tokenizer = model._model.tokenizer
    other = lm_cases.TITLES[lm_cases.UNSEEN_ITEM].lower()
    for word in other.split():  # "xylophone", "quiz"
        pieces = tokenizer(" " + word, add_special_tokens=False)["input_ids"]
        assert len([p for p in pieces if tokenizer.decode([p]).strip()]) > 1 or (
            tokenizer.unk_token_id in pieces
        )
    # The same without the item's title: the same vocabulary.
    titles = split.train.item_fields["title"].copy()
    titles[lm_cases.UNSEEN_ITEM] = "Something Else Entirely"
    from dataclasses import replace

    renamed = replace(split.train, item_fields={"title": titles})
    again = lm_cases.model(name, prompt="text").fit(renamed, split.valid)
    assert again._model.tokenizer.get_vocab() == tokenizer.get_vocab()
