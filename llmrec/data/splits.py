"""Splits: leave-one-out by time, by one global moment, and random folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Split
from llmrec.data.filters import filter_words

TRAIN, VALID, TEST, LEFT_OUT = 0, 1, 2, 3


class LeaveOneOut:
    """The last interaction of each user is the test, the one before it the validation.

    The order is that of time, equal times in the order of the file. Users with fewer than
    `min_interactions` go wholly to train.
    """

    def __init__(self, *, min_interactions: int = 3) -> None:
        self.min_interactions = min_interactions
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        least = params.get("min_interactions", 3)
        if least < 3:
            return [("min_interactions", f"at least 3 (train, validation, test), got {least}")]
        return []

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if no user has enough interactions.
        """
        dataset = ordered_by_time(dataset)
        rows = dataset.rows_by_user
        if not np.any(rows.lengths >= self.min_interactions):
            raise DataError(
                f"{dataset.name} cannot be split leave-one-out: no user has "
                f"{self.min_interactions} interactions (the longest history has "
                f"{rows.lengths.max(initial=0)}); use another split"
            )
        from_end = np.repeat(rows.offsets[1:], rows.lengths) - np.arange(len(rows.values))
        enough = np.repeat(rows.lengths >= self.min_interactions, rows.lengths)
        part = np.full(len(dataset), TRAIN)
        part[rows.values[enough & (from_end == 1)]] = TEST
        part[rows.values[enough & (from_end == 2)]] = VALID
        protocol = "leave-one-out"
        if dataset.interactions.timestamp is None:
            protocol += " by file order"
        if self.min_interactions > 3:
            protocol += f" (users with {self.min_interactions} or more)"
        return parts_of(
            dataset,
            part,
            protocol,
            "other users' training interactions may be later than a user's test item",
        )


class GlobalTemporal:
    """Everything before one moment is train, then validation, then test, for all users alike.

    The two moments are quantiles of time, moved to the nearest change of timestamp, so that equal
    times never stand on both sides. Users and items that train lacks stay in the test
    (`llmrec.data.transforms.describe_split` counts them).
    """

    def __init__(self, *, valid_share: float = 0.1, test_share: float = 0.1) -> None:
        self.valid_share = valid_share
        self.test_share = test_share
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        valid, test = params.get("valid_share", 0.1), params.get("test_share", 0.1)
        problems = [
            (key, f"a share between 0 and 1, got {value}")
            for key, value in (("valid_share", valid), ("test_share", test))
            if not 0 < value < 1
        ]
        if not problems and valid + test >= 1:
            problems.append(
                ("test_share", f"valid_share + test_share = {valid + test:g} leaves no train")
            )
        return problems

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if it has no timestamps, or too few different ones.
        """
        time = dataset.interactions.timestamp
        if time is None:
            raise DataError(
                f"{dataset.name} has no timestamps, which a global temporal split needs; "
                "use split=leave_one_out (order of the file) or split=random_k_fold"
            )
        dataset = ordered_by_time(dataset)
        time = dataset.interactions.timestamp
        assert time is not None
        n = len(time)
        first_test = nearest_change(time, round(n * (1 - self.test_share)))
        first_valid = nearest_change(time, round(n * (1 - self.test_share - self.valid_share)))
        if not 0 < first_valid < first_test < n:
            raise DataError(
                f"{dataset.name} cannot be split by time: its {n} interactions have "
                f"{len(np.unique(time))} different timestamps, and equal ones stay together; "
                "use other shares or another split"
            )
        part = np.full(n, TRAIN)
        part[first_valid:] = VALID
        part[first_test:] = TEST
        shares = (1 - self.valid_share - self.test_share, self.valid_share, self.test_share)
        return parts_of(
            dataset, part, "global-temporal " + "/".join(f"{100 * share:.4g}" for share in shares)
        )


class RandomKFold:
    """Random folds for rating prediction: one fold is the test, the others are train.

    The folds of one seed are disjoint, differ by at most one in size and cover everything (as
    scikit-learn's ``KFold(shuffle=True)``). `valid_share` of the training side becomes validation,
    by default 5 %: enough to stop early, little enough to compare with results on whole folds.
    """

    def __init__(
        self, *, n_folds: int = 5, fold: int = 0, valid_share: float = 0.05, seed: int = 0
    ) -> None:
        self.n_folds = n_folds
        self.fold = fold
        self.valid_share = valid_share
        self.seed = seed
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        n_folds, fold = params.get("n_folds", 5), params.get("fold", 0)
        share = params.get("valid_share", 0.05)
        problems = []
        if n_folds < 2:
            problems.append(("n_folds", f"at least 2, got {n_folds}"))
        elif not 0 <= fold < n_folds:
            problems.append(("fold", f"from 0 to {n_folds - 1} (n_folds - 1), got {fold}"))
        if not 0 <= share < 1:
            problems.append(("valid_share", f"a share from 0 to below 1, got {share}"))
        if params.get("seed", 0) < 0:
            problems.append(("seed", f"0 or more, got {params['seed']}"))
        return problems

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if it has fewer interactions than folds, or train would be empty.
        """
        dataset = ordered_by_time(dataset)
        n = len(dataset)
        if n < self.n_folds:
            raise DataError(
                f"{dataset.name} has {n} interactions, too few for {self.n_folds} folds; "
                "choose fewer folds"
            )
        fold_of = np.empty(n, np.int64)
        shuffled = np.random.default_rng(self.seed).permutation(n)
        fold_of[shuffled] = np.arange(n) * self.n_folds // n
        part = np.where(fold_of == self.fold, TEST, TRAIN)
        # A generator of its own, so that the size of the validation never moves the folds.
        rest = np.random.default_rng([self.seed, self.fold]).permutation(
            np.flatnonzero(part == TRAIN)
        )
        n_valid = max(round(self.valid_share * len(rest)), 1) if self.valid_share else 0
        if n_valid >= len(rest):
            raise DataError(
                f"{dataset.name} has {n} interactions: with valid_share={self.valid_share:g} "
                "nothing is left to train on; choose a smaller share or valid_share=0"
            )
        part[rest[:n_valid]] = VALID
        return parts_of(
            dataset,
            part,
            f"random {self.n_folds}-fold, fold {self.fold + 1}",
            "random folds ignore time: training interactions may be later than the test ones",
            ordered=False,
        )


def share_problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return problems of the options `valid_share` (0: no validation) and `test_share`."""
    valid, test = params.get("valid_share", 0.1), params.get("test_share", 0.1)
    problems = []
    if not 0 <= valid < 1:
        problems.append(("valid_share", f"a share from 0 to below 1, got {valid}"))
    if not 0 < test < 1:
        problems.append(("test_share", f"a share between 0 and 1, got {test}"))
    if not problems and valid + test >= 1:
        problems.append(
            ("test_share", f"valid_share + test_share = {valid + test:g} leaves no train")
        )
    return problems


def ordered_by_time(dataset: Dataset) -> Dataset:
    """Return the data set with its interactions in time order, ties in the order of the file."""
    log = dataset.interactions
    ordered = log.sorted()
    return dataset if ordered is log else dataset.with_interactions(ordered)


def nearest_change(time: np.ndarray, place: int) -> int:
    """Return the row nearest to `place` whose time differs from that of the row before it."""
    if place >= len(time):
        return len(time)
    start = int(np.searchsorted(time, time[place], side="left"))
    stop = int(np.searchsorted(time, time[place], side="right"))
    return start if place - start <= stop - place else stop


def parts_of(
    dataset: Dataset, part: np.ndarray, protocol: str, leaks: str = "", ordered: bool = True
) -> Split:
    """Return the split in which row n of an ordered data set is in part n.

    Args:
        dataset: the data.
        part: (N,) TRAIN, VALID, TEST, or LEFT_OUT.
        protocol: its name; those of the data's filters are added.
        leaks: what it may leak, in one sentence.
        ordered: whether each user's held-out interactions are meant to follow the known ones.
    """
    train, valid, test = (dataset.select(part == side) for side in (TRAIN, VALID, TEST))
    protocol = ", ".join(filter(None, [protocol, filter_words(dataset)]))
    return Split(train, valid, test, protocol, leaks, ordered)
