"""The most frequent class: the floor of the task *classes*."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from llmrec.core.protocols import ModelInfo, Task
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender, below, require_valid
from llmrec.recommenders.simple import ratings_of


class Majority(BaseRecommender):
    """Answers with the most frequent class of each item, the same for everybody.

    Args:
        damping: imaginary interactions of average classes added to each item.

    Raises:
        DataError: from `fit`, if the training part has no classes.
    """

    state: ClassVar[tuple[str, ...]] = ("classes",)

    def __init__(self, *, damping: float = 5.0) -> None:
        self.damping = damping
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        return below(params, damping=0)

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"classes"})

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(parameters=len(self.classes), trainable=len(self.classes))

    def learn(self, train: Dataset) -> None:
        values, codes = np.unique(ratings_of(train, "the majority class"), return_inverse=True)
        k = len(values)
        counts = np.bincount(train.interactions.item * np.int64(k) + codes, minlength=0)
        table = np.zeros(train.n_items * k)
        table[: len(counts)] = counts
        shares = np.bincount(codes, minlength=k) / len(codes)
        # The smallest part of an imaginary interaction decides ties and unseen items.
        damped = table.reshape(-1, k) + max(self.damping, 1e-6) * shares
        self.classes = values[damped.argmax(1)].astype(np.float32)

    def score_all(self, queries: Queries) -> np.ndarray:
        return np.repeat(self.classes[None], len(queries), axis=0)
