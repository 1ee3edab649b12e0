from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import Dataset, Interactions
from llmrec.data.splits import GlobalTemporal, LeaveOneOut, RandomKFold
from llmrec.data.transforms import describe_split


def dataset(user, time=None, item=None) -> Dataset:
    """A log whose rating is the row number: rows can be recognised in the parts."""
    user = np.asarray(user, np.int32)
    item = np.arange(len(user)) % 7 if item is None else np.asarray(item)
    log = Interactions(
        user,
        item.astype(np.int32),
        np.arange(len(user), dtype=np.float32),
        None if time is None else np.asarray(time, np.int64),
    )
    n_users = int(user.max(initial=0)) + 1
    ids = np.array([f"u{n}" for n in range(n_users)])
    return Dataset("toy", log, ids, np.array(list("abcdefg")))


def rows(part: Dataset) -> list[int]:
    return part.interactions.rating.astype(int).tolist()


def check_partition(data: Dataset, split) -> None:
    parts = [rows(part) for part in (split.train, split.valid, split.test)]
    assert sorted(chain(*parts)) == list(range(len(data)))
    for part in (split.train, split.valid, split.test):
        assert part.user_ids is data.user_ids
        assert part.item_ids is data.item_ids
        if part.interactions.timestamp is not None:
            assert np.all(np.diff(part.interactions.timestamp) >= 0)


LOGS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=60)


@given(log=LOGS, timed=st.booleans(), least=st.integers(3, 6))
def test_leave_one_out_takes_the_last_two_of_each_user(log, timed: bool, least: int) -> None:
    user, time = [u for u, _ in log], [t for _, t in log]
    data = dataset(user, time if timed else None)
    # By hand: rows of each user in time order, equal times in the order of the file.
    order = sorted(range(len(log)), key=lambda row: time[row]) if timed else range(len(log))
    by_user = {u: [row for row in order if user[row] == u] for u in set(user)}
    enough = {u: mine for u, mine in by_user.items() if len(mine) >= least}
    splitter = LeaveOneOut(min_interactions=least)
    if not enough:
        with pytest.raises(DataError, match="cannot be split leave-one-out"):
            splitter.split(data)
        return
    split = splitter.split(data)
    check_partition(data, split)
    assert sorted(rows(split.test)) == sorted(mine[-1] for mine in enough.values())
    assert sorted(rows(split.valid)) == sorted(mine[-2] for mine in enough.values())


def test_leave_one_out_names_itself() -> None:
    split = LeaveOneOut().split(dataset([0, 0, 0, 1], [1, 2, 3, 4]))
    assert split.protocol == "leave-one-out"
    assert "later" in split.leaks
    assert LeaveOneOut().split(dataset([0, 0, 0])).protocol == "leave-one-out by file order"
    split = LeaveOneOut(min_interactions=4).split(dataset([0] * 4, [1, 2, 3, 4]))
    assert split.protocol == "leave-one-out (users with 4 or more)"


@given(
    log=LOGS,
    valid=st.floats(0.05, 0.45),
    test=st.floats(0.05, 0.45),
)
def test_global_temporal_never_looks_back_nor_parts_equal_times(log, valid, test) -> None:
    user, time = [u for u, _ in log], np.array([t for _, t in log])
    data = dataset(user, time)
    try:
        split = GlobalTemporal(valid_share=valid, test_share=test).split(data)
    except DataError:
        # Refused only where the two cuts fall on one place or an end.
        most = np.bincount(time).max()
        assert len(np.unique(time)) < 3 or most + 2 > len(log) * min(valid, test)
        return
    check_partition(data, split)
    ends = [part.interactions.timestamp for part in (split.train, split.valid, split.test)]
    assert ends[0].max() < ends[1].min()
    assert ends[1].max() < ends[2].min()
    # No further from the wanted size than half of the largest group of equal times.
    slack = np.bincount(time).max() / 2 + 1
    assert abs(len(split.test) - test * len(log)) <= slack
    assert abs(len(split.train) - (1 - valid - test) * len(log)) <= slack


def test_global_temporal_counts_what_train_never_saw() -> None:
    user = [0] * 8 + [1, 2]
    item = [0, 1, 2, 3, 0, 1, 2, 3, 4, 0]
    split = GlobalTemporal().split(dataset(user, range(10), item))
    assert split.protocol == "global-temporal 80/10/10"
    described = describe_split(split)
    assert described["train"] == {
        "interactions": 8,
        "users": 1,
        "items": 4,
        "unseen_users": 0,
        "unseen_items": 0,
    }
    assert described["valid"]["unseen_users"] == described["valid"]["unseen_items"] == 1
    assert described["test"]["unseen_users"] == 1
    assert described["test"]["unseen_items"] == 0


def test_global_temporal_needs_times_that_differ() -> None:
    with pytest.raises(DataError, match=r"no timestamps.*split=leave_one_out"):
        GlobalTemporal().split(dataset([0] * 10))
    with pytest.raises(DataError, match="1 different timestamps"):
        GlobalTemporal().split(dataset([0] * 10, [5] * 10))


@given(n=st.integers(2, 80), n_folds=st.integers(2, 8), seed=st.integers(0, 5))
def test_folds_partition_like_those_of_scikit_learn(n: int, n_folds: int, seed: int) -> None:
    data = dataset([0] * n, range(n))
    if n < n_folds:
        with pytest.raises(DataError, match=f"too few for {n_folds} folds"):
            RandomKFold(n_folds=n_folds, seed=seed).split(data)
        with pytest.raises(ValueError, match="n_splits"):
            list(KFold(n_folds).split(np.zeros(n)))
        return
    splits = [
        RandomKFold(n_folds=n_folds, fold=fold, valid_share=0, seed=seed).split(data)
        for fold in range(n_folds)
    ]
    for split in splits:
        check_partition(data, split)
        assert len(split.valid) == 0
    tests = [rows(split.test) for split in splits]
    assert sorted(chain(*tests)) == list(range(n))
    theirs = [len(test) for _, test in KFold(n_folds, shuffle=True, random_state=0).split(range(n))]
    assert sorted(map(len, tests)) == sorted(theirs)


@given(n=st.integers(10, 80), share=st.floats(0.01, 0.5), fold=st.integers(0, 4))
def test_validation_comes_out_of_train_and_never_moves_the_fold(n, share, fold) -> None:
    data = dataset([0] * n, range(n))
    bare = RandomKFold(fold=fold, valid_share=0).split(data)
    split = RandomKFold(fold=fold, valid_share=share).split(data)
    check_partition(data, split)
    assert rows(split.test) == rows(bare.test)
    assert len(split.valid) == max(round(share * len(bare.train)), 1)


def test_folds_depend_on_the_seed_and_on_nothing_else() -> None:
    data = dataset([0] * 50, range(50))
    a, b = RandomKFold(seed=1).split(data), RandomKFold(seed=1).split(data)
    assert (rows(a.test), rows(a.valid)) == (rows(b.test), rows(b.valid))
    assert rows(a.test) != rows(RandomKFold(seed=2).split(data).test)
    assert rows(a.test) != list(range(10))
    assert a.protocol == "random 5-fold, fold 1"
    assert RandomKFold(fold=4).split(data).protocol == "random 5-fold, fold 5"


def test_folds_of_two_rows_with_validation_leave_nothing() -> None:
    with pytest.raises(DataError, match="nothing is left to train on"):
        RandomKFold(n_folds=2).split(dataset([0, 0], [1, 2]))


@pytest.mark.parametrize("splitter", [LeaveOneOut(), GlobalTemporal(), RandomKFold()])
def test_an_empty_data_set_is_a_sentence(splitter) -> None:
    with pytest.raises(DataError, match="toy"):
        splitter.split(dataset([], []))


def test_unsorted_logs_are_put_in_order_first() -> None:
    split = LeaveOneOut().split(dataset([0, 0, 0], [30, 10, 20]))
    assert (rows(split.train), rows(split.valid), rows(split.test)) == ([1], [2], [0])


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"name": "leave_one_out", "min_interactions": 2}, ["min_interactions"]),
        ({"name": "global_temporal", "test_share": 0.0}, ["test_share"]),
        ({"name": "global_temporal", "valid_share": 0.5, "test_share": 0.5}, ["test_share"]),
        (
            {"name": "global_temporal", "valid_share": -1, "test_share": 2},
            ["valid_share", "test_share"],
        ),
        ({"name": "random_k_fold", "n_folds": 1}, ["n_folds"]),
        ({"name": "random_k_fold", "fold": 5, "valid_share": 1.0}, ["fold", "valid_share"]),
        ({"name": "random_k_fold", "seed": -1}, ["seed"]),
        ({"name": "random_k_fold", "folds": 3}, ["folds"]),
    ],
)
def test_wrong_options_are_all_reported(spec, where: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build("split", spec)
    assert [problem.where for problem in caught.value.problems] == where


def test_constructors_refuse_the_same() -> None:
    with pytest.raises(ConfigError, match="fold"):
        RandomKFold(fold=7)
