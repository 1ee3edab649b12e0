"""Recommenders side by side: values, confidence intervals, paired tests against the best baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmrec.evaluation.result import ModelResult


@dataclass(frozen=True)
class Versus:
    """One recommender against the reference (the best baseline) on one metric.

    Attributes:
        difference: mean of the paired differences, recommender minus reference.
        low: lower end of the paired bootstrap confidence interval of the difference.
        high: upper end.
        p: two-sided p-value of the paired randomization test.
        p_holm: the same after Holm's correction over all rows of the comparison.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """The judged recommenders of one data set, split, candidate set and task, best first.

    Attributes:
        results: one per recommender, ordered by the main metric, best first.
        reference: label of the best baseline on the main metric (ties: the first), or None.
        intervals: by label, then metric: (low, high) bootstrap interval of the value itself.
        versus: by label, then metric, for all but the reference.
        confidence: level of the intervals, e.g. 0.95.
    """

    results: tuple[ModelResult, ...]
    reference: str | None
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    versus: Mapping[str, Mapping[str, Versus]]
    confidence: float = 0.95

    @property
    def main_metric(self) -> str:
        """The metric that orders the table."""
        return self.results[0].metrics[0]

    @property
    def protocol(self) -> str:
        """Split and candidates, as quoted in every label."""
        return self.results[0].protocol

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat mapping per recommender: only what a rerun reproduces bit for bit."""
        raise NotImplementedError

    def cost_rows(self) -> list[dict[str, Any]]:
        """Return one flat mapping per recommender of seconds, memory and parameters."""
        raise NotImplementedError


def compare(
    results: Sequence[ModelResult],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Comparison:
    """Put results side by side.

    Args:
        results: of one data set, split and task.
        seed: of the bootstrap and the randomization test.
        n_resamples: bootstrap samples and random sign flips.
        confidence: level of the intervals.

    Raises:
        RunError: if results of different data, protocols or tasks are mixed, or labels repeat.
    """
    raise NotImplementedError
