"""What a head predicts, in a form that two passes, or a teacher and a student, can compare."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch


class Prediction(NamedTuple):
    """The prediction of N examples.

    Attributes:
        kind: ``choice`` among K, ``odds`` of yes or no, or a ``number``.
        values: (N, K) logits of a choice; (N,) or (N, T) log-odds; (N,) numbers in units of their
            spread in training.
    """

    kind: Literal["choice", "odds", "number"]
    values: torch.Tensor


def disagreement(a: Prediction, b: Prediction) -> torch.Tensor:
    """Return (N,) how far two predictions of the same examples are from each other.

    The mean of both Kullback-Leibler divergences for a choice, and for odds (summed over the
    thresholds of ordered classes); the squared difference of numbers.
    """
    first, second = a.values.float(), b.values.float()
    if a.kind == "number":
        return (first - second).square()
    # KL(p, q) + KL(q, p) = Σ (p − q) (log p − log q); the normalizers of the logs cancel.
    if a.kind == "odds":
        apart = (first.sigmoid() - second.sigmoid()) * (first - second)
        return 0.5 * (apart if apart.ndim == 1 else apart.sum(1))
    return 0.5 * ((first.softmax(1) - second.softmax(1)) * (first - second)).sum(1)
