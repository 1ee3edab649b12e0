"""Adversarial training: input embeddings moved to where the loss is higher (FGM, PGD)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from llmrec.core.errors import RunError

if TYPE_CHECKING:
    from llmrec.training.training_net import DrawnBatch, TrainingNet

SMALLEST = 1e-30  # of a norm: an example without gradient stays where it is


def attacked(
    net: TrainingNet,
    batch: DrawnBatch,
    epsilon: float,
    n_steps: int,
    step_size: float,
    weight: float,
) -> torch.Tensor:
    """Return the loss of a clean pass and `weight` times that of a pass with moved embeddings.

    Args:
        net: what trains.
        batch: with all that is drawn of what to predict.
        epsilon: radius of the ball around all embeddings of an example.
        n_steps: gradients taken.
        step_size: length of a move.
        weight: of the second loss.
    """
    modules = net.embedding_modules()
    with moving(modules) as moves:
        clean = net.outcome(batch).loss
    if not moves:
        raise RunError(
            "the input embeddings of this model could not be found, so that nothing can be moved; "
            "set regularizer=null"
        )
    loss = clean
    for step in range(n_steps):
        # The clean loss is differentiated again by the trainer.
        slopes = torch.autograd.grad(loss, moves, retain_graph=step == 0, allow_unused=True)
        moves = moved(moves, slopes, epsilon, step_size)
        if step < n_steps - 1:
            moves = [move.requires_grad_() for move in moves]
        with moving(modules, moves):
            loss = net.outcome(batch).loss
    return clean + weight * loss


def moved(
    moves: Sequence[torch.Tensor],
    slopes: Sequence[torch.Tensor | None],
    epsilon: float,
    step_size: float,
) -> list[torch.Tensor]:
    """Return moves one step further in the direction of the slopes, and within the ball.

    Args:
        moves: (B, …) each, what is added to the embeddings so far, by call.
        slopes: the gradients with respect to them, None where the loss does not depend on one.
        epsilon: radius of the ball.
        step_size: length of the step.
    """
    known = [
        torch.zeros_like(move) if slope is None else slope
        for move, slope in zip(moves, slopes, strict=True)
    ]
    lengths = norms(known).clamp(min=SMALLEST)
    further = [
        move.detach() + step_size * slope / _over(lengths, slope)
        for move, slope in zip(moves, known, strict=True)
    ]
    shrink = (epsilon / norms(further).clamp(min=SMALLEST)).clamp(max=1.0)
    return [move * _over(shrink, move) for move in further]


def norms(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return (B,) Euclidean norms of each example over all (B, …) parts."""
    return torch.stack([part.float().square().flatten(1).sum(1) for part in parts]).sum(0).sqrt()


def _over(values: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    return values.to(part.dtype).view(-1, *[1] * (part.ndim - 1))


@contextlib.contextmanager
def moving(
    modules: Sequence[Any], given: Sequence[torch.Tensor] | None = None
) -> Iterator[list[torch.Tensor]]:
    """Add a tensor to each output of embedding modules within the block.

    Args:
        modules: the modules; a pass may call them several times.
        given: what to add to the first call, the second, …; None adds zeros.

    Yields:
        what is added, call by call; of the zeros the gradient can be asked for.
    """
    added: list[torch.Tensor] = []

    def add(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        if given is None:
            added.append(torch.zeros_like(output, requires_grad=True))
        else:
            added.append(given[len(added)])
        return output + added[-1]

    hooks = [module.register_forward_hook(add) for module in modules]
    try:
        yield added
    finally:
        for hook in hooks:
            hook.remove()
