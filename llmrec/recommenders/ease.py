"""EASE^R: a linear item-to-item model in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import psutil
from scipy.linalg import lapack

from llmrec.core.errors import DataError
from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.histories import interaction_matrix, recency_matrix

BLOCK = 1024


def require_memory(n_items: int, available: int) -> None:
    """Refuse a catalogue whose square does not fit.

    Raises:
        DataError: that says how much is needed and what to use instead.
    """
    needed = n_items * n_items * (8 + 4)  # the float64 inverse and the float32 weights from it
    if needed > available:
        raise DataError(
            f"EASE needs {needed / 1e9:.1f} GB for {n_items} items and {available / 1e9:.1f} GB "
            "are free; keep only the more popular items, or use item_knn or implicit_als"
        )


def inverse(gram: np.ndarray) -> np.ndarray:
    """Return the inverse of a symmetric positive definite float64 matrix, in its own memory.

    Raises:
        DataError: if it is not positive definite.
    """
    factor, failed = lapack.dpotrf(gram.T, lower=0, overwrite_a=1)
    if failed:
        raise DataError("EASE cannot invert the item-item matrix; raise regularization above 0")
    upper: np.ndarray
    upper, _ = lapack.dpotri(factor, lower=0, overwrite_c=1)
    for start in range(0, len(upper), BLOCK):  # LAPACK fills one triangle only
        part = slice(start, start + BLOCK)
        upper[start + BLOCK :, part] = upper[part, start + BLOCK :].T
        corner = upper[part, part]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
    return upper


class EASE(BaseRecommender):
    """Reconstructs a history from itself by a full item-item matrix with a zero diagonal.

    Closed form in float64: ``B = I − P diag(1/P_ii)``, ``P = (XᵀX + λI)⁻¹`` (Steck, WWW 2019).

    Args:
        regularization: λ.
        decay: how much less an item of the history counts for each step it lies back when
            scoring; 1 is plain EASE.

    Raises:
        DataError: from `fit`, if the catalogue is too large for the memory that is free.
    """

    state: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(self, *, regularization: float = 250.0, decay: float = 1.0) -> None:
        self.regularization = regularization
        self.decay = decay
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        problems = below(params, regularization=0)
        if not 0 < params.get("decay", 1) <= 1:
            problems.append(("decay", f"expected more than 0, at most 1, got {params['decay']!r}"))
        return problems

    def learn(self, train: Dataset) -> None:
        require_memory(train.n_items, psutil.virtual_memory().available)
        matrix = interaction_matrix(train).astype(np.float64)
        gram = (matrix.T @ matrix).toarray()
        np.einsum("ii->i", gram)[:] += self.regularization
        solution = inverse(gram)
        solution /= -np.diag(solution).copy()[None]
        np.einsum("ii->i", solution)[:] = 0.0
        self.weights = np.ascontiguousarray(solution, dtype=np.float32)

    def score_all(self, queries: Queries) -> np.ndarray:
        history = recency_matrix(queries.histories, len(self.weights), self.decay)
        return np.asarray(history @ self.weights)

    @property
    def info(self) -> ModelInfo:
        n = self.weights.size - len(self.weights)  # the diagonal is fixed
        return ModelInfo(parameters=n, trainable=n)
