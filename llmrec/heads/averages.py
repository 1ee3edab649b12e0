"""What the averages of user and item say of a rating (or of a like), before any model does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmrec.core.types import Dataset, Ragged

DAMPING = 10.0
ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Averages:
    """Damped deviations of items, and of users by the ratings that their histories carry.

    Ratings: ``mean + item + user`` with deviations fitted in turns (Koren, TKDD 2010, section 2.1).
    Likes: log-odds of damped shares, relative to everybody's.

    Attributes:
        mean: of the training ratings, or everybody's log-odds of a like.
        items: (n_items,) float64 deviations.
        damping: imaginary average ratings added to each group.
        threshold: a rating at or above it is a like; None for ratings.
    """

    mean: float
    items: np.ndarray
    damping: float
    threshold: float | None

    @classmethod
    def fit(cls, train: Dataset, damping: float | None, threshold: float | None) -> Averages:
        """Learn the deviations of the items from rated training interactions."""
        damping = DAMPING if damping is None else damping
        user, item = train.interactions.user, train.interactions.item
        assert train.interactions.rating is not None
        ratings = train.interactions.rating.astype(np.float64)
        if threshold is not None:
            liked = (ratings >= threshold).astype(np.float64)
            share = float(liked.mean())
            total = np.bincount(item, minlength=train.n_items)
            likes = np.bincount(item, liked, minlength=train.n_items)
            base = float(np.log(share / (1 - share)))
            return cls(base, _odds(likes, total, share, damping), damping, threshold)
        mean = float(ratings.mean())
        rest = ratings - mean
        users = np.zeros(train.n_users)
        for _ in range(ROUNDS):
            items = damped(item, rest - users[user], train.n_items, damping)
            users = damped(user, rest - items[item], train.n_users, damping)
        return cls(mean, items, damping, None)

    def state(self) -> dict[str, Any]:
        """Return the tensors to store; `from_state` reads them."""
        import torch

        numbers = [self.mean, self.damping, *([] if self.threshold is None else [self.threshold])]
        return {
            "averages.items": torch.from_numpy(self.items),
            "averages.numbers": torch.tensor(numbers, dtype=torch.float64),
        }

    @classmethod
    def from_state(cls, parts: Mapping[str, Any]) -> Averages:
        """Read what `state` returned."""
        mean, damping, *threshold = parts["averages.numbers"].tolist()
        items = parts["averages.items"].numpy()
        return cls(mean, items, damping, threshold[0] if threshold else None)

    def of_users(self, histories: Ragged, ratings: Ragged | None) -> np.ndarray:
        """Return the (B,) deviation of each row's user from the ratings of its history."""
        if ratings is None:
            return np.zeros(len(histories))
        sums = np.bincount(
            histories.row_of,
            self._evidence(histories.values, ratings.values),
            minlength=len(histories),
        )
        return self._shrunk(sums, histories.lengths)

    def of_places(self, train: Dataset, places: np.ndarray, *, others: bool) -> np.ndarray:
        """Return what the user's other ratings say of the chosen interactions: (N,) offsets.

        Args:
            train: the training interactions.
            places: (N,) places in ``train.histories``.
            others: count all other ratings of the user, not only the earlier ones.
        """
        histories = train.histories
        assert train.interactions.rating is not None
        ratings = train.interactions.rating[train.rows_by_user.values]
        evidence = self._evidence(histories.values, ratings)
        until = np.concatenate([[0.0], np.cumsum(evidence)])
        begin = histories.offsets[:-1][histories.row_of[places]]
        end = histories.offsets[1:][histories.row_of[places]]
        if others:
            sums, counts = until[end] - until[begin] - evidence[places], end - begin - 1
        else:
            sums, counts = until[places] - until[begin], places - begin
        return self.offsets(self._shrunk(sums, counts), histories.values[places])

    def offsets(self, users: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Return (N,) float32 predictions from deviations of users and ids of candidates."""
        total: np.ndarray = self.mean + users + self.items[candidates]
        return total.astype(np.float32)

    def _evidence(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        if self.threshold is not None:
            return (ratings >= self.threshold).astype(np.float64)
        return ratings.astype(np.float64) - self.mean - self.items[items]

    def _shrunk(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        if self.threshold is None:
            return sums / np.maximum(counts + self.damping, 1e-12)
        return _odds(sums, counts, float(1 / (1 + np.exp(-self.mean))), self.damping)


def damped(group: np.ndarray, values: np.ndarray, n: int, damping: float) -> np.ndarray:
    """Return the mean of each group, shrunk towards 0; 0 for an empty one."""
    counts = np.bincount(group, minlength=n) + damping
    return np.bincount(group, values, minlength=n) / np.maximum(counts, 1e-12)


def _odds(likes: np.ndarray, total: np.ndarray, share: float, damping: float) -> np.ndarray:
    """Return damped log-odds relative to everybody's; half an event keeps them finite."""
    hits, rest = likes + damping * share, (total - likes) + damping * (1 - share)
    relative: np.ndarray = np.log((hits + share) / (rest + 1 - share)) - np.log(share / (1 - share))
    return relative
