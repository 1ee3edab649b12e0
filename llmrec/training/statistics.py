"""What heads are told of the training side: counts, spread, values; small enough to be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmrec.core.types import Dataset

NO_RATINGS = {"mean": 0.0, "spread": 1.0, "low": 0.0, "high": 0.0}


def statistics(ratings: np.ndarray | None) -> dict[str, float]:
    """Return mean, spread (never 0), lowest and highest of the training ratings."""
    if ratings is None or not len(ratings):
        return dict(NO_RATINGS)
    return {
        "mean": float(ratings.mean()),
        "spread": float(ratings.std()) or 1.0,
        "low": float(ratings.min()),
        "high": float(ratings.max()),
    }


def training_statistics(
    train: Dataset, head: Any, item_vectors: np.ndarray | None
) -> dict[str, Any]:
    """Return what a head's `build` may read.

    Args:
        train: the training interactions.
        head: the component; its threshold makes likes of ratings.
        item_vectors: (n_items, D) text embeddings, if it asks for them.

    Returns:
        the numbers of `statistics`; ``item_counts`` (n_items,); and, with ratings, ``values`` (K,)
        the distinct ones in order, ``counts`` (K,) of each, ``like_counts`` (2,) of dislikes and
        likes; ``item_vectors`` if given.
    """
    ratings = train.interactions.rating
    found: dict[str, Any] = {**statistics(ratings), "item_counts": train.item_counts}
    if ratings is not None and len(ratings):
        found["values"], found["counts"] = np.unique(ratings, return_counts=True)
        threshold = getattr(head, "threshold", None)
        if threshold is not None:
            likes = int((ratings >= threshold).sum())
            found["like_counts"] = np.array([len(ratings) - likes, likes])
    if item_vectors is not None:
        found["item_vectors"] = standardised(item_vectors, train.item_counts > 0)
    return found


def shapes_of(found: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the shapes of the arrays: what `blank` needs."""
    return {name: list(np.shape(value)) for name, value in found.items() if np.ndim(value)}


def blank(shapes: Mapping[str, list[int]]) -> dict[str, Any]:
    """Return statistics of the right shapes for a module whose stored values are read next."""
    arrays: dict[str, Any] = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    return {**NO_RATINGS, **arrays}


def standardised(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return (n, D) float32 vectors less the mean of the `known` ones, with overall spread 1."""
    basis = vectors[known] if known.any() else vectors
    centred = vectors - basis.mean(0)
    spread = float((basis - basis.mean(0)).std())
    result: np.ndarray = (centred / max(spread, 1e-12)).astype(np.float32)
    return result
