"""Losses of a batch that several processes share."""

from __future__ import annotations

import torch
from accelerate.utils import reduce

from llmrec.training.checkpoints import processes


def counted_once(loss: torch.Tensor, n_targets: int | torch.Tensor) -> torch.Tensor:
    """Return a mean loss such that its mean over the processes counts each target once.

    Gradients and losses are averaged over the processes, whose numbers of targets differ.

    Args:
        loss: scalar, the mean over the targets of this process.
        n_targets: how many those are.
    """
    n_processes = processes().num_processes
    if n_processes == 1:
        return loss
    own = torch.as_tensor(n_targets, dtype=torch.float32, device=loss.device)
    return loss * (own * n_processes / reduce(own.clone(), "sum"))


def mean_of_processes(value: torch.Tensor) -> float:
    """Return the mean of a scalar over the processes, for all of them."""
    if processes().num_processes > 1:
        value = reduce(value.clone(), "mean")
    return float(value)
