"""Implicit-feedback matrix factorization by alternating least squares, fitted by `implicit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from llmrec.core.extras import require
from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.histories import batch_free_product, binary_matrix, interaction_matrix


def fold_in(
    history: sparse.csr_matrix, items: np.ndarray, alpha: float, regularization: float
) -> np.ndarray:
    """Return the (B, D) float64 user vectors that solve the least squares of implicit ALS.

    ``(YᵀY + α' Σ y yᵀ + λI) x = α Σ y`` over the history's items, ``α' = α − 1``: what
    implicit's `recalculate_user` solves. A query without history gets the zero vector.

    Args:
        history: (B, n_items) binary.
        items: (n_items, D) item factors Y.
        alpha: confidence of a seen item (an unseen one has 1).
        regularization: λ.
    """
    factors = items.astype(np.float64)
    width = factors.shape[1]
    common = factors.T @ factors + regularization * np.eye(width)
    users = np.zeros((history.shape[0], width))
    for row in range(history.shape[0]):  # one small solve each: independent of the batch
        mine = factors[history.indices[history.indptr[row] : history.indptr[row + 1]]]
        if len(mine):
            matrix = common + (alpha - 1.0) * (mine.T @ mine)
            users[row] = np.linalg.solve(matrix, alpha * mine.sum(axis=0))
    return users


class ImplicitALS(BaseRecommender):
    """Factorizes who touched what, unseen pairs counting as weak zeros (Hu et al., ICDM 2008).

    Fitted by the package implicit (conjugate gradient); a query's user vector is always solved
    from its own history, so an unknown user or a longer history needs no refit, and a saved
    model is used without that package. An empty history scores 0 everywhere.

    Args:
        embedding_size: factors of a user and of an item.
        epochs: alternations.
        regularization: weight of the squared norms.
        alpha: confidence of a seen pair against 1 for an unseen one.
        seed: of the initial factors.

    Raises:
        MissingExtraError: from `fit`, without the extra ``cf``.
    """

    state: ClassVar[tuple[str, ...]] = ("item_factors",)

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        epochs: int = 15,
        regularization: float = 0.01,
        alpha: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.embedding_size = embedding_size
        self.epochs = epochs
        self.regularization = regularization
        self.alpha = alpha
        self.seed = seed
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        return below(params, embedding_size=1, epochs=1, regularization=0, alpha=0)

    def learn(self, train: Dataset) -> None:
        als = require("implicit.cpu.als", "cf", "implicit ALS")
        threads = require("threadpoolctl", "cf", "implicit ALS")
        matrix = interaction_matrix(train)
        # implicit parallelises over users itself; BLAS threads on top halve its speed
        with threads.threadpool_limits(limits=1, user_api="blas"):
            model = als.AlternatingLeastSquares(
                factors=self.embedding_size,
                iterations=self.epochs,
                regularization=self.regularization,
                alpha=self.alpha,
                random_state=self.seed,
            )
            model.fit(matrix, show_progress=False)
        self.item_factors = np.asarray(model.item_factors, dtype=np.float32)

    def score_all(self, queries: Queries) -> np.ndarray:
        history = binary_matrix(queries.histories, len(self.item_factors))
        users = fold_in(history, self.item_factors, self.alpha, self.regularization)
        return batch_free_product(users.astype(np.float32), self.item_factors)

    @property
    def info(self) -> ModelInfo:
        n = self.item_factors.size
        return ModelInfo(parameters=n, trainable=n)
