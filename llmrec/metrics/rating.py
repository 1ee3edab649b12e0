"""Rating metrics: the error of predicted ratings, pooled over all held-out ratings."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from llmrec.metrics.pointwise import PooledRatio


class RMSE(PooledRatio):
    """Root mean squared error: √(Σ (p − t)² / N) over all rows; per user over the user's rows."""

    family: ClassVar[Literal["rating"]] = "rating"
    higher_is_better: ClassVar[bool] = False

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (predicted - truth) ** 2, np.ones(len(truth))

    def link(self, ratio: np.ndarray) -> np.ndarray:
        root: np.ndarray = np.sqrt(ratio)
        return root


class MAE(PooledRatio):
    """Mean absolute error: Σ |p − t| / N over all rows; per user over the user's rows."""

    family: ClassVar[Literal["rating"]] = "rating"
    higher_is_better: ClassVar[bool] = False

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.abs(predicted - truth), np.ones(len(truth))
