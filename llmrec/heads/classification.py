"""Classification: the next item over the catalogue, or like / dislike of one candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmrec.core.extras import require
from llmrec.core.protocols import Task


class Classification:
    """Classes over a state: the next item of the catalogue, or like / dislike.

    With item tokens the next item's logits are the products of the state and the item embeddings
    (tied weights); with a text prompt they are a linear layer's. The loss is cross-entropy over
    the whole catalogue, or binary cross-entropy.

    Args:
        target: ``next_item`` (ranking) or ``like`` (preference; ranking by the probability).
        label_smoothing: of the next-item loss.
        item_bias: a learned bias per item (next item).
        threshold: a rating at or above it is a like.
    """

    def __init__(
        self,
        *,
        target: Literal["next_item", "like"] = "next_item",
        label_smoothing: float = 0.0,
        item_bias: bool = False,
        threshold: float = 4.0,
    ) -> None:
        self.target = target
        self.label_smoothing = label_smoothing
        self.item_bias = item_bias
        self.threshold = threshold

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        if not 0 <= params.get("label_smoothing", 0.0) < 1:
            return [("label_smoothing", "must be at least 0 and below 1")]
        if params.get("target") == "like":
            return [
                (key, "belongs to target=next_item; leave it out")
                for key in ("label_smoothing", "item_bias")
                if params.get(key)
            ]
        return []

    @property
    def tasks(self) -> frozenset[Task]:
        if self.target == "next_item":
            return frozenset({"ranking"})
        return frozenset({"preference", "ranking"})

    @property
    def judges_candidates(self) -> bool:
        """Whether the model reads one candidate at a time."""
        return self.target == "like"

    def needs(self, prompt_kind: str) -> str:
        """Return what the backbone must provide under a kind of prompt."""
        if self.target == "next_item" and prompt_kind == "items":
            return "sequence"
        return "pooled"

    def build(self, width: int, n_items: int, tied: bool, statistics: Mapping[str, float]) -> Any:  # noqa: ARG002
        """Return the torch module with ``loss`` and ``scores``.

        Args:
            width: of the states.
            n_items: size of the catalogue.
            tied: the item embeddings are given with each call.
            statistics: of the training ratings.
        """
        require("torch", "lm", "head classification")
        from llmrec.heads.modules import Like, NextItem

        if self.target == "like":
            return Like(width)
        return NextItem(width, n_items, tied, self.label_smoothing, self.item_bias)
