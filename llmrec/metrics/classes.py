"""Metrics of k classes: truth and prediction are each row's class, as its number in the data."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from llmrec.core.types import Ragged
from llmrec.metrics.pointwise import PooledRatio, divide


class ClassAccuracy(PooledRatio):
    """Accuracy over k classes: the share of rows whose class is predicted."""

    family: ClassVar[Literal["classes"]] = "classes"
    higher_is_better: ClassVar[bool] = True

    def rows(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (truth == predicted).astype(np.float64), np.ones(len(truth))


class MacroF1:
    """Mean over the classes of F1 = 2 TP / (2 TP + FP + FN).

    The classes are those of truth and predictions together, as in scikit-learn. A user's value is
    that of the user's rows alone.
    """

    family: ClassVar[Literal["classes"]] = "classes"
    higher_is_better: ClassVar[bool] = True

    def overall(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        hits, sizes = _counts(truth, predicted, np.zeros(len(truth), np.int64), 1)
        return float(divide(hits, sizes).mean()) if hits.size else float("nan")

    def per_user(self, truth: Ragged, predicted: Ragged) -> np.ndarray:
        hits, sizes = _counts(truth.values, predicted.values, truth.row_of, len(truth))
        scores, present = divide(hits, sizes), sizes > 0
        return divide(np.where(present, scores, 0.0).sum(1), present.sum(1))

    def parts(self, truth: Ragged, predicted: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """Return (U,) values and (U,) ones whose mean over all users is the pooled value.

        Each user gets the pooled value plus U times the user's share in its first-order change, so
        that resampling these values approximates resampling the users.
        """
        hits, sizes = _counts(truth.values, predicted.values, truth.row_of, len(truth))
        total = sizes.sum(0)
        scores = divide(hits.sum(0), total)
        change = divide(hits - scores * sizes, np.broadcast_to(total, sizes.shape)).mean(1)
        return scores.mean() + len(truth) * change, np.ones(len(truth))


def _counts(
    truth: np.ndarray, predicted: np.ndarray, rows: np.ndarray, n_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (R, K) twice the hits, and predictions plus truths, of each row and class."""
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    wanted, guessed = codes[: len(truth)], codes[len(truth) :]
    k = len(classes)

    def table(codes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        flat = np.bincount(rows * k + codes, weights, minlength=n_rows * k)
        return flat.reshape(n_rows, k).astype(np.float64)

    hits = 2.0 * table(wanted, (wanted == guessed).astype(np.float64))
    return hits, table(wanted) + table(guessed)
