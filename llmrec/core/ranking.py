"""Top-k, ranks and one scale for score matrices; ties give a constant scorer nothing."""

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
    # Sorting a row pays off once several of its columns are asked for.
    count = _count_sorted if len(rows) > 4 * len(scores) else _count_compared
    better, at_least = count(scores, columns, own)
    tied = np.flatnonzero((at_least - better > 1) & (own > -np.inf))
    for start in range(0, len(tied), 1024):
        part = tied[start : start + 1024]
        places, rivals = np.nonzero(scores[rows[part]] == own[part, None])
        asked = part[places]
        user = np.asarray(users)[rows[asked]]
        wins = hash_pairs(user, rivals, TIE_SEED) < hash_pairs(
            user, columns.values[asked], TIE_SEED
        )
        better[part] += np.bincount(places[wins], minlength=len(part))
    return columns.with_values(np.where(own > -np.inf, better + 1, 0))


def _count_compared(
    scores: np.ndarray, columns: Ragged, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many scores of the row are above, and at least, each of the (N,) `own`."""
    above, at_least = np.empty(len(own), np.int64), np.empty(len(own), np.int64)
    rows = columns.row_of
    for start in range(0, len(own), 1024):
        part = slice(start, start + 1024)
        block, mine = scores[rows[part]], own[part, None]
        above[part] = np.count_nonzero(block > mine, axis=1)
        at_least[part] = np.count_nonzero(block >= mine, axis=1)
    return above, at_least


def _count_sorted(
    scores: np.ndarray, columns: Ragged, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `_count_compared` does, by sorting each row once."""
    above, at_least = np.empty(len(own), np.int64), np.empty(len(own), np.int64)
    n_columns = scores.shape[1]
    for row in np.flatnonzero(columns.lengths):
        part = slice(columns.offsets[row], columns.offsets[row + 1])
        ordered = np.sort(scores[row])
        above[part] = n_columns - np.searchsorted(ordered, own[part], "right")
        at_least[part] = n_columns - np.searchsorted(ordered, own[part], "left")
    return above, at_least


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
    users = np.asarray(users)
    cut = np.partition(scores, n_columns - width, axis=1)[:, n_columns - width]
    cut = np.maximum(cut, np.finfo(scores.dtype).min)  # −inf is never chosen
    rows, columns = np.divmod(np.flatnonzero(scores >= cut[:, None]), n_columns)
    counts = np.bincount(rows, minlength=n_rows)
    starts = np.cumsum(counts) - counts
    kept = np.ones(len(rows), bool)
    for row in np.flatnonzero(counts > width):  # more are equal at the cut than there is room for
        part = slice(starts[row], starts[row] + counts[row])
        equal = np.flatnonzero(scores[row, columns[part]] == cut[row])
        keys = hash_pairs(users[row], columns[part][equal], TIE_SEED)
        kept[starts[row] + equal[np.argsort(keys)[width - counts[row] :]]] = False
    rows, columns = rows[kept], columns[kept]
    counts = np.minimum(counts, width)
    place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    table = np.full((n_rows, width), PADDING, np.int64)
    values = np.full((n_rows, width), -np.inf, scores.dtype)
    table[rows, place], values[rows, place] = columns, scores[rows, columns]
    keys = tie_keys(users, table)
    order = np.lexsort((keys, -values), axis=-1)
    chosen[:, :width] = np.take_along_axis(table, order, axis=1)
    return chosen


def zscore(values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return values minus the mean, over the standard deviation, both of the allowed places."""
    n = np.maximum(allowed.sum(axis=1), 1)[:, None]
    mean = np.where(allowed, values, 0.0).sum(axis=1)[:, None] / n
    centred = values - mean
    spread = np.sqrt(np.where(allowed, centred * centred, 0.0).sum(axis=1)[:, None] / n)
    # a constant row has no spread but rounding
    flat = spread <= 1e-9 * np.maximum(np.abs(mean), 1e-30)
    scaled: np.ndarray = np.where(flat, 0.0, centred / np.where(flat, 1.0, spread))
    return scaled
