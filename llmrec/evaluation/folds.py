"""Comparisons of several folds in one table: mean and standard deviation over the folds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmrec.core.errors import RunError
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.result import ModelResult, full_label

_FOLD = re.compile(r",? ?fold \d+")


def average(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return one row per recommender, best first, over runs that differ only by their fold.

    Args:
        comparisons: of the same recommenders, metrics and data, each of another fold; their
            protocols are equal but for ``fold N``.

    Returns:
        rows of ``model``, ``family``, ``weights``, ``n`` (folds), and for each metric
        ``… mean`` and ``… std`` (of a sample: divided by n − 1; NaN for one fold). Folds share
        training data, so the standard deviation is a description, no basis for a test.

    Raises:
        RunError: if the runs differ in more than the fold, or one fold is there twice.
    """
    _check_folds(comparisons)
    protocol = without_fold(comparisons[0].protocol)
    metrics = comparisons[0].results[0].metrics
    by_label: dict[str, list[ModelResult]] = {}
    for comparison in comparisons:
        for result in comparison.results:
            by_label.setdefault(result.label, []).append(result)
    main = full_label(metrics[0], protocol)
    sign = -1.0 if comparisons[0].results[0].higher_is_better[metrics[0]] else 1.0
    rows = []
    for label, results in by_label.items():
        info = results[0].info
        row = {"model": label, "family": info.family, "weights": info.weights, "n": len(results)}
        for name in metrics:
            values = np.array([result.overall[name] for result in results])
            row[f"{full_label(name, protocol)} mean"] = float(values.mean())
            spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
            row[f"{full_label(name, protocol)} std"] = spread
        rows.append(row)

    def place(row: dict[str, Any]) -> float:
        value = row[f"{main} mean"]
        return math.inf if math.isnan(value) else sign * value

    return sorted(rows, key=place)


def without_fold(protocol: str) -> str:
    """Return a protocol without the number of its fold.

    Example:
        >>> without_fold("random 5-fold, fold 2, liked from 4")
        'random 5-fold, liked from 4'
    """
    return _FOLD.sub("", protocol)


def _check_folds(comparisons: Sequence[Comparison]) -> None:
    if not comparisons:
        raise RunError("there is no comparison to average; run at least one fold")
    first = comparisons[0]
    labels = {result.label for result in first.results}
    for other in comparisons[1:]:
        mine, theirs = without_fold(first.protocol), without_fold(other.protocol)
        if mine != theirs:
            raise RunError(f"folds of different protocols cannot be averaged: {mine} and {theirs}")
        for what in ("data", "task", "metrics"):
            a, b = getattr(first.results[0], what), getattr(other.results[0], what)
            if a != b:
                raise RunError(f"runs with different {what} cannot be averaged: {a} and {b}")
        missing = labels ^ {result.label for result in other.results}
        if missing:
            raise RunError(
                f'"{sorted(missing)[0]}" is not in every fold; run the same recommenders on each'
            )
    protocols = [comparison.protocol for comparison in comparisons]
    twice = [protocol for protocol in protocols if protocols.count(protocol) > 1]
    if twice:
        raise RunError(f"{twice[0]} is there twice; average each fold once")
