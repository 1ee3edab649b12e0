"""Averages of user and item, beside the bias model, and without the example's own rating."""

from __future__ import annotations

import lm_cases
import numpy as np
import pytest

from llmrec.core.types import Ragged, make_queries
from llmrec.heads.averages import Averages
from llmrec.recommenders.simple import Bias


@pytest.mark.parametrize("threshold", [None, 3.0])
def test_queries_are_answered_as_by_the_bias_model(threshold: float | None) -> None:
    split = lm_cases.split()
    queries, _ = make_queries(split.train, split.test)
    averages = Averages.fit(split.train, 10.0, threshold)
    task = "rating" if threshold is None else "preference"
    damped = {"item_damping": 10.0, "user_damping": 10.0, "threshold": threshold or 4.0}
    bias = Bias(task=task, **damped).fit(split.train)
    users = averages.of_users(queries.histories, queries.ratings)
    n_items = split.train.n_items
    mine = averages.offsets(np.repeat(users, n_items), np.tile(np.arange(n_items), len(users)))
    expected = bias.score(queries)
    if threshold is None:
        mine = mine.clip(bias.low, bias.high)
    np.testing.assert_allclose(mine.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize("threshold", [None, 3.0])
@pytest.mark.parametrize("others", [True, False])
def test_an_example_does_not_count_its_own_rating(threshold: float | None, others: bool) -> None:
    train = lm_cases.split().train
    averages = Averages.fit(train, 2.0, threshold)
    found = averages.of_places(train, np.arange(len(train)), others=others)
    ratings = train.histories.with_values(train.interactions.rating[train.rows_by_user.values])
    for place in (0, 5, 11):
        user = train.histories.row_of[place]
        begin = train.histories.offsets[user]
        kept = np.arange(train.histories.lengths[user])
        kept = kept[kept != place - begin] if others else kept[: place - begin]
        history = train.histories.take(np.array([user]))
        shown = Ragged(history.values[kept], np.array([0, len(kept)]))
        deviation = averages.of_users(shown, shown.with_values(ratings[user][kept]))
        expected = averages.offsets(deviation, history.values[[place - begin]])
        assert found[place] == pytest.approx(expected[0], abs=1e-6)


def test_a_history_without_ratings_says_nothing_of_its_user() -> None:
    train = lm_cases.split().train
    averages = Averages.fit(train, None, None)
    assert averages.of_users(train.histories, None).tolist() == [0.0] * len(train.histories)
    again = Averages.from_state(averages.state())
    np.testing.assert_array_equal(again.items, averages.items)
    assert (again.mean, again.damping, again.threshold) == (averages.mean, 10.0, None)
