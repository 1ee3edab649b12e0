"""Rating and preference metrics against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from llmrec.core.types import Ragged
from llmrec.metrics.names import parse

pytestmark = pytest.mark.reference
sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


def as_probability(scores):
    return 1 / (1 + np.exp(-scores.astype(np.float64)))


THEIRS = {
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "accuracy": lambda t, p: sk.accuracy_score(t, p > 0),
    "binary_precision": lambda t, p: sk.precision_score(t, p > 0, zero_division=np.nan),
    "binary_recall": lambda t, p: sk.recall_score(t, p > 0, zero_division=np.nan),
    "f1": lambda t, p: sk.f1_score(t, p > 0, zero_division=np.nan),
    "roc_auc": lambda t, p: sk.roc_auc_score(t, p) if len(np.unique(t)) > 1 else np.nan,
    "log_loss": lambda t, p: sk.log_loss(t, as_probability(p), labels=[0, 1]),
}


def make(name):
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 9, 50)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n = offsets[-1]
    if name in ("rmse", "mae"):
        truth = rng.integers(1, 6, n).astype(np.float32)
        predicted = (truth + rng.standard_normal(n)).astype(np.float32)
    else:
        truth = rng.integers(0, 2, n).astype(np.float32)
        # Rounded, so that scores are tied within and between users.
        predicted = np.round(truth - 0.5 + rng.standard_normal(n), 1).astype(np.float32)
    return Ragged(truth, offsets), Ragged(predicted, offsets)


@pytest.mark.parametrize("name", THEIRS)
def test_pooled_value(name):
    truth, predicted = make(name)
    (named,) = parse([name])
    expected = THEIRS[name](truth.values, predicted.values)
    assert named.metric.overall(truth.values, predicted.values) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_values_per_user(name):
    truth, predicted = make(name)
    (named,) = parse([name])
    expected = [THEIRS[name](t, p) for t, p in zip(truth, predicted, strict=True)]
    np.testing.assert_allclose(named.metric.per_user(truth, predicted), expected, rtol=1e-6)
