"""The torch modules of heads that judge one candidate: a like, or a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from llmrec.heads.losses import balanced_weights, coral, focal, focusing_of
from llmrec.heads.modules import LogOdds
from llmrec.heads.predictions import Prediction

Tensor = torch.Tensor


class Readout(nn.Module):
    """One number per state, and with item tokens the product with the candidate's embedding too.

    That product is what matrix factorization predicts by, with a state in place of the user.

    Args:
        width: of the states.
        tied: the candidates' item embeddings are given.
        zero: start from 0, so that training starts from the averages.
    """

    def __init__(self, width: int, *, tied: bool, zero: bool, bias: bool = True) -> None:
        super().__init__()
        self.output = nn.Linear(width, 1, bias=bias)
        if zero:
            nn.init.zeros_(self.output.weight)
        if bias:
            nn.init.zeros_(self.output.bias)
        self.factors = nn.Linear(width, width) if tied else None
        if self.factors is not None:
            nn.init.zeros_(self.factors.weight)
            nn.init.zeros_(self.factors.bias)

    def forward(self, states: Tensor, vectors: Tensor | None) -> Tensor:
        """Return (N,) numbers of (N, H) states and (N, H) item embeddings."""
        found: Tensor = self.output(states).squeeze(-1)
        if self.factors is None or vectors is None:
            return found
        return found + (self.factors(states) * vectors).sum(-1)


class Like(LogOdds):
    """Log-odds of a like from one state, and from the averages of user and item if the head asks.

    Args:
        head: the component, for its options.
        width: of the states.
        statistics: ``like_counts``: training dislikes and likes.
        tied: the candidates' item embeddings are given.
    """

    weights: Tensor | None

    def __init__(self, head: Any, width: int, statistics: Mapping[str, Any], tied: bool) -> None:
        super().__init__()
        self.readout = Readout(width, tied=tied, zero=head.averages)
        self.focusing = focusing_of(head)
        weights = None
        if head.class_weights:
            weights = balanced_weights(torch.as_tensor(statistics["like_counts"]))
        self.register_buffer("weights", weights)

    def scores(
        self,
        states: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Return (N,) log-odds; `offsets` are (N,) log-odds to add."""
        odds: Tensor = self.readout(states, vectors)
        return odds if offsets is None else odds + offsets

    def prediction(
        self,
        states: Tensor,
        items: Tensor | None = None,
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Prediction:
        """Return the odds of a like."""
        return Prediction("odds", self.scores(states, items, offsets, vectors))

    def loss(
        self,
        states: Tensor,
        targets: Tensor,
        items: Tensor | None = None,
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss of (N,) targets 0 or 1."""
        odds = self.scores(states, items, offsets, vectors)
        losses = functional.binary_cross_entropy_with_logits(odds, targets, reduction="none")
        if self.focusing is not None:
            losses = focal(losses, self.focusing)
        if self.weights is not None:
            losses = losses * self.weights[targets.long()]
        return losses.mean()


class Rating(nn.Module):
    """A number from one state, by squared or Huber loss.

    Args:
        head: the component, for its options.
        width: of the states.
        statistics: ``mean``, ``spread``, ``low`` and ``high`` of the training numbers.
        tied: the candidates' item embeddings are given.
    """

    mean: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, head: Any, width: int, statistics: Mapping[str, Any], tied: bool) -> None:
        super().__init__()
        self.readout = Readout(width, tied=tied, zero=head.averages)
        self.delta = None
        if head.loss == "huber":
            self.delta = 1.0 if head.delta is None else head.delta
        for name in ("mean", "spread", "low", "high"):
            self.register_buffer(name, torch.tensor(statistics[name]))

    def predict(
        self, states: Tensor, offsets: Tensor | None = None, vectors: Tensor | None = None
    ) -> Tensor:
        """Return (N,) unclipped numbers; `offsets` are what the averages of user and item say."""
        base = self.mean if offsets is None else offsets
        predicted: Tensor = base + self.spread * self.readout(states, vectors)
        return predicted

    def scores(
        self,
        states: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Return (N,) numbers within the range of the training numbers."""
        return self.predict(states, offsets, vectors).clamp(self.low, self.high)

    def prediction(
        self,
        states: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Prediction:
        """Return the unclipped numbers."""
        return Prediction("number", self.predict(states, offsets, vectors) / self.spread)

    def loss(
        self,
        states: Tensor,
        targets: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss of the errors in units of the training spread."""
        predicted = self.predict(states, offsets, vectors) / self.spread
        targets = targets / self.spread
        if self.delta is None:
            return functional.mse_loss(predicted, targets)
        return functional.huber_loss(predicted, targets, delta=self.delta)


class Ordinal(nn.Module):
    """Ranks of the training numbers from one state (CORAL); the score is the expected number.

    Args:
        head: the component, for its options.
        width: of the states.
        statistics: ``values`` (K,) distinct training numbers in order, and their ``counts``.
        tied: the candidates' item embeddings are given.
    """

    values: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, head: Any, width: int, statistics: Mapping[str, Any], tied: bool) -> None:
        super().__init__()
        self.readout = Readout(width, tied=tied, zero=head.averages, bias=False)
        self.slope = nn.Parameter(torch.tensor(SLOPE)) if head.averages else None
        values = torch.as_tensor(statistics["values"], dtype=torch.float32)
        self.register_buffer("values", values)
        counts = torch.as_tensor(statistics["counts"], dtype=torch.float32)
        above = counts.flip(0).cumsum(0).flip(0)[1:]
        # Without a state the probabilities are the shares in training.
        self.biases = nn.Parameter((above / (counts.sum() - above).clamp(min=1)).log())
        for name in ("mean", "spread"):
            self.register_buffer(name, torch.tensor(statistics[name]))

    def latent(
        self, states: Tensor, offsets: Tensor | None = None, vectors: Tensor | None = None
    ) -> Tensor:
        """Return (N,) log-odds that the thresholds are added to."""
        latent: Tensor = self.readout(states, vectors)
        if self.slope is None or offsets is None:
            return latent
        return latent + self.slope * (offsets - self.mean) / self.spread

    def scores(
        self,
        states: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Return (N,) expected numbers."""
        above = torch.sigmoid(self.latent(states, offsets, vectors)[:, None] + self.biases)
        return self.values[0] + above @ self.values.diff()

    def prediction(
        self,
        states: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Prediction:
        """Return the odds of being above each threshold."""
        return Prediction("odds", self.latent(states, offsets, vectors)[:, None] + self.biases)

    def loss(
        self,
        states: Tensor,
        targets: Tensor,
        items: Tensor | None = None,  # noqa: ARG002
        offsets: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Return the mean CORAL loss of (N,) numbers that occur in training."""
        ranks = torch.searchsorted(self.values, targets.contiguous())
        return coral(self.latent(states, offsets, vectors), self.biases, ranks).mean()


# Log-odds per standard deviation at the start, where the averages explain some of the spread.
SLOPE = 2.0
