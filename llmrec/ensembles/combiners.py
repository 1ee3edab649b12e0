"""How an ensemble turns its members' scores into one: the plain mean, or weights that it learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from llmrec.core.errors import DataError
from llmrec.ensembles.weights import likes_weights, ranking_weights, rating_weights
from llmrec.recommenders.base import below, require_valid


def weighted_sum(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (B, C) float32 from (M, B, C) scores, added in member order: the same in any batch."""
    total = np.zeros(scores.shape[1:])
    for score, weight in zip(scores, weights, strict=True):
        if weight:  # a member without weight cannot spoil anything, not even by an infinity
            total += float(weight) * score
    return total.astype(np.float32)


class Mean:
    """The mean of the members' scores; learns nothing."""

    learns: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]] = ()

    def fit(self, scores: np.ndarray, truth: np.ndarray, allowed: np.ndarray) -> Self:  # noqa: ARG002
        return self

    def combine(self, scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:  # noqa: ARG002
        return weighted_sum(scores, np.full(len(scores), 1 / len(scores)))


class Weighted:
    """A weighted sum of the members' scores, its weights learned on validation scores.

    Ranking: weights from 0 that sum to 1 and maximise NDCG@k, by a deterministic search (a grid
    over all mixtures of up to three members, coordinate ascent for more; ties go to the mixture
    nearest to the plain mean). Rating: non-negative least squares. Preference: non-negative
    weights of log-odds that minimise log loss.

    Args:
        task: what the scores are; an ensemble supplies its own.
        k: the cut-off of NDCG (ranking only).
        step: distance between the weights tried (ranking only).
    """

    learns: ClassVar[bool] = True
    state: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(
        self,
        *,
        task: Literal["ranking", "rating", "preference"] | None = None,
        k: int = 10,
        step: float = 0.05,
    ) -> None:
        self.task = task
        self.k = k
        self.step = step
        require_valid(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        problems = below(params, k=1)
        if not 0 < params.get("step", 1) <= 1:
            problems.append(("step", f"expected more than 0, at most 1, got {params['step']!r}"))
        return problems

    def fit(self, scores: np.ndarray, truth: np.ndarray, allowed: np.ndarray) -> Self:
        asked = allowed if self.task in ("rating", "preference") else truth.astype(bool) & allowed
        if not asked.any():
            raise DataError("the combiner has no validation rows to learn its weights from")
        if self.task == "preference" and not truth[allowed].any():
            raise DataError(
                "no validation row is a like, and weights are learned from likes and others; "
                "choose another threshold or split, or the combiner mean"
            )
        if self.task == "rating":
            self.weights = rating_weights(scores, truth, allowed)
        elif self.task == "preference":
            self.weights = likes_weights(scores, truth, allowed)
        else:
            self.weights = ranking_weights(scores, truth, allowed, self.k, self.step)
        return self

    def combine(self, scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:  # noqa: ARG002
        return weighted_sum(scores, self.weights)
