"""Ranking metrics against ranx and scikit-learn, from scores to values."""

from __future__ import annotations

import os

import numpy as np
import pytest

from llmrec.core.ranking import ranks_of
from llmrec.core.types import Ragged
from llmrec.metrics.names import parse

pytestmark = pytest.mark.reference
# ranx compiles for more than a minute the first time; its Python code gives the same numbers.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
ranx = pytest.importorskip("ranx", reason="ranx is not installed (extra: test)")
sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")

N_USERS, N_ITEMS = 60, 80
KS = (1, 5, 10, 20)


@pytest.fixture(scope="module")
def judged():
    """Unique scores (others order ties in their own ways) and 1 to 12 relevant items per user."""
    rng = np.random.default_rng(11)
    scores = np.stack([rng.permutation(N_ITEMS) for _ in range(N_USERS)]).astype(np.float32)
    truth = Ragged.from_rows(
        [rng.choice(N_ITEMS, rng.integers(1, 13), replace=False) for _ in range(N_USERS)], np.int64
    )
    return scores, truth, ranks_of(scores, truth, np.arange(N_USERS))


@pytest.fixture(scope="module")
def ranx_run(judged):
    scores, truth, _ = judged
    qrels = {f"u{u:03}": {f"i{i}": 1 for i in row} for u, row in enumerate(truth)}
    run = {
        f"u{u:03}": {f"i{i}": float(s) for i, s in enumerate(row)} for u, row in enumerate(scores)
    }
    return ranx.Qrels(qrels), ranx.Run(run)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("hr", "hit_rate"),
        ("recall", "recall"),
        ("precision", "precision"),
        ("mrr", "mrr"),
        ("ndcg", "ndcg"),
    ],
)
def test_the_same_as_ranx(judged, ranx_run, ours, theirs, k):
    (named,) = parse([f"{ours}@{k}"])
    expected = ranx.evaluate(*ranx_run, f"{theirs}@{k}", return_mean=False)
    np.testing.assert_allclose(named.metric.per_user(judged[2]), expected, rtol=1e-12)


@pytest.mark.parametrize("k", KS)
def test_map_is_that_of_ranx_with_another_divisor(judged, ranx_run, k):
    """ranx divides by R, we divide by min(k, R)."""
    (named,) = parse([f"map@{k}"])
    expected = ranx.evaluate(*ranx_run, f"map@{k}", return_mean=False)
    relevant = judged[1].lengths
    expected = expected * relevant / np.minimum(k, relevant)
    np.testing.assert_allclose(named.metric.per_user(judged[2]), expected, rtol=1e-12)


@pytest.mark.parametrize("k", KS)
def test_ndcg_is_that_of_scikit_learn(judged, k):
    scores, truth, ranks = judged
    relevance = np.zeros(scores.shape)
    relevance[truth.row_of, truth.values] = 1
    expected = [
        sklearn.ndcg_score(relevance[u : u + 1], scores[u : u + 1], k=k) for u in range(N_USERS)
    ]
    (named,) = parse([f"ndcg@{k}"])
    np.testing.assert_allclose(named.metric.per_user(ranks), expected, rtol=1e-12)


def test_map_of_the_whole_list_is_average_precision(judged):
    scores, truth, ranks = judged
    relevance = np.zeros(scores.shape)
    relevance[truth.row_of, truth.values] = 1
    expected = [
        sklearn.average_precision_score(r, s) for r, s in zip(relevance, scores, strict=True)
    ]
    (named,) = parse([f"map@{N_ITEMS}"])
    np.testing.assert_allclose(named.metric.per_user(ranks), expected, rtol=1e-12)
