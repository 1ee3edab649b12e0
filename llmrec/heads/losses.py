"""Losses over a catalogue and over classes, as functions of tensors; (N,) values, one per example.

N states, of width H, predict one of I items (or K classes). Sampled negatives are drawn from
torch's generator, which the trainer seeds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

FOCUSING = 2.0


def focusing_of(head: Any) -> float | None:
    """Return how much a head's focal loss turns to what is hard; None for another loss."""
    if head.loss != "focal":
        return None
    return FOCUSING if head.focusing is None else float(head.focusing)


def blocked_cross_entropy(
    states: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    block_size: int,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the exact (N,) cross-entropies over the catalogue, a block of items at a time.

    Neither the (N, I) logits nor their gradient ever exist: the backward pass makes each block
    again. Memory is that of N × `block_size` numbers whatever I is.

    Args:
        states: (N, H).
        weight: (I, H) output weights.
        bias: (I,) or None.
        targets: (N,) item ids.
        block_size: items in a block.
        label_smoothing: share of the target that is spread over all items.
    """
    losses: torch.Tensor = _Blocked.apply(  # type: ignore[no-untyped-call]
        states.float(), weight.float(), bias, targets, block_size, label_smoothing
    )
    return losses


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        block_size: int,
        smoothing: float,
    ) -> torch.Tensor:
        with torch.autocast(states.device.type, enabled=False):
            buffer = states.new_empty(len(states) * min(block_size, len(weight)))
            largest = states.new_full((len(states),), -torch.inf)
            total = states.new_zeros(len(states))
            for start in range(0, len(weight), block_size):
                logits = _block(buffer, states, weight, bias, start, block_size)
                higher = torch.maximum(largest, logits.amax(1))
                total *= torch.exp(largest - higher)
                total += logits.sub_(higher[:, None]).exp_().sum(1)
                largest = higher
            normalizer = largest + total.log()
            wanted = (states * weight[targets]).sum(1)
            if bias is not None:
                wanted = wanted + bias[targets]
            losses = normalizer - (1 - smoothing) * wanted
            if smoothing:
                mean = states @ weight.mean(0)
                losses -= smoothing * (mean if bias is None else mean + bias.mean())
        ctx.save_for_backward(states, weight, bias, targets, normalizer)
        ctx.block_size, ctx.smoothing = block_size, smoothing
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states, weight, bias, targets, normalizer = ctx.saved_tensors
        block_size, smoothing = ctx.block_size, ctx.smoothing
        scale = upstream[0]
        buffer = states.new_empty(len(states) * min(block_size, len(weight)))
        of_states, of_weight = torch.zeros_like(states), torch.empty_like(weight)
        of_bias = None if bias is None else torch.empty_like(bias)
        for start in range(0, len(weight), block_size):
            stop = min(start + block_size, len(weight))
            slope = _block(buffer, states, weight, bias, start, block_size)
            slope.sub_(normalizer[:, None]).exp_().sub_(smoothing / len(weight))
            rows = torch.nonzero((targets >= start) & (targets < stop)).squeeze(1)
            slope[rows, targets[rows] - start] -= 1 - smoothing
            slope *= scale[:, None]
            of_states.addmm_(slope, weight[start:stop])
            torch.mm(slope.T, states, out=of_weight[start:stop])
            if of_bias is not None:
                of_bias[start:stop] = slope.sum(0)
        return of_states, of_weight, of_bias, None, None, None


def _block(
    buffer: torch.Tensor,
    states: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    start: int,
    block_size: int,
) -> torch.Tensor:
    """Return the logits of one block of items, in the buffer."""
    part = weight[start : start + block_size]
    logits = buffer[: len(states) * len(part)].view(len(states), len(part))
    torch.mm(states, part.T, out=logits)
    return logits if bias is None else logits.add_(bias[start : start + block_size])


def sampled_softmax(
    positive: torch.Tensor, negatives: torch.Tensor, expected: torch.Tensor, hits: torch.Tensor
) -> torch.Tensor:
    """Return (N,) cross-entropies whose normalizer is estimated from a sample of the catalogue.

    ``−s₊ + log(e^{s₊} + Σ e^{sⱼ − log E[cⱼ]})``, where ``E[cⱼ]`` is how often item j is expected in
    the sample: on average the sum is that of all other items (logQ correction, Bengio and Senécal,
    IEEE TNN 2008; the target is in for certain and so takes none).

    Args:
        positive: (N,) scores of the targets.
        negatives: (N, S) scores of the sample.
        expected: (S,) expected count of each drawn item: S times its probability.
        hits: (N, S) bool, True where a drawn item is the target: it is left out.
    """
    corrected = (negatives - expected.log()).masked_fill(hits, -torch.inf)
    return torch.logsumexp(torch.cat([positive[:, None], corrected], 1), 1) - positive


def gbce(
    positive: torch.Tensor, negatives: torch.Tensor, hits: torch.Tensor, power: float
) -> torch.Tensor:
    """Return (N,) generalised binary cross-entropies (gSASRec, Petrov and Macdonald, RecSys 2023).

    ``−(β log σ(s₊) + Σ log(1 − σ(sⱼ))) / (1 + S)``; with β = 1 it is SASRec's loss.

    Args:
        positive: (N,) scores of the targets.
        negatives: (N, S) scores of the drawn items.
        hits: (N, S) bool, True where a drawn item is the target: it is left out.
        power: β, see `gbce_power`.
    """
    against = functional.softplus(negatives).masked_fill(hits, 0.0)
    kept = 1 + (~hits).sum(1)
    return (power * functional.softplus(-positive) + against.sum(1)) / kept


def gbce_power(n_items: int, n_negatives: int, calibration: float) -> float:
    """Return β = α (t (1 − 1/α) + 1/α), where α is the share of the other items that is drawn.

    t = 0 gives 1 (plain binary cross-entropy); t = 1 gives α, for which scores are calibrated.
    """
    share = min(1.0, n_negatives / max(1, n_items - 1))
    return share * (calibration * (1 - 1 / share) + 1 / share)


def bpr(positive: torch.Tensor, negatives: torch.Tensor, hits: torch.Tensor) -> torch.Tensor:
    """Return (N,) mean ``−log σ(s₊ − sⱼ)`` over the drawn items (Rendle et al., UAI 2009)."""
    pairs = functional.softplus(negatives - positive[:, None]).masked_fill(hits, 0.0)
    return pairs.sum(1) / (~hits).sum(1).clamp(min=1)


def focal(losses: torch.Tensor, focusing: float) -> torch.Tensor:
    """Return ``(1 − p)^γ`` times each cross-entropy −log p (Lin et al., ICCV 2017)."""
    return (1 - torch.exp(-losses)).clamp(min=0).pow(focusing) * losses


def balanced_weights(counts: torch.Tensor) -> torch.Tensor:
    """Return (K,) ``N / (K nₖ)``: each class weighs the same in total; 0 for an empty one.

    As scikit-learn's ``class_weight="balanced"`` where no class is empty.
    """
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1))
    return torch.where(present, weights, 0.0).float()


def coral(latent: torch.Tensor, biases: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """Return (N,) sums over the thresholds of ``−log P(rank > k)`` or ``−log P(rank ≤ k)``.

    CORAL (Cao, Mirjalili and Raschka, Pattern Recognition Letters 2020): one latent number per
    example and one bias per threshold, so that the probabilities fall with k.

    Args:
        latent: (N,).
        biases: (K − 1,) of the thresholds.
        ranks: (N,) from 0 to K − 1.
    """
    logits = latent[:, None] + biases
    above = (ranks[:, None] > torch.arange(len(biases), device=ranks.device)).float()
    return functional.binary_cross_entropy_with_logits(logits, above, reduction="none").sum(1)
