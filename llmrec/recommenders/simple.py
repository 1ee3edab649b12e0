"""Recommenders without similarities or factors: random, popularity, biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.protocols import ModelInfo, Task
from llmrec.core.seeding import hash_pairs
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid


def ratings_of(train: Dataset, who: str) -> np.ndarray:
    """Return the (N,) float64 ratings.

    Raises:
        DataError: if the data set has none, or none at all to learn from.
    """
    ratings = train.interactions.rating
    if ratings is None:
        raise DataError(f"{who} learns from ratings, and {train.name} has none")
    if not len(ratings):
        raise DataError(f"{who} has no ratings to learn from: the training part is empty")
    return ratings.astype(np.float64)


def likes_of(ratings: np.ndarray, threshold: float, who: str) -> np.ndarray:
    """Return 1.0 for a like and 0.0 for a dislike, (N,) float64.

    Raises:
        DataError: if all are on one side of the threshold.
    """
    liked = (ratings >= threshold).astype(np.float64)
    if liked.min() == liked.max():
        raise DataError(
            f"{who} learns to tell likes from dislikes, but all ratings ({ratings.min():g} to "
            f"{ratings.max():g}) are on one side of the threshold {threshold:g}; choose another"
        )
    return liked


class Random(BaseRecommender):
    """Scores at random, always the same for a user, an item and a seed: the floor of any table.

    Args:
        seed: another seed, another order.
    """

    state: ClassVar[tuple[str, ...]] = ("n_items",)

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def learn(self, train: Dataset) -> None:
        self.n_items = train.n_items

    def score_all(self, queries: Queries) -> np.ndarray:
        mixed = hash_pairs(queries.users[:, None], np.arange(self.n_items)[None], self.seed)
        return (mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)


class Popularity(BaseRecommender):
    """Scores an item by its number of training interactions, the same for everybody."""

    state: ClassVar[tuple[str, ...]] = ("counts",)

    def learn(self, train: Dataset) -> None:
        self.counts = train.item_counts.astype(np.float32)

    def score_all(self, queries: Queries) -> np.ndarray:
        return np.repeat(self.counts[None], len(queries), axis=0)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(parameters=len(self.counts), trainable=len(self.counts))


class Bias(BaseRecommender):
    """Global mean plus damped deviations of user and item, of ratings or of the odds of a like.

    ``rating``: the score is the predicted rating, clipped to the range seen in training; the
    deviations are fitted in turns (Koren, TKDD 2010, section 2.1; Surprise's BaselineOnly).
    ``preference``: the score is the log-odds of a like: those of the item, plus those of the user,
    minus those of everybody, each from a damped share of likes.
    A query that carries ratings is answered from them, one without by the user's fitted
    deviation, an unknown user by the item alone.

    Args:
        task: what the scores mean.
        item_damping: imaginary average ratings added to each item.
        user_damping: the same for each user.
        epochs: turns between items and users (rating only).
        threshold: a rating at or above it is a like (preference only).

    Raises:
        DataError: from `fit`, if the training part has no ratings, or (preference) only likes.
    """

    state: ClassVar[tuple[str, ...]] = ("mean", "low", "high", "item_bias", "user_bias")

    def __init__(
        self,
        *,
        task: Literal["rating", "preference"] = "rating",
        item_damping: float = 10.0,
        user_damping: float = 15.0,
        epochs: int = 10,
        threshold: float = 4.0,
    ) -> None:
        self.task = task
        self.item_damping = item_damping
        self.user_damping = user_damping
        self.epochs = epochs
        self.threshold = threshold
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        return below(params, item_damping=0, user_damping=0, epochs=1)

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"ranking", self.task})

    @property
    def info(self) -> ModelInfo:
        n = 1 + len(self.item_bias) + len(self.user_bias)
        return ModelInfo(parameters=n, trainable=n)

    def learn(self, train: Dataset) -> None:
        ratings = ratings_of(train, "the bias model")
        user, item = train.interactions.user, train.interactions.item
        self.low, self.high = float(ratings.min()), float(ratings.max())
        if self.task == "preference":
            liked = likes_of(ratings, self.threshold, "the bias model")
            self.mean = float(liked.mean())
            self.item_bias = self._odds(item, liked, train.n_items, self.item_damping)
            self.user_bias = self._odds(user, liked, train.n_users, self.user_damping)
            return
        self.mean = float(ratings.mean())
        rest = ratings - self.mean
        users = np.zeros(train.n_users)
        for _ in range(self.epochs):
            items = _damped(item, rest - users[user], train.n_items, self.item_damping)
            users = _damped(user, rest - items[item], train.n_users, self.user_damping)
        self.item_bias, self.user_bias = items, users

    def _odds(self, group: np.ndarray, liked: np.ndarray, n: int, damping: float) -> np.ndarray:
        """Return the log-odds of each group's damped share of likes, relative to everybody's."""
        total = np.bincount(group, minlength=n) + damping
        hits = np.bincount(group, liked, minlength=n) + damping * self.mean
        # half an event on either side keeps the odds finite without damping
        return np.log((hits + self.mean) / (total - hits + 1 - self.mean)) - self._base

    @property
    def _base(self) -> float:
        return float(np.log(self.mean / (1 - self.mean)))

    def score_all(self, queries: Queries) -> np.ndarray:
        known = queries.users >= 0
        users = np.where(known, self.user_bias[np.maximum(queries.users, 0)], 0.0)
        if queries.ratings is not None:
            rated = queries.ratings.lengths > 0
            users = np.where(rated, self._from_history(queries), users)
        base = self.mean if self.task == "rating" else self._base
        scores: np.ndarray = base + users[:, None] + self.item_bias[None]
        if self.task == "rating":
            scores = scores.clip(self.low, self.high)
        return scores.astype(np.float32)

    def _from_history(self, queries: Queries) -> np.ndarray:
        """Return the (B,) deviation of each query's user from the ratings that it carries."""
        rows, n = queries.histories.row_of, len(queries)
        ratings = queries.ratings.values.astype(np.float64)  # type: ignore[union-attr]
        if self.task == "preference":
            liked = (ratings >= self.threshold).astype(np.float64)
            return self._odds(rows, liked, n, self.user_damping)
        rest = ratings - self.mean - self.item_bias[queries.histories.values]
        return _damped(rows, rest, n, self.user_damping)


def _damped(group: np.ndarray, values: np.ndarray, n: int, damping: float) -> np.ndarray:
    """Return the mean of each group, shrunk towards 0; 0 for an empty one."""
    counts = np.bincount(group, minlength=n) + damping
    return np.bincount(group, values, minlength=n) / np.where(counts > 0, counts, 1)
