"""A small log with texts, ratings and times, for the features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llmrec.core.types import Dataset, Interactions

TITLES = ["red fox", "red red fox", "river", "blue river", "blue"]
# user 0 writes rows 0, 2, 4; user 1 writes rows 1, 3
REVIEWS = ["good fox", "good good", "bad river", "fine", "good river"]
DAY = 86_400


def at(day: float) -> int:
    """Return a time, days after Monday 5 January 1970, 00:00."""
    return int(4 * DAY + day * DAY)


def data() -> Dataset:
    log = Interactions(
        np.array([0, 1, 0, 1, 0], np.int32),
        np.array([0, 1, 2, 1, 3], np.int32),
        np.array([5, 3, 1, 4, 3], np.float32),
        np.array([at(0), at(1), at(2), at(3), at(4)]),
        np.array(REVIEWS, object),
    )
    return Dataset(
        "by hand",
        log,
        np.array(["ann", "bob", "eve"]),
        np.array(list("abcde")),
        {"title": np.array(TITLES, object)},
        {"country": np.array(["FR", "DE", "US"], object)},
    )


def texts_changed() -> Dataset:
    """The same training side, where an item that does not occur in it has another text."""
    titles = data().item_fields["title"].copy()
    titles[4] = "entirely other words red red"
    return replace(data(), item_fields={"title": titles})
