"""The other MovieLens releases: latest-small, 1M, 10M, 20M, 25M, 32M, in GroupLens' own files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset
from llmrec.data.assemble import About, Catalogue, Columns, assemble
from llmrec.data.blocks import read_bytes
from llmrec.data.downloads import Files, Url, dataset_folder, get_files
from llmrec.data.movielens import CITATION, LICENCE, split_title
from llmrec.data.published import compared
from llmrec.data.tables import Kinds, Table, read_table

Variant = Literal["latest-small", "1m", "10m", "20m", "25m", "32m"]

SITE = "https://files.grouplens.org/datasets/movielens/"
DIVIDER = "\x1f"
OLD = {
    "ratings.dat": ["userId", "movieId", "rating", "timestamp"],
    "movies.dat": ["movieId", "title", "genres"],
    "tags.dat": ["userId", "movieId", "tag", "timestamp"],
    "users.dat": ["userId", "gender", "age", "occupation", "zip"],
}
NO_GENRES = "(no genres listed)"
AGES = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56 or older",
}
OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


@dataclass(frozen=True)
class Release:
    """What one release is made of.

    Attributes:
        archive: name of the zip file.
        folder: inside it.
        files: ratings, films, and tags or users.
        counts: users, rated films and ratings of the whole release.
        md5: of the archive, as GroupLens publishes it in a file beside it.
        sha256: of the archive, where there is no such file.
        encoding: of the texts.
    """

    archive: str
    folder: str
    files: tuple[str, ...]
    counts: tuple[int, int, int]
    md5: str = ""
    sha256: str = ""
    encoding: str = "utf-8"


NEW_FILES = ("ratings.csv", "movies.csv", "tags.csv")
RELEASES: dict[str, Release] = {
    "latest-small": Release(
        "ml-latest-small.zip",
        "ml-latest-small",
        NEW_FILES,
        (610, 9_724, 100_836),
        sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
    ),
    "1m": Release(
        "ml-1m.zip",
        "ml-1m",
        ("ratings.dat", "movies.dat", "users.dat"),
        (6_040, 3_706, 1_000_209),
        md5="c4d9eecfca2ab87c1945afe126590906",
        encoding="latin-1",
    ),
    "10m": Release(
        "ml-10m.zip",
        "ml-10M100K",
        ("ratings.dat", "movies.dat", "tags.dat"),
        (69_878, 10_677, 10_000_054),
        md5="ce571fd55effeba0271552578f2648bd",
    ),
    "20m": Release(
        "ml-20m.zip",
        "ml-20m",
        NEW_FILES,
        (138_493, 26_744, 20_000_263),
        md5="cd245b17a1ae2cc31bb14903e1204af3",
    ),
    "25m": Release(
        "ml-25m.zip",
        "ml-25m",
        NEW_FILES,
        (162_541, 59_047, 25_000_095),
        md5="6b51fb2759a8657d3bfcbfc42b592ada",
    ),
    "32m": Release(
        "ml-32m.zip",
        "ml-32m",
        NEW_FILES,
        (200_948, 84_432, 32_000_204),
        md5="d472be332d4daa821edc399621853b57",
    ),
}


class MovieLens:
    """A MovieLens release with titles, years and genres: latest-small, 1M, 10M, 20M, 25M or 32M.

    It comes from `folder` if that is given, else from the cache, else from GroupLens' archive
    (resumed after an interruption, checked by its checksum). Films that nobody rated are left out
    unless ``catalogue=items``. The users of 1M have gender, age and occupation.

    Args:
        variant: which release; MovieLens-100K is the source ``ml-100k``.
        folder: with the release's own files (``ratings.csv``, ``movies.csv``, … or ``.dat``).
        tags: take the tags that a user wrote on a film as the text of that interaction, joined by
            ", " in time order (some were written after the rating); tags on films that the user
            has not rated are counted and left out.
        catalogue: ``interactions``: only rated films; ``items``: all films of the release.
    """

    def __init__(
        self,
        *,
        variant: Variant,
        folder: str | None = None,
        tags: bool = False,
        catalogue: Catalogue = "interactions",
    ) -> None:
        self.variant = variant
        self.folder = folder
        self.tags = tags
        self.catalogue = catalogue
        construct_check(self)

    @staticmethod
    def check_options(params: dict[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        if params.get("tags") and params.get("variant") == "1m":
            return [("tags", "MovieLens-1M has no tags; the other releases have")]
        return []

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: for a malformed local file, or if there is no network and no cache.
            RunError: if the cache cannot be written.
        """
        release = RELEASES[self.variant]
        name = f"ml-{self.variant}"
        columns = Columns("userId", "movieId", "rating", "timestamp", "tags" if self.tags else None)
        files, place = self._files(name, release)
        tables = {
            file: _read(place / file, content, release, {} if self.tags else columns.numbers)
            for file, content in files.contents.items()
            if self.tags or not file.startswith("tags")
        }
        log, films, *others = tables.values()
        notes: dict[str, Any] = {}
        if self.tags:
            log, notes = _tagged(log, others[0])
        dataset = assemble(
            name,
            log,
            columns,
            items=About(_films(films), "movieId"),
            users=About(_people(others[0]), "userId") if self.variant == "1m" else None,
            catalogue=self.catalogue,
            source={
                "origin": files.origin,
                "archive_sha256": files.archive_sha256,
                "sha256": {
                    file: hashlib.sha256(content).hexdigest()
                    for file, content in files.contents.items()
                },
                "licence": LICENCE,
                "citation": CITATION,
                **notes,
            },
        )
        return compared(dataset, release.counts)

    def _files(self, name: str, release: Release) -> tuple[Files, Path]:
        needed = [file for file in release.files if self.tags or not file.startswith("tags")]
        if self.folder is None:
            members = {file: f"{release.folder}/{file}" for file in needed}
            origin = Url(SITE + release.archive, release.sha256, members, release.md5)
            otherwise = (
                f"Put its files ({', '.join(needed)}) in a folder and set data.folder=THE_FOLDER, "
                "or use data=synthetic"
            )
            return get_files(name, [origin], otherwise), dataset_folder(name)
        place = Path(self.folder).expanduser()
        if not place.is_dir():
            raise DataError(
                f"{place} is not a folder; it should hold {', '.join(needed)} of {name}"
            )
        contents = {file: read_bytes(place / file) for file in needed}
        return Files(contents, str(place.absolute()), ""), place


def _read(path: Path, content: bytes, release: Release, numbers: Mapping[str, Kinds]) -> Table:
    own = numbers if path.name.startswith("ratings") else None
    if path.name not in OLD:
        return read_table(path, content, numbers=own)
    # "::" is one byte that no text has, so that single colons in titles stay.
    data = content.replace(b"::", DIVIDER.encode())
    return read_table(
        path,
        data,
        delimiter=DIVIDER,
        quoting=False,
        encoding=release.encoding,
        names=OLD[path.name],
        numbers=own,
    )


def _films(films: Table) -> Table:
    titles = [split_title(title) for title in films.column("title").to_list()]
    genres = films.column("genres")
    frame = pl.DataFrame(
        {
            "movieId": films.column("movieId"),
            "title": [title for title, _ in titles],
            "year": [year for _, year in titles],
            "genres": genres.replace(NO_GENRES, "").str.replace_all("|", ", ", literal=True),
        }
    )
    return Table(films.path, frame, films.lines)


def _people(people: Table) -> Table:
    """Return the users of 1M with words for the codes of its README."""
    codes = people.column("occupation").cast(pl.Int64, strict=False)
    bad = np.flatnonzero(~codes.is_between(0, len(OCCUPATIONS) - 1).fill_null(False).to_numpy())
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{people.where(row)}: occupation {people.column('occupation')[row]!r} is not a number "
            f"from 0 to {len(OCCUPATIONS) - 1}"
        )
    frame = people.frame.select(
        "userId",
        pl.col("gender"),
        pl.col("age").replace(AGES),
        occupation=pl.Series(OCCUPATIONS).gather(codes),
    )
    return Table(people.path, frame, people.lines)


def _tagged(log: Table, tags: Table) -> tuple[Table, dict[str, Any]]:
    """Return the log with a column of tags, and how many tags found no rating."""
    key = ["userId", "movieId"]
    for table, names in ((log, key), (tags, [*key, "tag", "timestamp"])):
        for name in names:
            table.column(name)  # refused in words if it is absent
    written = tags.frame.with_columns(pl.col("timestamp").cast(pl.Int64, strict=False))
    joined = (
        written.sort("timestamp", maintain_order=True)
        .group_by(key, maintain_order=True)
        .agg(pl.col("tag").str.join(", ").alias("tags"), pl.len().alias("n"))
    )
    frame = log.frame.join(joined, on=key, how="left", maintain_order="left")
    used = int(frame["n"].fill_null(0).sum())
    notes = {"tags": used, "tags_left_out_for_lack_of_a_rating": len(tags) - used}
    return Table(log.path, frame.drop("n").fill_null(""), log.lines), notes
