"""Torch modules behind heads that answer in tokens: `loss` for training, `scores` for ranking."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

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


class TokenLoss(nn.Module):
    """Cross-entropy of the written tokens; the scores come from decoding."""

    def prediction(self, states: torch.Tensor, items: torch.Tensor | None = None) -> Prediction:  # noqa: ARG002
        """Return the choice of each token."""
        return Prediction("choice", states)

    def loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        items: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the mean over tokens of (N, V) logits and (N,) token ids."""
        return functional.cross_entropy(states, targets)


class LetterLoss(nn.Module):
    """Cross-entropy over the letters of a list."""

    def prediction(self, states: torch.Tensor, items: torch.Tensor | None = None) -> Prediction:  # noqa: ARG002
        """Return the choice among the letters."""
        return Prediction("choice", states)

    def scores(self, states: torch.Tensor, items: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return the (N, C) logits as they are."""
        return states

    def loss(
        self,
        states: torch.Tensor,
        targets: torch.Tensor,
        items: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return the mean cross-entropy of (N,) true places among the (N, C) letters."""
        return functional.cross_entropy(states, targets)
