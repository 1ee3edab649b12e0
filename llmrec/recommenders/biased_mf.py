"""Matrix factorization with biases, for ratings, likes or rankings by its loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.protocols import ModelInfo, Task
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.bpr import fit_bpr
from llmrec.recommenders.histories import batch_free_product
from llmrec.recommenders.newton import fit_side, start
from llmrec.recommenders.simple import likes_of, ratings_of

Loss = Literal["squared", "logistic", "bpr"]
TASK_OF: dict[str, Task] = {"squared": "rating", "logistic": "preference", "bpr": "ranking"}
REGULARIZATION = {"squared": 15.0, "logistic": 8.0, "bpr": 0.01}
EPOCHS = {"squared": 12, "logistic": 12, "bpr": 40}


class BiasedMF(BaseRecommender):
    """Predicts ``mean + user bias + item bias + user vector · item vector``.

    The loss says what the scores mean and which task they serve. ``squared``: ratings, clipped to
    the range seen in training. ``logistic``: log-odds of a like. Both are fitted by alternating
    between users and items, one exact (squared) or Newton (logistic) ridge step each (Koren et
    al., IEEE Computer 2009). ``bpr``: order only, every training pair above a random unseen one,
    by minibatch Adagrad without user biases, which cannot matter (Rendle et al., UAI 2009).
    A known user is answered by its fitted vector; an unknown one with a rated history by the
    vector that the same ridge step gives for it; anybody else by the item biases.

    Args:
        loss: squared, logistic or bpr.
        embedding_size: factors of a user and of an item.
        epochs: passes over the data; null for 12 (squared, logistic) or 40 (bpr).
        regularization: weight of the squared norms of vectors (bpr: per drawn triple); null for
            15 (squared), 8 (logistic) or 0.01 (bpr).
        bias_regularization: the same for biases.
        learning_rate: step of Adagrad (bpr only: the other losses are solved, not stepped).
        batch_size: triples in a step (bpr only).
        threshold: a rating at or above it is a like (logistic only).
        seed: of the initial vectors, the order and the drawn items.

    Raises:
        DataError: from `fit`, if ratings are needed and the training part has none (or, for
            logistic, only likes).
    """

    state: ClassVar[tuple[str, ...]] = (
        "mean",
        "low",
        "high",
        "user_bias",
        "item_bias",
        "user_vectors",
        "item_vectors",
    )

    def __init__(
        self,
        *,
        loss: Loss = "squared",
        embedding_size: int = 32,
        epochs: int | None = None,
        regularization: float | None = None,
        bias_regularization: float = 3.0,
        learning_rate: float = 0.1,
        batch_size: int = 2048,
        threshold: float = 4.0,
        seed: int = 0,
    ) -> None:
        self.loss = loss
        self.embedding_size = embedding_size
        self.epochs = epochs
        self.regularization = regularization
        self.bias_regularization = bias_regularization
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.threshold = threshold
        self.seed = seed
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        problems = below(
            params,
            embedding_size=1,
            epochs=1,
            regularization=0,
            bias_regularization=0,
            batch_size=1,
        )
        rate = params.get("learning_rate", 1)
        if not rate > 0:
            problems.append(("learning_rate", f"expected more than 0, got {rate!r}"))
        return problems

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"ranking", TASK_OF[self.loss]})

    @property
    def info(self) -> ModelInfo:
        sizes = (self.user_vectors, self.item_vectors, self.user_bias, self.item_bias)
        n = sum(values.size for values in sizes) + (self.loss != "bpr")
        if self.loss == "bpr":
            n -= self.user_bias.size
        return ModelInfo(parameters=n, trainable=n)

    @property
    def penalty(self) -> np.ndarray:
        """(1 + embedding_size,) ridge weights: the bias, then the vector."""
        vector = REGULARIZATION[self.loss] if self.regularization is None else self.regularization
        return np.r_[self.bias_regularization, np.full(self.embedding_size, vector)]

    def learn(self, train: Dataset) -> None:
        epochs = EPOCHS[self.loss] if self.epochs is None else self.epochs
        if self.loss == "bpr":
            self.mean, self.low, self.high = 0.0, -np.inf, np.inf
            self.user_bias = np.zeros(train.n_users, np.float32)
            self.user_vectors, self.item_vectors, self.item_bias = fit_bpr(
                train,
                embedding_size=self.embedding_size,
                epochs=epochs,
                regularization=float(self.penalty[1]),
                learning_rate=self.learning_rate,
                batch_size=self.batch_size,
                seed=self.seed,
            )
            return
        ratings = ratings_of(train, "biased matrix factorization")
        if self.loss == "squared":
            values = ratings
            self.low, self.high = float(ratings.min()), float(ratings.max())
            self.mean = float(ratings.mean())
        else:
            values = likes_of(ratings, self.threshold, "biased matrix factorization")
            self.low, self.high = -np.inf, np.inf
            self.mean = float(np.log(values.mean() / (1 - values.mean())))
        users, items = start(train, self.embedding_size, self.seed)
        log = train.interactions
        for _ in range(epochs):
            users = self._step(log.user, log.item, values, users, items)
            items = self._step(log.item, log.user, values, items, users)
        self.user_bias, self.user_vectors = _parts(users)
        self.item_bias, self.item_vectors = _parts(items)

    def _step(
        self,
        group: np.ndarray,
        other: np.ndarray,
        values: np.ndarray,
        mine: np.ndarray,
        others: np.ndarray,
    ) -> np.ndarray:
        logistic = self.loss == "logistic"
        return fit_side(group, other, values, mine, others, self.mean, self.penalty, logistic)

    def score_all(self, queries: Queries) -> np.ndarray:
        bias, vectors = self._users(queries)
        scores = batch_free_product(vectors, self.item_vectors.astype(np.float64))
        scores += self.mean + bias[:, None] + self.item_bias[None]
        return scores.clip(self.low, self.high).astype(np.float32)

    def _users(self, queries: Queries) -> tuple[np.ndarray, np.ndarray]:
        """Return the (B,) biases and (B, D) vectors of the queries' users, float64."""
        row = np.maximum(queries.users, 0)
        users = np.c_[self.user_bias[row], self.user_vectors[row]].astype(np.float64)
        users[queries.users < 0] = 0.0
        if queries.ratings is not None and self.loss != "bpr":
            # a user without training data has a zero vector, and counts as unknown
            new = np.flatnonzero(~users.any(axis=1) & (queries.histories.lengths > 0))
            users[new] = self._fold_in(queries.take(new))
        return users[:, 0], users[:, 1:]

    def _fold_in(self, queries: Queries) -> np.ndarray:
        rows = queries.histories
        values = queries.ratings.values.astype(np.float64)  # type: ignore[union-attr]
        if self.loss == "logistic":
            values = (values >= self.threshold).astype(np.float64)
        items = np.c_[self.item_bias, self.item_vectors].astype(np.float64)
        users = np.zeros((len(queries), items.shape[1]))
        for _ in range(1 if self.loss == "squared" else 5):  # Newton converges in a few steps
            users = self._step(rows.row_of, rows.values, values, users, items)
        return users


def _parts(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return biases and vectors of (n, 1 + D), as float32."""
    stored = side.astype(np.float32)
    return stored[:, 0].copy(), stored[:, 1:].copy()
