"""One alternating step of a biased factorization: a ridge problem for every user (or item)."""

from __future__ import annotations

import numpy as np

from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(−x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def start(train: Dataset, embedding_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n_users, 1 + D) zeros and (n_items, 1 + D): bias 0, small random vectors."""
    generator = np.random.default_rng(derive_seed(seed, "biased_mf"))
    items = generator.normal(0.0, 0.1, (train.n_items, 1 + embedding_size))
    items[:, 0] = 0.0
    return np.zeros((train.n_users, 1 + embedding_size)), items


def fit_side(
    group: np.ndarray,
    other: np.ndarray,
    values: np.ndarray,
    mine: np.ndarray,
    others: np.ndarray,
    mean: float,
    penalty: np.ndarray,
    logistic: bool,
) -> np.ndarray:
    """Return the bias and vector of every group, given those of the other side.

    Minimises, over ``x = (bias, vector)`` of each group, the loss of
    ``mean + other's bias + x · (1, other's vector)`` plus ``½ Σ penalty x²``: exactly for half the
    squared error, by one Newton step from `mine` for the logistic loss. A group without values
    gets zeros.

    Args:
        group: (N,) row of each value on this side.
        other: (N,) row of each value on the other side.
        values: (N,) ratings, or likes as 0 and 1.
        mine: (G, 1 + D) where the Newton step starts from.
        others: (n, 1 + D) biases (column 0) and vectors of the other side.
        mean: constant added to every prediction.
        penalty: (1 + D,) ridge weights.
        logistic: which loss.

    Returns:
        (G, 1 + D) float64.
    """
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(mine)))
    offset = mean + others[:, 0]
    features = others.copy()
    features[:, 0] = 1.0
    ridge = np.diag(penalty)
    fitted = np.zeros_like(mine)
    first = 0
    for row, end in enumerate(ends):
        if end > first:
            rows = order[first:end]
            seen = other[rows]
            x, target = features[seen], values[rows] - offset[seen]
            if logistic:
                chance = sigmoid(offset[seen] + x @ mine[row])
                weight = chance * (1 - chance)
                gradient = x.T @ (values[rows] - chance) - penalty * mine[row]
                hessian = (x * weight[:, None]).T @ x + ridge
                fitted[row] = mine[row] + np.linalg.solve(hessian, gradient)
            else:
                fitted[row] = np.linalg.solve(x.T @ x + ridge, x.T @ target)
        first = end
    return fitted
