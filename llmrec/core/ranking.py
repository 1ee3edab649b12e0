"""Top-k and ranks over score matrices, with ties broken so that a constant scorer gains nothing."""

from __future__ import annotations

import numpy as np

from llmrec.core.seeding import hash_pairs
from llmrec.core.types import PADDING, Ragged

TIE_SEED = 20240229


def tie_keys(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the (B, C) uint64 keys that order equal scores: pseudo-random, fixed per pair.

    Args:
        users: (B,) user ids.
        items: (C,) or (B, C) item ids.
    """
    return hash_pairs(np.asarray(users)[:, None], np.atleast_2d(items), TIE_SEED)


def mask_items(scores: np.ndarray, rows: Ragged) -> np.ndarray:
    """Set the scores of each row's listed columns to −inf, in place, and return the matrix."""
    scores[rows.row_of, rows.values] = -np.inf
    return scores


def ranks_of(scores: np.ndarray, columns: Ragged, users: np.ndarray) -> Ragged:
    """Return the rank (from 1) of the given columns among all finite scores of their row.

    A rank counts the better scores and the equal scores that win the tie. A column whose score
    is −inf was excluded: its rank is 0.

    Args:
        scores: (B, C) float32; −inf excludes a place.
        columns: B rows of column numbers.
        users: (B,) user ids, for the ties.
    """
    rows = columns.row_of
    own = scores[rows, columns.values]
    ranks = np.empty(len(rows), np.int64)
    ids = np.arange(scores.shape[1])
    for start in range(0, len(rows), 1024):
        part = slice(start, start + 1024)
        block, mine = scores[rows[part]], own[part, None]
        equal = block == mine
        better = np.count_nonzero(block > mine, axis=1)
        tied = np.flatnonzero(np.count_nonzero(equal, axis=1) > 1)
        if len(tied):
            keys = tie_keys(users[rows[part]][tied], ids)
            own_key = keys[np.arange(len(tied)), columns.values[part][tied]]
            better[tied] += np.count_nonzero(equal[tied] & (keys < own_key[:, None]), axis=1)
        ranks[part] = better + 1
    ranks[~np.isfinite(own) & (own < 0)] = 0
    return columns.with_values(ranks)


def top_k(scores: np.ndarray, k: int, users: np.ndarray) -> np.ndarray:
    """Return the (B, k) columns of the highest finite scores, best first, −1 where none is left.

    Args:
        scores: (B, C) float32; −inf excludes a place.
        k: how many; may exceed C.
        users: (B,) user ids, for the ties (the order is that of `ranks_of`).
    """
    n_rows, n_columns = scores.shape
    width = min(k, n_columns)
    chosen = np.full((n_rows, k), PADDING, np.int64)
    if not width or not n_rows:
        return chosen
    cut = -np.partition(-scores, width - 1, axis=1)[:, width - 1]
    rows, columns = np.nonzero((scores >= cut[:, None]) & (scores > -np.inf))
    values = scores[rows, columns]
    keys = hash_pairs(np.asarray(users)[rows], columns, TIE_SEED)
    order = np.lexsort((keys, -values, rows))
    rows, columns = rows[order], columns[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, np.arange(n_rows))[rows]
    kept = place < width
    chosen[rows[kept], place[kept]] = columns[kept]
    return chosen
