"""Vectors of items from which items stand near each other in training histories: no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llmrec.core.types import Ragged

if TYPE_CHECKING:
    from scipy import sparse

# Frequent items are no better neighbours: counts of contexts are raised to this power.
SMOOTHING = 0.75


def positive_pmi(histories: Ragged, n_items: int, window: int) -> sparse.csr_array:
    """Return the (n_items, n_items) positive pointwise mutual information of near items.

    Two items of a history that stand d places apart, d at most `window`, count 1/d for each other;
    contexts are smoothed (Levy, Goldberg and Dagan, TACL 2015).

    Args:
        histories: item ids of each user in order.
        n_items: size of the catalogue.
        window: largest distance of a pair.
    """
    from scipy import sparse

    values, owner = histories.values, histories.row_of
    pairs = sparse.csr_array((n_items, n_items), dtype=np.float64)
    for distance in range(1, min(window, len(values) - 1) + 1):
        near = owner[:-distance] == owner[distance:]
        before, after = values[:-distance][near], values[distance:][near]
        weights = np.full(len(before), 1.0 / distance)
        pairs += sparse.coo_array((weights, (before, after)), shape=pairs.shape).tocsr()
    pairs = (pairs + pairs.T).tocoo()
    row, column = pairs.coords
    totals = np.asarray(pairs.sum(axis=1)).ravel()
    contexts = totals**SMOOTHING
    information = np.log(pairs.data * contexts.sum() / (totals[row] * contexts[column]))
    kept = information > 0
    return sparse.csr_array((information[kept], (row[kept], column[kept])), shape=pairs.shape)


def co_occurrence_vectors(
    histories: Ragged, n_items: int, width: int, window: int, seed: int
) -> np.ndarray:
    """Return (n_items, width or fewer) vectors, close where items stand near the same items.

    They are the leading left singular vectors of `positive_pmi`, times the square roots of the
    singular values (Levy and Goldberg, NeurIPS 2014: what skip-gram factorises). An item that
    stands near no other has a row of zeros.

    Args:
        histories: item ids of each user in order; of the training side.
        n_items: size of the catalogue.
        width: columns at most.
        window: largest distance of a pair.
        seed: of the solver's first vector, so that results can be repeated.
    """
    from scipy.sparse.linalg import svds

    information = positive_pmi(histories, n_items, window)
    if not information.nnz:
        return np.zeros((n_items, 1))
    if width >= n_items:  # the sparse solver finds all but one at most
        left, strength, _ = np.linalg.svd(information.toarray(), full_matrices=False)
    else:
        start = np.random.default_rng(seed).standard_normal(n_items)
        left, strength, _ = svds(information, k=width, v0=start)
    return np.where(information.sum(axis=1)[:, None] > 0, left * np.sqrt(strength), 0.0)
