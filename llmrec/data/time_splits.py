"""Splits by the clock, for all users alike: at fixed moments, and in rolling windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Split
from llmrec.data.filters import moment
from llmrec.data.splits import LEFT_OUT, TEST, TRAIN, VALID, ordered_by_time, parts_of

DAY = 86_400


class FixedTime:
    """Everything before one moment is train, then validation, then test, for all users alike.

    Args:
        test_start: an ISO 8601 date or time, UTC where no offset is given.
        valid_start: the same, before `test_start`; null: no validation.
    """

    def __init__(self, *, test_start: str, valid_start: str | None = None) -> None:
        self.test_start = test_start
        self.valid_start = valid_start
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        given = {key: params.get(key) for key in ("valid_start", "test_start")}
        problems = []
        for key, text in given.items():
            try:
                moment(str(text)) if text is not None else None
            except ValueError:
                problems.append((key, f"a date or time such as 2015-06-30, got {text!r}"))
        valid, test = given.values()
        if not problems and valid is not None and moment(str(valid)) >= moment(str(test)):
            problems.append(("valid_start", f"{valid} is not before test_start={test}"))
        return problems

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if it has no timestamps, or train or test would be empty.
        """
        dataset, time = _timed(dataset)
        part = np.full(len(time), TRAIN)
        if self.valid_start is not None:
            part[time >= moment(self.valid_start)] = VALID
        part[time >= moment(self.test_start)] = TEST
        _check(dataset, part, f"test_start={self.test_start}, valid_start={self.valid_start}")
        moments = [text for text in (self.valid_start, self.test_start) if text is not None]
        return parts_of(dataset, part, f"global-temporal at {' and '.join(moments)}")


class RollingWindows:
    """Several tests one after the other, each on the days that follow what was known then.

    The last `n_windows` × `days` days are divided into windows; `window` says which of them is the
    test. The `valid_days` before it are the validation, everything earlier is train (or only the
    last `train_days`). What is later than the window, or earlier than train, is left out and
    counted (`Split.left_out`, ``data.json``). Run it for every window
    (``-m split.window=0,1,2``) and average.

    Args:
        n_windows: how many.
        window: which of them, from 0, the earliest.
        days: length of each.
        valid_days: length of the validation; null: as long as the test.
        train_days: how far train goes back; null: to the beginning.
    """

    def __init__(
        self,
        *,
        n_windows: int = 3,
        window: int = 0,
        days: int = 30,
        valid_days: int | None = None,
        train_days: int | None = None,
    ) -> None:
        self.n_windows = n_windows
        self.window = window
        self.days = days
        self.valid_days = valid_days
        self.train_days = train_days
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        n_windows, window = params.get("n_windows", 3), params.get("window", 0)
        problems = []
        if n_windows < 1:
            problems.append(("n_windows", f"at least 1, got {n_windows}"))
        elif not 0 <= window < n_windows:
            problems.append(("window", f"from 0 to {n_windows - 1} (n_windows - 1), got {window}"))
        for key, least in (("days", 1), ("valid_days", 0), ("train_days", 1)):
            value = params.get(key)
            if value is not None and value < least:
                problems.append((key, f"at least {least}, got {value}"))
        return problems

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if it has no timestamps, or train or test would be empty.
        """
        dataset, time = _timed(dataset)
        end = int(time[-1]) + 1 - (self.n_windows - 1 - self.window) * self.days * DAY
        test = end - self.days * DAY
        valid = test - (self.days if self.valid_days is None else self.valid_days) * DAY
        part = np.full(len(time), TRAIN)
        part[time >= valid] = VALID
        part[time >= test] = TEST
        left_out = {"later than the window": time >= end}
        if self.train_days is not None:
            early = time < valid - self.train_days * DAY
            left_out[f"earlier than the {self.train_days} days of train"] = early
        for rows in left_out.values():
            part[rows] = LEFT_OUT
        _check(dataset, part, f"window {self.window} of {self.n_windows} with {self.days} days")
        train = "" if self.train_days is None else f", trained on {self.train_days} days"
        protocol = f"rolling {self.n_windows} x {self.days} days{train}, fold {self.window + 1}"
        counts = {why: int(n) for why, rows in left_out.items() if (n := rows.sum())}
        return replace(parts_of(dataset, part, protocol), left_out=counts)


def _timed(dataset: Dataset) -> tuple[Dataset, np.ndarray]:
    """Return the data set in time order, and its times.

    Raises:
        DataError: if it has none.
    """
    dataset = ordered_by_time(dataset)
    time = dataset.interactions.timestamp
    if time is None:
        raise DataError(
            f"{dataset.name} has no timestamps, which a split by time needs; use "
            "split=leave_one_out (order of the file) or split=random_k_fold"
        )
    if not len(time):
        raise DataError(f"{dataset.name} has no interactions")
    return dataset, time


def _check(dataset: Dataset, part: np.ndarray, how: str) -> None:
    time = dataset.interactions.timestamp
    for side, number in (("train", TRAIN), ("test", TEST)):
        if time is not None and not np.any(part == number):
            first, last = (np.datetime64(int(each), "s") for each in time[[0, -1]])
            raise DataError(
                f"{dataset.name} goes from {first} to {last}: {how} leaves nothing for {side}"
            )
