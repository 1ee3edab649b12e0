"""List-wise re-ranking: the model reads some candidates with a letter each and picks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llmrec.core.extras import require
from llmrec.core.protocols import Task

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Listwise:
    """One prompt lists candidates with letters; the logits of the letters are their scores.

    One forward pass ranks a list (the verbalizer of LlamaRec, Yue et al., 2023). It trains by
    cross-entropy over the letters: the true next item among other items, a new list in a new order
    each time. For scoring the order is pseudo-random too, fixed by each candidate and the last
    item of the history, so that the order in which candidates are given says nothing; a longer
    list is divided. An item's score is the log-probability of its letter within its list: lists of
    other lengths, or other candidates, give other scores.

    Args:
        list_size: candidates of a prompt, at most 26.
        permutations: orders that a list is read in; the log-probabilities are averaged.
        negatives: the other items of a training list: ``uniform`` or, drawn in proportion to how
            often they occur in training, ``popularity``. In a two-stage recommender they can be
            what the retriever finds.
    """

    judges_candidates = False
    lists_candidates = True

    def __init__(
        self,
        *,
        list_size: int = 20,
        permutations: int = 1,
        negatives: Literal["uniform", "popularity"] = "uniform",
    ) -> None:
        self.list_size = list_size
        self.permutations = permutations
        self.negatives = negatives

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        found = []
        if not 2 <= params.get("list_size", 20) <= len(LETTERS):
            found.append(("list_size", f"must be from 2 to {len(LETTERS)}: one letter each"))
        if params.get("permutations", 1) < 1:
            found.append(("permutations", "must be at least 1"))
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"ranking"})

    def answers(self, values: Sequence[float]) -> list[str]:  # noqa: ARG002
        """Return the texts whose first tokens stand for the places of a list."""
        return [f" {letter}" for letter in LETTERS[: self.list_size]]

    def needs(self, prompt_kind: str) -> str:  # noqa: ARG002
        """Return what the backbone must provide."""
        return "token_logits"

    def build(self, width: int, n_items: int, tied: bool, statistics: Mapping[str, float]) -> Any:  # noqa: ARG002
        """Return the torch module with ``loss`` and ``scores``; see the classification head."""
        require("torch", "lm", "head listwise")
        from llmrec.heads.modules import LetterLoss

        return LetterLoss()
