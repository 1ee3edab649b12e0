"""Regression: the rating a user gives to a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrec.core.extras import require
from llmrec.core.protocols import Task


class Regression:
    """A number from a state: the rating of a candidate, by mean squared error.

    The output is scaled by mean and standard deviation of the training ratings, and clipped to
    their range when scoring.
    """

    judges_candidates = True

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"rating"})

    def needs(self, prompt_kind: str) -> str:  # noqa: ARG002
        """Return what the backbone must provide."""
        return "pooled"

    def build(self, width: int, n_items: int, tied: bool, statistics: Mapping[str, float]) -> Any:  # noqa: ARG002
        """Return the torch module with ``loss`` and ``scores``; see the classification head."""
        require("torch", "lm", "head regression")
        from llmrec.heads.modules import Rating

        return Rating(width, statistics)
