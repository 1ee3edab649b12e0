"""Content-based filtering: items like those of the history, by any feature of items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from llmrec.core.config import FeatureSpec, build
from llmrec.core.errors import ComponentError
from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Queries, Ragged
from llmrec.features.base import Matrix, unit_rows
from llmrec.recommenders.base import BaseRecommender, require_valid
from llmrec.recommenders.histories import batch_free_product, recency_matrix

TFIDF = {"name": "tfidf"}
BLOCK = 256


def profiles(histories: Ragged, unit_items: Matrix, decay: float) -> Matrix:
    """Return (B, D) rows of length 1: the weighted mean direction of the items of each history.

    Args:
        histories: B rows of items.
        unit_items: (n_items, D) rows of length 1.
        decay: how much less an item weighs for each step it lies back.
    """
    return unit_rows(recency_matrix(histories, unit_items.shape[0], decay) @ unit_items)


def cosines(rows: Matrix, unit_items: Matrix) -> np.ndarray:
    """Return (B, n_items) float32 products of unit rows, the same bits in any batch."""
    if sparse.issparse(unit_items):
        return np.asarray((rows @ unit_items.T).toarray(), np.float32)
    return batch_free_product(rows, unit_items)


def item_feature(spec: Mapping[str, Any], seed: int, owner: str) -> Any:
    """Build a feature that must describe items.

    Raises:
        ComponentError: if it describes queries.
    """
    feature = build("feature", spec, seed=seed)
    if feature.describes != "item":
        raise ComponentError(
            f"{owner} compares items, and its feature {spec['name']} describes users or moments; "
            "set its option of to item, or choose another"
        )
    return feature


class ContentKNN(BaseRecommender):
    """Scores an item by the cosine between its features and those of the history's items.

    The profile of a query is the mean of the unit feature vectors of its items, the newest
    weighing most. An item without interactions is scored like any other, by its features (Pazzani
    and Billsus, The Adaptive Web, 2007).

    Args:
        feature: a feature of items, from texts or anything else.
        decay: how much less an item of the history weighs for each step it lies back; 1 forgets
            nothing.
        seed: of a feature that draws at random and has no seed of its own.
    """

    state: ClassVar[tuple[str, ...]] = ("item_vectors", "origin", "described")

    def __init__(self, *, feature: FeatureSpec = TFIDF, decay: float = 0.9, seed: int = 0) -> None:
        self.feature = feature
        self.decay = decay
        self.seed = seed
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        if not 0 < params.get("decay", 1) <= 1:
            return [("decay", f"expected more than 0, at most 1, got {params['decay']!r}")]
        return []

    def learn(self, train: Dataset) -> None:
        feature = item_feature(self.feature, self.seed, "content_knn").fit(train)
        self.item_vectors = unit_rows(feature.items())
        self.origin = feature.weights
        self.described = json.dumps(dict(feature.details))

    def score_all(self, queries: Queries) -> np.ndarray:
        n_items = self.item_vectors.shape[0]
        scores = np.empty((len(queries), n_items), np.float32)
        for place, batch in queries.batches(BLOCK):
            mine = profiles(batch.histories, self.item_vectors, self.decay)
            scores[place] = cosines(mine, self.item_vectors)
        return scores

    @property
    def info(self) -> ModelInfo:
        size = getattr(self.item_vectors, "nnz", self.item_vectors.size)
        return ModelInfo(
            parameters=size,
            trainable=0 if self.origin else size,
            weights=self.origin,
            details={"feature": json.loads(self.described)},
        )
