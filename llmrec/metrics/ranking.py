"""Ranking metrics: a value per user from the ranks of the held-out items.

Notation: R is the number of held-out (relevant) items of a user, r₁ < r₂ < … their ranks from 1
among all candidates. An item that was not ranked at all has rank 0 and counts as a miss. Relevance
is binary. A user without held-out items has no value (NaN).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from llmrec.core.errors import ConfigError, Problem
from llmrec.core.types import Ragged


class _AtK:
    """Keeps the cut-off and offers the hits above it."""

    family: ClassVar[Literal["ranking"]] = "ranking"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, *, k: int) -> None:
        if type(k) is not int or k < 1:
            raise ConfigError([Problem("k", f"a list length is a whole number from 1, got {k!r}")])
        self.k = k

    def _hits(self, ranks: Ragged) -> np.ndarray:
        """Return (N,) bool: which held-out items are among the first k."""
        return (ranks.values >= 1) & (ranks.values <= self.k)


def _row_sums(values: np.ndarray, rows: Ragged) -> np.ndarray:
    return np.bincount(rows.row_of, weights=values, minlength=len(rows))


def _where_asked(values: np.ndarray, ranks: Ragged) -> np.ndarray:
    """Return float64 values, NaN for the users without held-out items."""
    return np.where(ranks.lengths > 0, values, np.nan)


class HitRate(_AtK):
    """HR@k: 1 if at least one held-out item is among the first k, else 0."""

    def per_user(self, ranks: Ragged) -> np.ndarray:
        return _where_asked(_row_sums(self._hits(ranks), ranks) > 0, ranks)


class Recall(_AtK):
    """Recall@k = hits / R.

    Some libraries divide by min(k, R) instead; this one does not, so with R > k a perfect list
    stays below 1.
    """

    def per_user(self, ranks: Ragged) -> np.ndarray:
        hits = _row_sums(self._hits(ranks), ranks)
        return _where_asked(hits / np.maximum(ranks.lengths, 1), ranks)


class Precision(_AtK):
    """Precision@k = hits / k, also where fewer than k items were left to recommend."""

    def per_user(self, ranks: Ragged) -> np.ndarray:
        return _where_asked(_row_sums(self._hits(ranks), ranks) / self.k, ranks)


class MRR(_AtK):
    """MRR@k = 1 / r₁ if r₁ ≤ k, else 0: the reciprocal rank of the first hit."""

    def per_user(self, ranks: Ragged) -> np.ndarray:
        gains = np.zeros(len(ranks.values))
        hits = self._hits(ranks)
        gains[hits] = 1.0 / ranks.values[hits]
        best = np.zeros(len(ranks))
        np.maximum.at(best, ranks.row_of, gains)
        return _where_asked(best, ranks)


class NDCG(_AtK):
    """NDCG@k = Σ_{rᵢ ≤ k} 1/log₂(rᵢ + 1) divided by the same sum of the best list.

    The best list puts min(k, R) held-out items first (Järvelin and Kekäläinen 2002, binary
    gains). LensKit up to 2025 discounts differently at rank 1; scikit-learn, ranx and RecBole agree
    with this.
    """

    def per_user(self, ranks: Ragged) -> np.ndarray:
        hits = self._hits(ranks)
        discounts = 1.0 / np.log2(np.arange(2, self.k + 2))
        gains = np.zeros(len(ranks.values))
        gains[hits] = discounts[ranks.values[hits] - 1]
        ideal = np.concatenate([[1.0], np.cumsum(discounts)])[np.minimum(ranks.lengths, self.k)]
        return _where_asked(_row_sums(gains, ranks) / ideal, ranks)


class MAP(_AtK):
    """MAP@k = (1 / min(k, R)) Σ_{rᵢ ≤ k} i / rᵢ: the precision at each hit, averaged.

    Divided by min(k, R), as Kaggle, RecBole and implicit do, so that a perfect list gives 1;
    trec_eval and ranx divide by R, which differs where R > k.
    """

    def per_user(self, ranks: Ragged) -> np.ndarray:
        hits = self._hits(ranks)
        rows, places = ranks.row_of[hits], ranks.values[hits]
        order = np.lexsort((places, rows))
        rows, places = rows[order], places[order]
        nth = np.arange(len(rows)) - np.searchsorted(rows, rows) + 1
        sums = np.bincount(rows, weights=nth / places, minlength=len(ranks))
        return _where_asked(sums / np.clip(ranks.lengths, 1, self.k), ranks)
