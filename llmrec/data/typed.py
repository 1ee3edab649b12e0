"""JSON-lines and Parquet files, and tables in memory, with a map of columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError, unknown
from llmrec.core.files import sha256_of
from llmrec.core.types import Dataset
from llmrec.data.assemble import Catalogue, Columns, Duplicates, about, assemble
from llmrec.data.cache import cached
from llmrec.data.json_lines import read_json_lines, read_objects
from llmrec.data.tables import Table


class _MappedFiles:
    """Files of interactions, items and users whose columns are named by options."""

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
        catalogue: Catalogue = "interactions",
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
        self.timestamp = timestamp
        self.text = text
        self.item_id = item_id
        self.user_id = user_id
        self.item_fields = item_fields
        self.user_fields = user_fields
        self.catalogue = catalogue
        self.duplicates = duplicates
        self.label = label
        self.cache = cache
        construct_check(self)

    @staticmethod
    def check_options(params: dict[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        if params.get("catalogue") == "items" and params.get("items") is None:
            return [("catalogue", "the catalogue of an item file needs items=FILE")]
        return []

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line (row) of what is wrong.
        """
        if not self.cache:
            return self._loaded()
        files = [self.interactions, self.items, self.users]
        return cached({"kind": type(self).__name__, **vars(self)}, files, self._loaded)

    def _loaded(self) -> Dataset:
        sums: dict[str, str] = {}
        columns = Columns(self.user, self.item, self.rating, self.timestamp, self.text)
        log = self._log(_hashed(self.interactions, sums), columns)
        items = None if self.items is None else self._about(_hashed(self.items, sums))
        users = None if self.users is None else self._about(_hashed(self.users, sums))
        return assemble(
            self.label or Path(self.interactions.removesuffix(".gz")).stem,
            log,
            columns,
            items=about(items, self.item_id, self.item_fields),
            users=about(users, self.user_id, self.user_fields),
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source={"origin": str(Path(self.interactions).absolute()), "sha256": sums},
        )

    def _log(self, path: Path, columns: Columns) -> Table:
        raise NotImplementedError

    def _about(self, path: Path) -> Table:
        raise NotImplementedError


class JSONLines(_MappedFiles):
    """JSON-lines files: one object per line, gzip-compressed (``.gz``) or not.

    The options are those of ``csv``, with keys for columns. Ids are texts or whole numbers, taken
    as written; dense ids follow their alphabetical order. Lists in the files about items and users
    become texts joined by ", ".
    """

    def _log(self, path: Path, columns: Columns) -> Table:
        return read_json_lines(path, list(dict.fromkeys(columns.names)), numbers=columns.numbers)

    def _about(self, path: Path) -> Table:
        return read_objects(path)


class Parquet(_MappedFiles):
    """Parquet files; only the columns that are used are read.

    The options are those of ``csv``. Ids are strings or integers, times numbers (their unit told
    by their size), dates or ISO 8601 texts; lists in item and user columns become texts joined
    by ", ".
    """

    def _log(self, path: Path, columns: Columns) -> Table:
        return read_parquet(path, columns.names)

    def _about(self, path: Path) -> Table:
        return read_parquet(path)


def read_parquet(path: Path, names: Sequence[str] | None = None) -> Table:
    """Read columns of a Parquet file with their types; None reads all.

    Raises:
        DataError: if it is no Parquet file, has no rows, or lacks a column.
    """
    try:
        known = list(pl.read_parquet_schema(path))
        for name in names or []:
            if name not in known:
                raise DataError(unknown(f"column of {path}", name, known))
        frame = pl.read_parquet(path, columns=None if names is None else list(dict.fromkeys(names)))
    except (pl.exceptions.PolarsError, OSError) as error:
        said = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as a Parquet file: {said}") from error
    return _with_rows(path, frame)


def _hashed(file: str, sums: dict[str, str]) -> Path:
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"there is no file {path.absolute()}")
    sums[file] = sha256_of(path)
    return path


def load_table(
    interactions: Any,
    *,
    items: Any = None,
    users: Any = None,
    user: str = "user",
    item: str = "item",
    rating: str | None = None,
    timestamp: str | None = None,
    text: str | None = None,
    item_id: str = "item",
    user_id: str = "user",
    item_fields: Sequence[str] | None = None,
    user_fields: Sequence[str] | None = None,
    catalogue: Catalogue = "interactions",
    duplicates: Duplicates = "error",
    label: str = "table",
) -> Dataset:
    """Return the data set of tables in memory: pandas, polars, pyarrow, Hugging Face ``datasets``.

    Args:
        interactions: one row per interaction; in the order of events if it has no times.
        items: one row per item; its other columns become item texts.
        users: the same about users.
        user: column of the user's id.
        item: column of the item's id.
        rating: column of a number, if there is one.
        timestamp: column of the time, if there is one.
        text: column of what the user wrote, if there is one.
        item_id: column of the id in `items`.
        user_id: column of the id in `users`.
        item_fields: columns of `items` to keep; None keeps all.
        user_fields: the same of `users`.
        catalogue: only items that somebody used, or also those that stand only in `items`.
        duplicates: what to do if a user has an item twice: refuse, or keep the first or last.
        label: name of the data set.

    Raises:
        DataError: with the row of what is wrong.

    Example:
        >>> import polars as pl
        >>> log = pl.DataFrame({"who": [7, 7, 8], "what": ["b", "a", "a"], "at": [20, 10, 30]})
        >>> data = load_table(log, user="who", item="what", timestamp="at")
        >>> data.histories[0].tolist(), data.item_ids.tolist()
        ([0, 1], ['a', 'b'])
    """
    log = _with_rows(Path("the table of interactions"), frame_of(interactions))
    about_items = None if items is None else _with_rows(Path("the item table"), frame_of(items))
    about_users = None if users is None else _with_rows(Path("the user table"), frame_of(users))
    return assemble(
        label,
        log,
        Columns(user, item, rating, timestamp, text),
        items=about(about_items, item_id, item_fields),
        users=about(about_users, user_id, user_fields),
        catalogue=catalogue,
        duplicates=duplicates,
        source={"origin": f"a table in memory ({type(interactions).__module__.split('.')[0]})"},
    )


def frame_of(table: Any) -> pl.DataFrame:
    """Return a table of any supported library as a polars frame.

    Raises:
        DataError: for anything else.
    """
    library = type(table).__module__.partition(".")[0]
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if library == "pandas":
        return pl.from_pandas(table)
    if library == "datasets" and hasattr(table, "with_format"):
        table, library = table.with_format("arrow")[:], "pyarrow"
    if library == "pyarrow":
        made = pl.from_arrow(table)
        if isinstance(made, pl.DataFrame):
            return made
    raise DataError(
        f"expected a table of pandas, polars, pyarrow or datasets (one split), got "
        f"{type(table).__name__}"
    )


def _with_rows(path: Path, frame: pl.DataFrame) -> Table:
    if not frame.height:
        raise DataError(f"{path} has no rows")
    return Table(path, frame, range(1, frame.height + 1), "row")
