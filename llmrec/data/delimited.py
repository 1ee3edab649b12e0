"""Your own data: a file of interactions, and optional files about items and users."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrec.core.config import check_options
from llmrec.core.errors import ConfigError, Problem
from llmrec.core.types import Dataset
from llmrec.data.assemble import Catalogue, Columns, Duplicates, about, assemble
from llmrec.data.blocks import sum_of
from llmrec.data.cache import cached
from llmrec.data.tables import Table, read_table

DELIMITERS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}


class DelimitedFiles:
    """CSV or TSV files with a header line, gzip-compressed (``.gz``) or not.

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
        classes: labels in the column `rating`, in order, where it holds words instead of numbers
            (``[view, cart, buy]``): a rating is then the number of its label, from 0.
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
        cache: keep what was loaded as memory-mapped arrays in the cache folder, and use it as long
            as options and files (path, size, time of change) are the same.
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
        classes: Sequence[str] | None = None,
        timestamp: str | None = None,
        text: str | None = None,
        item_id: str = "item",
        user_id: str = "user",
        item_fields: Sequence[str] | None = None,
        user_fields: Sequence[str] | None = None,
        catalogue: Catalogue = "interactions",
        delimiter: str | None = None,
        quoting: bool | None = None,
        encoding: str = "utf-8",
        duplicates: Duplicates = "error",
        label: str | None = None,
        cache: bool = False,
    ) -> None:
        self.interactions = interactions
        self.items = items
        self.users = users
        self.user = user
        self.item = item
        self.rating = rating
        self.classes = classes
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
        self.cache = cache
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
                if path is not None and default_delimiter(path) is None:
                    known = ", ".join(DELIMITERS)
                    problems.append(
                        (key, f"{path} ends in none of {known}: set the delimiter as well")
                    )
        try:
            codecs.lookup(params.get("encoding", "utf-8"))
        except LookupError:
            problems.append(("encoding", f"unknown encoding {params['encoding']!r}"))
        classes = params.get("classes")
        if classes is not None and params.get("rating") is None:
            problems.append(("classes", "are labels of the column rating, which is null"))
        if classes is not None and len(set(classes)) < max(2, len(classes)):
            problems.append(("classes", "name at least two labels, each once"))
        if params.get("catalogue") == "items" and params.get("items") is None:
            problems.append(("catalogue", "the catalogue of an item file needs items=FILE"))
        return problems

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong.
        """
        if not self.cache:
            return self._loaded()
        files = [self.interactions, self.items, self.users]
        return cached({"kind": "csv", **vars(self)}, files, self._loaded)

    def _loaded(self) -> Dataset:
        sums: dict[str, str] = {}
        columns = Columns(
            self.user, self.item, self.rating, self.timestamp, self.text, self.classes
        )
        log = self._read(self.interactions, sums, columns)
        item_table = None if self.items is None else self._read(self.items, sums)
        user_table = None if self.users is None else self._read(self.users, sums)
        source = {"origin": str(Path(self.interactions).absolute()), "sha256": sums}
        return assemble(
            self.label or stem(self.interactions),
            log,
            columns,
            items=about(item_table, self.item_id, self.item_fields),
            users=about(user_table, self.user_id, self.user_fields),
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source=source,
        )

    def _read(self, file: str, sums: dict[str, str], columns: Columns | None = None) -> Table:
        path = Path(file).expanduser()
        sums[file] = sum_of(path)
        delimiter = self.delimiter or default_delimiter(file) or ","
        quoting = delimiter != "\t" if self.quoting is None else self.quoting
        return read_table(
            path,
            delimiter=delimiter,
            quoting=quoting,
            encoding=self.encoding,
            keep=None if columns is None else columns.names,
            numbers=None if columns is None else columns.numbers,
        )


def stem(file: str) -> str:
    """Return the name of a file without folder and endings."""
    return Path(file.removesuffix(".gz")).stem


def default_delimiter(file: str) -> str | None:
    """Return the delimiter that the ending of a file stands for, None if it says nothing."""
    return DELIMITERS.get(Path(file.removesuffix(".gz")).suffix.lower())
