"""Prompts about a review: the review is cut at its end where the prompt is too long."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmrec.core.types import Ragged
from llmrec.prompts.text import Text, joined

# What is cut off at once: a word with the blanks before it; without blanks, 20 characters.
PIECE = re.compile(r"\s*\S{1,20}")


def review_tokens(
    prompt: Text,
    tokenizer: Any,
    items: Sequence[Mapping[str, str]],
    asked: tuple[Ragged, Ragged | None, np.ndarray],
    reviews: Sequence[str],
    frame: tuple[Sequence[int], Sequence[int]],
) -> tuple[Ragged, np.ndarray]:
    """Return token ids of prompts that read a review, and (N,) how many tokens each lost.

    The history gives way first, its oldest tokens; where the question is too long without any, the
    review keeps as many of its first words as there is room for: a review begins with its verdict.

    Args:
        prompt: its question names the review.
        tokenizer: a transformers tokenizer.
        items: fields of every item of the catalogue, by item id.
        asked: histories, their ratings or None, and (N,) candidates, as `Text.parts` takes them.
        reviews: N texts.
        frame: token ids before and after each prompt.

    Raises:
        DataError: if a question is too long without its review.
    """
    histories, ratings, candidates = asked
    parts = prompt.parts(items, histories, ratings, candidates, reviews)
    room = prompt.max_length - len(frame[0]) - len(frame[1])
    sizes = _sizes(tokenizer, [joined(history, question) for history, question in parts])
    lost = np.maximum(sizes - room, 0)
    rows = np.flatnonzero(lost)
    if len(rows):
        own = _sizes(tokenizer, [parts[row][0] for row in rows])
        rows = rows[sizes[rows] - own > room]
    if len(rows):
        some = (histories.take(rows), None if ratings is None else ratings.take(rows))
        whole = [PIECE.findall(reviews[row]) for row in rows.tolist()]

        def cut(kept: np.ndarray) -> list[tuple[str, str | None]]:
            texts = ["".join(words[:n]) for words, n in zip(whole, kept.tolist(), strict=True)]
            return prompt.parts(items, *some, candidates[rows], texts)

        for row, part in zip(rows.tolist(), cut(_kept(tokenizer, cut, whole, room)), strict=True):
            parts[row] = part
    tokens, cuts = prompt.tokenise(tokenizer, parts, *frame)
    return tokens, np.maximum(lost, cuts)


def _kept(tokenizer: Any, cut: Any, whole: list[list[str]], room: int) -> np.ndarray:
    """Return how many first pieces of each review leave a question that fits, by halving."""
    fits = np.zeros(len(whole), np.int64)
    too_many = np.array([len(words) for words in whole], np.int64)
    while (too_many - fits > 1).any():
        tried = (fits + too_many) // 2
        parts = cut(tried)
        sizes = _sizes(tokenizer, [joined(history, question) for history, question in parts])
        good = sizes - _sizes(tokenizer, [history for history, _ in parts]) <= room
        fits = np.where(good, tried, fits)
        too_many = np.where(good, too_many, tried)
    return fits


def _sizes(tokenizer: Any, texts: list[str]) -> np.ndarray:
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return np.array([len(row) for row in rows], np.int64)
