"""Regression: the rating a user gives to a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmrec.core.extras import require
from llmrec.core.protocols import Task
from llmrec.heads.options import out_of_range, unread

LOSSES = ("mse", "huber", "ordinal")
READ_BY = {"averages": LOSSES, "damping": LOSSES, "delta": ("huber",)}


class Regression:
    """A number from a state: the rating of a candidate.

    ``mse`` and ``huber`` scale the output by mean and standard deviation of the training ratings,
    and clip scores to their range. ``ordinal`` learns for each training value how likely a rating
    is above it, and scores by the expected rating (CORAL, Cao et al. 2020).

    Args:
        loss: mse, huber or ordinal.
        delta: of the Huber loss: where it turns from squared to absolute, in standard deviations;
            null for 1.
        averages: start from the damped averages of user and item, so that the model learns the rest
            only. The user's come from the history that a query carries, so that a new user with
            some ratings has them too.
        damping: imaginary average ratings added to each average; null for 10.
    """

    judges_candidates = True

    def __init__(
        self,
        *,
        loss: Literal["mse", "huber", "ordinal"] = "mse",
        delta: float | None = None,
        averages: bool = False,
        damping: float | None = None,
    ) -> None:
        self.loss = loss
        self.delta = delta
        self.averages = averages
        self.damping = damping

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range, and what the chosen loss does not read."""
        unset = {"averages": False}
        found = unread(params, "target=rating", LOSSES, READ_BY, unset) + out_of_range(params)
        if params.get("damping") is not None and not params.get("averages", False):
            found.append(("damping", "is read with averages=true only; leave it null"))
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"rating"})

    def needs(self, prompt_kind: str) -> str:  # noqa: ARG002
        """Return what the backbone must provide."""
        return "pooled"

    def build(self, width: int, n_items: int, tied: bool, statistics: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Return the torch module with ``loss`` and ``scores``; see the classification head."""
        require("torch", "lm", "head regression")
        from llmrec.heads.judged import Ordinal, Rating

        return (Ordinal if self.loss == "ordinal" else Rating)(self, width, statistics, tied)
