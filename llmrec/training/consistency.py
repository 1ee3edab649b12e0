"""R-Drop: two passes over a batch whose predictions should agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from llmrec.heads.predictions import disagreement

if TYPE_CHECKING:
    from llmrec.training.training_net import DrawnBatch, TrainingNet


def two_passes(net: TrainingNet, batch: DrawnBatch, weight: float) -> torch.Tensor:
    """Return ½ (loss₁ + loss₂) + weight · mean disagreement, of two passes with other dropout.

    Args:
        net: what trains, in training mode.
        batch: with all that is drawn of what to predict.
        weight: of the disagreement.
    """
    first, second = net.outcome(batch, predict=True), net.outcome(batch, predict=True)
    loss = 0.5 * (first.loss + second.loss)
    for (share, one), (_, other) in zip(first.predictions, second.predictions, strict=True):
        loss = loss + weight * share * disagreement(one, other).mean()
    return loss
