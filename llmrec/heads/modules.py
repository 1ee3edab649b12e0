"""Torch modules behind heads that answer in tokens: `loss` for training, `scores` for ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from llmrec.core.errors import ComponentError
from llmrec.heads.classification import require_few
from llmrec.heads.predictions import Prediction


class LogOdds(nn.Module):
    """What gives the log-odds of a like as scores, and how it learns."""

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        """Return (N,) log-odds."""
        raise NotImplementedError

    def prediction(self, states: torch.Tensor, items: torch.Tensor | None = None) -> Prediction:
        """Return the odds of a like."""
        return Prediction("odds", self.scores(states, items))

    def loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        items: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the binary cross-entropy of (N,) targets 0 or 1."""
        return functional.binary_cross_entropy_with_logits(self.scores(states), targets)


class YesNo(LogOdds):
    """Log-odds from the logits of the answers yes and no."""

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return (N,) differences of (N, 2) logits."""
        return states[:, 0] - states[:, 1]


class Choice(nn.Module):
    """A choice from the (N, K) logits of what is compared."""

    def prediction(self, states: torch.Tensor, items: torch.Tensor | None = None) -> Prediction:  # noqa: ARG002
        """Return the choice."""
        return Prediction("choice", states)

    def loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        items: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the mean cross-entropy of (N,) true places among the K."""
        return functional.cross_entropy(states, targets)


class RatingTokens(Choice):
    """A rating from the logits of one token for each rating of training.

    Args:
        head: the component, for its options.
        statistics: ``values`` (K,), the distinct training ratings in order.

    Raises:
        ComponentError: if they are too many to name, or not as many as the labels.
    """

    values: torch.Tensor

    def __init__(self, head: Any, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        values = torch.as_tensor(statistics.get("values", [0.0, 1.0]), dtype=torch.float32)
        self.register_buffer("values", values)
        self.expected = head.answer == "expected"
        require_few(len(values), "these cannot be a word each")
        if head.labels is not None and len(head.labels) != len(values):
            shown = ", ".join(f"{value:g}" for value in values.tolist())
            raise ComponentError(
                f"head.labels has {len(head.labels)} texts, but training has {len(values)} "
                f"distinct ratings ({shown}): give one for each, lowest first, or null"
            )

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return (N,) expected ratings of (N, K) logits, or the most likely ones."""
        if self.expected:
            return states.softmax(1) @ self.values
        return self.values[states.argmax(1)]

    def loss(
        self, states: torch.Tensor, targets: torch.Tensor, items: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the mean cross-entropy of (N,) ratings that occur in training."""
        return super().loss(states, torch.searchsorted(self.values, targets.contiguous()), items)


class TokenLoss(Choice):
    """Cross-entropy of the written tokens; the scores come from decoding."""


class LetterLoss(Choice):
    """Cross-entropy over the letters of a list."""

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return the (N, C) logits as they are."""
        return states
