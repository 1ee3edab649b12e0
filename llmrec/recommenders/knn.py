"""Neighbourhood recommenders: by similar items and by similar users, cosine with shrinkage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.histories import binary_matrix, interaction_matrix

BLOCK = 512


def cosine_neighbours(
    matrix: sparse.csr_matrix, n_neighbors: int | None, shrinkage: float
) -> sparse.csr_matrix:
    """Return the similarities between the columns of a matrix, the best of each column kept.

    Entry (j, i) is ``dot(j, i) / (|j| |i| + shrinkage)`` if j is among the `n_neighbors` most
    similar columns of i, else absent; no column is its own neighbour.

    Args:
        matrix: (R, n) float32.
        n_neighbors: how many are kept, None for all.
        shrinkage: larger values trust small overlaps less.

    Returns:
        (n, n) float32 CSR.
    """
    n = matrix.shape[1]
    columns = matrix.T.tocsr()
    norms = np.sqrt(np.asarray(columns.multiply(columns).sum(axis=1)).ravel())
    blocks = []
    for start in range(0, n, BLOCK):
        block = (columns[start : start + BLOCK] @ matrix).toarray()
        place = np.arange(len(block))
        block[place, start + place] = 0.0
        scale = norms[start : start + len(block), None] * norms[None] + shrinkage
        block /= np.where(scale > 0, scale, 1).astype(np.float32)
        blocks.append(keep_largest(block, n_neighbors))
    return sparse.vstack(blocks, format="csr", dtype=np.float32).T.tocsr()


def keep_largest(dense: np.ndarray, k: int | None) -> sparse.csr_matrix:
    """Return the `k` largest positive values of each row (all of them for None) as CSR.

    Among equal values at the border the choice is arbitrary but the same in any batch.
    """
    if k is not None and k < dense.shape[1]:
        best = np.argpartition(-dense, k - 1, axis=1)[:, :k]
        best.sort(axis=1)
        values = np.take_along_axis(dense, best, axis=1)
        rows = np.repeat(np.arange(len(dense)), k)
        parts = values.ravel(), (rows, best.ravel())
        kept = sparse.csr_matrix(parts, shape=dense.shape)
        kept.eliminate_zeros()
        return kept
    return sparse.csr_matrix(dense)


class ItemKNN(BaseRecommender):
    """Scores an item by its similarity to the items of the query's history.

    Cosine between the users of two items, shrunk; of each candidate only the `n_neighbors` most
    similar items count (Sarwar et al., WWW 2001; Deshpande and Karypis, TOIS 2004).

    Args:
        n_neighbors: similar items kept for each item; null keeps all.
        shrinkage: added to the denominator: larger values trust small overlaps less.
    """

    state: ClassVar[tuple[str, ...]] = ("similarity",)

    def __init__(self, *, n_neighbors: int | None = 20, shrinkage: float = 0.0) -> None:
        self.n_neighbors = n_neighbors
        self.shrinkage = shrinkage
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        return below(params, n_neighbors=1, shrinkage=0)

    def learn(self, train: Dataset) -> None:
        matrix = interaction_matrix(train)
        self.similarity = cosine_neighbours(matrix, self.n_neighbors, self.shrinkage)

    def score_all(self, queries: Queries) -> np.ndarray:
        history = binary_matrix(queries.histories, self.similarity.shape[0])
        scores: np.ndarray = (history @ self.similarity).toarray()
        return scores

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(parameters=self.similarity.nnz, trainable=self.similarity.nnz)


class UserKNN(BaseRecommender):
    """Scores an item by the training users who had it and whose history is like the query's.

    The similarity is computed from the query's own history, so an unknown user is answered too.
    A known user is not its own neighbour: it would only vote for what it has already.

    Args:
        n_neighbors: similar users who vote; null takes all.
        shrinkage: added to the denominator: larger values trust small overlaps less.
    """

    state: ClassVar[tuple[str, ...]] = ("matrix",)

    def __init__(self, *, n_neighbors: int | None = 20, shrinkage: float = 0.0) -> None:
        self.n_neighbors = n_neighbors
        self.shrinkage = shrinkage
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        return below(params, n_neighbors=1, shrinkage=0)

    def learn(self, train: Dataset) -> None:
        self.matrix = interaction_matrix(train)

    def score_all(self, queries: Queries) -> np.ndarray:
        history = binary_matrix(queries.histories, self.matrix.shape[1])
        norms = np.sqrt(self.matrix.getnnz(axis=1))
        scores = np.empty(history.shape, np.float32)
        for start in range(0, len(queries), BLOCK):
            mine = history[start : start + BLOCK]
            users = queries.users[start : start + BLOCK]
            similar = (mine @ self.matrix.T).toarray()
            scale = np.sqrt(mine.getnnz(axis=1))[:, None] * norms[None] + self.shrinkage
            similar /= np.where(scale > 0, scale, 1).astype(np.float32)
            known = np.flatnonzero(users >= 0)
            similar[known, users[known]] = 0.0
            votes = keep_largest(similar, self.n_neighbors) @ self.matrix
            scores[start : start + len(users)] = votes.toarray()
        return scores

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(parameters=self.matrix.nnz, trainable=self.matrix.nnz)
