"""Generative heads: the next item's identifier under a trie, a search query, a yes / no token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmrec.core.extras import require
from llmrec.core.protocols import Task


class Generative:
    """The language-model head answers: it writes the next item, a query, or yes / no.

    ``item`` trains on the tokens of the next item's title and decodes by beam search under a trie
    of all titles, so that only items of the catalogue can come out. Items with the same title
    share a leaf: all of them get its score. ``query`` trains in the same way, but decodes freely:
    what its beams write are queries, for which BM25 finds titles (GPT4Rec, Li et al., 2023).
    ``yes_no`` compares the logits of two answer tokens
    (TALLRec, Bao et al., RecSys 2023).

    Args:
        mode: ``item`` or ``query`` (ranking), ``yes_no`` (preference; ranking by the log-odds).
        n_beams: beams of the search, and so the number of items that get a real score.
        n_retrieved: items that the queries find together, an equal share each.
        identifier: item field that is written.
        max_identifier_length: tokens of an identifier; a longer one is cut.
        yes: text whose first token means a like.
        no: text whose first token means a dislike.
        threshold: a rating at or above it is a like.
    """

    def __init__(
        self,
        *,
        mode: Literal["item", "query", "yes_no"] = "item",
        n_beams: int = 20,
        n_retrieved: int = 20,
        identifier: str = "title",
        max_identifier_length: int = 24,
        yes: str = " Yes",
        no: str = " No",
        threshold: float = 4.0,
    ) -> None:
        self.mode = mode
        self.n_beams = n_beams
        self.n_retrieved = n_retrieved
        self.identifier = identifier
        self.max_identifier_length = max_identifier_length
        self.yes = yes
        self.no = no
        self.threshold = threshold

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        return [
            (key, "must be at least 1")
            for key in ("n_beams", "n_retrieved", "max_identifier_length")
            if params.get(key, 1) < 1
        ]

    @property
    def tasks(self) -> frozenset[Task]:
        if self.mode == "yes_no":
            return frozenset({"preference", "ranking"})
        return frozenset({"ranking", "generation"})

    @property
    def answers(self) -> list[str]:
        """The texts whose first tokens are compared; none if a title is written."""
        return [self.yes, self.no] if self.mode == "yes_no" else []

    @property
    def judges_candidates(self) -> bool:
        """Whether the model reads one candidate at a time."""
        return self.mode == "yes_no"

    def needs(self, prompt_kind: str) -> str:  # noqa: ARG002
        """Return what the backbone must provide."""
        return "token_logits" if self.mode == "yes_no" else "generate"

    def build(self, width: int, n_items: int, tied: bool, statistics: Mapping[str, float]) -> Any:  # noqa: ARG002
        """Return the torch module with ``loss`` and ``scores``; see the classification head."""
        require("torch", "lm", "head generative")
        from llmrec.heads.modules import TokenLoss, YesNo

        return YesNo() if self.mode == "yes_no" else TokenLoss()
