"""The moment and the place of a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError, unknown
from llmrec.core.types import Dataset, Queries
from llmrec.features.base import BaseFeature, Matrix

Part = Literal["hour", "weekday", "month", "season", "session"]
CYCLES = ("hour", "weekday", "month", "season")
YEAR_DAYS = 365.2425
NOWHERE = -1


class Context(BaseFeature):
    """When, at which point of a session, and where a query is asked.

    A time is a point on a circle, (sin, cos): ``hour`` of the day (with its minutes), ``weekday``
    (from Monday), ``month``, ``season`` (the day of the year); without a time it is the middle of
    the circle, (0, 0). ``session`` is how many interactions of the history belong to the session
    of the query: each at most `session_gap_seconds` before the next. A place is one column for
    each that training users have; another place, or none, has zeros.

    Args:
        parts: which of hour, weekday, month, season, session.
        place: user field that holds the place, e.g. a country; null for none.
        utc_offset_hours: of the local time of the users; timestamps are in UTC.
        session_gap_seconds: a longer pause ends a session.

    Raises:
        DataError: from `fit`, if the data has no times, or no such field.
    """

    describes = "query"

    def __init__(
        self,
        *,
        parts: Sequence[Part] = ("hour", "weekday", "month", "session"),
        place: str | None = None,
        utc_offset_hours: float = 0.0,
        session_gap_seconds: int = 1800,
    ) -> None:
        self.parts = list(parts)
        self.place = place
        self.utc_offset_hours = utc_offset_hours
        self.session_gap_seconds = session_gap_seconds
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        found = []
        if not params.get("parts", ["hour"]) and params.get("place") is None:
            found.append(("parts", "name at least one, or a place"))
        if params.get("session_gap_seconds", 0) < 0:
            found.append(("session_gap_seconds", "expected 0 or more"))
        if not -14 <= params.get("utc_offset_hours", 0) <= 14:
            found.append(("utc_offset_hours", "expected -14 to 14"))
        return found

    @property
    def state(self) -> tuple[str, ...]:
        return ("places", "place_of_user")

    @property
    def columns(self) -> list[str]:
        names: list[str] = []
        for part in self.parts:
            names += [f"{part}_sin", f"{part}_cos"] if part in CYCLES else ["session_position"]
        return names + [f"{self.place} {name}" for name in self.places.tolist()]

    def learn(self, train: Dataset) -> None:
        if self.parts and train.interactions.timestamp is None:
            raise DataError(
                f"context reads times, and {train.name} has none; leave parts empty and name a "
                "place, or take another feature"
            )
        self.places = np.array([], str)
        self.place_of_user = np.full(train.n_users, NOWHERE, np.int64)
        if self.place is None:
            return
        if self.place not in train.user_fields:
            raise DataError(unknown(f"user field of {train.name}", self.place, train.user_fields))
        names = train.user_fields[self.place].astype(str)
        known = np.unique(names[np.unique(train.interactions.user)])
        self.places = known[np.char.strip(known) != ""]
        if len(self.places):
            at = np.minimum(np.searchsorted(self.places, names), len(self.places) - 1)
            self.place_of_user = np.where(self.places[at] == names, at, NOWHERE)

    def queries(self, queries: Queries) -> Matrix:
        columns: list[np.ndarray] = []
        for part in self.parts:
            columns += self._cycle(part, queries) if part in CYCLES else [self._session(queries)]
        where = self.place_of_user[np.maximum(queries.users, 0)]
        where = np.where(queries.users >= 0, where, NOWHERE)
        columns += [where == place for place in range(len(self.places))]
        return np.stack(columns, axis=1).astype(np.float32)

    def _cycle(self, part: str, queries: Queries) -> list[np.ndarray]:
        if queries.time is None:
            return [np.zeros(len(queries))] * 2
        seconds = queries.time + round(3600 * self.utc_offset_hours)
        days = np.floor_divide(seconds, 86_400)
        if part == "hour":
            share = (seconds - 86_400 * days) / 86_400
        elif part == "weekday":
            share = (days + 3) % 7 / 7  # 1 January 1970 was a Thursday
        else:
            dates = days.astype("datetime64[D]")
            if part == "month":
                share = (dates.astype("datetime64[M]").astype(np.int64) % 12) / 12
            else:
                year = dates.astype("datetime64[Y]").astype("datetime64[D]")
                share = (dates - year).astype(np.int64) / YEAR_DAYS
        return [np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)]

    def _session(self, queries: Queries) -> np.ndarray:
        """Return (B,) how many interactions in a row reach up to the query without a long pause."""
        times = queries.timestamps
        if times is None or queries.time is None or not len(times.values):
            return np.zeros(len(queries))
        following = np.append(times.values[1:], 0)
        full = times.lengths > 0
        following[times.offsets[1:][full] - 1] = queries.time[full]
        pause = following - times.values > self.session_gap_seconds
        # the place after the last pause of each row; its start where there is none
        after = np.where(pause, np.arange(len(pause)) + 1, 0)
        begins = np.repeat(times.offsets[:-1], times.lengths)
        latest = np.maximum.accumulate(np.maximum(after, begins))
        position = np.zeros(len(queries))
        position[full] = times.offsets[1:][full] - latest[times.offsets[1:][full] - 1]
        return position
