"""The history of a user, or of an item, in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from llmrec.core.config import FeatureSpec, build, construct_check
from llmrec.core.errors import ComponentError
from llmrec.core.types import Dataset, Queries, Ragged
from llmrec.features.base import (
    BaseFeature,
    Matrix,
    load_feature,
    some_rows,
    sums,
    training_queries,
    unit_rows,
)

DAY = 86_400
COUNTS = ("count", "recency_days", "gap_mean_days", "active_")


class History(BaseFeature):
    """Numbers about what a user did so far, or about what was done with an item.

    ``count``; where the data has ratings ``rating_mean`` and ``rating_variance``; where it has
    times ``recency_days`` (since the last), ``gap_mean_days`` (between two in a row) and
    ``active_N_days`` (how many in the last N days); with `drift` the distance, 1 − cosine, between
    the means of the early and of the late half of the history in the space of an item feature.
    A user's history is the one that the query carries, at the time of the query; an item's is that
    in the training side, at its end. What a row does not tell (no history, no ratings, no time)
    takes the mean over the training rows.

    Args:
        of: whose history, a user's or an item's.
        windows_days: lengths N of the windows that are counted.
        drift: item feature in whose space a user's drift is measured; null for no such column.
        logarithm: whether counts and days become ``ln(1 + x)``.
    """

    comparable = False

    def __init__(
        self,
        *,
        of: Literal["user", "item"] = "user",
        windows_days: Sequence[int] = (1, 7, 30),
        drift: FeatureSpec | None = None,
        logarithm: bool = False,
    ) -> None:
        self.of = of
        self.windows_days = list(windows_days)
        self.drift = drift
        self.logarithm = logarithm
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        found = []
        if any(days < 1 for days in params.get("windows_days", ())):
            found.append(("windows_days", "expected days of 1 or more"))
        if params.get("of", "user") == "item" and params.get("drift") is not None:
            found.append(("drift", "is that of a user; leave it null, or choose of=user"))
        return found

    @property
    def describes(self) -> Literal["item", "query"]:  # type: ignore[override]
        return "item" if self.of == "item" else "query"

    @property
    def state(self) -> tuple[str, ...]:
        own = ("matrix",) if self.of == "item" else ()
        return ("rated", "timed", "fills", *own)

    @property
    def columns(self) -> list[str]:
        names = ["count"]
        if self.rated:
            names += ["rating_mean", "rating_variance"]
        if self.timed:
            names += ["recency_days", "gap_mean_days"]
            names += [f"active_{days}_days" for days in self.windows_days]
        return [*names, "drift"] if self.drift is not None else names

    def learn(self, train: Dataset) -> None:
        log = train.interactions
        self.rated, self.timed = log.rating is not None, log.timestamp is not None
        if self.drift is not None:
            self._space = build("feature", self.drift).fit(train)
            if self._space.describes != "item":
                raise ComponentError(
                    f"drift is measured in a feature of items, and {self.drift['name']} describes "
                    "queries here; set its option of to item"
                )
        if self.of == "user":
            asked = training_queries(train, some_rows(len(train)))
            values = self._raw(asked.histories, asked.ratings, asked.timestamps, asked.time)
        else:
            values = self._of_items(train)[train.item_counts > 0]
        known = ~np.isnan(values)
        total = np.where(known, values, 0).sum(axis=0)
        self.fills = total / np.maximum(known.sum(axis=0), 1)

    def observe(self, known: Dataset) -> Self:
        if self.of == "item":
            self.matrix = self._finished(self._of_items(known))
        elif self.drift is not None:
            self._space.observe(known)
        return self

    def items(self) -> Matrix:
        return self.matrix if self.of == "item" else super().items()

    def queries(self, queries: Queries) -> Matrix:
        if self.of == "item":
            return super().queries(queries)
        return self._finished(
            self._raw(queries.histories, queries.ratings, queries.timestamps, queries.time)
        )

    def _of_items(self, known: Dataset) -> np.ndarray:
        log, n = known.interactions, known.n_items
        rows = Ragged.from_groups(log.item, np.arange(len(log), dtype=np.int64), n)

        def column(values: np.ndarray | None) -> Ragged | None:
            return None if values is None else rows.with_values(values[rows.values])

        end = None
        if log.timestamp is not None:
            end = np.full(n, log.timestamp.max(initial=0))
        return self._raw(rows, column(log.rating), column(log.timestamp), end)

    def _finished(self, values: np.ndarray) -> np.ndarray:
        values = np.where(np.isnan(values), self.fills, values)
        if self.logarithm:
            skewed = [name.startswith(COUNTS) for name in self.columns]
            values[:, skewed] = np.log1p(values[:, skewed])
        return values.astype(np.float32)

    def _raw(
        self, rows: Ragged, ratings: Ragged | None, times: Ragged | None, now: np.ndarray | None
    ) -> np.ndarray:
        """Return (R, D) float64, NaN for what is not known."""
        n = len(rows)
        unknown = np.full(n, np.nan)
        columns = [rows.lengths.astype(np.float64)]
        if self.rated:
            if ratings is None:
                columns += [unknown, unknown]
            else:
                mean = _mean(ratings, ratings.values)
                columns += [mean, _mean(ratings, (ratings.values - mean[ratings.row_of]) ** 2)]
        if self.timed:
            columns += self._times(times, now, n)
        if self.drift is not None:
            columns.append(_drift(rows, self._space.items()))
        return np.stack(columns, axis=1)

    def _times(self, times: Ragged | None, now: np.ndarray | None, n: int) -> list[np.ndarray]:
        unknown = np.full(n, np.nan)
        if times is None:
            return [unknown] * (2 + len(self.windows_days))
        inside = np.diff(times.row_of) == 0
        gap = _mean_of(times.row_of[1:][inside], np.diff(times.values)[inside] / DAY, n)
        if now is None:
            return [unknown, gap, *[unknown] * len(self.windows_days)]
        last = np.where(times.lengths > 0, _last(times), now)
        recency = np.where(times.lengths > 0, np.maximum(now - last, 0) / DAY, np.nan)
        age = (now[times.row_of] - times.values) / DAY
        active = [
            np.bincount(times.row_of[age < days], minlength=n).astype(np.float64)
            for days in self.windows_days
        ]
        return [recency, gap, *active]

    def save_state(self, folder: Path) -> None:
        super().save_state(folder)
        if self.drift is not None:
            self._space.save(folder / "drift")

    def load_state(self, folder: Path) -> None:
        super().load_state(folder)
        if self.drift is not None:
            self._space = load_feature(folder / "drift")


def _mean_of(groups: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Return the mean of each group, NaN for an empty one."""
    counts = np.bincount(groups, minlength=n)
    total = np.bincount(groups, values.astype(np.float64), minlength=n)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def _mean(rows: Ragged, values: np.ndarray) -> np.ndarray:
    return _mean_of(rows.row_of, values, len(rows))


def _last(times: Ragged) -> np.ndarray:
    if not len(times.values):
        return np.zeros(len(times), np.int64)
    return times.values[np.maximum(times.offsets[1:] - 1, 0)]


def _drift(rows: Ragged, space: Matrix) -> np.ndarray:
    """Return 1 − cosine of the means of both halves, NaN for fewer than two items."""
    early = rows.place_of < np.repeat(rows.lengths // 2, rows.lengths)
    unit = unit_rows(space)
    first = unit_rows(sums(rows, unit, early))
    second = unit_rows(sums(rows, unit, ~early))
    if isinstance(first, np.ndarray):
        cosine = (first * second).sum(axis=1)
    else:
        cosine = np.asarray(first.multiply(second).sum(axis=1)).ravel()
    return np.where(rows.lengths >= 2, 1 - cosine.astype(np.float64), np.nan)
