"""What came next after the last item, plus items similar to the recent ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.histories import interaction_matrix, recency_matrix
from llmrec.recommenders.knn import cosine_neighbours


def transitions(train: Dataset) -> sparse.csr_matrix:
    """Return (n_items, n_items) float32: the share of the next items among all that followed."""
    rows = train.histories
    together = rows.row_of[:-1] == rows.row_of[1:]
    before, after = rows.values[:-1][together], rows.values[1:][together]
    shape = (train.n_items, train.n_items)
    counts = sparse.csr_matrix((np.ones(len(before)), (before, after)), shape=shape)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    share = sparse.diags(1 / np.where(totals > 0, totals, 1)) @ counts
    return share.tocsr().astype(np.float32)


class MarkovKNN(BaseRecommender):
    """Scores by first-order transitions from the last item plus recency-weighted item-KNN.

    ``score(i) = P(i | last item) + knn_weight × Σ_j decay^age(j) cos(j, i)`` over the items j of
    the history, the newest of age 0. A strong sequential baseline without a gradient
    (compare Ludewig and Jannach, UMUAI 2018: simple neighbours rival recurrent networks).

    Args:
        knn_weight: weight of the item-KNN part against the transition probabilities.
        decay: how much less an item counts for each step it lies back; 1 forgets nothing.
        n_neighbors: similar items kept for each item; null keeps all.
        shrinkage: added to the cosine's denominator: larger values trust small overlaps less.
    """

    state: ClassVar[tuple[str, ...]] = ("following", "similarity")

    def __init__(
        self,
        *,
        knn_weight: float = 0.3,
        decay: float = 0.7,
        n_neighbors: int | None = None,
        shrinkage: float = 0.0,
    ) -> None:
        self.knn_weight = knn_weight
        self.decay = decay
        self.n_neighbors = n_neighbors
        self.shrinkage = shrinkage
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        problems = below(params, knn_weight=0, n_neighbors=1, shrinkage=0)
        if not 0 < params.get("decay", 1) <= 1:
            problems.append(("decay", f"expected more than 0, at most 1, got {params['decay']!r}"))
        return problems

    def learn(self, train: Dataset) -> None:
        self.following = transitions(train)
        matrix = interaction_matrix(train)
        self.similarity = cosine_neighbours(matrix, self.n_neighbors, self.shrinkage)

    def score_all(self, queries: Queries) -> np.ndarray:
        n_items = self.following.shape[0]
        recent = recency_matrix(queries.histories, n_items, self.decay)
        last = recency_matrix(queries.histories.tail(1), n_items, 1.0)
        weight = np.float32(self.knn_weight)
        following, similar = last @ self.following, recent @ self.similarity
        scores: np.ndarray = (following + weight * similar).toarray()
        return scores

    @property
    def info(self) -> ModelInfo:
        n = self.following.nnz + self.similarity.nnz
        return ModelInfo(parameters=n, trainable=n)
