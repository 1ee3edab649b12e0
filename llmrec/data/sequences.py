"""Sequence files of the literature: ``user item item …`` on each line, oldest item first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset
from llmrec.data.assemble import Catalogue, Columns, Duplicates, about, assemble
from llmrec.data.blocks import blocks, read_bytes
from llmrec.data.delimited import default_delimiter, stem
from llmrec.data.tables import Table, read_table


class Sequences:
    """Text files with a user and its items in time order on each line, and an item file.

    The form in which Amazon Beauty and its kind are passed on (SASRec, S3-Rec, P5, TIGER, …): ids
    are divided by spaces or tabs, and there are no times; with ``split=leave_one_out`` the last
    item of a line is the test, the one before it the validation. Lines of the same user are joined
    in the order of the file, so files with one ``user item`` pair on each line are read as well.

    Args:
        interactions: the sequences.
        items: a CSV or TSV file with a header line about the items.
        item_id: column of the id in `items`.
        item_fields: columns of `items` to keep, in this order; null keeps all.
        catalogue: ``interactions``: only items that somebody used; ``items``: also those that
            stand only in the item file.
        duplicates: what to do if a user has an item twice: refuse, or keep the first or last.
        label: name of the data set in tables; null: name of the file of sequences.
    """

    def __init__(
        self,
        *,
        interactions: str,
        items: str | None = None,
        item_id: str = "item",
        item_fields: Sequence[str] | None = None,
        catalogue: Catalogue = "interactions",
        duplicates: Duplicates = "error",
        label: str | None = None,
    ) -> None:
        self.interactions = interactions
        self.items = items
        self.item_id = item_id
        self.item_fields = item_fields
        self.catalogue = catalogue
        self.duplicates = duplicates
        self.label = label
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        items = params.get("items")
        if items is None and params.get("catalogue") == "items":
            return [("catalogue", "the catalogue of an item file needs items=FILE")]
        if items is not None and default_delimiter(items) is None:
            return [("items", f"{items} ends in neither .csv nor .tsv")]
        return []

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong.
        """
        path = Path(self.interactions).expanduser()
        content = read_bytes(path)
        sums = {self.interactions: hashlib.sha256(content).hexdigest()}
        items = None
        if self.items is not None:
            file = Path(self.items).expanduser()
            raw = read_bytes(file)
            sums[self.items] = hashlib.sha256(raw).hexdigest()
            delimiter = default_delimiter(self.items) or ","
            items = read_table(file, raw, delimiter=delimiter, quoting=delimiter != "\t")
        return assemble(
            self.label or stem(self.interactions),
            read_sequences(path, content),
            Columns("user", "item"),
            items=about(items, self.item_id, self.item_fields),
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source={"origin": str(path.absolute()), "sha256": sums},
        )


def read_sequences(path: Path, content: bytes) -> Table:
    """Return one row per item of each line, with the columns ``user`` and ``item``.

    Raises:
        DataError: for an empty or wrongly encoded file, or a line without items.
    """
    text = "\n".join(block.text.decode() for block in blocks(path, content))
    words = pl.Series(text.split("\n")).str.extract_all(r"\S+")
    return from_lists(path, words.list.first(), words.list.slice(1), first_line=1)


def from_lists(path: Path, users: pl.Series, items: pl.Series, *, first_line: int) -> Table:
    """Return one row per member of each list.

    Args:
        path: for messages.
        users: (N,) strings.
        items: (N,) lists of strings.
        first_line: line of the first of them.

    Raises:
        DataError: for a list without members.
    """
    lengths = items.list.len().to_numpy()
    bad = np.flatnonzero(lengths == 0)
    if len(bad):
        user = users[int(bad[0])]
        found = "an empty line" if user is None else f"user {user!r} without items"
        more = f" (and {len(bad) - 1} more such lines)" if len(bad) > 1 else ""
        raise DataError(
            f"{path}, line {first_line + bad[0]}: {found}, where a user and at least one item are "
            f"expected{more}"
        )
    rows = np.repeat(np.arange(len(lengths)), lengths)
    frame = pl.DataFrame({"user": users.gather(rows), "item": items.explode()})
    return Table(path, frame, rows + first_line)
