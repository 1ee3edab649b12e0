"""Your own data: a file of interactions, and optional files about items and users."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from llmrec.core.config import check_options
from llmrec.core.errors import ConfigError, DataError, Problem, unknown
from llmrec.core.types import Dataset, Interactions
from llmrec.data.columns import codes, identifiers, ratings, strings, times, unique_identifiers
from llmrec.data.tables import Table, read_bytes, read_table

DELIMITERS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}


class DelimitedFiles:
    """CSV or TSV files with a header line.

    Ids are strings, exactly as written (``007`` stays ``007``); dense ids follow their
    alphabetical order, so that they say nothing about time. Nothing is dropped silently: what
    cannot be used is an error with file and line, what is left out is counted in `source`.

    Args:
        interactions: file with one row per interaction.
        items: file with one row per item; its other columns become item texts.
        users: the same about users.
        user: column of the user's id in `interactions`.
        item: column of the item's id in `interactions`.
        rating: column of a number, if there is one.
        timestamp: column of the time, if there is one: seconds, milliseconds (micro-,
            nanoseconds) since 1970, told by their size, or ISO 8601. Without it the rows must be
            in the order of events.
        text: column of what the user wrote, if there is one.
        item_id: column of the id in `items`.
        user_id: column of the id in `users`.
        item_fields: columns of `items` to keep, in this order; null keeps all.
        user_fields: the same of `users`.
        catalogue: ``interactions``: only items that somebody used; ``items``: also those that
            stand only in the item file (they can be recommended, from their texts).
        delimiter: one character; null: by the file's extension.
        quoting: fields may stand in double quotes; null: yes unless the delimiter is a tab.
        encoding: of the files.
        duplicates: what to do if a user has an item twice: refuse, or keep the first or last
            in time.
        label: name of the data set in tables; null: name of the file of interactions.
    """

    def __init__(
        self,
        *,
        interactions: str,
        items: str | None = None,
        users: str | None = None,
        user: str = "user",
        item: str = "item",
        rating: str | None = None,
        timestamp: str | None = None,
        text: str | None = None,
        item_id: str = "item",
        user_id: str = "user",
        item_fields: Sequence[str] | None = None,
        user_fields: Sequence[str] | None = None,
        catalogue: Literal["interactions", "items"] = "interactions",
        delimiter: str | None = None,
        quoting: bool | None = None,
        encoding: str = "utf-8",
        duplicates: Literal["error", "first", "last"] = "error",
        label: str | None = None,
    ) -> None:
        self.interactions = interactions
        self.items = items
        self.users = users
        self.user = user
        self.item = item
        self.rating = rating
        self.timestamp = timestamp
        self.text = text
        self.item_id = item_id
        self.user_id = user_id
        self.item_fields = item_fields
        self.user_fields = user_fields
        self.catalogue = catalogue
        self.delimiter = delimiter
        self.quoting = quoting
        self.encoding = encoding
        self.duplicates = duplicates
        self.label = label
        problems = check_options(type(self), vars(self)) or [
            Problem(key, what) for key, what in self.check_options(vars(self))
        ]
        if problems:
            raise ConfigError(problems)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        problems = []
        delimiter = params.get("delimiter")
        if delimiter is not None:
            if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\n\r':
                problems.append(("delimiter", f"one ASCII character, got {delimiter!r}"))
        else:
            for key in ("interactions", "items", "users"):
                path = params.get(key)
                if path is not None and Path(path).suffix.lower() not in DELIMITERS:
                    known = ", ".join(DELIMITERS)
                    problems.append(
                        (key, f"{path} ends in none of {known}: set the delimiter as well")
                    )
        try:
            codecs.lookup(params.get("encoding", "utf-8"))
        except LookupError:
            problems.append(("encoding", f"unknown encoding {params['encoding']!r}"))
        if params.get("catalogue") == "items" and params.get("items") is None:
            problems.append(("catalogue", "the catalogue of an item file needs items=FILE"))
        return problems

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong.
        """
        sums: dict[str, str] = {}
        log = self._read(self.interactions, sums)
        columns = [self.user, self.item, self.rating, self.timestamp, self.text]
        for name in columns:
            if name is not None:
                log.column(name)
        item_table = None if self.items is None else self._read(self.items, sums)
        user_table = None if self.users is None else self._read(self.users, sums)
        user_ids = identifiers(log, self.user).unique().sort()
        item_ids = identifiers(log, self.item).unique().sort()
        items = _about(item_table, self.item_id, self.item_fields, item_ids)
        users = _about(user_table, self.user_id, self.user_fields, user_ids)
        if self.catalogue == "items" and item_table is not None:
            every = pl.concat([item_ids, item_table.column(self.item_id)])
            item_ids = every.unique().sort()
            items = _about(item_table, self.item_id, self.item_fields, item_ids)
        interactions, notes = self._interactions(log, user_ids, item_ids)
        source: dict[str, Any] = {
            "origin": str(Path(self.interactions).absolute()),
            "sha256": sums,
            **notes,
        }
        if item_table is not None:
            source |= {
                "items_without_text": items.n_without_text,
                "items_absent_from_item_file": items.n_absent,
                "items_left_out_for_lack_of_interactions": items.n_left_out,
            }
        if user_table is not None:
            source |= {
                "users_absent_from_user_file": users.n_absent,
                "users_left_out_for_lack_of_interactions": users.n_left_out,
            }
        return Dataset(
            self.label or Path(self.interactions).stem,
            interactions,
            np.array(user_ids.to_list(), dtype=str),
            np.array(item_ids.to_list(), dtype=str),
            items.fields,
            users.fields,
            source,
        )

    def _read(self, file: str, sums: dict[str, str]) -> Table:
        path = Path(file).expanduser()
        content = read_bytes(path)
        sums[file] = hashlib.sha256(content).hexdigest()
        delimiter = self.delimiter or DELIMITERS[path.suffix.lower()]
        quoting = delimiter != "\t" if self.quoting is None else self.quoting
        return read_table(
            path, content, delimiter=delimiter, quoting=quoting, encoding=self.encoding
        )

    def _interactions(
        self, log: Table, user_ids: pl.Series, item_ids: pl.Series
    ) -> tuple[Interactions, dict[str, Any]]:
        """Return the log in time order without duplicates, and what was done for that."""
        user = codes(log, self.user, user_ids, self.interactions)
        item = codes(log, self.item, item_ids, self.interactions)
        pair = user.astype(np.int64) * len(item_ids) + item
        when = None if self.timestamp is None else times(log, self.timestamp)
        whole = Interactions(
            user,
            item,
            None if self.rating is None else ratings(log, self.rating),
            None if when is None else when.seconds,
            None if self.text is None else strings(log.column(self.text)),
        )
        # By the exact times of the file: seconds alone would lose the order within one.
        order = np.arange(len(log)) if when is None else np.argsort(when.exact, kind="stable")
        if self.duplicates == "last":
            kept = len(order) - 1 - np.unique(pair[order][::-1], return_index=True)[1]
        else:
            kept = np.unique(pair[order], return_index=True)[1]
        n_double = len(order) - len(kept)
        if n_double and self.duplicates == "error":
            raise DataError(self._duplicates_sentence(log, pair, n_double))
        notes: dict[str, Any] = {
            "time": "order of the file" if when is None else f"{when.unit}, kept as seconds",
            "duplicates_left_out": n_double,
        }
        return whole.take(order[np.sort(kept)]), notes

    def _duplicates_sentence(self, log: Table, pair: np.ndarray, n_double: int) -> str:
        _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
        again = np.flatnonzero(first[inverse] != np.arange(len(pair)))[:3]
        users, items = log.column(self.user), log.column(self.item)
        shown = "; ".join(
            f"user {users[row]}, item {items[row]} on lines "
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
class _About:
    """Texts about the items (or users) of the data, and how well the file fits them."""

    fields: dict[str, np.ndarray]
    n_without_text: int = 0
    n_absent: int = 0
    n_left_out: int = 0


def _about(
    table: Table | None, id_column: str, chosen: Sequence[str] | None, ids: pl.Series
) -> _About:
    """Return the fields of a file about items or users in the order of `ids`.

    Raises:
        DataError: if an id is repeated, a chosen column is absent, or no id fits.
    """
    if table is None:
        return _About({})
    own = unique_identifiers(table, id_column)
    names = [name for name in table.frame.columns if name != id_column]
    for name in names if chosen is None else chosen:
        if name not in names:
            raise DataError(unknown(f"field of {table.path}", name, names))
    row_of = pl.Series(own).cast(pl.Enum(ids), strict=False).to_physical()
    known = np.flatnonzero(row_of.is_not_null().to_numpy())
    if not len(known):
        raise DataError(
            f"{table.path} knows none of the ids in the interactions: its column {id_column} "
            f"begins with {own[0]!r}, theirs are such as {ids[0]!r}"
        )
    places = row_of.drop_nulls().to_numpy()
    fields = {}
    for name in names if chosen is None else chosen:
        fields[name] = np.full(len(ids), "", dtype=object)
        fields[name][places] = strings(table.column(name))[known]
    with_text = np.zeros(len(ids), bool)
    for values in fields.values():
        with_text |= values != ""
    return _About(
        fields,
        int(np.count_nonzero(~with_text)),
        len(ids) - len(known),
        len(own) - len(known),
    )
