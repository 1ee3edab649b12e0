"""Training examples as places in the users' histories: nothing is copied before it is batched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
        around: the place to predict may lie within the history; it is left out of it.
    """

    items: np.ndarray
    ratings: np.ndarray | None
    starts: np.ndarray
    ends: np.ndarray
    targets: np.ndarray | None = None
    around: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) items in each example's history."""
        return self.ends - self.starts - self._within

    @cached_property
    def _within(self) -> np.ndarray:
        """(N,) 1 where the place to predict lies in the example's own span, else 0."""
        if not self.around or self.targets is None:
            return np.zeros(len(self), np.int64)
        inside = (self.targets >= self.starts) & (self.targets < self.ends)
        return inside.astype(np.int64)

    def places(self, rows: np.ndarray) -> Ragged:
        """Return the places of the chosen examples' histories."""
        places = Ragged.spans(self.starts[rows], self.ends[rows] - self.starts[rows])
        if not self.around or self.targets is None:
            return places
        return places.keep(places.values != self.targets[rows][places.row_of])

    def histories(self, rows: np.ndarray) -> tuple[Ragged, Ragged | None]:
        """Return the item ids and ratings of the chosen examples' histories."""
        places = self.places(rows)
        items = places.with_values(self.items[places.values])
        if self.ratings is None:
            return items, None
        return items, places.with_values(self.ratings[places.values])


def windows(train: Dataset, length: int) -> Examples:
    """Cut each history into windows of at most `length` items, counted from its end.

    Neighbouring windows share one item, so that every item but a user's first is predicted once.
    A history of a single item gives no window.
    """
    histories = train.histories
    step = length - 1
    counts = np.where(histories.lengths > 1, -(-(histories.lengths - 1) // step), 0)
    cuts = Ragged.spans(np.zeros_like(counts), counts)
    user = cuts.row_of
    ends = histories.offsets[1:][user] - cuts.values * step
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
    targets, begin, _ = _chosen(train, per_user, with_history, seed)
    starts = np.maximum(targets - length, begin)
    return Examples(histories.values, ratings_by_user(train), starts, targets, targets)


def others(
    train: Dataset, *, length: int, per_user: int | None, with_history: bool, seed: int
) -> Examples:
    """Make one example of each interaction: all others of its user are the history.

    For splits that ignore time, whose questions too come with later interactions. The arguments
    are those of `positions`; with `with_history` users with one interaction only are left out.
    """
    targets, begin, end = _chosen(train, per_user, False, seed)
    if with_history:
        kept = end - begin > 1
        targets, begin, end = targets[kept], begin[kept], end[kept]
    # One more where the target itself is among the latest, as it is left out.
    starts = np.maximum(end - length - (targets >= end - length), begin)
    return Examples(
        train.histories.values, ratings_by_user(train), starts, end, targets, around=True
    )


def _chosen(
    train: Dataset, per_user: int | None, with_history: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places to predict in a random order, and where their users begin and end."""
    histories = train.histories
    place = np.arange(len(histories.values))
    begin = histories.offsets[:-1][histories.row_of]
    end = histories.offsets[1:][histories.row_of]
    kept = place > begin if with_history else np.ones(len(place), bool)
    if per_user is not None:
        kept &= place >= end - per_user
    targets = np.random.default_rng(seed).permutation(np.flatnonzero(kept))
    return targets, begin[targets], end[targets]


def ratings_by_user(train: Dataset) -> np.ndarray | None:
    """Return the (T,) ratings in the order of ``train.histories``, None without any."""
    log = train.interactions
    return None if log.rating is None else log.rating[train.rows_by_user.values]
