"""What rating and preference metrics share: a pooled value as a ratio of sums over users.

A metric here gives each user a numerator and a denominator; the value over any set of users is
``link(sum of numerators / sum of denominators)``. So the statistics can resample or swap users and
recompute the pooled value exactly. A metric of another package may leave `parts` out; its
intervals and tests are then those of the mean of its `per_user` values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from llmrec.core.types import Ragged


class PooledRatio(ABC):
    """A value over all rows, and per user, from row-wise numerators and denominators."""

    @abstractmethod
    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N,) numerators and (N,) denominators, float64."""

    def link(self, ratio: np.ndarray) -> np.ndarray:
        """Return the value of a ratio of sums."""
        return ratio

    def overall(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        above, below = self.rows(_float64(truth), _float64(predicted))
        return float(self.link(divide(above.sum(), below.sum())))

    def per_user(self, truth: Ragged, predicted: Ragged) -> np.ndarray:
        return self.link(divide(*self.parts(truth, predicted)))

    def parts(self, truth: Ragged, predicted: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """Return (U,) numerators and (U,) denominators of the pooled ratio."""
        above, below = self.rows(_float64(truth.values), _float64(predicted.values))
        rows, n_users = truth.row_of, len(truth)
        return (
            np.bincount(rows, weights=above, minlength=n_users),
            np.bincount(rows, weights=below, minlength=n_users),
        )


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return ``above / below``, NaN where the denominator is zero."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    safe = np.where(below == 0, 1.0, below)
    return np.where(below == 0, np.nan, above / safe)


def _float64(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64)
