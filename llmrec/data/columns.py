"""Columns of strings become ids, ratings and times; a bad value is refused with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from llmrec.core.errors import DataError
from llmrec.data.tables import Table

UNITS = (("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9))
LARGEST_OF_UNIT = (10**11, 10**14, 10**17)


def identifiers(table: Table, name: str) -> pl.Series:
    """Return a column of external ids, exactly as written.

    Raises:
        DataError: for an empty one.
    """
    column = table.column(name)
    if column.dtype.is_integer() or column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        raise DataError(
            f"{table.path}: {name} holds {column.dtype}, but ids are text or whole numbers"
        )
    _refuse(table, name, _empty(column), "is missing")
    return column


def unique_identifiers(table: Table, name: str) -> pl.Series:
    """Return a column of external ids in which each stands once.

    Raises:
        DataError: for an empty or repeated one.
    """
    column = identifiers(table, name)
    again = np.flatnonzero(~column.is_first_distinct().to_numpy())
    if len(again):
        first = int(np.flatnonzero((column == column[int(again[0])]).to_numpy())[0])
        raise DataError(
            f"{table.where(again[0])}: {name} {column[int(again[0])]!r} stands on line "
            f"{table.lines[first]} already; each may have one row"
        )
    return column


def dense_ids(table: Table, name: str) -> tuple[pl.Series, np.ndarray]:
    """Return the distinct external ids of a column in alphabetical order, and (N,) int32 codes.

    Raises:
        DataError: for a missing one.
    """
    column = table.column(name)
    if not column.dtype.is_integer():
        column = identifiers(table, name)
        ids = column.unique().sort()
        return ids, column.cast(pl.Enum(ids)).to_physical().to_numpy().astype(np.int32)
    _refuse(table, name, _empty(column), "is missing")
    numbers = column.to_numpy()
    lowest, highest = int(numbers.min()), int(numbers.max())
    compact = highest - lowest < 4 * len(numbers) and highest < 2**62
    if compact:  # a table of the whole range takes no search
        numbers = numbers.astype(np.int64) - lowest
        present = np.zeros(highest - lowest + 1, bool)
        present[numbers] = True
        values = np.flatnonzero(present) + lowest
    else:
        values = np.unique(column.unique().to_numpy())
    words = pl.Series(values).cast(pl.String)
    place = words.arg_sort()
    rank = np.empty(len(values), np.int32)
    rank[place.to_numpy()] = np.arange(len(values), dtype=np.int32)
    if not compact:
        return words.gather(place), rank[np.searchsorted(values, numbers)]
    code_of = np.empty(highest - lowest + 1, np.int32)
    code_of[values - lowest] = rank
    return words.gather(place), code_of[numbers]


def codes(table: Table, name: str, ids: pl.Series, known_from: str) -> np.ndarray:
    """Return (N,) int32 dense ids of a column of external ids.

    Args:
        table: the rows.
        name: the column.
        ids: external ids in the order of the dense ones.
        known_from: the file of those, for the message.

    Raises:
        DataError: for an id that is not among them.
    """
    column = identifiers(table, name)
    numbers = column.cast(pl.Enum(ids), strict=False).to_physical()
    strange = np.flatnonzero(numbers.is_null().to_numpy())
    if len(strange):
        raise DataError(
            f"{table.where(strange[0])}: {name} {column[int(strange[0])]!r} is not in {known_from}"
        )
    return numbers.to_numpy().astype(np.int32)


def ratings(table: Table, name: str, classes: Sequence[str] | None = None) -> np.ndarray:
    """Return a column of numbers, or of labels as their numbers, as (N,) float32.

    Args:
        table: the rows.
        name: the column.
        classes: the labels in order, None if the column holds numbers.

    Raises:
        DataError: for a missing, non-numeric, NaN or infinite one, or an unknown label.
    """
    text = table.column(name)
    if classes is not None:
        words = text.cast(pl.String).str.strip_chars()
        _refuse(table, name, _empty(words), "is missing")
        codes = words.replace_strict(
            list(classes), list(range(len(classes))), default=None, return_dtype=pl.Int64
        )
        allowed = f"is none of the classes {', '.join(classes)}"
        _refuse(table, name, codes.is_null().to_numpy(), allowed)
        return codes.to_numpy().astype(np.float32)
    if text.dtype == pl.String:
        text = text.str.strip_chars()
    elif not (text.dtype.is_numeric() or text.dtype == pl.Boolean):
        raise DataError(f"{table.path}: {name} holds {text.dtype}, but ratings are numbers")
    _refuse(table, name, _empty(text), "is missing")
    numbers = text.cast(pl.Float64, strict=False)
    _refuse(table, name, numbers.is_null().to_numpy(), "is not a number")
    with np.errstate(over="ignore"):
        values = numbers.to_numpy().astype(np.float32)
    _refuse(table, name, ~np.isfinite(values), "is not a finite number")
    return values


@dataclass(frozen=True, eq=False)
class Times:
    """Moments of interactions.

    Attributes:
        exact: (N,) as precise as the file has them: what rows are ordered by.
        seconds: (N,) int64 since 1970, rounded down.
        unit: how the file writes them: seconds, milliseconds, …, ISO 8601.
    """

    exact: np.ndarray
    seconds: np.ndarray
    unit: str


def times(table: Table, name: str) -> Times:
    """Return a column of times: numbers since 1970 (their unit told by their size) or ISO 8601.

    ISO times without an offset are taken as UTC.

    Raises:
        DataError: for a missing or unreadable one, or for a mixture of units.
    """
    text = table.column(name)
    if text.dtype == pl.String:
        text = text.str.strip_chars()
    _refuse(table, name, _empty(text), "is missing")
    if text.dtype in (pl.Datetime, pl.Date):
        micro = text.dt.epoch("us").to_numpy()
        zone = getattr(text.dtype, "time_zone", None) or "UTC"
        return Times(micro, micro // 10**6, f"{text.dtype.base_type()} of {zone}")
    numbers = text
    if text.dtype == pl.String:
        whole = text.cast(pl.Int64, strict=False)
        numbers = whole if not whole.null_count() else text.cast(pl.Float64, strict=False)
    elif not text.dtype.is_numeric():
        raise DataError(
            f"{table.path}: {name} holds {text.dtype}, but times are numbers, dates or text"
        )
    if numbers[0] is None:
        return _iso_times(table, name, text)
    _refuse(table, name, numbers.is_null().to_numpy(), "is not a number as those above")
    values = numbers.to_numpy()
    _refuse(table, name, ~np.isfinite(values), "is not a finite number")
    unit = np.searchsorted(LARGEST_OF_UNIT, np.abs(values))
    unlike = np.flatnonzero(unit != unit[0])
    if len(unlike):
        row = int(unlike[0])
        raise DataError(
            f"{table.where(row)}: {name} {text[row]} looks like {UNITS[unit[row]][0]}, those above "
            f"look like {UNITS[unit[0]][0]}; use one unit"
        )
    word, scale = UNITS[unit[0]]
    return Times(values, np.floor_divide(values, scale).astype(np.int64), word)


def _iso_times(table: Table, name: str, text: pl.Series) -> Times:
    unit = "ISO 8601, UTC where no offset is given"
    if text.str.len_bytes().min() == text.str.len_bytes().max() == 19:  # the usual form, at speed
        usual = text.str.slice(0, 10) + " " + text.str.slice(11)
        micro = usual.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
        if not micro.null_count() and text.str.slice(10, 1).is_in(["T", " "]).all():
            exact = micro.to_physical().to_numpy()
            return Times(exact, exact // 10**6, unit)
    moments = np.empty(len(text), np.int64)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for row, value in enumerate(text.to_list()):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise DataError(
                f"{table.where(row)}: {name} {value!r} is neither a number of seconds or "
                "milliseconds since 1970 nor an ISO 8601 time such as 1997-12-04T15:55:49"
            ) from error
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - epoch
        moments[row] = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
    return Times(moments, moments // 10**6, unit)


def strings(column: pl.Series) -> np.ndarray:
    """Return (N,) object array of str, "" where a value is missing."""
    if isinstance(column.dtype, pl.List | pl.Array):
        column = column.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    if column.dtype != pl.String:
        column = column.cast(pl.String)
    return np.array(column.fill_null("").to_list(), dtype=object)


def _empty(column: pl.Series) -> np.ndarray:
    missing = column.is_null()
    if column.dtype == pl.String:
        missing = missing | (column == "").fill_null(True)
    return missing.to_numpy()


def _refuse(table: Table, name: str, bad: np.ndarray, what: str) -> None:
    rows = np.flatnonzero(bad)
    if not len(rows):
        return
    value = table.column(name)[int(rows[0])]
    shown = f"{name} {value!r}" if value else name
    more = f" (and {len(rows) - 1} more such lines)" if len(rows) > 1 else ""
    raise DataError(f"{table.where(rows[0])}: {shown} {what}{more}")
