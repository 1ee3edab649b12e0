"""Means and learned weights on scores whose best mixture is known."""

from __future__ import annotations

import numpy as np
import pytest

from llmrec.core.errors import ConfigError, DataError
from llmrec.ensembles.combiners import Mean, Weighted
from llmrec.ensembles.weights import Objective, ranking_weights, simplex


def planted(n_members: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores of which member 0 knows half the truth, member 1 the other half."""
    generator = np.random.default_rng(seed)
    n_rows, n_items = 200, 40
    scores = generator.normal(size=(n_members, n_rows, n_items)).astype(np.float32)
    truth = np.zeros((n_rows, n_items), bool)
    held_out = generator.integers(0, n_items, n_rows)
    truth[np.arange(n_rows), held_out] = True
    scores[0, :100][truth[:100]] += 4
    scores[1, 100:][truth[100:]] += 4
    return scores, truth, np.ones((n_rows, n_items), bool)


def test_mean_by_hand() -> None:
    scores = np.array([[[1, 2]], [[3, 6]]], np.float32)
    combined = Mean().combine(scores, np.ones((1, 2), bool))
    assert combined.tolist() == [[2, 4]]
    assert combined.dtype == np.float32


@pytest.mark.parametrize(("n_members", "n_points"), [(1, 1), (2, 21), (3, 231)])
def test_the_grid_is_the_whole_simplex(n_members: int, n_points: int) -> None:
    grid = np.array(list(simplex(n_members, 20)))
    assert len(np.unique(grid, axis=0)) == len(grid) == n_points
    np.testing.assert_allclose(grid.sum(axis=1), 1)
    assert grid.min() >= 0


@pytest.mark.parametrize("n_members", [2, 3, 5])
def test_weights_find_who_knows(n_members: int) -> None:
    scores, truth, allowed = planted(n_members)
    weights = Weighted().fit(scores, truth, allowed).weights
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(), 1)
    assert weights[:2].min() > 0.25
    assert weights[2:].sum() < 0.3
    value = Objective(scores, truth, allowed, 10)
    even = np.full(n_members, 1 / n_members)
    assert value(weights) >= max(value(even), *(value(row) for row in np.eye(n_members)))


def test_coordinate_ascent_is_nearly_as_good_as_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, truth, allowed = planted(3, seed=1)
    value = Objective(scores, truth, allowed, 10)
    grid = value(ranking_weights(scores, truth, allowed, 10, 0.05))
    monkeypatch.setattr("llmrec.ensembles.weights.GRID_MEMBERS", 0)
    ascent = value(ranking_weights(scores, truth, allowed, 10, 0.05))
    assert ascent > 0.97 * grid


def test_equal_members_keep_equal_weights() -> None:
    scores, truth, allowed = planted(2)
    twice = np.stack([scores[0], scores[0]])
    np.testing.assert_allclose(Weighted().fit(twice, truth, allowed).weights, [0.5, 0.5])


def test_places_that_do_not_count_are_not_learned_from() -> None:
    scores, truth, allowed = planted(2)
    expected = Weighted().fit(scores, truth, allowed).weights
    wider = np.concatenate([scores, np.full((2, 200, 5), 1e6, np.float32)], axis=2)
    more_truth = np.concatenate([truth, np.ones((200, 5), bool)], axis=1)
    more_allowed = np.concatenate([allowed, np.zeros((200, 5), bool)], axis=1)
    found = Weighted().fit(wider, more_truth, more_allowed).weights
    np.testing.assert_array_equal(found, expected)


def test_rating_weights_recover_a_mixture() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(3, 1, (3, 50, 4)).astype(np.float32)
    truth = 0.7 * scores[0] + 0.3 * scores[2]
    weights = Weighted(task="rating").fit(scores, truth, np.ones((50, 4), bool)).weights
    np.testing.assert_allclose(weights, [0.7, 0, 0.3], atol=1e-4)


def test_log_odds_weights_recover_a_mixture() -> None:
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 2, (2, 5000, 1)).astype(np.float32)
    likes = generator.random((5000, 1)) < 1 / (1 + np.exp(-(1.5 * odds[0])))
    weights = Weighted(task="preference").fit(odds, likes, np.ones((5000, 1), bool)).weights
    np.testing.assert_allclose(weights, [1.5, 0], atol=0.15)
    assert weights.min() >= 0


def test_nothing_to_learn_from_is_said() -> None:
    scores, truth, allowed = planted(2)
    with pytest.raises(DataError, match="no validation rows"):
        Weighted().fit(scores, truth, ~allowed)


def test_validation_rows_without_likes_are_not_called_absent() -> None:
    odds, likes, rows = np.zeros((2, 5, 3), np.float32), np.zeros((5, 3)), np.ones((5, 3), bool)
    with pytest.raises(DataError, match="no validation row is a like"):
        Weighted(task="preference").fit(odds, likes, rows)
    with pytest.raises(DataError, match="no validation rows"):
        Weighted(task="preference").fit(odds, likes, ~rows)


def test_a_step_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="step"):
        Weighted(step=0.0)
