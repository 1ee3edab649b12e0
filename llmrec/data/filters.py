"""Filters: which interactions, users and items of a data set take part.

A filter decides about rows. Users and items that lose all their interactions leave the data set;
what had none before (``catalogue=items``) stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.protocols import Filter
from llmrec.core.types import Dataset, Interactions


class KCore:
    """Users and items with at least k interactions with each other, again and again.

    Removes rows until every user that is left has `k` interactions with items that are left, and
    the other way round. The result is the largest such set, whatever the order of removal.
    """

    def __init__(self, *, k: int = 5) -> None:
        self.k = k
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        return [] if params.get("k", 5) >= 2 else [("k", f"at least 2, got {params['k']}")]

    @property
    def words(self) -> str:
        return f"{self.k}-core"

    def rows(self, dataset: Dataset) -> np.ndarray:
        return core_rows(dataset, self.k)


class MinimumCounts:
    """Users and items with enough interactions in the data as it is, counted once.

    Afterwards some may have fewer, since what they interacted with is gone: `KCore` goes on.
    """

    def __init__(self, *, user: int = 5, item: int = 1) -> None:
        self.user = user
        self.item = item
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        counts = {"user": params.get("user", 5), "item": params.get("item", 1)}
        return [(key, f"at least 1, got {n}") for key, n in counts.items() if n < 1]

    @property
    def words(self) -> str:
        return f"{self.user}+ per user, {self.item}+ per item"

    def rows(self, dataset: Dataset) -> np.ndarray:
        log = dataset.interactions
        users = np.bincount(log.user, minlength=dataset.n_users) >= self.user
        kept: np.ndarray = users[log.user] & (dataset.item_counts >= self.item)[log.item]
        return kept


class RatingThreshold:
    """Interactions with a rating of at least `minimum`, e.g. what counts as liked."""

    def __init__(self, *, minimum: float = 4.0) -> None:
        self.minimum = minimum
        construct_check(self)

    @property
    def words(self) -> str:
        return f"ratings from {self.minimum:g}"

    def rows(self, dataset: Dataset) -> np.ndarray:
        ratings = dataset.interactions.rating
        if ratings is None:
            raise DataError(f"{dataset.name} has no ratings, which rating_threshold needs")
        kept: np.ndarray = ratings >= self.minimum
        return kept


class TimeWindow:
    """Interactions from `start` on and before `end`.

    Args:
        start: an ISO 8601 date or time, UTC where no offset is given; null: from the beginning.
        end: the same, itself outside; null: to the end.
    """

    def __init__(self, *, start: str | None, end: str | None = None) -> None:
        self.start = start
        self.end = end
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        given = {key: params.get(key) for key in ("start", "end")}
        problems = []
        for key, text in given.items():
            try:
                moment(text) if text is not None else None
            except ValueError:
                problems.append((key, f"a date or time such as 2015-06-30, got {text!r}"))
        if not problems and given["start"] is None and given["end"] is None:
            problems.append(("start", "a window without start and end filters nothing"))
        both = not problems and None not in given.values()
        if both and moment(str(given["start"])) >= moment(str(given["end"])):
            problems.append(("end", f"{given['end']} is not after the start {given['start']}"))
        return problems

    @property
    def words(self) -> str:
        start = "" if self.start is None else f"from {self.start}"
        end = "" if self.end is None else f"before {self.end}"
        return f"{start} {end}".strip()

    def rows(self, dataset: Dataset) -> np.ndarray:
        time = dataset.interactions.timestamp
        if time is None:
            raise DataError(f"{dataset.name} has no timestamps, which time_window needs")
        kept = np.ones(len(time), bool)
        if self.start is not None:
            kept &= time >= moment(self.start)
        if self.end is not None:
            kept &= time < moment(self.end)
        return kept


class SampleUsers:
    """A random sample of users with all their interactions; the same for the same seed."""

    def __init__(self, *, n_users: int = 1000, seed: int = 0) -> None:
        self.n_users = n_users
        self.seed = seed
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        problems = []
        if params.get("n_users", 1000) < 1:
            problems.append(("n_users", f"at least 1, got {params['n_users']}"))
        if params.get("seed", 0) < 0:
            problems.append(("seed", f"0 or more, got {params['seed']}"))
        return problems

    @property
    def words(self) -> str:
        return f"{self.n_users:,} sampled users (seed {self.seed})".replace(",", "")

    def rows(self, dataset: Dataset) -> np.ndarray:
        active = np.flatnonzero(np.bincount(dataset.interactions.user, minlength=dataset.n_users))
        if self.n_users > len(active):
            raise DataError(
                f"{dataset.name} has {len(active)} users with interactions here, too few to sample "
                f"{self.n_users}"
            )
        # By external id: the same users whatever the order of the file was.
        named = active[np.argsort(dataset.user_ids[active], kind="stable")]
        chosen = np.random.default_rng(self.seed).permutation(named)[: self.n_users]
        wanted = np.zeros(dataset.n_users, bool)
        wanted[chosen] = True
        kept: np.ndarray = wanted[dataset.interactions.user]
        return kept


def apply_filters(dataset: Dataset, filters: Mapping[str, Filter]) -> Dataset:
    """Return the data set after some filters, one after the other.

    What each did is added to `Dataset.source` (key ``filters``), and every split names them in its
    protocol.

    Raises:
        DataError: if nothing is left, or a filter needs what the data lacks.
    """
    for label, each in filters.items():
        before = _sizes(dataset)
        rows = each.rows(dataset)
        if not rows.any():
            raise DataError(
                f"the filter {label} ({each.words}) leaves nothing of {dataset.name}, which has "
                f"{before['interactions']} interactions of {before['users']} users with "
                f"{before['items']} items"
            )
        dataset = kept(dataset, rows)
        after = _sizes(dataset)
        step = {"label": label, "words": each.words, "before": before, "after": after}
        done = [*dataset.source.get("filters", []), step]
        dataset = replace(dataset, source={**dataset.source, "filters": done})
    return dataset


def filter_words(dataset: Dataset) -> str:
    """Return what the filters of a data set are called in a protocol, "" if there are none."""
    return ", ".join(step["words"] for step in dataset.source.get("filters", []))


def core_rows(dataset: Dataset, k: int) -> np.ndarray:
    """Return (N,) bool: the rows of the k-core."""
    user, item = dataset.interactions.user, dataset.interactions.item
    places: np.ndarray | None = None
    while True:
        enough = np.bincount(user, minlength=dataset.n_users)[user] >= k
        enough &= np.bincount(item, minlength=dataset.n_items)[item] >= k
        if enough.all():
            break
        user, item = user[enough], item[enough]
        places = np.flatnonzero(enough) if places is None else places[enough]
    if places is None:
        return np.ones(len(dataset), bool)
    rows = np.zeros(len(dataset), bool)
    rows[places] = True
    return rows


def kept(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Return the chosen interactions without the users and items that lose all of theirs.

    Args:
        dataset: the data.
        rows: (N,) bool.
    """
    log = dataset.interactions.take(rows)
    users, user = _remaining(dataset.interactions.user, log.user, dataset.n_users)
    items, item = _remaining(dataset.interactions.item, log.item, dataset.n_items)
    return Dataset(
        dataset.name,
        Interactions(user, item, log.rating, log.timestamp, log.text),
        dataset.user_ids[users],
        dataset.item_ids[items],
        {name: values[items] for name, values in dataset.item_fields.items()},
        {name: values[users] for name, values in dataset.user_fields.items()},
        dataset.source,
    )


def moment(text: str) -> int:
    """Return seconds since 1970 of an ISO 8601 date or time, UTC where no offset is given.

    Raises:
        ValueError: for anything else.

    Example:
        >>> moment("2001-09-09T01:46:40"), moment("1970-01-02")
        (1000000000, 86400)
    """
    found = datetime.fromisoformat(text)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _remaining(before: np.ndarray, after: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that stay, and the new ids of the rows."""
    stays = (np.bincount(after, minlength=n) > 0) | (np.bincount(before, minlength=n) == 0)
    ids = np.flatnonzero(stays)
    if len(ids) == n:
        return ids, after
    new = np.full(n, -1, np.int32)
    new[ids] = np.arange(len(ids), dtype=np.int32)
    return ids, new[after]


def _sizes(dataset: Dataset) -> dict[str, int]:
    log = dataset.interactions
    return {
        "interactions": len(log),
        "users": int(np.count_nonzero(np.bincount(log.user, minlength=dataset.n_users))),
        "items": int(np.count_nonzero(dataset.item_counts)),
    }
