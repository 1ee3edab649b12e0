"""Generative heads: the next item's identifier under a trie, a query, yes / no, or a rating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llmrec.core.extras import require
from llmrec.core.protocols import Task

READ_BY_RATING = {"labels": None, "answer": "expected"}  # and what says that they are left out


class Generative:
    """The language-model head answers: it writes the next item, a query, yes / no, or a rating.

    ``item`` trains on the tokens of the next item's title and decodes by beam search under a trie
    of all titles, so that only items of the catalogue can come out. Items with the same title
    share a leaf: all of them get its score. ``query`` trains in the same way, but decodes freely:
    what its beams write are queries, for which BM25 finds titles (GPT4Rec, Li et al., 2023).
    ``yes_no`` compares the logits of two answer tokens
    (TALLRec, Bao et al., RecSys 2023). ``rating`` compares those of one token for each distinct
    rating of training, such as ``1`` to ``5``, by cross-entropy over them.

    Args:
        mode: ``item`` or ``query`` (ranking), ``yes_no`` (preference; ranking by the log-odds),
            ``rating`` (rating, or classes: see `answer`).
        n_beams: beams of the search, and so the number of items that get a real score.
        n_retrieved: items that the queries find together, an equal share each.
        identifier: item field that is written.
        max_identifier_length: tokens of an identifier; a longer one is cut.
        yes: text whose first token means a like.
        no: text whose first token means a dislike.
        threshold: a rating at or above it is a like.
        labels: texts whose first tokens mean the ratings of training, lowest first (mode=rating);
            null for the numbers.
        answer: what the scores of mode=rating are: the ``expected`` rating (task rating), or the
            most likely one as a ``class`` (task classes).
    """

    def __init__(
        self,
        *,
        mode: Literal["item", "query", "yes_no", "rating"] = "item",
        n_beams: int = 20,
        n_retrieved: int = 20,
        identifier: str = "title",
        max_identifier_length: int = 24,
        yes: str = " Yes",
        no: str = " No",
        threshold: float = 4.0,
        labels: Sequence[str] | None = None,
        answer: Literal["class", "expected"] = "expected",
    ) -> None:
        self.mode = mode
        self.n_beams = n_beams
        self.n_retrieved = n_retrieved
        self.identifier = identifier
        self.max_identifier_length = max_identifier_length
        self.yes = yes
        self.no = no
        self.threshold = threshold
        self.labels = labels
        self.answer = answer

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range, and what only another mode reads."""
        found = [
            (key, "must be at least 1")
            for key in ("n_beams", "n_retrieved", "max_identifier_length")
            if params.get(key, 1) < 1
        ]
        if params.get("mode", "item") != "rating":
            found += [
                (key, "is read with mode=rating only; leave it out")
                for key, unset in READ_BY_RATING.items()
                if params.get(key, unset) != unset
            ]
        labels = params.get("labels")
        if labels is not None and len(labels) < 2:
            found.append(("labels", "must be at least two: one for each rating of training"))
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        if self.mode == "yes_no":
            return frozenset({"preference", "ranking"})
        if self.mode == "rating":
            return frozenset({"classes"} if self.answer == "class" else {"rating"})
        return frozenset({"ranking", "generation"})

    def answers(self, values: Sequence[float]) -> list[str]:
        """Return the texts whose first tokens are compared; none if a title is written.

        Args:
            values: the distinct ratings of training, in order.
        """
        if self.mode == "yes_no":
            return [self.yes, self.no]
        if self.mode == "rating":
            return [f" {value:g}" for value in values] if self.labels is None else [*self.labels]
        return []

    @property
    def judges_candidates(self) -> bool:
        """Whether the model reads one candidate at a time."""
        return self.mode in ("yes_no", "rating")

    def needs(self, prompt_kind: str) -> str:  # noqa: ARG002
        """Return what the backbone must provide."""
        return "token_logits" if self.judges_candidates else "generate"

    def build(self, width: int, n_items: int, tied: bool, statistics: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Return the torch module with ``loss`` and ``scores``; see the classification head.

        Raises:
            ComponentError: if there are not as many labels as distinct ratings.
        """
        require("torch", "lm", "head generative")
        from llmrec.heads.modules import RatingTokens, TokenLoss, YesNo

        if self.mode == "rating":
            return RatingTokens(self, statistics)
        return YesNo() if self.mode == "yes_no" else TokenLoss()
