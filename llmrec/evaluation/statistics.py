"""Intervals and tests over users: paired bootstrap, randomization by swapping, Holm.

Every metric here is ``link(Σ numerators / Σ denominators)`` over users (`UserSums`). A ranking
metric has the user's value over 1, so that this is the mean; RMSE has the user's squared error
over the number of rows, and a square root as link. So the *pooled* value is recomputed for each
resample, and no user with few rows weighs as much as one with many.

Resamples depend on the seed and the number of users only: all recommenders, and all metrics, are
judged on the same ones, which makes every comparison a paired one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from llmrec.core.seeding import derive_seed
from llmrec.metrics.pointwise import divide

BLOCK_BYTES = 64 * 2**20


def identity(ratio: np.ndarray) -> np.ndarray:
    """Return the ratio as it is: the link of a mean."""
    return ratio


@dataclass(frozen=True, eq=False)
class UserSums:
    """One metric of one recommender as sums over users.

    Attributes:
        numerator: (U,) float64.
        denominator: (U,) float64.
        link: from the ratio of the sums to the value.
        is_mean: the numerators are values per user, with denominator 1 where they are defined and
            0 where not; a pair of such metrics is compared on the users whom both have.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    link: Callable[[np.ndarray], np.ndarray] = identity
    is_mean: bool = False

    @classmethod
    def of_mean(cls, values: np.ndarray) -> UserSums:
        """Return the sums whose value is the mean of (U,) values, NaN left out."""
        known = ~np.isnan(values)
        return cls(np.where(known, values, 0.0), known.astype(np.float64), is_mean=True)

    @property
    def value(self) -> float:
        """The value over all users."""
        ratio = divide(self.numerator.sum(), self.denominator.sum())
        return float(self.link(ratio))


def paired(a: UserSums, b: UserSums) -> tuple[UserSums, UserSums]:
    """Return both, two means without the users for whom one of them is undefined."""
    if not (a.is_mean and b.is_mean) or np.array_equal(a.denominator, b.denominator):
        return a, b
    both = a.denominator * b.denominator
    return replace(a, numerator=a.numerator * both, denominator=both), replace(
        b, numerator=b.numerator * both, denominator=both
    )


def bootstrap(columns: list[UserSums], *, seed: int, n_resamples: int = 10_000) -> np.ndarray:
    """Return (n_resamples, C) values of each column over users drawn with replacement.

    Args:
        columns: C metrics over the same U users.
        seed: two calls with the same seed and U draw the same users.
        n_resamples: how many samples.
    """
    above, below = _stack(columns)
    n_users = len(above)
    distinct_below, which = np.unique(below, axis=1, return_inverse=True)
    ratios = np.empty((n_resamples, len(columns)))
    generator = np.random.default_rng(derive_seed(seed, "bootstrap"))
    for part in _blocks(n_resamples, n_users):
        size = part.stop - part.start
        drawn = generator.integers(0, n_users, (size, n_users), dtype=np.int32)
        drawn += np.arange(size, dtype=np.int32)[:, None] * np.int32(n_users)
        counts = np.bincount(drawn.ravel(), minlength=size * n_users)
        weights = counts.reshape(size, n_users).astype(np.float64)
        ratios[part] = divide(weights @ above, (weights @ distinct_below)[:, which.ravel()])
    return _linked(ratios, columns)


def interval(samples: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of (n_resamples,) values, undefined ones left out."""
    known = samples[~np.isnan(samples)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return float(low), float(high)


def randomization_test(
    pairs: list[tuple[UserSums, UserSums]], *, seed: int, n_resamples: int = 10_000
) -> np.ndarray:
    """Return the (C,) two-sided p-values that the two of each pair are exchangeable.

    In each of `n_resamples` rounds, the two recommenders swap their results for a random half of
    the users, and the difference of their pooled values is taken again (Noreen 1989; Yeh 2000 for
    metrics like F1). For a mean this is the paired sign-flip test.
    ``p = (rounds with a difference at least as large + 1) / (n_resamples + 1)``.

    Args:
        pairs: C pairs over the same U users.
        seed: two calls with the same seed and U swap the same users.
        n_resamples: how many rounds.
    """
    if not pairs:
        return np.empty(0)
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    (above_a, below_a), (above_b, below_b) = _stack(a), _stack(b)
    values = np.array([[first.value, second.value] for first, second in pairs]).reshape(-1, 2)
    observed = np.abs(values[:, 0] - values[:, 1])
    # What is equal up to rounding counts as equal.
    at_least = observed - 1e-12 * np.abs(values).max(axis=1)
    n_users = len(above_a)
    middle_above, half_above = (above_a + above_b).sum(axis=0) / 2, (above_a - above_b) / 2
    middle_below, half_below = (below_a + below_b).sum(axis=0) / 2, (below_a - below_b) / 2
    same_below = not half_below.any()
    exceeded = np.zeros(len(pairs), np.int64)
    generator = np.random.default_rng(derive_seed(seed, "randomization"))
    for part in _blocks(n_resamples, n_users):
        swaps = generator.integers(0, 2, (part.stop - part.start, n_users), dtype=np.int8)
        signs = 1.0 - 2.0 * swaps
        above = signs @ half_above
        below = np.zeros_like(above) if same_below else signs @ half_below
        first = _linked(divide(middle_above + above, middle_below + below), a)
        second = _linked(divide(middle_above - above, middle_below - below), b)
        exceeded += (np.abs(first - second) >= at_least).sum(axis=0)
    p_values = (exceeded + 1.0) / (n_resamples + 1.0)
    return np.where(np.isnan(observed), np.nan, p_values)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for their number by Holm's step-down method (1979).

    NaN stays NaN and does not count.
    """
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _stack(columns: list[UserSums]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.stack([column.numerator for column in columns], axis=1),
        np.stack([column.denominator for column in columns], axis=1),
    )


def _linked(ratios: np.ndarray, columns: list[UserSums]) -> np.ndarray:
    """Return the values of (R, C) ratios, each column through its own link."""
    values = ratios.copy()
    for place, column in enumerate(columns):
        if column.link is not identity:
            values[:, place] = column.link(ratios[:, place])
    return values


def _blocks(n_rows: int, n_users: int) -> Iterator[slice]:
    """Yield blocks of rows of (rows, n_users) float64 matrices that stay small."""
    size = max(1, BLOCK_BYTES // (8 * max(n_users, 1)))
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
