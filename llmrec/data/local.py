"""Data sets whose publishers want to be asked: what to fetch where, and for which option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from llmrec.core.errors import DataError
from llmrec.data.blocks import sum_of
from llmrec.data.columns import identifiers
from llmrec.data.tables import Table


@dataclass(frozen=True)
class Publisher:
    """Where a data set comes from.

    Attributes:
        name: of the data set.
        files: what to fetch, in words.
        page: where.
        terms: what its publisher allows, in one sentence.
        citation: what to cite.
    """

    name: str
    files: str
    page: str
    terms: str
    citation: str

    def wanted(self, how: str) -> DataError:
        """Return the error that says which files to put where.

        Args:
            how: the options to set, e.g. ``data.folder=THE_FOLDER``.
        """
        return DataError(
            f"{self.name} is not downloaded by llmrec: get {self.files} from {self.page} "
            f"({self.terms}), and set {how}"
        )

    def source(self, sums: dict[str, str], origin: Path) -> dict[str, Any]:
        """Return what a data set says of its origin."""
        return {
            "origin": str(origin.absolute()),
            "sha256": sums,
            "page": self.page,
            "licence": self.terms,
            "citation": self.citation,
        }


def noted(path: Path, sums: dict[str, str]) -> Path:
    """Note the SHA-256 of a file, and return the file.

    Raises:
        DataError: if it cannot be read.
    """
    sums[path.name] = sum_of(path)
    return path


def packed(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of some files that a folder has, packed or not.

    Raises:
        DataError: if it has none.
    """
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    what = "is not a folder; it should hold" if not folder.is_dir() else "holds no"
    raise DataError(f"{folder} {what} {' or '.join(names)}")


def first_of_each(table: Table, id_column: str) -> tuple[Table, int]:
    """Return a table about items with the first row of each id, and how many were left out."""
    first = identifiers(table, id_column).is_first_distinct()
    if first.all():
        return table, 0
    lines = pl.Series(list(table.lines)).filter(first).to_numpy()
    return Table(table.path, table.frame.filter(first), lines, table.unit), int((~first).sum())
