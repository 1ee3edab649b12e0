"""From tables to a `Dataset`: dense ids, time order, one policy for duplicates, everything counted.

Every source ends here, so that all of them treat ids, times, duplicates and texts alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from llmrec.core.errors import DataError, unknown
from llmrec.core.order import stable_order
from llmrec.core.types import Dataset, Interactions
from llmrec.data.columns import dense_ids, ratings, strings, times, unique_identifiers
from llmrec.data.tables import Kinds, Table

Duplicates = Literal["error", "first", "last"]
Catalogue = Literal["interactions", "items"]


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a log; None where it has no such thing.

    `classes` are the labels that the rating column holds in place of numbers, in order.
    """

    user: str
    item: str
    rating: str | None = None
    timestamp: str | None = None
    text: str | None = None
    classes: Sequence[str] | None = None

    @property
    def names(self) -> list[str]:
        """The columns that there are."""
        every = (self.user, self.item, self.rating, self.timestamp, self.text)
        return [name for name in every if name is not None]

    @property
    def numbers(self) -> dict[str, Kinds]:
        """The columns that may be read as numbers, and the kinds: whatever is written as such."""
        kinds: dict[str | None, Kinds] = {}
        if not self.classes:
            kinds[self.rating] = (pl.Int64, pl.Float64)
        kinds |= dict.fromkeys((self.timestamp, self.user, self.item), (pl.Int64,))
        return {name: kind for name, kind in kinds.items() if name not in (None, self.text)}


@dataclass(frozen=True, eq=False)
class About:
    """A table about items (or users).

    Attributes:
        table: one row each.
        id: the column of the external id.
        fields: the columns to keep, in this order; None keeps all.
        names: what fields are called in the data set, where that differs.
    """

    table: Table
    id: str
    fields: Sequence[str] | None = None
    names: Mapping[str, str] | None = None


def about(table: Table | None, id_column: str, fields: Sequence[str] | None) -> About | None:
    """Return a table about items or users, None if there is none."""
    return None if table is None else About(table, id_column, fields)


def assemble(
    name: str,
    log: Table,
    columns: Columns,
    *,
    items: About | None = None,
    users: About | None = None,
    catalogue: Catalogue = "interactions",
    duplicates: Duplicates = "error",
    source: Mapping[str, Any],
) -> Dataset:
    """Return a data set in time order, dense ids in the alphabetical order of external ids.

    Args:
        name: of the data set.
        log: one row per interaction; in the order of events if it has no times.
        columns: of `log`.
        items: texts about items.
        users: the same about users.
        catalogue: only items that somebody used, or also those that stand only in `items`.
        duplicates: what to do if a user has an item twice: refuse, or keep the first or last in
            time.
        source: where it came from; what was done and left out is added.

    Raises:
        DataError: with file and line of what is wrong.
    """
    for column in (columns.user, columns.item, columns.rating, columns.timestamp, columns.text):
        if column is not None:
            log.column(column)
    user_ids, user = dense_ids(log, columns.user)
    item_ids, item = dense_ids(log, columns.item)
    about_items = _described(items, item_ids)
    about_users = _described(users, user_ids)
    if catalogue == "items" and items is not None:
        every = pl.concat([item_ids, unique_identifiers(items.table, items.id)]).unique().sort()
        item = item_ids.cast(pl.Enum(every)).to_physical().to_numpy().astype(np.int32)[item]
        item_ids = every
        about_items = _described(items, item_ids)
    interactions, notes = _interactions(log, columns, user, item, len(item_ids), duplicates)
    notes = dict(source) | notes
    if items is not None:
        notes |= {
            "items_without_text": about_items.n_without_text,
            "items_absent_from_item_file": about_items.n_absent,
            "items_left_out_for_lack_of_interactions": about_items.n_left_out,
        }
    if users is not None:
        notes |= {
            "users_absent_from_user_file": about_users.n_absent,
            "users_left_out_for_lack_of_interactions": about_users.n_left_out,
        }
    return Dataset(
        name,
        interactions,
        np.array(user_ids.to_list(), dtype=str),
        np.array(item_ids.to_list(), dtype=str),
        about_items.fields,
        about_users.fields,
        notes,
    )


def _interactions(
    log: Table,
    columns: Columns,
    user: np.ndarray,
    item: np.ndarray,
    n_items: int,
    duplicates: Duplicates,
) -> tuple[Interactions, dict[str, Any]]:
    """Return the log in time order without duplicates, and what was done for that."""
    when = None if columns.timestamp is None else times(log, columns.timestamp)
    whole = Interactions(
        user,
        item,
        None if columns.rating is None else ratings(log, columns.rating, columns.classes),
        None if when is None else when.seconds,
        None if columns.text is None else strings(log.column(columns.text)),
    )
    # By the exact times of the file: seconds alone would lose the order within one.
    order = None if when is None else _order(when.exact)
    if order is not None:
        whole = whole.take(order)
    pair = whole.user.astype(np.int64) * n_items + whole.item
    kept = _distinct(pair, "first" if duplicates == "error" else duplicates)
    n_double = 0 if kept is None else len(pair) - len(kept)
    if kept is not None and duplicates == "error":
        raise DataError(_duplicates_sentence(log, columns, user, item, n_items, n_double))
    notes: dict[str, Any] = {
        "time": "order of the file" if when is None else f"{when.unit}, kept as seconds",
        "duplicates_left_out": n_double,
    }
    return whole if kept is None else whole.take(kept), notes


def _order(exact: np.ndarray) -> np.ndarray | None:
    """Return the stable order of time, None if the rows have it already."""
    if np.all(exact[1:] >= exact[:-1]):
        return None
    return stable_order(exact)


def _distinct(pair: np.ndarray, policy: Literal["first", "last"]) -> np.ndarray | None:
    """Return the rows to keep so that each value stands once, None if that is so already."""
    series = pl.Series(pair)
    if series.n_unique() == len(series):
        return None
    first = series.is_first_distinct()
    return np.flatnonzero((first if policy == "first" else series.is_last_distinct()).to_numpy())


def _duplicates_sentence(
    log: Table,
    columns: Columns,
    user: np.ndarray,
    item: np.ndarray,
    n_items: int,
    n_double: int,
) -> str:
    pair = user.astype(np.int64) * n_items + item
    _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(pair)))[:3]
    users, items = log.column(columns.user), log.column(columns.item)
    shown = "; ".join(
        f"user {users[row]}, item {items[row]} on {log.unit}s "
        f"{log.lines[first[inverse[row]]]} and {log.lines[row]}"
        for row in again.tolist()
    )
    dots = "; …" if n_double > len(again) else ""
    rows = "1 duplicate interaction" if n_double == 1 else f"{n_double} duplicate interactions"
    return (
        f"{log.path} has {rows} (a user has an item again): {shown}{dots}. "
        "Correct the file, or set duplicates to first or last"
    )


@dataclass(frozen=True, eq=False)
class _Described:
    """Texts about the items (or users) of the data, and how well the file fits them."""

    fields: dict[str, np.ndarray]
    n_without_text: int = 0
    n_absent: int = 0
    n_left_out: int = 0


def _described(given: About | None, ids: pl.Series) -> _Described:
    """Return the fields of a table about items or users in the order of `ids`.

    Raises:
        DataError: if an id is repeated, a chosen column is absent, or no id fits.
    """
    if given is None:
        return _Described({})
    table = given.table
    own = unique_identifiers(table, given.id)
    names = [name for name in table.frame.columns if name != given.id]
    chosen = names if given.fields is None else given.fields
    for name in chosen:
        if name not in names:
            raise DataError(unknown(f"field of {table.path}", name, names))
    row_of = pl.Series(own).cast(pl.Enum(ids), strict=False).to_physical()
    known = np.flatnonzero(row_of.is_not_null().to_numpy())
    if not len(known):
        raise DataError(
            f"{table.path} knows none of the ids in the interactions: its column {given.id} "
            f"begins with {own[0]!r}, theirs are such as {ids[0]!r}"
        )
    places = row_of.drop_nulls().to_numpy()
    fields = {}
    for name in chosen:
        values = np.full(len(ids), "", dtype=object)
        values[places] = strings(table.column(name))[known]
        fields[(given.names or {}).get(name, name)] = values
    with_text = np.zeros(len(ids), bool)
    for values in fields.values():
        with_text |= values != ""
    return _Described(
        fields,
        int(np.count_nonzero(~with_text)),
        len(ids) - len(known),
        len(own) - len(known),
    )
