"""Members' scores put on one scale, query by query, before they are combined."""

from __future__ import annotations

from typing import Literal

import numpy as np

from llmrec.core.ranking import zscore

Scale = Literal["zscore", "rank", "softmax"]


def finite(scores: np.ndarray) -> np.ndarray:
    """Return float64 scores whose infinities are the row's extreme finite values.

    A member may exclude an item by −inf; an ensemble hears that as its lowest score.
    """
    values = scores.astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        lowest = np.where(bad, np.inf, values).min(axis=1, initial=np.inf)[:, None]
        highest = np.where(bad, -np.inf, values).max(axis=1, initial=-np.inf)[:, None]
        limits = np.where(values < 0, lowest, highest)
        values = np.where(bad, np.where(np.isfinite(limits), limits, 0.0), values)
    return values


def rank(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return the share of allowed places that a value beats; a tie counts half."""
    shares = np.zeros_like(values)
    for row, (mine, good) in enumerate(zip(values, allowed, strict=True)):
        order = np.sort(mine[good])
        if len(order):
            below = np.searchsorted(order, mine, "left") + np.searchsorted(order, mine, "right")
            shares[row] = below / (2 * len(order))
    return shares


def softmax(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return probabilities over the allowed places, from z-scores so that no unit matters."""
    scaled = zscore(values, allowed)
    top = np.where(allowed, scaled, -np.inf).max(axis=1, initial=-np.inf)[:, None]
    powers = np.exp(np.minimum(scaled - np.where(np.isfinite(top), top, 0.0), 0.0))
    total = np.where(allowed, powers, 0.0).sum(axis=1)[:, None]
    shares: np.ndarray = powers / np.where(total > 0, total, 1.0)
    return shares


SCALES = {"zscore": zscore, "rank": rank, "softmax": softmax}


def on_one_scale(scores: np.ndarray, allowed: np.ndarray, scale: Scale) -> np.ndarray:
    """Return one member's scores on a scale shared by all.

    Only the allowed places set the scale (a history that a member scores high must not squeeze
    the rest); every place gets a value on it. Each row stands alone.

    Args:
        scores: (B, C) float32.
        allowed: (B, C) bool.
        scale: ``zscore``, ``rank`` or ``softmax``.

    Returns:
        (B, C) float32 without NaN.
    """
    return SCALES[scale](finite(scores), allowed).astype(np.float32)
