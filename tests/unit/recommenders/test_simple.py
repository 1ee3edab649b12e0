"""Random, popularity and biases, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from llmrec.core.errors import DataError
from llmrec.core.types import Queries, Ragged
from llmrec.recommenders.simple import Bias, Popularity, Random

ROWS = [(0, 0, 5), (0, 1, 3), (1, 0, 4), (1, 2, 1), (2, 0, 5)]


def ask(users: list[int], histories: list[list[int]], ratings: list[list[float]] | None = None):  # type: ignore[no-untyped-def]
    rated = None if ratings is None else Ragged.from_rows(ratings, np.float32)
    return Queries(np.array(users), Ragged.from_rows(histories), rated)


def test_random_is_fixed_by_user_item_and_seed(make_data) -> None:  # type: ignore[no-untyped-def]
    data = make_data(ROWS, 3, 1000)
    scores = Random(seed=1).fit(data).score(ask([0, 1, 0], [[], [], [5]]))
    np.testing.assert_array_equal(scores[0], scores[2])
    assert (scores[0] != scores[1]).mean() > 0.99
    assert (scores[0] != Random(seed=2).fit(data).score(ask([0], [[]]))[0]).mean() > 0.99
    assert 0 <= scores.min() < 0.01
    assert 0.45 < scores.mean() < 0.55
    assert 0.99 < scores.max() < 1


def test_popularity_counts_training_interactions(make_data) -> None:  # type: ignore[no-untyped-def]
    scores = Popularity().fit(make_data(ROWS, 3, 4)).score(ask([2, -1], [[0], []]))
    assert scores.tolist() == [[3, 1, 1, 0]] * 2


def test_bias_by_hand(make_data) -> None:  # type: ignore[no-untyped-def]
    rows = [(0, 0, 5), (0, 1, 3), (1, 0, 4)]
    model = Bias(item_damping=1.0, user_damping=1.0, epochs=1).fit(make_data(rows, 3, 3))
    items = [(1 + 0) / 3, -1 / 2, 0]  # mean 4; sums of deviations over count + 1
    users = [((1 - items[0]) + (-1 - items[1])) / 3, (0 - items[0]) / 2, 0]
    expected = np.clip(4 + np.array(users)[:, None] + np.array(items), 3, 5)
    np.testing.assert_allclose(model.score(ask([0, 1, 2], [[], [], []])), expected, rtol=1e-6)


def test_bias_prefers_the_ratings_that_the_query_carries(make_data) -> None:  # type: ignore[no-untyped-def]
    data = make_data(ROWS, 3, 3)
    model = Bias(epochs=3).fit(data)
    fitted = model.score(ask([0, 1, 2], [[], [], []]))
    same = model.score(ask([-1, -1, -1], [[0, 1], [0, 2], [0]], [[5, 3], [4, 1], [5]]))
    np.testing.assert_allclose(same, fitted, rtol=1e-6)
    hard, kind = model.score(ask([0, 0], [[0], [0]], [[1], [5]]))
    assert (hard < kind).all()


def test_predictions_stay_within_the_ratings_seen(make_data) -> None:  # type: ignore[no-untyped-def]
    model = Bias(item_damping=0, user_damping=0).fit(make_data(ROWS, 3, 3))
    scores = model.score(ask([-1, -1], [[2] * 9, [0] * 9], [[5] * 9, [1] * 9]))
    assert scores.max() == 5
    assert scores.min() == 1


def test_odds_of_a_like_are_those_of_the_damped_shares(make_data) -> None:  # type: ignore[no-untyped-def]
    rows = [(user, 0, 5) for user in range(50)] + [(user, 1, 1) for user in range(50)]
    model = Bias(task="preference", item_damping=2.0).fit(make_data(rows, 50, 3))
    scores = model.score(ask([-1], [[]]))[0]
    share = (50 + 2 * 0.5 + 0.5) / (50 + 2 + 1)
    np.testing.assert_allclose(scores[0], np.log(share / (1 - share)), rtol=1e-5)
    np.testing.assert_allclose(scores[:2].sum(), 0, atol=1e-6)
    assert abs(scores[2]) < 1e-6


def test_without_ratings_bias_says_what_is_missing(make_data) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="by hand has none"):
        Bias().fit(make_data(ROWS, 3, 3, rated=False))
    with pytest.raises(DataError, match="training part is empty"):
        Bias().fit(make_data(ROWS, 3, 3).select(np.zeros(5, bool)))


def test_likes_alone_teach_nothing(make_data) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="one side of the threshold 6"):
        Bias(task="preference", threshold=6.0).fit(make_data(ROWS, 3, 3))
