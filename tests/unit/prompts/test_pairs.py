"""Prompts put together from parts have exactly the tokens of prompts tokenised whole."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from llmrec.backbones.tokenizers import train_tokenizer
from llmrec.core.errors import DataError
from llmrec.core.types import Ragged
from llmrec.prompts.pairs import PairPrompts
from llmrec.prompts.text import QUESTION, TEMPLATE, Text

TITLES = ["Alien", "Don't Look Now (1973)", "  spaced  out ", "M", "2001: A Space Odyssey", "été"]
ITEMS = [{"title": title} for title in TITLES]
HISTORIES = Ragged.from_rows([[0, 1, 2, 3], [], [4], [5, 1, 4, 4, 0]])
RATINGS = Ragged.from_rows([[5, 3, 1, 4], [], [4], [1, 2, 3, 4, 5]], np.float32)
CANDIDATES = Ragged.from_rows([[0, 1, 2, 3, 4, 5], [5, 5, 0], [], [2, 1, 3]])
TITLES_ONLY = "{{ history | map(attribute='title') | join('; ') }}"


def rows_of(text: Text, tokenizer: Any, frame: tuple[list[int], list[int]]):
    pairs = PairPrompts(text, tokenizer, ITEMS, frame)
    groups, n_cut = pairs.groups(HISTORIES, RATINGS, CANDIDATES)
    rows: list[list[int]] = [[]] * len(CANDIDATES.values)
    for group in groups:
        for place, row in zip(group.places.tolist(), group.rows(), strict=True):
            rows[place] = row
    return rows, n_cut, groups


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize(
    ("template", "question"),
    [
        (TEMPLATE, QUESTION),
        (TITLES_ONLY, "{{ candidate.title }}"),
        (TITLES_ONLY, " {{ candidate.title }}?"),
        (TITLES_ONLY + "\n", "...{{ candidate.title }}"),
        ("", "{{ candidate.title }}"),
        (TEMPLATE, ""),
        (TEMPLATE, "{{ history | length }} {{ candidate.title }}"),
        (TEMPLATE, "{% if history %}{{ history[0].title }}{% endif %}{{ candidate.title }}"),
    ],
)
@pytest.mark.parametrize("max_length", [256, 60, 20])
def test_the_tokens_are_those_of_whole_prompts(
    kind: str, template: str, question: str, max_length: int
) -> None:
    corpus = [*TITLES, "The user's history, oldest first: (rated 5); Will the user like it?"]
    tokenizer = train_tokenizer(kind, corpus, 300)
    text = Text(template=template, question=question, max_length=max_length, history_length=4)
    frame = ([1], [2, 3])
    owner = CANDIDATES.row_of
    prompts = text.parts(ITEMS, HISTORIES.take(owner), RATINGS.take(owner), CANDIDATES.values)
    try:
        expected, cuts = text.tokenise(tokenizer, prompts, *frame)
    except DataError as error:  # a question alone is too long
        with pytest.raises(DataError, match=re.escape(str(error))):
            rows_of(text, tokenizer, frame)
        return
    rows, n_cut, _ = rows_of(text, tokenizer, frame)
    assert rows == [row.tolist() for row in expected]
    assert n_cut == (cuts > 0).sum()


def test_prompts_that_fit_share_the_whole_history() -> None:
    tokenizer = train_tokenizer("bpe", TITLES, 300)
    text = Text()
    _, n_cut, groups = rows_of(text, tokenizer, ([], []))
    histories = text.render(ITEMS, HISTORIES, RATINGS, None)
    assert n_cut == 0
    assert [group.head for group in groups] == [
        tokenizer(histories[row], add_special_tokens=False)["input_ids"] for row in (0, 1, 3)
    ]


def test_a_tokenizer_that_does_not_split_at_blanks_is_found_out() -> None:
    class Odd:
        """Joins the words that meet at a blank before a capital: no part is tokenised apart."""

        def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
            assert not add_special_tokens
            return {"input_ids": [[ord(c) for c in t.replace(". W", "#")] for t in texts]}

    text = Text()
    owner = CANDIDATES.row_of
    prompts = text.parts(ITEMS, HISTORIES.take(owner), RATINGS.take(owner), CANDIDATES.values)
    expected, _ = text.tokenise(Odd(), prompts, [], [])
    rows, _, _ = rows_of(text, Odd(), ([], []))
    assert rows == [row.tolist() for row in expected]
