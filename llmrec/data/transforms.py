"""What a data set is like, and what is made of its ratings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Split

EARLIEST = 631_152_000  # 1990: no log of what users do on line is older


def binarized(dataset: Dataset, threshold: float) -> Dataset:
    """Return the data set with likes for ratings: 1.0 from `threshold` on, 0.0 below.

    Meant for a whole data set, before it is split.

    Raises:
        DataError: if it has no ratings, or all of them are on one side of the threshold.
    """
    ratings = _ratings(dataset, "likes are made of")
    likes = (ratings >= threshold).astype(np.float32)
    if len(likes) and likes.min() == likes.max():
        raise DataError(
            f"all ratings of {dataset.name} ({ratings.min():g} to {ratings.max():g}) are on one "
            f"side of the threshold {threshold:g}; choose another"
        )
    return dataset.with_interactions(replace(dataset.interactions, rating=likes))


def classed(dataset: Dataset, bounds: Sequence[float]) -> Dataset:
    """Return the data set with classes 0, 1, 2, … for ratings, cut at rising bounds.

    Meant for a whole data set, before it is split. A rating on a bound is of the class above it:
    with ``[3, 4]`` stars become negative (0: 1 and 2), neutral (1: 3) and positive (2: 4 and 5).

    Raises:
        DataError: if it has no ratings, or a class gets none.
    """
    ratings = _ratings(dataset, "classes are made of")
    codes = np.searchsorted(np.asarray(bounds, np.float64), ratings, side="right")
    counts = np.bincount(codes, minlength=len(bounds) + 1)
    if not counts.all():
        raise DataError(
            f"evaluation.class_bounds={list(bounds)} leaves class {int(np.argmin(counts))} empty: "
            f"ratings of {dataset.name} go from {ratings.min():g} to {ratings.max():g}; choose "
            "other bounds"
        )
    rating = codes.astype(np.float32)
    return dataset.with_interactions(replace(dataset.interactions, rating=rating))


def require_classes(dataset: Dataset, bounds: Sequence[float]) -> None:
    """Check that ratings are the classes that `classed` makes of them.

    Raises:
        DataError: if they are something else.
    """
    ratings = dataset.interactions.rating
    if ratings is None or not np.isin(ratings, np.arange(len(bounds) + 1)).all():
        raise DataError(
            f"ratings of {dataset.name} are not yet classes 0 to {len(bounds)}, as class_bounds "
            "says; make them with llmrec.data.transforms.classed before the split"
        )


def rating_scale(dataset: Dataset) -> tuple[float, float]:
    """Return the lowest and the highest rating.

    Raises:
        DataError: if there are no ratings.
    """
    ratings = _ratings(dataset, "a rating scale needs")
    return float(ratings.min()), float(ratings.max())


def describe(dataset: Dataset, *, now: float | None = None) -> dict[str, Any]:
    """Return the figures of a data set in plain Python values, None where they do not apply.

    `strange_times` are those after `now` (seconds since 1970; None: this moment) and before 1990,
    each counted, with an example; it is empty where all is well. `history_length` counts users
    with at least one interaction; `popularity_gini` is 0 if all items are equally popular and near
    1 if one item has all interactions.
    """
    log = dataset.interactions
    lengths = dataset.rows_by_user.lengths
    lengths = lengths[lengths > 0]
    texts = np.array([bool(text) for text in dataset.item_texts()])
    return {
        "name": dataset.name,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": len(log),
        "density": len(log) / max(dataset.n_users * dataset.n_items, 1),
        "history_length": {
            "min": int(lengths.min()),
            "median": float(np.median(lengths)),
            "max": int(lengths.max()),
        }
        if len(lengths)
        else None,
        "ratings": None if log.rating is None or not len(log) else list(rating_scale(dataset)),
        "mean_rating": None if log.rating is None or not len(log) else float(np.mean(log.rating)),
        "time": None
        if log.timestamp is None or not len(log)
        else [_day(log.timestamp.min()), _day(log.timestamp.max())],
        "strange_times": strange_times(dataset, now=now),
        "item_fields": list(dataset.item_fields),
        "items_with_text": float(texts.mean()) if len(texts) else 0.0,
        "user_fields": list(dataset.user_fields),
        "popularity_gini": gini(dataset.item_counts),
        "fingerprint": dataset.fingerprint,
        "source": dict(dataset.source),
    }


def strange_times(dataset: Dataset, *, now: float | None = None) -> dict[str, dict[str, Any]]:
    """Return times that cannot be right: after `now` or before 1990, counted, with an example.

    Example:
        >>> from llmrec.core.types import Interactions
        >>> log = Interactions(np.zeros(2, int), np.arange(2), None, np.array([20240301, 10**9]))
        >>> data = Dataset("toy", log, np.array(["u"]), np.array(["a", "b"]))
        >>> strange_times(data)["before_1990"]["example"]
        'user u, item a at 20240301 (1970-08-23)'
    """
    log = dataset.interactions
    if log.timestamp is None:
        return {}
    moment = time.time() if now is None else now
    found = {}
    for name, rows in (
        ("after_now", log.timestamp > moment),
        ("before_1990", log.timestamp < EARLIEST),
    ):
        n = int(np.count_nonzero(rows))
        if n:
            row = int(np.argmax(rows))
            when = int(log.timestamp[row])
            found[name] = {
                "interactions": n,
                "example": f"user {dataset.user_ids[log.user[row]]}, item "
                f"{dataset.item_ids[log.item[row]]} at {when} ({_day(when)})",
                "perhaps": _reason(log.timestamp[rows]),
            }
    return found


def _reason(times: np.ndarray) -> str:
    """Return what may have gone wrong with times that cannot be right, in words."""
    low, high = int(times.min()), int(times.max())
    if low == high == 0:
        return "0 written where the time is not known"
    if 10**7 < low <= high < 10**8 and np.all((times // 100 % 100 - 1) < 12):
        return "dates written as a number such as 20240301; write 2024-03-01"
    if 0 <= low <= high < 40_000:
        return "days or years instead of seconds since 1970"
    if low >= 10**11:
        return "milliseconds or finer, not seconds, since 1970"
    return "a wrong clock, or a unit other than seconds since 1970"


def describe_split(split: Split) -> dict[str, Any]:
    """Return the sizes of a split, and how much of validation and test train has never seen.

    ``left_out`` counts by reason what stands in no part.
    """
    known_users = np.bincount(split.train.interactions.user, minlength=split.train.n_users) > 0
    known_items = split.train.item_counts > 0
    described: dict[str, Any] = {
        "protocol": split.protocol,
        "leaks": split.leaks,
        "left_out": dict(split.left_out),
    }
    for name, part in (("train", split.train), ("valid", split.valid), ("test", split.test)):
        users, items = np.unique(part.interactions.user), np.unique(part.interactions.item)
        described[name] = {
            "interactions": len(part),
            "users": len(users),
            "items": len(items),
            "unseen_users": int(np.count_nonzero(~known_users[users])),
            "unseen_items": int(np.count_nonzero(~known_items[items])),
        }
    return described


def gini(counts: np.ndarray) -> float:
    """Return the Gini coefficient of (n_items,) counts: 0 all alike, near 1 one has everything.

    Example:
        >>> gini(np.array([5, 5, 5, 5])), gini(np.array([0, 0, 0, 8]))
        (0.0, 0.75)
    """
    n, total = len(counts), counts.sum()
    if not total:
        return 0.0
    rank = np.arange(1, n + 1)
    return float(np.sum((2 * rank - n - 1) * np.sort(counts)) / (n * total))


def _ratings(dataset: Dataset, purpose: str) -> np.ndarray:
    ratings = dataset.interactions.rating
    if ratings is None or not len(ratings):
        raise DataError(
            f"{dataset.name} has no ratings, which {purpose}; name their column "
            "(data.rating=…) or choose the ranking task"
        )
    return ratings


def _day(timestamp: int) -> str:
    return str(np.datetime64(int(timestamp), "s").astype("datetime64[D]"))
