"""Splits whose test has users, or items, that train has never seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Split
from llmrec.data.splits import TEST, TRAIN, VALID, ordered_by_time, parts_of, share_problems


class UserColdStart:
    """Users of the test, and others of the validation, have no interaction in train.

    They come without any history: what is left to answer from is what the data knows about users,
    and what everybody likes.

    Args:
        valid_share: of the users.
        test_share: of the users.
        seed: of the draw.
    """

    def __init__(self, *, valid_share: float = 0.1, test_share: float = 0.1, seed: int = 0) -> None:
        self.valid_share = valid_share
        self.test_share = test_share
        self.seed = seed
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        return share_problems(params)

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if it has too few users.
        """
        dataset = ordered_by_time(dataset)
        active = np.flatnonzero(dataset.rows_by_user.lengths)
        drawn = np.random.default_rng(self.seed).permutation(active)
        side = _sides(dataset, "users", drawn, dataset.n_users, self.valid_share, self.test_share)
        return parts_of(
            dataset,
            side[dataset.interactions.user],
            f"user-cold-start {_percent(self.valid_share, self.test_share)}",
            "training interactions of other users may be later than the test ones",
        )


class ItemColdStart:
    """Items of the test, and others of the validation, have no interaction in train.

    The histories of users hold their other items; the candidates are those of the evaluation, old
    items among them.

    Args:
        valid_share: of the items.
        test_share: of the items.
        choose: ``newest``: those that appear last, as in life; ``random``: any.
        seed: of the draw.
    """

    def __init__(
        self,
        *,
        valid_share: float = 0.1,
        test_share: float = 0.1,
        choose: Literal["newest", "random"] = "newest",
        seed: int = 0,
    ) -> None:
        self.valid_share = valid_share
        self.test_share = test_share
        self.choose = choose
        self.seed = seed
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        return share_problems(params)

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: if it has too few items, or no times to tell the newest by.
        """
        if self.choose == "newest" and dataset.interactions.timestamp is None:
            raise DataError(
                f"{dataset.name} has no timestamps, so nothing tells its newest items; set "
                "choose=random"
            )
        dataset = ordered_by_time(dataset)
        items, first = np.unique(dataset.interactions.item, return_index=True)
        if self.choose == "random":
            chosen = np.random.default_rng(self.seed).permutation(items)
        else:
            chosen = items[np.argsort(first, kind="stable")][::-1]
        side = _sides(dataset, "items", chosen, dataset.n_items, self.valid_share, self.test_share)
        return parts_of(
            dataset,
            side[dataset.interactions.item],
            f"item-cold-start {_percent(self.valid_share, self.test_share)} ({self.choose} items)",
            "training interactions, a user's own among them, may be later than the test ones",
            ordered=False,
        )


def _sides(
    dataset: Dataset,
    what: str,
    chosen: np.ndarray,
    n: int,
    valid_share: float,
    test_share: float,
) -> np.ndarray:
    """Return (n,) the part of each user or item: first of `chosen` the test, then validation."""
    n_test, n_valid = round(test_share * len(chosen)), round(valid_share * len(chosen))
    if not n_test or (valid_share and not n_valid) or n_test + n_valid >= len(chosen):
        raise DataError(
            f"{dataset.name} has {len(chosen)} {what}, too few for shares of {valid_share:g} and "
            f"{test_share:g}; use other shares"
        )
    side = np.full(n, TRAIN)
    side[chosen[:n_test]] = TEST
    side[chosen[n_test : n_test + n_valid]] = VALID
    return side


def _percent(valid_share: float, test_share: float) -> str:
    shares = (1 - valid_share - test_share, valid_share, test_share)
    return "/".join(f"{100 * share:.4g}" for share in shares)
