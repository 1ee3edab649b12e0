"""Weights of tasks that are learned from what each leaves unexplained."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from llmrec.heads.judged import Rating


class Uncertainty(nn.Module):
    """Weighs the losses of tasks by their uncertainty (Kendall, Gal and Cipolla, CVPR 2018).

    A loss L becomes f · exp(−s) · L + s / 2, s the log variance of its task, learned with the
    model. With f = ½ for mean squared errors that is the negative log-likelihood of a Gaussian, and
    with f = 1 for cross-entropy about that of a softmax at temperature exp(s). Where s is at its
    best, the weight f · exp(−s) is 1 / (2 L).

    Args:
        weights: where the weights start, above 0, by label of the task.
        squared: labels of the tasks whose loss is a mean squared error.
    """

    def __init__(self, weights: Mapping[str, float], squared: Collection[str]) -> None:
        super().__init__()
        self.labels = tuple(weights)
        self.factors = {label: 0.5 if label in squared else 1.0 for label in weights}
        starts = [math.log(self.factors[label] / weight) for label, weight in weights.items()]
        self.log_variances = nn.Parameter(torch.tensor(starts))

    def forward(self, label: str, loss: torch.Tensor) -> torch.Tensor:
        """Return what a task's loss adds to the sum."""
        return self.weight(label) * loss + self._log_variance(label) / 2

    def weight(self, label: str) -> torch.Tensor:
        """Return the weight of a task's loss, a scalar."""
        return self.factors[label] * torch.exp(-self._log_variance(label))

    def weights(self) -> dict[str, float]:
        """Return the weight of each task's loss."""
        return {label: float(self.weight(label).detach()) for label in self.labels}

    def _log_variance(self, label: str) -> torch.Tensor:
        return self.log_variances[self.labels.index(label)]


def is_squared(head: Any) -> bool:
    """Return whether the loss of a head's module is a mean squared error."""
    return isinstance(head, Rating) and head.delta is None
