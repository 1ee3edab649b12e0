"""Splits that divide the history of each user: leave-k-out, and by ratio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Ragged, Split
from llmrec.data.splits import TEST, TRAIN, VALID, ordered_by_time, parts_of, share_problems

OTHERS_LATER = "other users' training interactions may be later than a user's test items"


class LeaveKOut:
    """The last `n_test` interactions of each user are the test, `n_valid` before them validation.

    The order is that of time, equal times in the order of the file. Users with fewer than
    n_valid + n_test + 1 interactions go wholly to train.
    """

    def __init__(self, *, n_test: int = 5, n_valid: int = 1) -> None:
        self.n_test = n_test
        self.n_valid = n_valid
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        problems = []
        if params.get("n_test", 5) < 1:
            problems.append(("n_test", f"at least 1, got {params['n_test']}"))
        if params.get("n_valid", 1) < 0:
            problems.append(("n_valid", f"0 or more, got {params['n_valid']}"))
        return problems

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if no user has enough interactions.
        """
        dataset = ordered_by_time(dataset)
        rows = dataset.rows_by_user
        least = self.n_test + self.n_valid + 1
        enough = rows.lengths >= least
        if not enough.any():
            raise DataError(
                f"{dataset.name} cannot be split leave-{self.n_test}-out: no user has {least} "
                f"interactions (the longest history has {rows.lengths.max(initial=0)}); leave "
                "fewer out"
            )
        test, valid = np.where(enough, self.n_test, 0), np.where(enough, self.n_valid, 0)
        protocol = f"leave-{self.n_test}-out"
        if self.n_valid != 1:
            protocol += f" ({self.n_valid} for validation)"
        if dataset.interactions.timestamp is None:
            protocol += " by file order"
        return parts_of(dataset, _tails(rows, valid, test), protocol, OTHERS_LATER)


class UserRatio:
    """A share of each user's interactions is the test, a share the validation, the rest train.

    Args:
        valid_share: of each user's interactions, rounded; 0: none.
        test_share: the same.
        order: ``time``: the last ones are held out; ``random``: drawn from all.
        seed: of the draw.
    """

    def __init__(
        self,
        *,
        valid_share: float = 0.1,
        test_share: float = 0.1,
        order: Literal["time", "random"] = "time",
        seed: int = 0,
    ) -> None:
        self.valid_share = valid_share
        self.test_share = test_share
        self.order = order
        self.seed = seed
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        return share_problems(params)

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if no user has enough interactions for a test.
        """
        dataset = ordered_by_time(dataset)
        rows = dataset.rows_by_user
        if self.order == "random":
            rows = _shuffled(rows, self.seed)
        # At least one stays in train, so that nobody is held out whole.
        most = np.maximum(rows.lengths - 1, 0)
        test = np.minimum(_rounded(rows.lengths * self.test_share), most)
        valid = np.minimum(_rounded(rows.lengths * self.valid_share), most - test)
        if not test.any():
            raise DataError(
                f"{dataset.name} cannot be split by ratio: the longest history has "
                f"{rows.lengths.max(initial=0)} interactions, of which test_share="
                f"{self.test_share:g} is less than half of one; use a larger share"
            )
        shares = (1 - self.valid_share - self.test_share, self.valid_share, self.test_share)
        protocol = "per-user " + "/".join(f"{100 * share:.4g}" for share in shares)
        if self.order == "random":
            return parts_of(
                dataset,
                _tails(rows, valid, test),
                f"{protocol} at random",
                "a random draw ignores time: a user's training interactions may be later than "
                "the test ones",
                ordered=False,
            )
        if dataset.interactions.timestamp is None:
            protocol += " by file order"
        return parts_of(dataset, _tails(rows, valid, test), protocol, OTHERS_LATER)


def _tails(rows: Ragged, valid: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return (N,) parts: the last of each row are test, those before them validation.

    Args:
        rows: row numbers of the data set, by user.
        valid: (n_users,) how many.
        test: (n_users,) how many.
    """
    from_end = np.repeat(rows.offsets[1:], rows.lengths) - np.arange(len(rows.values))
    part = np.full(len(rows.values), TRAIN)
    n_test, n_held = np.repeat(test, rows.lengths), np.repeat(valid + test, rows.lengths)
    part[rows.values[from_end <= n_held]] = VALID
    part[rows.values[from_end <= n_test]] = TEST
    return part


def _shuffled(rows: Ragged, seed: int) -> Ragged:
    """Return each row in random order."""
    key = np.random.default_rng(seed).random(len(rows.values))
    return rows.with_values(rows.values[np.lexsort((key, rows.row_of))])


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """Return whole numbers, halves up (a share of 0.1 of five interactions is one)."""
    return np.floor(numbers + 0.5 + 1e-9).astype(np.int64)
