"""Logistic regression on the words of the judged review: what text classifiers have to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.extras import require
from llmrec.core.protocols import ModelInfo, Task
from llmrec.core.types import Dataset, Queries, Ragged
from llmrec.features.base import Matrix
from llmrec.features.terms import TFIDF
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.reviews import asked_reviews, training_reviews
from llmrec.recommenders.simple import ratings_of


class TfidfLogistic(BaseRecommender):
    """Predicts the class of an interaction from the words of its review alone.

    TF-IDF of words and word pairs, and logistic regression over the classes, both scikit-learn's
    (the weights of the terms by its formula). Every training review is an example. It needs an
    evaluation with ``reads_review``. An empty review gets what the intercepts say.

    Args:
        shortest: words of the shortest n-gram.
        longest: words of the longest n-gram.
        min_documents: terms in fewer training reviews are left out.
        max_vocabulary: only so many of the most frequent terms; null for all.
        sublinear: a count c becomes ``1 + ln c``.
        regularization: weight of the squared norm of the coefficients.
        class_weights: ``balanced`` weighs the classes by their inverse frequency; null for none.
        epochs: steps of the optimizer at most.

    Raises:
        DataError: from `fit`, if there are no reviews, no classes, or only one class.
    """

    state: ClassVar[tuple[str, ...]] = (
        "vocabulary",
        "idf",
        "coefficients",
        "intercepts",
        "classes",
    )
    reads_review: ClassVar[bool] = True
    reads_texts: ClassVar[bool] = True

    def __init__(
        self,
        *,
        shortest: int = 1,
        longest: int = 2,
        min_documents: int = 2,
        max_vocabulary: int | None = None,
        sublinear: bool = True,
        regularization: float = 0.1,
        class_weights: Literal["balanced"] | None = None,
        epochs: int = 500,
    ) -> None:
        self.shortest = shortest
        self.longest = longest
        self.min_documents = min_documents
        self.max_vocabulary = max_vocabulary
        self.sublinear = sublinear
        self.regularization = regularization
        self.class_weights = class_weights
        self.epochs = epochs
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        found = below(params, shortest=1, longest=1, min_documents=1, max_vocabulary=1, epochs=1)
        if params.get("regularization", 1.0) <= 0:
            found.append(("regularization", "must be above 0"))
        if params.get("shortest", 1) > params.get("longest", 2):
            found.append(("longest", "must be at least shortest"))
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"classes"})

    @property
    def info(self) -> ModelInfo:
        size = self.coefficients.size + self.intercepts.size
        return ModelInfo(parameters=size, trainable=size, details={"terms": len(self.vocabulary)})

    def learn(self, train: Dataset) -> None:
        rating = ratings_of(train, "tfidf_logistic")[train.rows_by_user.values]
        reviews = training_reviews(train)
        if len(np.unique(rating)) < 2:
            raise DataError(
                f"tfidf_logistic tells classes apart, and all training rows of {train.name} are of "
                "one; choose other evaluation.class_bounds"
            )
        terms = self._terms()
        terms.learn_texts([review for review in reviews if review.strip()])
        self.vocabulary, self.idf = terms.vocabulary, terms.idf
        linear = require("sklearn.linear_model", "features", "tfidf_logistic")
        model = linear.LogisticRegression(
            C=1 / self.regularization, class_weight=self.class_weights, max_iter=self.epochs
        )
        model.fit(self._rows(reviews), rating)
        self.classes = np.asarray(model.classes_, np.float32)
        self.coefficients = np.asarray(model.coef_, np.float64)
        self.intercepts = np.asarray(model.intercept_, np.float64)

    def _terms(self) -> TFIDF:
        return TFIDF(
            shortest=self.shortest,
            longest=self.longest,
            min_documents=self.min_documents,
            max_vocabulary=self.max_vocabulary,
            sublinear=self.sublinear,
        )

    def _rows(self, reviews: list[str]) -> Matrix:
        """Return (N, D) unit rows of the reviews' terms."""
        terms = self._terms()
        terms.vocabulary, terms.idf = self.vocabulary, self.idf
        each = Ragged(np.arange(len(reviews)), np.arange(len(reviews) + 1))
        return terms.gather(each, terms.encode(reviews, None))

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        self.require_fitted()
        reviews = asked_reviews(queries, items)
        assert items is not None
        scores = np.zeros(items.shape, np.float32)
        if not reviews:
            return scores
        odds = self._rows(reviews) @ self.coefficients.T + self.intercepts
        best = (odds[:, 0] > 0).astype(int) if odds.shape[1] == 1 else odds.argmax(1)
        scores[items >= 0] = self.classes[best]
        return scores
