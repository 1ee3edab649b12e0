"""RecBole's atomic files: tab-separated, with a type after each name (``item_id:token``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError, unknown
from llmrec.core.types import Dataset
from llmrec.data.assemble import Catalogue, Columns, Duplicates, about, assemble
from llmrec.data.blocks import sum_of
from llmrec.data.delimited import stem
from llmrec.data.sequences import from_lists
from llmrec.data.tables import Table, read_table

TYPES = ("token", "token_seq", "float", "float_seq")
NUMBERS = ("float",)
LIST = "_list"


class RecBole:
    """RecBole's atomic files: ``.inter``, and ``.item`` and ``.user`` of the same name.

    Fields of the item and user files become texts. An ``.inter`` with the field
    ``item_id_list:token_seq`` holds a user's history and the item after it (RecBole's benchmark
    files): both are joined to one sequence in this order, one line for each user.

    Args:
        interactions: the ``.inter`` file.
        items: the ``.item`` file; null: that of the same name, if there is one.
        users: the ``.user`` file; null: that of the same name, if there is one.
        user: field of the user's id, in all files.
        item: field of the item's id, in all files.
        rating: field of a number; null: ``rating``, if there is one.
        timestamp: field of the time; null: ``timestamp``, if there is one; without it the rows
            must be in the order of events.
        text: field of what the user wrote, if there is one.
        item_fields: fields of the item file to keep, in this order; null keeps all.
        user_fields: the same of the user file.
        catalogue: ``interactions``: only items that somebody used; ``items``: also those that
            stand only in the item file.
        duplicates: what to do if a user has an item twice: refuse, or keep the first or last in
            time.
        label: name of the data set in tables; null: name of the file of interactions.
    """

    def __init__(
        self,
        *,
        interactions: str,
        items: str | None = None,
        users: str | None = None,
        user: str = "user_id",
        item: str = "item_id",
        rating: str | None = None,
        timestamp: str | None = None,
        text: str | None = None,
        item_fields: Sequence[str] | None = None,
        user_fields: Sequence[str] | None = None,
        catalogue: Catalogue = "interactions",
        duplicates: Duplicates = "error",
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
        self.item_fields = item_fields
        self.user_fields = user_fields
        self.catalogue = catalogue
        self.duplicates = duplicates
        self.label = label
        construct_check(self)

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong.
        """
        path = Path(self.interactions).expanduser()
        sums: dict[str, str] = {}
        log, types = _read(path, sums)
        items, users = (
            self._beside(self.items, ".item", sums),
            self._beside(self.users, ".user", sums),
        )
        if self.catalogue == "items" and items is None:
            raise DataError(
                f"there is no {path.with_suffix('.item')}, which catalogue=items needs; set items"
            )
        if self.item + LIST in types:
            log, columns = _joined(log, self.user, self.item), Columns("user", "item")
        else:
            columns = Columns(
                self.user,
                self.item,
                _number(path, self.rating, "rating", types),
                _number(path, self.timestamp, "timestamp", types),
                self.text,
            )
        return assemble(
            self.label or stem(self.interactions),
            log,
            columns,
            items=about(items, self.item, self.item_fields),
            users=about(users, self.user, self.user_fields),
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source={
                "origin": str(path.absolute()),
                "sha256": sums,
                "rating": columns.rating,
                "timestamp": columns.timestamp,
            },
        )

    def _beside(self, file: str | None, ending: str, sums: dict[str, str]) -> Table | None:
        if file is not None:
            return _read(Path(file).expanduser(), sums)[0]
        path = Path(self.interactions).expanduser().with_suffix(ending)
        return _read(path, sums)[0] if path.is_file() else None


def _read(path: Path, sums: dict[str, str]) -> tuple[Table, dict[str, str]]:
    """Return a file with plain names, and the type of each."""
    sums[path.name] = sum_of(path)
    table = read_table(path, delimiter="\t", quoting=False)
    types = {}
    for heading in table.frame.columns:
        name, colon, kind = heading.partition(":")
        if not colon or not name:
            raise DataError(
                f"{path}, line 1: {heading!r} has no type; an atomic file writes name:type, as in "
                "item_id:token"
            )
        if kind not in TYPES:
            raise DataError(f"{path}, line 1: {unknown(f'type of {name}', kind, TYPES)}")
        if name in types:
            raise DataError(f"{path} has the field {name!r} more than once")
        types[name] = kind
    return Table(
        path, table.frame.rename(dict(zip(table.frame.columns, types, strict=True))), table.lines
    ), types


def _number(path: Path, chosen: str | None, usual: str, types: dict[str, str]) -> str | None:
    """Return the field of a number: the chosen one, else the usual one if it is there."""
    name = chosen or (usual if usual in types else None)
    if name is not None and name in types and types[name] not in NUMBERS:
        raise DataError(f"{path}, line 1: {name} is a {types[name]}, but {usual}s are float")
    return name


def _joined(log: Table, user: str, item: str) -> Table:
    """Return history and target of each line as one sequence.

    Raises:
        DataError: for a user on two lines: each is a history of its own, cut off somewhere.
    """
    users, history, target = (log.column(name) for name in (user, item + LIST, item))
    again = users.is_duplicated().arg_true()
    if len(again):
        name = users[int(again[0])]
        lines = [int(log.lines[row]) for row in again if users[row] == name]
        raise DataError(
            f"{log.path} has user {name!r} on lines {lines[0]} and {lines[1]}: pieces of one "
            "history cannot be joined again; use the file with one line for each user"
        )
    both = pl.DataFrame({"history": history.str.extract_all(r"\S+"), "target": target})
    lists = both.select(pl.concat_list("history", "target")).to_series()
    return from_lists(log.path, users, lists, first_line=int(log.lines[0]))
