"""Gradient-boosted trees of scikit-learn as plain arrays, which are stored without pickle."""

from __future__ import annotations

from typing import Any

import numpy as np

NODE = ("feature", "threshold", "left", "right", "value")


def exported(model: Any) -> dict[str, np.ndarray]:
    """Return the trees of a fitted ``HistGradientBoosting…`` of one output.

    Returns:
        (T, N) arrays of the nodes of T trees, filled up with leaves of value 0, and the value
        before the first tree. A leaf points to itself.
    """
    trees = [iteration[0].nodes for iteration in model._predictors]
    size = max((len(nodes) for nodes in trees), default=1)
    found: dict[str, np.ndarray] = {
        "feature": np.zeros((len(trees), size), np.int32),
        "threshold": np.full((len(trees), size), np.inf),
        "left": np.tile(np.arange(size, dtype=np.int32), (len(trees), 1)),
        "right": np.tile(np.arange(size, dtype=np.int32), (len(trees), 1)),
        "value": np.zeros((len(trees), size)),
    }
    for number, nodes in enumerate(trees):
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        found["feature"][number, inner] = nodes["feature_idx"][inner]
        found["threshold"][number, inner] = nodes["num_threshold"][inner]
        found["left"][number, inner] = nodes["left"][inner]
        found["right"][number, inner] = nodes["right"][inner]
        found["value"][number, : len(nodes)] = nodes["value"]
    found["base"] = np.asarray(model._baseline_prediction, np.float64).ravel()[:1]
    return found


def no_trees(base: float) -> dict[str, np.ndarray]:
    """Return the arrays of a model that gives everybody one value."""
    empty = {name: np.zeros((0, 1), np.int32) for name in ("feature", "left", "right")}
    return {
        **empty,
        **dict.fromkeys(("threshold", "value"), np.zeros((0, 1))),
        "base": np.array([base]),
    }


def tree_scores(trees: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return (N,) float64: the sum over the trees for each of (N, D) rows without NaN."""
    total = np.full(len(rows), trees["base"][0])
    every = np.arange(len(rows))
    for feature, threshold, left, right, value in zip(*(trees[k] for k in NODE), strict=True):
        node = np.zeros(len(rows), np.int32)
        while True:
            goes_left = rows[every, feature[node]] <= threshold[node]
            following = np.where(goes_left, left[node], right[node])
            if np.array_equal(following, node):
                break
            node = following
        total += value[node]
    return total
