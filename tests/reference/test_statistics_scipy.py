"""Bootstrap, randomization test and Holm against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest

from llmrec.core.types import Ragged
from llmrec.evaluation.statistics import UserSums, bootstrap, holm, interval, randomization_test
from llmrec.metrics.names import parse

pytestmark = pytest.mark.reference
stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
N = 20_000


@pytest.fixture(scope="module")
def two_models():
    rng = np.random.default_rng(0)
    common = rng.random(80)
    a = np.clip(common + 0.3 * rng.random(80), 0, 1)
    b = np.clip(common + 0.3 * rng.random(80) - 0.02, 0, 1)
    return a, b


def test_interval_of_a_paired_difference(two_models):
    a, b = two_models
    samples = bootstrap([UserSums.of_mean(a), UserSums.of_mean(b)], seed=1, n_resamples=N)
    ours = interval(samples[:, 0] - samples[:, 1])
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        paired=True,
        n_resamples=N,
        method="percentile",
        rng=np.random.default_rng(2),
    )
    spread = theirs.standard_error
    assert abs(ours[0] - theirs.confidence_interval.low) < 0.06 * spread
    assert abs(ours[1] - theirs.confidence_interval.high) < 0.06 * spread
    assert (samples[:, 0] - samples[:, 1]).std() == pytest.approx(spread, rel=0.03)


def test_interval_of_a_pooled_rmse(two_models):
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 30, 60)
    truth = Ragged(rng.normal(size=lengths.sum()), np.concatenate([[0], np.cumsum(lengths)]))
    predicted = truth.with_values(truth.values + rng.normal(size=len(truth.values)))
    (named,) = parse(["rmse"])
    above, below = named.metric.parts(truth, predicted)
    samples = bootstrap([UserSums(above, below, named.metric.link)], seed=1, n_resamples=N)
    theirs = stats.bootstrap(
        (above, below),
        lambda x, y, axis: np.sqrt(x.sum(axis=axis) / y.sum(axis=axis)),
        paired=True,
        n_resamples=N,
        method="percentile",
        rng=np.random.default_rng(2),
    )
    ours = interval(samples[:, 0])
    assert abs(ours[0] - theirs.confidence_interval.low) < 0.06 * theirs.standard_error
    assert abs(ours[1] - theirs.confidence_interval.high) < 0.06 * theirs.standard_error


def test_p_value_of_a_paired_difference(two_models):
    a, b = two_models
    pair = (UserSums.of_mean(a), UserSums.of_mean(b))
    ours = randomization_test([pair], seed=1, n_resamples=N)[0]
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type="samples",
        n_resamples=N,
        rng=np.random.default_rng(2),
    ).pvalue
    error = np.sqrt(2 * theirs * (1 - theirs) / N)
    assert 0.0005 < theirs < 0.5  # else the check says nothing
    assert abs(ours - theirs) < 4 * error


def test_p_value_of_a_small_sample_is_that_of_all_sign_flips():
    a = np.array([0.9, 0.4, 0.8, 0.7, 0.3, 0.6, 1.0, 0.2])
    b = np.array([0.5, 0.5, 0.6, 0.2, 0.3, 0.1, 0.7, 0.3])
    exact = stats.permutation_test(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    pair = (UserSums.of_mean(a), UserSums.of_mean(b))
    ours = randomization_test([pair], seed=0, n_resamples=N)[0]
    assert abs(ours - exact) < 4 * np.sqrt(exact * (1 - exact) / N)


def test_p_value_of_pooled_metrics():
    """F1 (unequal denominators) and RMSE (a link): scipy swaps the same pairs of sums."""
    rng = np.random.default_rng(4)
    truth = Ragged(rng.integers(0, 2, 300).astype(float), np.arange(0, 301, 6))
    first = truth.with_values(truth.values - 0.5 + rng.normal(size=300))
    second = truth.with_values(truth.values - 0.5 + 1.4 * rng.normal(size=300))
    for name, link in (("f1", lambda x: x), ("rmse", np.sqrt)):
        (named,) = parse([name])
        a, b = (named.metric.parts(truth, scores) for scores in (first, second))
        pair = (UserSums(*a, named.metric.link), UserSums(*b, named.metric.link))
        ours = randomization_test([pair], seed=1, n_resamples=N)[0]

        def difference(x, y, link=link, a=a, b=b):
            # x and y hold user numbers: from U on they mean "the second recommender's sums".
            above, below = np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])
            x, y = x.astype(int), y.astype(int)
            return link(above[x].sum() / below[x].sum()) - link(above[y].sum() / below[y].sum())

        theirs = stats.permutation_test(
            (np.arange(50), np.arange(50, 100)),
            difference,
            permutation_type="samples",
            n_resamples=4000,
            vectorized=False,
            rng=np.random.default_rng(2),
        ).pvalue
        error = np.sqrt(theirs * (1 - theirs) * (1 / N + 1 / 4000))
        assert abs(ours - theirs) < 4 * error + 1 / 4000, name


def test_interval_of_a_pooled_area_is_close_to_that_of_resampling_users():
    rng = np.random.default_rng(6)
    lengths = rng.integers(2, 12, 150)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    truth = Ragged(rng.integers(0, 2, offsets[-1]).astype(float), offsets)
    taste = np.repeat(rng.normal(size=150), lengths)  # users differ: rows are not independent
    scores = truth.with_values(truth.values + taste + rng.normal(size=offsets[-1]))
    (named,) = parse(["roc_auc"])
    samples = bootstrap([UserSums(*named.metric.parts(truth, scores))], seed=1, n_resamples=N)
    brute = []
    for _ in range(1500):
        users = rng.integers(0, 150, 150)
        brute.append(named.metric.overall(truth.take(users).values, scores.take(users).values))
    assert samples.mean() == pytest.approx(np.mean(brute), abs=0.003)
    assert samples.std() == pytest.approx(np.std(brute), rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    multitest = pytest.importorskip(
        "statsmodels.stats.multitest", reason="statsmodels is not installed (extra: test)"
    )
    p = np.random.default_rng(seed).random(9) ** 3
    p[3] = p[5]
    np.testing.assert_array_equal(holm(p), multitest.multipletests(p, method="holm")[1])
