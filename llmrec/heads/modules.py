"""The torch modules behind the heads: `loss` for training, `scores` for ranking."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional


class NextItem(nn.Module):
    """Logits over the catalogue.

    Args:
        width: of the states.
        n_items: size of the catalogue.
        tied: use the item embeddings given with each call instead of own weights.
        label_smoothing: of the cross-entropy.
        item_bias: add a learned bias per item.
    """

    def __init__(
        self, width: int, n_items: int, tied: bool, label_smoothing: float, item_bias: bool
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.output = None if tied else nn.Linear(width, n_items, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_items)) if item_bias else None

    def scores(self, states: torch.Tensor, items: torch.Tensor | None) -> torch.Tensor:
        """Return (N, n_items) logits of (N, H) states; `items` are (n_items, H) if tied."""
        weight = items if self.output is None else self.output.weight
        assert weight is not None
        return functional.linear(states, weight, self.bias)

    def loss(
        self, states: torch.Tensor, targets: torch.Tensor, items: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mean cross-entropy of (N,) target items."""
        logits = self.scores(states, items)
        return functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)


class LogOdds(nn.Module):
    """What gives the log-odds of a like as scores, and how it learns."""

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:
        """Return (N,) log-odds."""
        raise NotImplementedError

    def loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        items: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the binary cross-entropy of (N,) targets 0 or 1."""
        return functional.binary_cross_entropy_with_logits(self.scores(states), targets)


class Like(LogOdds):
    """Log-odds of a like from one state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, 1)

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return (N,) log-odds."""
        return self.output(states).squeeze(-1)


class Rating(nn.Module):
    """A rating from one state."""

    mean: torch.Tensor
    spread: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, width: int, statistics: Mapping[str, float]) -> None:
        super().__init__()
        self.output = nn.Linear(width, 1)
        nn.init.zeros_(self.output.bias)
        for name in ("mean", "spread", "low", "high"):
            self.register_buffer(name, torch.tensor(statistics[name]))

    def predict(self, states: torch.Tensor) -> torch.Tensor:
        """Return (N,) unclipped ratings."""
        return self.mean + self.spread * self.output(states).squeeze(-1)

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return (N,) ratings within the range of the training ratings."""
        return self.predict(states).clamp(self.low, self.high)

    def loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        items: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the mean squared error in units of the training variance."""
        return functional.mse_loss(self.predict(states), targets) / self.spread.square()


class YesNo(LogOdds):
    """Log-odds from the logits of the answers yes and no."""

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return (N,) differences of (N, 2) logits."""
        return states[:, 0] - states[:, 1]


class TokenLoss(nn.Module):
    """Cross-entropy of the written tokens; the scores come from decoding."""

    def loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        items: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the mean over tokens of (N, V) logits and (N,) token ids."""
        return functional.cross_entropy(states, targets)
