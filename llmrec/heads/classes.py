"""The torch module of k classes of one candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from llmrec.heads.losses import balanced_weights, coral, focal, focusing_of
from llmrec.heads.predictions import Prediction

Tensor = torch.Tensor


class Classes(nn.Module):
    """Probabilities of the classes from one state; the score is a class, or the expected one.

    Args:
        head: the component, for its options.
        width: of the states.
        statistics: ``values`` (K,) the classes as numbers, in order, and their ``counts``.
    """

    values: Tensor
    weights: Tensor | None

    def __init__(self, head: Any, width: int, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        values = torch.as_tensor(statistics.get("values", [0.0, 1.0]), dtype=torch.float32)
        self.register_buffer("values", values)
        self.ordinal = head.loss == "ordinal"
        self.smoothing = head.label_smoothing
        self.expected = head.answer == "expected"
        self.output = nn.Linear(width, 1 if self.ordinal else len(values), bias=not self.ordinal)
        self.biases: nn.Parameter | None = None
        if self.ordinal:  # falling, as the probabilities of being above each class are
            self.biases = nn.Parameter(torch.linspace(1, -1, len(values) - 1))
        self.focusing = focusing_of(head)
        weights = None
        if head.class_weights:
            weights = balanced_weights(torch.as_tensor(statistics["counts"]))
        self.register_buffer("weights", weights)

    def probabilities(self, states: Tensor) -> Tensor:
        """Return (N, K) probabilities of the classes."""
        logits: Tensor = self.output(states)
        if self.biases is None:
            return logits.softmax(1)
        above = torch.sigmoid(logits + self.biases)
        ones = above.new_ones(len(above), 1)
        steps = torch.cat([ones, above, 0 * ones], 1)
        return (steps[:, :-1] - steps[:, 1:]).clamp(min=0)

    def scores(self, states: Tensor, items: Tensor | None = None, **_: Any) -> Tensor:  # noqa: ARG002
        """Return (N,) classes by their number, or expected numbers."""
        found = self.probabilities(states)
        return found @ self.values if self.expected else self.values[found.argmax(1)]

    def prediction(self, states: Tensor, items: Tensor | None = None, **_: Any) -> Prediction:  # noqa: ARG002
        """Return the choice among the classes, or the odds of being above each of ordered ones."""
        logits: Tensor = self.output(states)
        if self.biases is None:
            return Prediction("choice", logits)
        return Prediction("odds", logits + self.biases)

    def loss(
        self,
        states: Tensor,
        targets: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        **_: Any,
    ) -> Tensor:
        """Return the mean loss of (N,) classes, by their number."""
        codes = torch.searchsorted(self.values, targets.contiguous())
        logits = self.output(states)
        if self.biases is not None:
            return coral(logits.squeeze(-1), self.biases, codes).mean()
        losses = functional.cross_entropy(
            logits, codes, reduction="none", label_smoothing=self.smoothing
        )
        if self.focusing is not None:
            losses = focal(losses, self.focusing)
        return (losses if self.weights is None else losses * self.weights[codes]).mean()
