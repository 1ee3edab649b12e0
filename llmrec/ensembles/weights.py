"""Weights of an ensemble's members from validation scores, one search for each task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize, nnls

from llmrec.core.ranking import ranks_of
from llmrec.core.types import Ragged
from llmrec.metrics.ranking import NDCG

GRID_MEMBERS = 3


def simplex(n_members: int, n_steps: int) -> Iterator[np.ndarray]:
    """Yield every weight vector whose entries are multiples of 1 / n_steps and sum to 1.

    Example:
        >>> [weights.tolist() for weights in simplex(2, 2)]
        [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    """

    def parts(left: int, members: int) -> Iterator[tuple[int, ...]]:
        if members == 1:
            yield (left,)
            return
        for first in range(left + 1):
            for rest in parts(left - first, members - 1):
                yield first, *rest

    for counts in parts(n_steps, n_members):
        yield np.array(counts) / n_steps


class Objective:
    """Mean NDCG@k of weighted scores on the validation queries.

    Args:
        scores: (M, B, C) float32 on one scale.
        truth: (B, C) bool, the held-out items.
        allowed: (B, C) bool.
        k: the cut-off.
    """

    def __init__(self, scores: np.ndarray, truth: np.ndarray, allowed: np.ndarray, k: int) -> None:
        rows, columns = np.nonzero(truth.astype(bool) & allowed)
        # one row of scores per held-out item is all that its rank depends on
        kept = np.unique(rows)
        self.scores = np.where(allowed[kept], scores[:, kept], -np.inf)
        self.columns = Ragged.from_groups(np.searchsorted(kept, rows), columns, len(kept))
        self.metric = NDCG(k=k)

    def __call__(self, weights: np.ndarray) -> float:
        mixed = np.zeros(self.scores.shape[1:], np.float32)
        for score, weight in zip(self.scores, weights, strict=True):
            if weight:
                mixed += np.float32(weight) * score
        ranks = ranks_of(mixed, self.columns, np.arange(len(mixed)))
        return float(np.mean(self.metric.per_user(ranks)))


def ranking_weights(
    scores: np.ndarray, truth: np.ndarray, allowed: np.ndarray, k: int, step: float
) -> np.ndarray:
    """Return (M,) float64 weights from 0, summing to 1, with the best NDCG@k found."""
    objective = Objective(scores, truth, allowed, k)
    n_steps = max(1, round(1 / step))
    even = np.full(len(scores), 1 / len(scores))
    if len(scores) <= GRID_MEMBERS:
        return _best(objective, [even, *simplex(len(scores), n_steps)], even)
    corners = np.eye(len(scores))
    weights = _best(objective, [even, *corners], even)
    for _ in range(20):  # every round improves or ends it; the bound only guards
        before = weights
        for corner in corners:
            shares = np.arange(n_steps) / n_steps
            line = [weights, *((1 - share) * weights + share * corner for share in shares[1:])]
            without = np.where(corner > 0, 0.0, weights)
            if without.sum() > 0:
                line.append(without / without.sum())
            weights = _best(objective, line, weights)
        if weights is before:
            break
    return weights


def _best(objective: Objective, tried: list[np.ndarray], preferred: np.ndarray) -> np.ndarray:
    """Return the first of the best weights; among equals the nearest to `preferred`."""
    values = [(objective(w), -float(np.abs(w - preferred).sum())) for w in tried]
    return tried[max(range(len(tried)), key=lambda i: (*values[i], -i))]


def rating_weights(scores: np.ndarray, truth: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return (M,) float64 weights from 0 that minimise the squared error of the ratings."""
    weights, _ = nnls(scores[:, allowed].T.astype(np.float64), truth[allowed].astype(np.float64))
    return np.asarray(weights)


def likes_weights(scores: np.ndarray, truth: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return (M,) float64 weights from 0 of log-odds that minimise the log loss of the likes."""
    odds = scores[:, allowed].astype(np.float64)
    signs = np.where(truth[allowed].astype(bool), 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (weights @ odds)
        value = np.logaddexp(0.0, -margin).mean()
        pull = -signs * 0.5 * (1 - np.tanh(margin / 2))
        return float(value), odds @ pull / len(signs)

    even = np.full(len(scores), 1 / len(scores))
    found = minimize(loss, even, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(scores))
    return np.asarray(found.x)
