"""What the trainer trains: a net, and all that its loss takes beside that of its head."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from llmrec.heads.predictions import Prediction
from llmrec.training.batches import Batch
from llmrec.training.net import Net

DrawnBatch = Batch


class Outcome(NamedTuple):
    """What one pass over a batch gives.

    Attributes:
        loss: scalar.
        predictions: each with its weight in the loss; empty unless they were asked for.
    """

    loss: torch.Tensor
    predictions: list[tuple[float, Prediction]]


class TrainingNet(nn.Module):
    """Computes the loss of a net under a regulariser; scoring never sees it.

    Args:
        main: the net.
        regularizer: the component, or None.
    """

    def __init__(self, main: Net, regularizer: Any) -> None:
        super().__init__()
        self.main = main
        self.regularizer = regularizer

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{"loss": scalar}`` of one batch made by the collator."""
        drawn = self.main.drawn(batch)
        if self.regularizer is None:
            return {"loss": self.outcome(drawn).loss}
        return {"loss": self.regularizer.loss(self, drawn)}

    def outcome(self, batch: DrawnBatch, *, predict: bool = False) -> Outcome:
        """Return what one pass over a drawn batch gives."""
        main, given = self.main, self.main.given(batch)
        states, targets = main.read(batch)
        loss = main.head.loss(states, targets, main.item_weights, **given)
        if not predict:
            return Outcome(loss, [])
        return Outcome(loss, [(1.0, main.head.prediction(states, main.item_weights, **given))])

    def embedding_modules(self) -> list[nn.Module]:
        """Return the modules whose outputs are input embeddings of items or words."""
        return self.main.embedding_modules()
