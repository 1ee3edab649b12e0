"""Training examples as places in the users' histories: nothing is copied before it is batched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmrec.core.types import Dataset, Ragged


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples over the training histories (one array, user after user).

    Attributes:
        items: (T,) item ids, the values of ``train.histories``.
        ratings: (T,) float32 ratings of the same interactions, or None.
        starts: (N,) first place of each example's history.
        ends: (N,) one past its last place.
        targets: (N,) the place to predict, or None for windows that predict themselves.
    """

    items: np.ndarray
    ratings: np.ndarray | None
    starts: np.ndarray
    ends: np.ndarray
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) items in each example's history."""
        return self.ends - self.starts

    def histories(self, rows: np.ndarray) -> tuple[Ragged, Ragged | None]:
        """Return the item ids and ratings of the chosen examples' histories."""
        lengths = self.ends[rows] - self.starts[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(self.starts[rows] - offsets[:-1], lengths)
        items = Ragged(self.items[places], offsets)
        return items, None if self.ratings is None else items.with_values(self.ratings[places])


def windows(train: Dataset, length: int) -> Examples:
    """Cut each history into windows of at most `length` items, counted from its end.

    Neighbouring windows share one item, so that every item but a user's first is predicted once.
    A history of a single item gives no window.
    """
    histories = train.histories
    step = length - 1
    counts = np.where(histories.lengths > 1, -(-(histories.lengths - 1) // step), 0)
    user = np.repeat(np.arange(len(histories)), counts)
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = histories.offsets[1:][user] - nth * step
    starts = np.maximum(ends - length, histories.offsets[:-1][user])
    return Examples(histories.values, None, starts, ends)


def positions(
    train: Dataset, *, length: int, per_user: int | None, with_history: bool, seed: int
) -> Examples:
    """Make one example of each interaction: what came before it is the history.

    Args:
        train: the training interactions.
        length: longest history.
        per_user: examples kept per user, the latest ones; None for all.
        with_history: leave out each user's first interaction, which has no history.
        seed: of the order of the examples.
    """
    histories = train.histories
    place = np.arange(len(histories.values))
    begin = histories.offsets[:-1][histories.row_of]
    end = histories.offsets[1:][histories.row_of]
    kept = place > begin if with_history else np.ones(len(place), bool)
    if per_user is not None:
        kept &= place >= end - per_user
    targets = np.random.default_rng(seed).permutation(np.flatnonzero(kept))
    log = train.interactions
    ratings = None if log.rating is None else log.rating[train.rows_by_user.values]
    starts = np.maximum(targets - length, begin[targets])
    return Examples(histories.values, ratings, starts, targets, targets)
