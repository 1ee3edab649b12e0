"""A baseline: popularity in which an old interaction counts less than a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, require_valid

SECONDS_A_DAY = 86_400


class RecentPopularity(BaseRecommender):
    """Scores an item by its training interactions, each worth half as much per half-life of age.

    Args:
        half_life_days: age at which an interaction counts one half, seen from the end of training.

    Raises:
        DataError: from `fit`, if the data has no timestamps.
    """

    state: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(self, *, half_life_days: float = 30.0) -> None:
        self.half_life_days = half_life_days
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        if params.get("half_life_days", 30.0) > 0:
            return []
        return [("half_life_days", "must be above 0")]

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(parameters=len(self.weights), trainable=len(self.weights))

    def learn(self, train: Dataset) -> None:
        times = train.interactions.timestamp
        if times is None:
            raise DataError(f"recent popularity needs timestamps, and {train.name} has none")
        age = (times.max(initial=0) - times) / (self.half_life_days * SECONDS_A_DAY)
        counts = np.bincount(train.interactions.item, 0.5**age, minlength=train.n_items)
        self.weights = counts.astype(np.float32)

    def score_all(self, queries: Queries) -> np.ndarray:
        return np.repeat(self.weights[None], len(queries), axis=0)
