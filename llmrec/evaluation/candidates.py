"""What held-out items compete with: the whole catalogue, or a sample of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.seeding import derive_seed, hash_pairs
from llmrec.core.types import Queries, Ragged, Targets
from llmrec.evaluation.options import CandidateOptions


def attach(
    options: CandidateOptions, queries: Queries, targets: Targets, n_items: int
) -> tuple[Queries, str]:
    """Return the queries with their candidates, and the words that go into the protocol.

    Args:
        options: which candidates.
        queries: B queries.
        targets: their truth.
        n_items: size of the catalogue.
    """
    if options.name == "full":
        return full(queries), "full"
    chosen = sampled(queries, targets, n_items, n=options.n, seed=options.seed)
    return chosen, f"sampled {options.n}"


def full(queries: Queries) -> Queries:
    """Return the queries with the whole catalogue to choose from."""
    return replace(queries, candidates=None)


def sampled(
    queries: Queries, targets: Targets, n_items: int, *, n: int = 100, seed: int = 0
) -> Queries:
    """Return the queries with the held-out items and `n` sampled others to choose from.

    The others are drawn uniformly without replacement from the items outside the user's history
    and targets, by a hash of (seed, user, item): a user gets the same ones whoever else is asked
    about. A user with fewer than `n` items left gets them all. Candidates are in order of item id,
    so that their place says nothing.
    """
    salt = derive_seed(seed, "candidates")
    items = np.arange(n_items)
    rows: list[np.ndarray] = []
    for place, batch in queries.batches(256):
        truth = targets.items.take(place)
        keys = hash_pairs(batch.users[:, None], items, salt)
        free = np.ones(keys.shape, bool)
        free[batch.histories.row_of, batch.histories.values] = False
        free[truth.row_of, truth.values] = False
        # An excluded item sorts behind every free one, whatever its hash.
        keys = np.where(free, keys >> np.uint64(1), np.uint64(2**64 - 1))
        width = min(n, n_items)
        order = np.argpartition(keys, width - 1, axis=1)[:, :width]
        for row, drawn in enumerate(order):
            rows.append(np.unique(np.concatenate([drawn[free[row, drawn]], truth[row]])))
    return replace(queries, candidates=Ragged.from_rows(rows, np.int64))


def excluded_items(queries: Queries, targets: Targets, n_items: int) -> tuple[Ragged, int]:
    """Return which items each query may not be recommended: its history, but no target.

    A held-out item that the user had before stays in; such repeats are counted.

    Returns:
        B rows of item ids, and the number of held-out items that were in the history.
    """
    seen = queries.histories
    past = seen.row_of * n_items + seen.values
    future = targets.items.row_of * n_items + targets.items.values
    hidden = ~np.isin(past, future)
    repeats = int(np.isin(future, past).sum())
    return Ragged.from_groups(seen.row_of[hidden], seen.values[hidden], len(seen)), repeats


def distinct(rows: Ragged, n_items: int) -> Ragged:
    """Return the rows without repetitions: the first of each item stays, in place."""
    keys = rows.row_of * n_items + rows.values
    first = np.sort(np.unique(keys, return_index=True)[1])
    if len(first) == len(keys):
        return rows
    return Ragged.from_groups(rows.row_of[first], rows.values[first], len(rows))


def places_of(items: Ragged, candidates: Ragged) -> Ragged:
    """Return the column that each item has in its row of candidates.

    Raises:
        DataError: if an item is not among them.
    """
    stride = int(max(items.values.max(initial=0), candidates.values.max(initial=0))) + 1
    listed = candidates.row_of * stride + candidates.values
    wanted = items.row_of * stride + items.values
    order = np.argsort(listed, kind="stable")
    found = np.searchsorted(listed, wanted, sorter=order)
    found = order[np.minimum(found, len(order) - 1)] if len(order) else found
    if len(wanted) and (not len(listed) or (listed[found] != wanted).any()):
        raise DataError("a held-out item is missing from its query's candidates; add it to them")
    return items.with_values(found - candidates.offsets[items.row_of])
