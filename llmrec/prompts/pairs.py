"""Prompts about many candidates of one user: the history is rendered and tokenised once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmrec.core.types import Ragged
from llmrec.prompts.text import Text

Tokens = list[int]


@dataclass(frozen=True, eq=False)
class Group:
    """Prompts of one query that begin with the same tokens.

    Attributes:
        head: the tokens all of them begin with; may be empty.
        tails: what follows in each.
        places: (n,) the number of each prompt's pair.
    """

    head: Tokens
    tails: list[Tokens]
    places: np.ndarray

    def rows(self) -> list[Tokens]:
        """Return the whole prompts."""
        return [self.head + tail for tail in self.tails]


class PairPrompts:
    """Makes the token rows of (query, candidate) prompts, exactly those of `Text.tokenise`.

    History and question are tokenised apart where that gives the tokens of the whole prompt. It
    does where a blank between two words is a place at which the tokenizer splits anyway. That is
    not believed but tried: on each pair of words that meet there, and on one whole prompt of each
    query. Where it fails, whole prompts are tokenised and split where their tokens part.

    Args:
        prompt: renders histories and questions.
        tokenizer: a transformers tokenizer.
        items: fields of each item of the catalogue, by item id.
        frame: token ids before and after each prompt.
    """

    def __init__(
        self,
        prompt: Text,
        tokenizer: Any,
        items: Sequence[Mapping[str, str]],
        frame: tuple[Sequence[int], Sequence[int]],
    ) -> None:
        self.prompt = prompt
        self.tokenizer = tokenizer
        self.items = items
        self.prefix, self.suffix = list(frame[0]), list(frame[1])
        self.room = prompt.max_length - len(self.prefix) - len(self.suffix)
        self._own_words = not prompt.question_reads_history
        self._questions: dict[int, tuple[str, Tokens]] = {}
        self._seams: dict[tuple[str, str], bool] = {}
        self._lead = next((lead for lead in (" ", "") if self._seam("a", "b", lead)), None)

    def groups(
        self, histories: Ragged, ratings: Ragged | None, candidates: Ragged
    ) -> tuple[list[Group], int]:
        """Return the prompts of all pairs, and how many were cut.

        Args:
            histories: B rows of item ids, oldest first.
            ratings: their ratings, same rows, or None.
            candidates: B rows of item ids to ask about; pairs are numbered through the rows.

        Raises:
            DataError: if a question alone is too long.
        """
        shown = self.prompt.shown(self.items, histories, ratings)
        texts = [self.prompt.render_history(history) for history in shown]
        heads = self._tokens(texts)
        found: list[Group] = []
        n_cut = 0
        for row, asked in enumerate(candidates):
            if not len(asked):
                continue
            questions = self._asked(shown[row], asked.tolist())
            head, tails = self._split(texts[row], heads[row], questions)
            for (question, _), tail in zip(questions, tails, strict=True):
                n_tokens = len(head) + len(tail) - len(heads[row])
                self.prompt.require_room(question, n_tokens, self.room)
            first = int(candidates.offsets[row])
            groups, cut = self._framed(head, tails, first)
            found += groups
            n_cut += cut
        return found, n_cut

    def _tokens(self, texts: list[str]) -> list[Tokens]:
        rows: list[Tokens] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return rows

    def _asked(self, history: list[dict[str, Any]], asked: list[int]) -> list[tuple[str, Tokens]]:
        """Return text and tokens of the questions about some items."""
        known = self._questions if self._own_words else {}
        new = [item for item in dict.fromkeys(asked) if item not in known]
        if new:
            texts = [self.prompt.render_question(history, self.items[item]) for item in new]
            rows = self._tokens([f"{self._lead or ''}{text}" for text in texts])
            known.update(zip(new, zip(texts, rows, strict=True), strict=True))
        return [known[item] for item in asked]

    def _split(
        self, text: str, head: Tokens, questions: list[tuple[str, Tokens]]
    ) -> tuple[Tokens, list[Tokens]]:
        if self._lead is not None and all(self._apart(text, asked) for asked, _ in questions):
            asked, tail = questions[0]
            if self._tokens([f"{text} {asked}"])[0] == head + tail:
                return head, [tail for _, tail in questions]
        rows = self._tokens([f"{text} {asked}" for asked, _ in questions])
        shared = _common(rows)
        return rows[0][:shared], [row[shared:] for row in rows]

    def _apart(self, text: str, question: str) -> bool:
        """Return whether a text and a question meet at a blank between words that splits them."""
        if not text or not question or text[-1].isspace() or question[0].isspace():
            return False
        last, first = text.rsplit(maxsplit=1)[-1], question.split(maxsplit=1)[0]
        key = (last, first)
        if key not in self._seams:
            assert self._lead is not None
            self._seams[key] = self._seam(last, first, self._lead)
        return self._seams[key]

    def _seam(self, last: str, first: str, lead: str) -> bool:
        whole, left, right = self._tokens([f"{last} {first}", last, f"{lead}{first}"])
        return whole == left + right

    def _framed(self, head: Tokens, tails: list[Tokens], first: int) -> tuple[list[Group], int]:
        """Cut prompts that are too long from the front, as whole prompts are, and frame them.

        What is left of the history depends on the length of the question: those that are cut at
        the same place share it.
        """
        cuts = np.array([max(0, len(head) + len(tail) - self.room) for tail in tails])
        groups = []
        for cut in np.unique(cuts).tolist():
            members = np.flatnonzero(cuts == cut)
            beyond = max(0, cut - len(head))
            kept = [tails[i][beyond:] + self.suffix for i in members.tolist()]
            groups.append(Group(self.prefix + head[cut:], kept, first + members))
        return groups, int((cuts > 0).sum())


def _common(rows: list[Tokens]) -> int:
    """Return how many first tokens all rows share, leaving at least one to each."""
    shortest = min(len(row) for row in rows)
    block = np.array([row[:shortest] for row in rows])
    differs = (block != block[0]).any(0)
    same = int(differs.argmax()) if differs.any() else shortest
    return max(0, min(same, shortest - 1))
