from __future__ import annotations

import numpy as np
import pytest

from llmrec.evaluation import statistics
from llmrec.evaluation.statistics import (
    UserSums,
    bootstrap,
    holm,
    interval,
    paired,
    randomization_test,
)


def mean(values):
    return UserSums.of_mean(np.asarray(values, float))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered, trials = 0, 400
    for trial in range(trials):
        hits = (rng.random(200) < 0.3).astype(float)
        samples = bootstrap([mean(hits)], seed=trial, n_resamples=400)
        low, high = interval(samples[:, 0], 0.95)
        covered += low <= 0.3 <= high
    assert 0.92 < covered / trials < 0.98


def test_p_values_of_equal_models_are_small_as_often_as_they_say():
    rng = np.random.default_rng(1)
    small, trials = 0, 400
    for trial in range(trials):
        a, b = rng.random(60), rng.random(60)
        small += randomization_test([(mean(a), mean(b))], seed=trial, n_resamples=200)[0] <= 0.05
    assert 0.02 < small / trials < 0.085


def test_a_better_model_has_a_small_p_and_an_equal_one_has_not():
    rng = np.random.default_rng(2)
    reference = rng.random(300)
    better, worse = reference + 0.05 * rng.random(300), reference - 0.05 * rng.random(300)
    other = reference[::-1]
    pairs = [(mean(x), mean(reference)) for x in (better, worse, other, reference)]
    p = randomization_test(pairs, seed=0, n_resamples=999)
    assert p[0] == p[1] == 1 / 1000
    assert p[2] > 0.9  # the same values, other users
    assert p[3] == 1.0


def test_a_common_rescaling_changes_no_p_value():
    rng = np.random.default_rng(3)
    a, b = rng.random(40), rng.random(40)
    p = [
        randomization_test([(mean(a * s), mean(b * s))], seed=0, n_resamples=500)[0]
        for s in (1.0, 1e-9, 1e9)
    ]
    assert p[0] == p[1] == p[2]


def test_resamples_are_shared_by_all_columns():
    values = np.random.default_rng(4).random(50)
    samples = bootstrap([mean(values), mean(values + 1), mean(3 * values)], seed=7, n_resamples=50)
    np.testing.assert_allclose(samples[:, 1], samples[:, 0] + 1)
    np.testing.assert_allclose(samples[:, 2], 3 * samples[:, 0])


@pytest.mark.parametrize("bytes_", [1, 8 * 51 * 7])
def test_the_size_of_the_blocks_changes_no_resample(monkeypatch, bytes_):
    columns = [mean(np.random.default_rng(4).random(51))]
    expected = bootstrap(columns, seed=7, n_resamples=40)
    monkeypatch.setattr(statistics, "BLOCK_BYTES", bytes_)
    np.testing.assert_allclose(bootstrap(columns, seed=7, n_resamples=40), expected, rtol=1e-12)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    columns = [mean(np.random.default_rng(5).random(30))]
    first = bootstrap(columns, seed=1, n_resamples=20)
    assert (bootstrap(columns, seed=1, n_resamples=20) == first).all()
    assert (bootstrap(columns, seed=2, n_resamples=20) != first).any()


def test_users_without_a_value_are_dropped_pairwise():
    a = mean([1.0, np.nan, 0.5, 0.0])
    b = mean([0.0, 1.0, np.nan, 0.0])
    assert (a.value, b.value) == (0.5, pytest.approx(1 / 3))
    first, second = paired(a, b)
    assert (first.value, second.value) == (0.5, 0.0)  # the first and the last user
    assert first.denominator.tolist() == second.denominator.tolist() == [1, 0, 0, 1]


def test_pooled_ratios_keep_all_users_in_a_pair():
    a = UserSums(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    b = UserSums(np.array([1.0, 1.0]), np.array([1.0, 2.0]))
    assert paired(a, b) == (a, b)


def test_nothing_known_gives_no_number():
    nothing = mean([np.nan, np.nan])
    assert np.isnan(nothing.value)
    assert np.isnan(interval(bootstrap([nothing], seed=0, n_resamples=10)[:, 0])).all()
    assert np.isnan(randomization_test([(nothing, nothing)], seed=0, n_resamples=10)).all()


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.5, np.nan, 0.9])), [1.0, np.nan, 1.0])
    assert holm(np.array([])).tolist() == []
