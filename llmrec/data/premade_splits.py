"""Splits that somebody else made: files that say what is train, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Split
from llmrec.data.blocks import read_bytes
from llmrec.data.columns import identifiers
from llmrec.data.delimited import default_delimiter
from llmrec.data.downloads import Files, Url, cached_files, dataset_folder, get_files
from llmrec.data.movielens import ORIGINS
from llmrec.data.splits import TEST, TRAIN, VALID, ordered_by_time, parts_of
from llmrec.data.tables import Table, read_table

NOT_MADE_HERE = "what a pre-made split leaks depends on how its files were made"
UNKNOWN = -1


class Premade:
    """Files of train, validation and test decide where each interaction of the data set goes.

    The files name users and items by the ids of the data; other columns are not used. Every
    interaction must stand in exactly one file.

    Args:
        train: file of (user, item) rows, one for each interaction.
        test: the same.
        valid: the same, if there is one.
        user: column of the user's id.
        item: column of the item's id.
        header: names of the columns where the files have no header line.
        delimiter: one character; null: by the file's extension (.csv, .tsv), else a tab.
        valid_share: without a file `valid`, the share of train drawn for validation; 0: none.
        seed: of that draw.
        label: what tables call the protocol; null: names of the files.
    """

    def __init__(
        self,
        *,
        train: str,
        test: str,
        valid: str | None = None,
        user: str = "user",
        item: str = "item",
        header: Sequence[str] | None = None,
        delimiter: str | None = None,
        valid_share: float = 0.0,
        seed: int = 0,
        label: str | None = None,
    ) -> None:
        self.train = train
        self.test = test
        self.valid = valid
        self.user = user
        self.item = item
        self.header = header
        self.delimiter = delimiter
        self.valid_share = valid_share
        self.seed = seed
        self.label = label
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        problems = []
        delimiter, share = params.get("delimiter"), params.get("valid_share", 0)
        if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii()):
            problems.append(("delimiter", f"one ASCII character, got {delimiter!r}"))
        if not 0 <= share < 1:
            problems.append(("valid_share", f"a share from 0 to below 1, got {share}"))
        if share and params.get("valid") is not None:
            problems.append(("valid_share", "there is a file of the validation; leave it out"))
        return problems

    def split(self, dataset: Dataset) -> Split:
        """Split a data set.

        Raises:
            DataError: for malformed files, a row that is no interaction of the data, and an
                interaction that stands in no file or in two.
        """
        named = {TRAIN: self.train, VALID: self.valid, TEST: self.test}
        tables = {
            side: self._read(Path(file).expanduser())
            for side, file in named.items()
            if file is not None
        }
        files = " + ".join(table.path.name for table in tables.values())
        return premade(
            dataset,
            tables,
            self.user,
            self.item,
            protocol=f"pre-made {self.label or files}",
            leaks=NOT_MADE_HERE,
            valid_share=self.valid_share,
            seed=self.seed,
        )

    def _read(self, path: Path) -> Table:
        delimiter = self.delimiter or default_delimiter(path.name) or "\t"
        table = read_table(path, delimiter=delimiter, quoting=delimiter != "\t", names=self.header)
        for name in (self.user, self.item):
            table.column(name)
        return table


class MovieLens100KFold:
    """The canonical splits of MovieLens-100K: u1 to u5 (five disjoint tests), ua and ub.

    They come from `folder` if that is given, else from GroupLens' archive, cached or downloaded.
    With ua and ub each user has exactly ten ratings in the test.

    Args:
        fold: which split.
        folder: with its two files, e.g. ``u1.base`` and ``u1.test``.
        valid_share: of the base file, drawn for validation; 0: none.
        seed: of that draw.
    """

    def __init__(
        self,
        *,
        fold: Literal["u1", "u2", "u3", "u4", "u5", "ua", "ub"] = "u1",
        folder: str | None = None,
        valid_share: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.fold = fold
        self.folder = folder
        self.valid_share = valid_share
        self.seed = seed
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        share = params.get("valid_share", 0.05)
        return [] if 0 <= share < 1 else [("valid_share", f"from 0 to below 1, got {share}")]

    def split(self, dataset: Dataset) -> Split:
        """Split MovieLens-100K.

        Raises:
            DataError: for another data set, or if there is no network and no cache.
        """
        names = [f"{self.fold}.base", f"{self.fold}.test"]
        files, place = self._files(names)
        columns = ["user", "item", "rating", "timestamp"]
        base, test = (
            read_table(
                place / name, files.contents[name], delimiter="\t", quoting=False, names=columns
            )
            for name in names
        )
        number = self.fold.removeprefix("u")
        return premade(
            dataset,
            {TRAIN: base, TEST: test},
            "user",
            "item",
            protocol="pre-made ml-100k"
            + (f", fold {number}" if number.isdigit() else f" u{number}"),
            leaks="random folds ignore time: training interactions may be later than the test ones",
            valid_share=self.valid_share,
            seed=self.seed,
        )

    def _files(self, names: list[str]) -> tuple[Files, Path]:
        if self.folder is not None:
            place = Path(self.folder).expanduser()
            contents = {name: read_bytes(place / name) for name in names}
            return Files(contents, str(place.absolute()), ""), place
        archive = ORIGINS[0]
        origin = Url(archive.name, archive.sha256, {name: f"ml-100k/{name}" for name in names})
        found = cached_files("ml-100k", [origin])
        otherwise = f"Put {' and '.join(names)} in a folder and set split.folder=THE_FOLDER"
        return found or get_files("ml-100k", [origin], otherwise), dataset_folder("ml-100k")


def premade(
    dataset: Dataset,
    tables: Mapping[int, Table],
    user: str,
    item: str,
    *,
    protocol: str,
    leaks: str,
    valid_share: float,
    seed: int,
) -> Split:
    """Split a data set as tables of (user, item) rows say.

    Args:
        dataset: the data.
        tables: by part, TRAIN, VALID or TEST.
        user: column of the user's id.
        item: column of the item's id.
        protocol: name of the split.
        leaks: what it may leak, in one sentence.
        valid_share: of train, drawn for validation.
        seed: of that draw.

    Raises:
        DataError: for a row that is no interaction of the data (unless its filters took it out),
            and for an interaction that stands in no table or in two.
    """
    dataset = ordered_by_time(dataset)
    log = dataset.interactions
    pairs = log.user.astype(np.int64) * dataset.n_items + log.item
    place = pl.DataFrame({"pair": pairs, "row": np.arange(len(pairs))})
    part = np.full(len(pairs), UNKNOWN)
    for side, table in tables.items():
        rows, places = _rows_of(dataset, table, user, item, place)
        twice = np.flatnonzero(part[rows] != UNKNOWN)
        if len(twice):
            where = tables[int(part[rows[twice[0]]])].path.name
            raise DataError(
                f"{_named(table, places[twice[0]], user, item)} stands in {where} as well"
            )
        part[rows] = side
    absent = np.flatnonzero(part == UNKNOWN)
    if len(absent):
        row = absent[0]
        raise DataError(
            f"{len(absent)} interactions of {dataset.name} stand in none of the files, e.g. user "
            f"{dataset.user_ids[log.user[row]]}, item {dataset.item_ids[log.item[row]]}"
        )
    if valid_share:
        train = np.random.default_rng(seed).permutation(np.flatnonzero(part == TRAIN))
        part[train[: round(valid_share * len(train))]] = VALID
    return parts_of(dataset, part, protocol, leaks, ordered=False)


def _rows_of(
    dataset: Dataset, table: Table, user: str, item: str, place: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the data set that a table names, and the rows of the table they are."""
    codes = []
    for column, ids in ((user, dataset.user_ids), (item, dataset.item_ids)):
        known = pl.Series(ids.tolist(), dtype=pl.String)
        codes.append(identifiers(table, column).cast(pl.Enum(known), strict=False).to_physical())
    pair = codes[0].cast(pl.Int64) * dataset.n_items + codes[1].cast(pl.Int64)
    found = pl.DataFrame({"pair": pair}).join(place, on="pair", how="left", maintain_order="left")
    strange = np.flatnonzero(found["row"].is_null().to_numpy())
    if len(strange) and "filters" not in dataset.source:
        raise DataError(
            f"{_named(table, strange[0], user, item)} is no interaction of {dataset.name}"
        )
    places = np.flatnonzero(found["row"].is_not_null().to_numpy())
    rows = found["row"].drop_nulls().to_numpy()
    _, first = np.unique(rows, return_index=True)
    if len(first) < len(rows):
        again = places[np.setdiff1d(np.arange(len(rows)), first)[0]]
        raise DataError(f"{_named(table, again, user, item)} stands there twice")
    return rows, places


def _named(table: Table, row: int, user: str, item: str) -> str:
    return (
        f"{table.where(row)}: user {table.column(user)[int(row)]}, item "
        f"{table.column(item)[int(row)]}"
    )
