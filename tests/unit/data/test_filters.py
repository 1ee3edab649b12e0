from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import Dataset, Interactions
from llmrec.data.filters import (
    KCore,
    MinimumCounts,
    RatingThreshold,
    SampleUsers,
    TimeWindow,
    apply_filters,
)
from llmrec.data.splits import GlobalTemporal, LeaveOneOut


def dataset(pairs: list[tuple[int, int]], n_users: int = 0, n_items: int = 0) -> Dataset:
    """Return a data set whose ratings, times and texts number the rows."""
    user, item = (np.array([pair[side] for pair in pairs], np.int32) for side in (0, 1))
    n_users = max(n_users, int(user.max(initial=-1)) + 1)
    n_items = max(n_items, int(item.max(initial=-1)) + 1)
    rows = np.arange(len(pairs))
    return Dataset(
        "made",
        Interactions(
            user,
            item,
            rows.astype(np.float32),
            rows.astype(np.int64) * 86_400,
            np.array([f"row {row}" for row in rows], dtype=object),
        ),
        np.array([f"u{user}" for user in range(n_users)]),
        np.array([f"i{item}" for item in range(n_items)]),
        {"title": np.array([f"title {item}" for item in range(n_items)], dtype=object)},
        {"age": np.array([str(user) for user in range(n_users)], dtype=object)},
    )


def named(data: Dataset) -> set[tuple[str, str]]:
    log = data.interactions
    return set(zip(data.user_ids[log.user], data.item_ids[log.item], strict=True))


PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), unique=True, max_size=60)


@settings(max_examples=100, deadline=None)
@given(pairs=PAIRS, k=st.integers(2, 4))
def test_the_k_core_is_what_peeling_one_by_one_leaves(pairs, k: int) -> None:
    left = set(pairs)
    while True:
        poor = {
            pair
            for pair in left
            if sum(other[0] == pair[0] for other in left) < k
            or sum(other[1] == pair[1] for other in left) < k
        }
        if not poor:
            break
        left.discard(min(poor))
    data = dataset(pairs)
    expected = {(f"u{user}", f"i{item}") for user, item in left}
    if not expected:
        with pytest.raises(
            DataError, match=rf"the filter core \({k}-core\) leaves nothing of made"
        ):
            apply_filters(data, {"core": KCore(k=k)})
        return
    cored = apply_filters(data, {"core": KCore(k=k)})
    assert named(cored) == expected


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS.filter(bool), threshold=st.integers(0, 30))
def test_what_stays_keeps_its_ids_texts_and_order(pairs, threshold: int) -> None:
    data = dataset(pairs)
    threshold = min(threshold, len(pairs) - 1)
    kept = apply_filters(data, {"liked": RatingThreshold(minimum=float(threshold))})
    log = kept.interactions
    assert log.rating.tolist() == list(range(threshold, len(pairs)))
    for row, (user, item) in enumerate(pairs[threshold:]):
        assert kept.user_ids[log.user[row]] == f"u{user}"
        assert kept.item_fields["title"][log.item[row]] == f"title {item}"
        assert kept.user_fields["age"][log.user[row]] == str(user)
        assert log.text[row] == f"row {row + threshold}"
    assert log.user.dtype == log.item.dtype == np.int32
    lost = {user for user, _ in pairs} - {user for user, _ in pairs[threshold:]}
    assert not {f"u{user}" for user in lost} & set(kept.user_ids)


def test_minimum_counts_look_once() -> None:
    pairs = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 1)]
    kept = apply_filters(dataset(pairs), {"x": MinimumCounts(user=2, item=2)})
    assert named(kept) == {("u0", "i1"), ("u1", "i1")}


def test_a_window_of_time_has_its_start_and_not_its_end() -> None:
    data = dataset([(0, item) for item in range(10)])
    window = TimeWindow(start="1970-01-03", end="1970-01-05T00:00:00Z")
    assert window.words == "from 1970-01-03 before 1970-01-05T00:00:00Z"
    assert named(apply_filters(data, {"w": window})) == {("u0", "i2"), ("u0", "i3")}
    assert len(apply_filters(data, {"w": TimeWindow(start=None, end="1970-01-02")})) == 1
    assert len(apply_filters(data, {"w": TimeWindow(start="1970-01-09T23:00:00-01:00")})) == 1


def test_a_sample_of_users_is_whole_seeded_and_blind_to_their_order() -> None:
    pairs = [(user, item) for user in range(20) for item in range(user % 3 + 1)]
    data = dataset(pairs)
    sample = apply_filters(data, {"some": SampleUsers(n_users=5)})
    assert sample.n_users == 5
    lengths = dict(zip(sample.user_ids, sample.rows_by_user.lengths, strict=True))
    assert all(length == int(name[1:]) % 3 + 1 for name, length in lengths.items())
    assert named(apply_filters(data, {"some": SampleUsers(n_users=5)})) == named(sample)
    others = apply_filters(data, {"some": SampleUsers(n_users=5, seed=1)})
    assert set(others.user_ids) != set(sample.user_ids)
    backwards = dataset([(19 - user, item) for user, item in pairs])
    backwards = Dataset(
        "made", backwards.interactions, data.user_ids[::-1], data.item_ids, {}, {}, {}
    )
    again = apply_filters(backwards, {"some": SampleUsers(n_users=5)})
    assert set(again.user_ids) == set(sample.user_ids)
    with pytest.raises(
        DataError, match="has 20 users with interactions here, too few to sample 21"
    ):
        apply_filters(data, {"some": SampleUsers(n_users=21)})


def test_filters_work_in_their_order_and_leave_a_record() -> None:
    pairs = [(user, item) for user in range(4) for item in range(4)]
    data = dataset(pairs, n_users=5, n_items=6)
    done = apply_filters(
        data,
        {"recent": RatingThreshold(minimum=6), "core": KCore(k=2), "one": SampleUsers(n_users=1)},
    )
    steps = done.source["filters"]
    assert [step["label"] for step in steps] == ["recent", "core", "one"]
    assert steps[0]["before"] == {"interactions": 16, "users": 4, "items": 4}
    assert steps[0]["after"] == steps[1]["before"] == {"interactions": 10, "users": 3, "items": 4}
    assert steps[2]["after"]["users"] == 1
    assert "filters" not in data.source
    # What never had an interaction was wanted (catalogue=items) and stays.
    assert "u4" in done.user_ids
    assert {"i4", "i5"} <= set(done.item_ids)


def test_splits_name_the_filters_in_their_protocol() -> None:
    pairs = [(user, item) for user in range(4) for item in range(4)]
    data = apply_filters(dataset(pairs), {"a": KCore(k=3), "b": RatingThreshold(minimum=4)})
    assert LeaveOneOut().split(data).protocol == "leave-one-out, 3-core, ratings from 4"
    assert GlobalTemporal().split(data).protocol == (
        "global-temporal 80/10/10, 3-core, ratings from 4"
    )


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"name": "k_core", "k": 1}, "k"),
        ({"name": "minimum_counts", "user": 0, "item": 0}, "user"),
        ({"name": "time_window", "start": "yesterday"}, "start"),
        ({"name": "time_window", "start": None}, "start"),
        ({"name": "time_window", "start": "2001-01-02", "end": "2001-01-02"}, "end"),
        ({"name": "sample_users", "n_users": 0}, "n_users"),
        ({"name": "sample_users", "seed": -1}, "seed"),
        ({"name": "rating_threshold", "minimum": "high"}, "minimum"),
    ],
)
def test_wrong_options_are_config_errors(spec: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("filter", spec)
    assert caught.value.problems[0].where == where
    options = {key: value for key, value in spec.items() if key != "name"}
    kind = {"k_core": KCore, "time_window": TimeWindow}.get(str(spec["name"]))
    if kind is not None:
        with pytest.raises(ConfigError):
            kind(**options)


def test_missing_ratings_and_times_are_sentences() -> None:
    data = dataset([(0, 0)])
    bare = data.with_interactions(Interactions(data.interactions.user, data.interactions.item))
    with pytest.raises(DataError, match="made has no ratings, which rating_threshold needs"):
        apply_filters(bare, {"x": RatingThreshold()})
    with pytest.raises(DataError, match="made has no timestamps, which time_window needs"):
        apply_filters(bare, {"x": TimeWindow(start="2000-01-01")})
