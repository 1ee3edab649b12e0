"""A linear model or boosted trees over named features of user, moment and item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import sparse

from llmrec.core.config import FeatureSpec
from llmrec.core.errors import DataError
from llmrec.core.extras import require
from llmrec.core.protocols import ModelInfo, Task
from llmrec.core.types import Dataset, Queries
from llmrec.features.base import Matrix, training_queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.boosted_trees import exported, no_trees, tree_scores
from llmrec.recommenders.feature_rows import FeatureRows, held_back, with_negatives
from llmrec.recommenders.simple import likes_of, ratings_of

Estimator = Literal["linear", "boosting"]
DEFAULT: dict[str, dict[str, Any]] = {
    "user": {"name": "history", "logarithm": True},
    "item": {"name": "history", "of": "item", "logarithm": True},
    "text": {"name": "tfidf"},
}
BLOCK = 256
ROWS = 200_000  # of a block for the trees
CELLS = 400_000_000  # of the examples' table for the trees: 3.2 GB
TREES = ("feature", "threshold", "left", "right", "value", "base")  # arrays tree_NAME


class FeatureModel(BaseRecommender):
    """Predicts likes, ratings, or what is taken next from named features of query and item.

    A row has the features of the query (its user's history, the moment), those of the item, and
    for each feature of items how well the item matches the history: the cosine to the recency-
    weighted mean of the history's items and, where there are ratings, to their mean weighted by
    how far each rating is above the average. The newest share of each user's training interactions
    are the examples; the features of the examples come from the older ones, so that no row holds
    its own answer. For ranking each example stands against items drawn from those that the user
    never had. Linear: logistic regression (preference, ranking) or ridge (rating); boosting:
    histogram gradient boosting; both scikit-learn's.

    Args:
        task: ranking, rating or preference: what the scores mean.
        features: feature by label, each of items or of queries.
        estimator: linear, or boosting (dense features only).
        example_share: of each user's training interactions, the newest ones, to learn from.
        decay: how much less an item of the history weighs for each step it lies back.
        n_negatives: items drawn for each example (ranking only).
        regularization: weight of the squared norm: of the coefficients, or of the leaves.
        epochs: steps of the optimizer at most (linear), or trees (boosting).
        learning_rate: share of each tree that counts (boosting only).
        max_leaves: leaves of a tree (boosting only).
        threshold: a rating at or above it is a like (preference only).
        max_examples: at most so many examples, evenly spread in time.
        seed: of drawn items, of scikit-learn, and of features without a seed of their own.

    Raises:
        DataError: from `fit`, if ratings are needed and absent, or nothing is left to learn from.
    """

    tree_value: np.ndarray

    def __init__(
        self,
        *,
        task: Literal["ranking", "rating", "preference"] = "ranking",
        features: Mapping[str, FeatureSpec] = DEFAULT,
        estimator: Estimator = "linear",
        example_share: float = 0.3,
        decay: float = 0.9,
        n_negatives: int = 4,
        regularization: float = 1.0,
        epochs: int = 200,
        learning_rate: float = 0.1,
        max_leaves: int = 31,
        threshold: float = 4.0,
        max_examples: int = 200_000,
        seed: int = 0,
    ) -> None:
        self.task = task
        self.features = features
        self.estimator = estimator
        self.example_share = example_share
        self.decay = decay
        self.n_negatives = n_negatives
        self.regularization = regularization
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.max_leaves = max_leaves
        self.threshold = threshold
        self.max_examples = max_examples
        self.seed = seed
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        found = below(
            params, n_negatives=1, regularization=0, epochs=1, max_leaves=2, max_examples=1
        )
        found += [
            (key, f"expected more than 0, at most 1, got {params[key]!r}")
            for key in ("decay", "example_share", "learning_rate")
            if key in params and not 0 < params[key] <= 1
        ]
        if not params.get("features", DEFAULT):
            found.append(("features", "name at least one feature"))
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({self.task})

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the fitted arrays; they differ by estimator."""
        own = ["coefficients", "intercept"]
        if self.estimator == "boosting":
            own = [f"tree_{name}" for name in TREES]
        return (
            "n_items",
            "mean_rating",
            "low",
            "high",
            "described",
            "origin",
            "centre",
            "scale",
            *own,
        )

    @property
    def info(self) -> ModelInfo:
        if self.estimator == "linear":
            size = len(self.coefficients) + 1
        else:
            size = int(np.count_nonzero(self.tree_value)) + 1
        details = json.loads(self.described)
        return ModelInfo(parameters=size, trainable=size, weights=self.origin, details=details)

    def learn(self, train: Dataset) -> None:
        rating = None if self.task == "ranking" else ratings_of(train, "feature_model")
        if self.task == "preference":
            rating = likes_of(rating, self.threshold, "feature_model")  # type: ignore[arg-type]
        self.n_items = train.n_items
        older, examples = held_back(train, self.example_share, self.max_examples)
        rows = FeatureRows(self.features, self.decay, self.seed).fit(older)
        if rating is None:
            number, item, target = with_negatives(train, examples, self.n_negatives, self.seed)
        else:
            number, item = np.arange(len(examples)), train.interactions.item[examples]
            target = rating[examples]
        table = rows.pairs(training_queries(train, examples), number, item)
        self.low, self.high = -np.inf, np.inf
        if self.task == "rating":
            self.low, self.high = float(rating.min()), float(rating.max())  # type: ignore[union-attr]
        self._fit_table(self._scaled_matches(table, len(rows.match_columns)), target)
        self.rows = rows.observe(train)
        self.mean_rating = np.nan if rows.mean_rating is None else rows.mean_rating
        parts = {side: dict(feature.details) for side, feature in rows.sides.items()}
        self.described = json.dumps({"examples": len(target), "features": parts})
        self.origin = ", ".join(side.weights for side in rows.sides.values() if side.weights)

    def _scaled_matches(self, table: Matrix, width: int) -> Matrix:
        """Learn the scale of the matches, the last columns, and bring them to it."""
        last = table[:, table.shape[1] - width :]
        last = last.toarray() if sparse.issparse(last) else last
        self.centre, deviation = last.mean(axis=0), last.std(axis=0)
        self.scale = np.where(deviation > 1e-9, deviation, 1.0)
        scaled = (last - self.centre) / self.scale
        if sparse.issparse(table):
            return sparse.hstack([table[:, : table.shape[1] - width], scaled], format="csr")
        return np.concatenate([table[:, : table.shape[1] - width], scaled], axis=1)

    def _fit_table(self, table: Matrix, target: np.ndarray) -> None:
        """Fit the estimator; examples that are all alike give a constant."""
        constant = self.task != "rating" and target.min() == target.max()
        if self.estimator == "linear":
            self._fit_linear(table, target, constant)
        else:
            self._fit_trees(table, target, constant)

    def _odds(self, target: np.ndarray) -> float:
        return float(np.log((target.sum() + 0.5) / ((1 - target).sum() + 0.5)))

    def _fit_linear(self, table: Matrix, target: np.ndarray, constant: bool) -> None:
        if constant:
            self.coefficients = np.zeros(table.shape[1])
            self.intercept = self._odds(target)
            return
        models = require("sklearn.linear_model", "features", "feature_model")
        if self.task == "rating":
            model = models.Ridge(alpha=self.regularization, max_iter=self.epochs)
        else:
            strength = 1 / self.regularization if self.regularization > 0 else np.inf
            model = models.LogisticRegression(C=strength, max_iter=self.epochs, solver="newton-cg")
        model.fit(table, target)
        self.coefficients = np.asarray(model.coef_, np.float64).ravel()
        self.intercept = float(np.ravel(model.intercept_)[0])

    def _fit_trees(self, table: Matrix, target: np.ndarray, constant: bool) -> None:
        if table.shape[0] * table.shape[1] > CELLS:
            raise DataError(
                f"boosting needs dense rows, and {table.shape[0]} examples of {table.shape[1]} "
                "columns do not fit; take fewer terms (max_vocabulary), a denser feature "
                "(sentence_embedding, word2vec), fewer max_examples, or estimator=linear"
            )
        if constant:
            self._take_trees(no_trees(self._odds(target)))
            return
        ensemble = require("sklearn.ensemble", "features", "feature_model")
        kind = "Regressor" if self.task == "rating" else "Classifier"
        model = getattr(ensemble, f"HistGradientBoosting{kind}")(
            learning_rate=self.learning_rate,
            max_iter=self.epochs,
            max_leaf_nodes=self.max_leaves,
            l2_regularization=self.regularization,
            early_stopping=False,
            random_state=self.seed,
        )
        dense = table.toarray() if sparse.issparse(table) else table
        self._take_trees(exported(model.fit(dense, target)))

    def _take_trees(self, trees: dict[str, np.ndarray]) -> None:
        for name in TREES:
            setattr(self, f"tree_{name}", trees[name])

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        self.require_fitted()
        shape = (len(queries), self.n_items) if items is None else items.shape
        scores = np.empty(shape, np.float32)
        for place, batch in queries.batches(BLOCK):
            asked = None if items is None else np.maximum(items[place], 0)
            scores[place] = self._block(batch, asked).clip(self.low, self.high)
        return scores

    def _block(self, queries: Queries, items: np.ndarray | None) -> np.ndarray:
        """Return (B, C) float64 of the asked items, or (B, n_items)."""
        if items is None:
            items = np.broadcast_to(np.arange(self.n_items), (len(queries), self.n_items))
        mine = self.rows.query_rows(queries)
        matches = [
            (np.take_along_axis(cosine, items, axis=1) - centre) / scale
            for cosine, centre, scale in zip(
                self.rows.matches(queries), self.centre, self.scale, strict=True
            )
        ]
        if self.estimator == "linear":
            return self._linear(mine, matches, items)
        return self._boosted(mine, matches, items)

    def _linear(
        self, mine: Matrix | None, matches: list[np.ndarray], items: np.ndarray
    ) -> np.ndarray:
        scores = np.full(items.shape, self.intercept)
        start = 0
        for rows, of_items in ((mine, False), (self.rows.item_rows, True)):
            if rows is not None:
                part = _products(rows, self.coefficients[start : start + rows.shape[1]])
                scores += part[items] if of_items else part[:, None]
                start += rows.shape[1]
        for match, weight in zip(matches, self.coefficients[start:], strict=True):
            scores += weight * match
        return scores

    def _boosted(
        self, mine: Matrix | None, matches: list[np.ndarray], items: np.ndarray
    ) -> np.ndarray:
        trees = {name: getattr(self, f"tree_{name}") for name in TREES}
        scores = np.empty(items.size)
        query = np.repeat(np.arange(len(items)), items.shape[1])
        item, last = items.ravel(), [match.ravel() for match in matches]
        for start in range(0, items.size, ROWS):
            place = slice(start, start + ROWS)
            blocks = [] if mine is None else [_dense(mine[query[place]])]
            if self.rows.item_rows is not None:
                blocks.append(_dense(self.rows.item_rows[item[place]]))
            blocks += [match[place, None] for match in last]
            scores[place] = tree_scores(trees, np.concatenate(blocks, axis=1))
        return scores.reshape(items.shape)

    def save_state(self, folder: Path) -> None:
        super().save_state(folder)
        self.rows.save(folder)

    def load_state(self, folder: Path) -> None:
        super().load_state(folder)
        mean = None if np.isnan(self.mean_rating) else self.mean_rating
        rows = FeatureRows(self.features, self.decay, self.seed)
        self.rows = rows.load(folder, mean)


def _dense(rows: Matrix) -> np.ndarray:
    return rows.toarray() if sparse.issparse(rows) else rows


def _products(rows: Matrix, weights: np.ndarray) -> np.ndarray:
    """Return (R,) float64 products of rows with weights, the same bits in any batch."""
    if sparse.issparse(rows):
        return np.asarray(rows @ weights)
    return (rows * weights).sum(axis=1)
