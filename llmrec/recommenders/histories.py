"""Histories as sparse matrices, and products whose rows do not depend on the batch."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from llmrec.core.types import Dataset, Ragged

ROWS = 64


def binary_matrix(rows: Ragged, n_items: int) -> sparse.csr_matrix:
    """Return (R, n_items) float32 with a 1 for each item of a row, repeats counted once."""
    ones = np.ones(len(rows.values), np.float32)
    matrix = sparse.csr_matrix((ones, (rows.row_of, rows.values)), shape=(len(rows), n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def interaction_matrix(train: Dataset) -> sparse.csr_matrix:
    """Return the (n_users, n_items) float32 matrix of who touched what, 1 or absent."""
    return binary_matrix(train.histories, train.n_items)


def recency_matrix(rows: Ragged, n_items: int, decay: float) -> sparse.csr_matrix:
    """Return (R, n_items) float32: 1 for the newest item, `decay` times less each step back.

    An item that occurs twice has the weight of its newest occurrence.
    """
    age = np.repeat(rows.offsets[1:], rows.lengths) - 1 - np.arange(len(rows.values))
    weights = np.power(decay, age.astype(np.float64)).astype(np.float32)
    key = rows.row_of * n_items + rows.values
    _, from_the_end = np.unique(key[::-1], return_index=True)
    newest = len(key) - 1 - from_the_end
    places = rows.row_of[newest], rows.values[newest]
    return sparse.csr_matrix((weights[newest], places), shape=(len(rows), n_items))


def batch_free_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left @ right`` with the same bits for a row whatever rows surround it.

    BLAS picks another kernel (and order of additions) for another number of rows; here it always
    gets blocks of the same height, the last one padded with zeros.

    Args:
        left: (B, D).
        right: (D, C).
    """
    out = np.empty((len(left), right.shape[1]), np.result_type(left, right))
    for start in range(0, len(left), ROWS):
        block = left[start : start + ROWS]
        if len(block) < ROWS:
            padded = np.zeros((ROWS, left.shape[1]), left.dtype)
            padded[: len(block)] = block
            out[start:] = (padded @ right)[: len(block)]
        else:
            np.matmul(block, right, out=out[start : start + ROWS])
    return out
