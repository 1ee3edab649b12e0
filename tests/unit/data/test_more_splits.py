"""Leave-k-out, ratios, fixed times, rolling windows, cold starts and pre-made files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_splits import check_partition, dataset, rows

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import Dataset, make_queries
from llmrec.data.cold_splits import ItemColdStart, UserColdStart
from llmrec.data.filters import RatingThreshold, apply_filters
from llmrec.data.premade_splits import MovieLens100KFold, Premade
from llmrec.data.splits import GlobalTemporal, LeaveOneOut
from llmrec.data.time_splits import DAY, FixedTime, RollingWindows
from llmrec.data.transforms import describe_split
from llmrec.data.user_splits import LeaveKOut, UserRatio

LOGS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=60)
SHARES = st.sampled_from([0.0, 0.1, 0.2, 0.25, 1 / 3])


def users_of(part: Dataset) -> set[int]:
    return set(part.interactions.user.tolist())


def items_of(part: Dataset) -> set[int]:
    return set(part.interactions.item.tolist())


@given(log=LOGS, n_test=st.integers(1, 3), n_valid=st.integers(0, 2))
def test_leave_k_out_takes_the_last_of_each_user(log, n_test: int, n_valid: int) -> None:
    user, time = [u for u, _ in log], [t for _, t in log]
    data = dataset(user, time)
    order = sorted(range(len(log)), key=lambda row: time[row])
    by_user = {u: [row for row in order if user[row] == u] for u in set(user)}
    enough = [mine for mine in by_user.values() if len(mine) > n_test + n_valid]
    splitter = LeaveKOut(n_test=n_test, n_valid=n_valid)
    if not enough:
        with pytest.raises(DataError, match=rf"cannot be split leave-{n_test}-out"):
            splitter.split(data)
        return
    split = splitter.split(data)
    check_partition(data, split)
    assert set(rows(split.test)) == {row for mine in enough for row in mine[-n_test:]}
    held = {row for mine in enough for row in mine[-n_test - n_valid :]}
    assert set(rows(split.valid)) == held - set(rows(split.test))
    assert split.ordered


@given(log=LOGS)
def test_leaving_one_out_is_the_same_by_both_names(log) -> None:
    data = dataset([u for u, _ in log], [t for _, t in log])
    assume(data.rows_by_user.lengths.max() >= 3)
    one, k = LeaveOneOut().split(data), LeaveKOut(n_test=1).split(data)
    for side in ("train", "valid", "test"):
        assert rows(getattr(one, side)) == rows(getattr(k, side))


@given(log=LOGS, valid=SHARES, test=SHARES.filter(bool), order=st.sampled_from(["time", "random"]))
def test_a_ratio_of_each_user(log, valid: float, test: float, order) -> None:
    data = dataset([u for u, _ in log], [t for _, t in log])
    splitter = UserRatio(valid_share=valid, test_share=test, order=order, seed=3)
    lengths = data.rows_by_user.lengths
    expected = [min(int(n * test + 0.5 + 1e-9), max(n - 1, 0)) for n in lengths.tolist()]
    if not any(expected):
        with pytest.raises(DataError, match="cannot be split by ratio"):
            splitter.split(data)
        return
    split = splitter.split(data)
    check_partition(data, split)
    assert split.test.rows_by_user.lengths.tolist() == expected
    for n, held, kept in zip(
        lengths, split.valid.rows_by_user.lengths, split.train.rows_by_user.lengths, strict=True
    ):
        assert kept >= 1 or n == 0
        assert held <= int(n * valid + 0.5 + 1e-9)
    assert split.ordered == (order == "time")
    if order == "time":
        for u in range(data.n_users):
            times = [
                part.interactions.timestamp[part.rows_by_user[u]]
                for part in (split.train, split.valid, split.test)
            ]
            assert np.all(np.diff(np.concatenate(times)) >= 0)
    again = UserRatio(valid_share=valid, test_share=test, order=order, seed=3).split(data)
    assert rows(again.test) == rows(split.test)


def test_ratios_at_random_follow_their_seed() -> None:
    data = dataset(np.repeat(np.arange(6), 20), np.arange(120))
    splits = [UserRatio(order="random", seed=seed).split(data) for seed in (0, 1)]
    assert rows(splits[0].test) != rows(splits[1].test)
    assert splits[0].protocol == "per-user 80/10/10 at random"
    assert UserRatio().split(data).protocol == "per-user 80/10/10"
    assert rows(UserRatio().split(data).test) == [row for row in range(120) if row % 20 in (18, 19)]


DAYS = st.lists(st.integers(0, 99), min_size=1, max_size=60)


@given(days=DAYS, valid=st.integers(1, 60), gap=st.integers(1, 40))
def test_fixed_times_divide_everything(days, valid: int, gap: int) -> None:
    data = dataset([0] * len(days), np.array(days) * DAY)
    starts = [str(np.datetime64(0, "D") + np.timedelta64(day, "D")) for day in (valid, valid + gap)]
    splitter = FixedTime(valid_start=starts[0], test_start=starts[1])
    if min(days) >= valid or max(days) < valid + gap:
        with pytest.raises(DataError, match=r"goes from .* to .*leaves nothing for (train|test)"):
            splitter.split(data)
        return
    split = splitter.split(data)
    check_partition(data, split)
    assert set(rows(split.train)) == {n for n, day in enumerate(days) if day < valid}
    assert set(rows(split.test)) == {n for n, day in enumerate(days) if day >= valid + gap}
    assert split.protocol == f"global-temporal at {starts[0]} and {starts[1]}"
    assert split.leaks == ""


@given(
    days=DAYS,
    n_windows=st.integers(1, 4),
    length=st.integers(1, 20),
    valid=st.none() | st.integers(0, 10),
    train=st.none() | st.integers(1, 30),
)
def test_rolling_windows_follow_each_other(days, n_windows, length, valid, train) -> None:
    data = dataset([0] * len(days), np.array(days) * DAY)
    last, tests = max(days), []
    for window in range(n_windows):
        end = last - (n_windows - 1 - window) * length  # the last day inside
        start = end - length  # the last day before the test
        first = start - (length if valid is None else valid)  # the last day of train
        expected = {
            "train": {
                n
                for n, day in enumerate(days)
                if day <= first and (train is None or day > first - train)
            },
            "valid": {n for n, day in enumerate(days) if first < day <= start},
            "test": {n for n, day in enumerate(days) if start < day <= end},
        }
        splitter = RollingWindows(
            n_windows=n_windows, window=window, days=length, valid_days=valid, train_days=train
        )
        if not expected["train"] or not expected["test"]:
            with pytest.raises(DataError, match="leaves nothing for"):
                splitter.split(data)
            continue
        split = splitter.split(data)
        for side, numbers in expected.items():
            assert set(rows(getattr(split, side))) == numbers
        assert split.protocol.endswith(f"fold {window + 1}")
        late = sum(day > end for day in days)
        early = sum(train is not None and day <= first - train for day in days)
        counted = {"later than the window": late, f"earlier than the {train} days of train": early}
        assert split.left_out == {why: n for why, n in counted.items() if n}
        assert describe_split(split)["left_out"] == split.left_out
        tests.append(expected["test"])
    assert sum(map(len, tests)) == len(set().union(*tests)), "no row is tested twice"


@given(log=LOGS, valid=SHARES, test=SHARES.filter(bool), seed=st.integers(0, 3))
def test_cold_users_are_whole_and_unknown(log, valid: float, test: float, seed: int) -> None:
    data = dataset([u for u, _ in log], [t for _, t in log])
    active = len(users_of(data))
    n_test, n_valid = round(test * active), round(valid * active)
    splitter = UserColdStart(valid_share=valid, test_share=test, seed=seed)
    if not n_test or (valid and not n_valid) or n_test + n_valid >= active:
        with pytest.raises(DataError, match="users, too few for shares"):
            splitter.split(data)
        return
    split = splitter.split(data)
    check_partition(data, split)
    sides = [users_of(part) for part in (split.train, split.valid, split.test)]
    assert [len(side) for side in sides[1:]] == [n_valid, n_test]
    assert sum(map(len, sides)) == active, "nobody is on two sides"
    queries, _ = make_queries(split.train.union(split.valid), split.test)
    assert not queries.histories.lengths.any()


@given(
    log=LOGS,
    valid=SHARES,
    test=SHARES.filter(bool),
    choose=st.sampled_from(["newest", "random"]),
)
def test_cold_items_are_unknown(log, valid: float, test: float, choose) -> None:
    data = dataset([u for u, _ in log], [t for _, t in log])
    active = len(items_of(data))
    n_test, n_valid = round(test * active), round(valid * active)
    splitter = ItemColdStart(valid_share=valid, test_share=test, choose=choose)
    if not n_test or (valid and not n_valid) or n_test + n_valid >= active:
        with pytest.raises(DataError, match="items, too few for shares"):
            splitter.split(data)
        return
    split = splitter.split(data)
    check_partition(data, split)
    sides = [items_of(part) for part in (split.train, split.valid, split.test)]
    assert [len(side) for side in sides[1:]] == [n_valid, n_test]
    assert sum(map(len, sides)) == active, "nothing is on two sides"
    if choose == "newest":
        log_ = data.interactions.sorted()
        first = {item: np.flatnonzero(log_.item == item)[0] for item in items_of(data)}
        oldest_cold = min(first[item] for item in sides[2])
        assert all(first[item] < oldest_cold for item in sides[0] | sides[1])


@pytest.mark.parametrize(
    "splitter",
    [FixedTime(test_start="1970-01-02"), RollingWindows(), ItemColdStart(), GlobalTemporal()],
)
def test_without_times_it_says_so(splitter) -> None:
    with pytest.raises(DataError, match="has no timestamps"):
        splitter.split(dataset([0, 1, 2]))


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"name": "leave_k_out", "n_test": 0, "n_valid": -1}, "n_test"),
        ({"name": "user_ratio", "test_share": 0}, "test_share"),
        ({"name": "user_ratio", "valid_share": 0.6, "test_share": 0.4}, "test_share"),
        ({"name": "user_ratio", "order": "backwards"}, "order"),
        ({"name": "fixed_time", "test_start": "soon"}, "test_start"),
        (
            {"name": "fixed_time", "test_start": "2001-01-01", "valid_start": "2001-01-01"},
            "valid_start",
        ),
        ({"name": "rolling_windows", "window": 3}, "window"),
        ({"name": "rolling_windows", "days": 0}, "days"),
        ({"name": "user_cold_start", "valid_share": 1.0}, "valid_share"),
        ({"name": "item_cold_start", "choose": "oldest"}, "choose"),
        ({"name": "premade", "train": "a", "test": "b", "delimiter": "::"}, "delimiter"),
        (
            {"name": "premade", "train": "a", "test": "b", "valid": "c", "valid_share": 0.1},
            "valid_share",
        ),
        ({"name": "ml_100k_fold", "fold": "u6"}, "fold"),
    ],
)
def test_wrong_options_are_config_errors(spec: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("split", spec)
    assert caught.value.problems[0].where == where


# Pre-made files

LOG = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 3), (2, 4)]


@pytest.fixture
def data() -> Dataset:
    return dataset([u for u, _ in LOG], [5, 4, 3, 2, 1, 0], [i for _, i in LOG])


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, *rows_: int, header: str = "user\titem\n", more: str = "") -> str:
        lines = [f"u{LOG[row][0]}\t{'abcdefg'[LOG[row][1]]}\n" for row in rows_]
        (tmp_path / name).write_text(header + "".join(lines) + more)
        return str(tmp_path / name)

    return write


def test_pre_made_files_decide(data: Dataset, put) -> None:
    files = {
        "train": put("train.tsv", 3, 0, 5),
        "valid": put("valid.tsv", 1),
        "test": put("test.tsv", 4, 2),
    }
    split = Premade(**files).split(data)
    check_partition(data, split)
    assert [set(rows(part)) for part in (split.train, split.valid, split.test)] == [
        {0, 3, 5},
        {1},
        {2, 4},
    ]
    assert split.protocol == "pre-made train.tsv + valid.tsv + test.tsv"
    assert "depends on how its files were made" in split.leaks
    assert Premade(**files, label="mine").split(data).protocol == "pre-made mine"


def test_pre_made_files_without_header_and_validation(data: Dataset, put) -> None:
    split = Premade(
        train=put("u1.base", 0, 1, 2, 3, header=""),
        test=put("u1.test", 4, 5, header=""),
        header=["user", "item"],
        valid_share=0.25,
    ).split(data)
    check_partition(data, split)
    assert (len(split.train), len(split.valid), set(rows(split.test))) == (3, 1, {4, 5})


def test_pre_made_files_that_do_not_fit_are_sentences(data: Dataset, put) -> None:
    train = put("train.tsv", 0, 1, 2, 3)
    for test, message in [
        (
            put("a.tsv", 4),
            r"1 interactions of toy stand in none of the files, e\.g\. user u2, item",
        ),
        (put("b.tsv", 4, 5, 0), r"b\.tsv, line 4: user u0, item a stands in train\.tsv as well"),
        (put("c.tsv", 4, 5, 5), r"c\.tsv, line 4: user u2, item e stands there twice"),
        (put("d.tsv", 4, 5, more="u9\ta\n"), r"line 4: user u9, item a is no interaction of toy"),
        (put("e.tsv", 4, 5, more="u0\tg\n"), r"line 4: user u0, item g is no interaction of toy"),
        (put("f.tsv", 4, 5, header="usr\titem\n"), r'"user" \(did you mean "usr"'),
    ]:
        with pytest.raises(DataError, match=message):
            Premade(train=train, test=test).split(data)


def test_pre_made_files_may_hold_what_a_filter_took_out(data: Dataset, put) -> None:
    kept = apply_filters(data, {"x": RatingThreshold(minimum=1)})
    split = Premade(train=put("train.tsv", 0, 1, 2, 3), test=put("test.tsv", 4, 5)).split(kept)
    assert (set(rows(split.train)), set(rows(split.test))) == ({1, 2, 3}, {4, 5})
    assert split.protocol.endswith(", ratings from 1")


def test_the_canonical_folds_of_movielens_100k(data: Dataset, tmp_path: Path) -> None:
    lines = [f"u{u}\t{'abcdefg'[i]}\t3\t88{row}\n" for row, (u, i) in enumerate(LOG)]
    (tmp_path / "u2.base").write_text("".join(lines[:4]))
    (tmp_path / "u2.test").write_text("".join(lines[4:]))
    split = MovieLens100KFold(fold="u2", folder=str(tmp_path), valid_share=0).split(data)
    check_partition(data, split)
    assert set(rows(split.test)) == {4, 5}
    assert split.protocol == "pre-made ml-100k, fold 2"
    with pytest.raises(DataError, match=r"there is no file .*u3\.base"):
        MovieLens100KFold(fold="u3", folder=str(tmp_path)).split(data)


@settings(deadline=None)
@given(log=LOGS)
def test_every_split_of_a_log_keeps_its_rows_apart(log) -> None:
    data = dataset([u for u, _ in log], np.array([t for _, t in log]) * DAY)
    splitters = [LeaveKOut(n_test=2), UserRatio(), UserColdStart(), ItemColdStart()]
    splitters += [RollingWindows(days=2), FixedTime(test_start="1970-01-05")]
    for splitter in splitters:
        try:
            split = splitter.split(data)
        except DataError:
            continue
        parts = [rows(part) for part in (split.train, split.valid, split.test)]
        everything = [row for part in parts for row in part]
        assert len(everything) == len(set(everything))
        assert split.protocol
