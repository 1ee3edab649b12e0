"""History and context, value by value, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_cases import DAY, at, data

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, ConfigError, DataError
from llmrec.core.types import Queries, Ragged
from llmrec.features.base import load_feature, training_queries
from llmrec.features.context import Context
from llmrec.features.history import History

COUNTED = {"name": "term_counts", "fields": ["title"]}


def ask(day: float | None = 10) -> Queries:
    """Ask about user 0, user 1 and somebody without a history."""
    histories = Ragged.from_rows([[0, 2, 3], [1, 1], []])
    ratings = histories.with_values(np.array([5, 1, 3, 3, 4], np.float32))
    times = histories.with_values(np.array([at(0), at(2), at(4), at(1), at(3)]))
    time = None if day is None else np.full(3, at(day))
    return Queries(np.array([0, 1, -1]), histories, ratings, times, time)


def test_training_queries_know_what_was_before() -> None:
    queries = training_queries(data(), np.array([4, 0, 3]))
    assert [row.tolist() for row in queries.histories] == [[0, 2], [], [1]]
    assert [row.tolist() for row in queries.ratings] == [[5, 1], [], [3]]
    assert [row.tolist() for row in queries.timestamps] == [[at(0), at(2)], [], [at(1)]]
    assert queries.users.tolist() == [0, 0, 1]
    assert queries.time.tolist() == [at(4), at(0), at(3)]


def test_the_history_of_a_user_by_hand() -> None:
    feature = History(windows_days=[7, 30], drift=COUNTED).fit(data())
    assert feature.columns == [
        *("count", "rating_mean", "rating_variance", "recency_days", "gap_mean_days"),
        *("active_7_days", "active_30_days", "drift"),
    ]
    # From the training rows' own questions: histories [], [], [0], [1], [0, 2].
    mean, variance, recency, gap, drift = 11 / 3, 4 / 3, 2, 2, 1
    expected = [
        # early half: red fox; late half: river, blue river: nothing in common
        [3, 3, 8 / 3, 6, 2, 1, 3, 1],
        [2, 3.5, 0.25, 7, 2, 0, 2, 0],
        [0, mean, variance, recency, gap, 0, 0, drift],
    ]
    np.testing.assert_allclose(feature.queries(ask()), expected, atol=1e-6)


def test_what_a_query_does_not_tell_is_the_mean_of_training() -> None:
    feature = History(windows_days=[7]).fit(data())
    known = ask()
    bare = feature.queries(Queries(known.users, known.histories))
    np.testing.assert_allclose(bare[0], [3, 11 / 3, 4 / 3, 2, 2, 4 / 5], atol=1e-6)
    untimed = feature.queries(ask(None))
    np.testing.assert_allclose(untimed[0], [3, 3, 8 / 3, 2, 2, 4 / 5], atol=1e-6)


def test_drift_is_the_distance_of_the_halves() -> None:
    feature = History(windows_days=[], drift=COUNTED).fit(data())
    histories = Ragged.from_rows([[2, 3], [0, 1], [0, 0]])
    drift = feature.queries(Queries(np.full(3, -1), histories))[:, -1]
    red = (1 * 1 + 1 * 2) / np.sqrt(2 * 5)
    np.testing.assert_allclose(drift, [1 - 1 / np.sqrt(2), 1 - red, 0], atol=1e-6)


def test_the_history_of_an_item_by_hand() -> None:
    feature = History(of="item", windows_days=[2]).fit(data())
    items = feature.items()
    np.testing.assert_allclose(items[1], [2, 3.5, 0.25, 1, 2, 1])
    np.testing.assert_allclose(items[0], [1, 5, 0, 4, 2, 0])
    # never had: the means of those that were; a gap has only item 1
    np.testing.assert_allclose(items[4], [0, (5 + 3.5 + 1 + 3) / 4, 0.25 / 4, 7 / 4, 2, 0])
    logarithm = History(of="item", windows_days=[2], logarithm=True).fit(data()).items()
    np.testing.assert_allclose(logarithm[1], [np.log(3), 3.5, 0.25, *np.log([2, 3, 2])], rtol=1e-6)


def test_data_without_ratings_or_times_has_fewer_columns(tmp_path: Path) -> None:
    bare = replace(data().interactions, rating=None, timestamp=None)
    feature = History(drift=COUNTED).fit(data().with_interactions(bare))
    assert feature.columns == ["count", "drift"]
    np.testing.assert_allclose(feature.queries(ask())[:, 0], [3, 2, 0])
    feature.save(tmp_path / "f")
    np.testing.assert_array_equal(
        load_feature(tmp_path / "f").queries(ask()), feature.queries(ask())
    )
    with pytest.raises(ComponentError, match="describes queries"):
        History(drift={"name": "history"}).fit(data())
    with pytest.raises(ConfigError, match="drift"):
        build("feature", {"name": "history", "of": "item", "drift": COUNTED})


def times(*days: float) -> Queries:
    users = np.full(len(days), -1)
    return Queries(users, Ragged.empty(len(days)), time=np.array([at(day) for day in days]))


def test_hour_weekday_month_and_season_are_points_on_a_circle() -> None:
    feature = Context(parts=["hour", "weekday", "month", "season"]).fit(data())
    monday_at_six, thursday, july = feature.queries(times(0.25, 3, 177))
    np.testing.assert_allclose(monday_at_six[:6], [1, 0, 0, 1, 0, 1], atol=1e-6)
    angle = 2 * np.pi * 3 / 7
    np.testing.assert_allclose(thursday[2:4], [np.sin(angle), np.cos(angle)], atol=1e-6)
    np.testing.assert_allclose(july[4:6], [0, -1], atol=1e-6)  # day 181 of 1970: 1 July
    angle = 2 * np.pi * 181 / 365.2425
    np.testing.assert_allclose(july[6:], [np.sin(angle), np.cos(angle)], atol=1e-6)
    unknown = feature.queries(Queries(np.array([-1]), Ragged.empty(1)))
    np.testing.assert_array_equal(unknown, np.zeros((1, 8)))


def test_local_time_is_an_offset_away() -> None:
    there = Context(parts=["hour"], utc_offset_hours=-6).fit(data())
    here = Context(parts=["hour"]).fit(data())
    np.testing.assert_array_equal(there.queries(times(0.5)), here.queries(times(0.25)))


def test_the_place_in_a_session() -> None:
    feature = Context(parts=["session"], session_gap_seconds=1800).fit(data())
    rows = Ragged.from_rows([[0, 100, 5000, 5600], [0, 100, 5000, 5600], [], [7]], np.int64)
    time = np.array([6000, 9000, 50, 7 + 1800])
    queries = Queries(np.full(4, -1), rows.with_values(rows.values.astype(np.int32)), None, rows)
    assert feature.queries(replace(queries, time=time)).ravel().tolist() == [2, 0, 0, 1]
    assert feature.queries(queries).ravel().tolist() == [0, 0, 0, 0]


def test_places_are_those_of_training_users(tmp_path: Path) -> None:
    feature = Context(parts=[], place="country").fit(data())
    assert feature.columns == ["country DE", "country FR"], "nobody of US is in training"
    queries = Queries(np.array([0, 1, 2, -1]), Ragged.empty(4))
    expected = [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert feature.queries(queries).tolist() == expected
    feature.save(tmp_path / "f")
    assert load_feature(tmp_path / "f").queries(queries).tolist() == expected
    with pytest.raises(DataError, match=r"user field.*allowed: country"):
        Context(place="city").fit(data())
    with pytest.raises(DataError, match="has none"):
        Context().fit(data().with_interactions(replace(data().interactions, timestamp=None)))


def test_days_are_whole() -> None:
    assert at(1) - at(0) == DAY
