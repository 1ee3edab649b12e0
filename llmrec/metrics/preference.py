"""Preference metrics: does the user like it? Truth is 1 (like) or 0, scores are log-odds of a like.

A score above 0 (a probability above one half) predicts a like. Values are pooled over all rows;
a value whose denominator is zero is NaN (scikit-learn's default there is 0 with a warning).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from llmrec.core.types import Ragged
from llmrec.metrics.pointwise import PooledRatio


class Accuracy(PooledRatio):
    """Accuracy: the share of rows predicted right."""

    family: ClassVar[Literal["preference"]] = "preference"
    higher_is_better: ClassVar[bool] = True

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ((predicted > 0) == (truth > 0)).astype(np.float64), np.ones(len(truth))


class BinaryPrecision(PooledRatio):
    """Precision: of the rows predicted to be liked, the share that is."""

    family: ClassVar[Literal["preference"]] = "preference"
    higher_is_better: ClassVar[bool] = True

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positive = predicted > 0
        return (positive & (truth > 0)).astype(np.float64), positive.astype(np.float64)


class BinaryRecall(PooledRatio):
    """Recall: of the liked rows, the share predicted to be liked."""

    family: ClassVar[Literal["preference"]] = "preference"
    higher_is_better: ClassVar[bool] = True

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        liked = truth > 0
        return ((predicted > 0) & liked).astype(np.float64), liked.astype(np.float64)


class F1(PooledRatio):
    """F1 = 2 TP / (2 TP + FP + FN): the harmonic mean of precision and recall."""

    family: ClassVar[Literal["preference"]] = "preference"
    higher_is_better: ClassVar[bool] = True

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positive, liked = predicted > 0, truth > 0
        return 2.0 * (positive & liked), positive.astype(np.float64) + liked


class LogLoss(PooledRatio):
    """Log loss: the mean of ln(1 + e^(−s)) over likes and ln(1 + e^s) over the rest.

    Computed from the log-odds s, so that it stays exact where a probability would round to 0 or 1.
    """

    family: ClassVar[Literal["preference"]] = "preference"
    higher_is_better: ClassVar[bool] = False

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        signed = np.where(truth > 0, -predicted, predicted)
        return np.logaddexp(0.0, signed), np.ones(len(truth))


class ROCAUC:
    """Area under the ROC curve: the probability that a like outscores a non-like, ties one half.

    Pooled over all rows of all users; per user NaN for a user with likes only or none.
    """

    family: ClassVar[Literal["preference"]] = "preference"
    higher_is_better: ClassVar[bool] = True

    def overall(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        groups = np.zeros(len(truth), np.int64)
        return float(_grouped_auc(groups, np.asarray(truth), np.asarray(predicted), 1)[0])

    def per_user(self, truth: Ragged, predicted: Ragged) -> np.ndarray:
        return _grouped_auc(truth.row_of, truth.values, predicted.values, len(truth))

    def parts(self, truth: Ragged, predicted: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """Return (U,) values whose mean is the pooled area, and (U,) ones.

        The pooled area is no ratio of sums over users, so each user gets the area plus U times
        the user's share in its first-order change (Obuchowski 1997, clustered ROC data).
        Resampling these values approximates resampling the users.
        """
        rows, n_users = truth.row_of, len(truth)
        liked, scores = truth.values > 0, predicted.values
        beaten = np.empty(len(scores))  # share of the other class that each row is rightly apart of
        beaten[liked] = _share_below(scores[liked], scores[~liked])
        beaten[~liked] = 1.0 - _share_below(scores[~liked], scores[liked])
        area = self.overall(truth.values, scores)
        weight = np.where(liked, 1.0 / max(liked.sum(), 1), 1.0 / max((~liked).sum(), 1))
        change = np.bincount(rows, weights=weight * (beaten - area), minlength=n_users)
        return area + n_users * change, np.ones(n_users)


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each score the share of `others` below it, ties counted one half."""
    if not len(others):
        return np.full(len(scores), np.nan)
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return below / (2.0 * len(others))


def _grouped_auc(
    groups: np.ndarray, truth: np.ndarray, scores: np.ndarray, n_groups: int
) -> np.ndarray:
    """Return (n_groups,) areas from rank sums with average ranks for ties (Mann-Whitney)."""
    order = np.lexsort((scores, groups))
    group, score, liked = groups[order], scores[order], truth[order] > 0
    new = np.ones(len(order), bool)
    new[1:] = (group[1:] != group[:-1]) | (score[1:] != score[:-1])
    first = np.flatnonzero(new)
    size = np.diff(np.append(first, len(order)))
    start = np.searchsorted(group, np.arange(n_groups))
    rank = np.repeat(first + (size + 1) / 2.0, size) - start[group]
    likes = np.bincount(group, weights=liked, minlength=n_groups)
    rest = np.bincount(group, minlength=n_groups) - likes
    wins = np.bincount(group, weights=rank * liked, minlength=n_groups) - likes * (likes + 1) / 2
    pairs = likes * rest
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)
