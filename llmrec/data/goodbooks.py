"""Goodbooks-10k: six million ratings of ten thousand books."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmrec.core.config import construct_check
from llmrec.core.types import Dataset
from llmrec.data.assemble import About, Catalogue, Columns, Duplicates, assemble
from llmrec.data.local import Publisher, noted, packed
from llmrec.data.published import compared
from llmrec.data.tables import read_table

GOODBOOKS = Publisher(
    "Goodbooks-10k",
    "ratings.csv and books.csv",
    "https://github.com/zygmuntz/goodbooks-10k/releases",
    "CC BY-SA 4.0",
    "Z. Zając. 2017. Goodbooks-10k: a new dataset for book recommendations. FastML.",
)
# The README: book ids 1 to 10,000, user ids 1 to 53,424, both without gaps.
COUNTS = (53_424, 10_000, 5_976_479)
FIELDS = {
    "title": "title",
    "authors": "authors",
    "original_publication_year": "year",
    "language_code": "language",
}


class Goodbooks10k:
    """Goodbooks-10k: ratings from 1 to 5 in time order, and titles, authors, years of books.

    There are no times; the publisher sorted the ratings by time.

    Args:
        folder: with ``ratings.csv`` and ``books.csv``; without it an error says where to get them.
        catalogue: ``interactions``: only rated books; ``items``: all of them.
        duplicates: what to do if a user has a book twice: refuse, or keep the first or last
            (counted).
    """

    def __init__(
        self,
        *,
        folder: str | None = None,
        catalogue: Catalogue = "interactions",
        duplicates: Duplicates = "last",
    ) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.duplicates = duplicates
        construct_check(self)

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong, or with where to get the files.
        """
        if self.folder is None:
            raise GOODBOOKS.wanted("data.folder=THE_FOLDER")
        folder, sums = Path(self.folder).expanduser(), dict[str, str]()
        tables = []
        for name in ("ratings.csv", "books.csv"):
            path = packed(folder, [name])
            tables.append(read_table(noted(path, sums)))
        log, books = tables
        year = books.column("original_publication_year").str.strip_suffix(".0")  # as 2008.0
        books = replace(books, frame=books.frame.with_columns(year))
        dataset = assemble(
            "goodbooks-10k",
            log,
            Columns("user_id", "book_id", "rating"),
            items=About(books, "book_id", list(FIELDS), FIELDS),
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source=GOODBOOKS.source(sums, folder),
        )
        return compared(dataset, COUNTS)
