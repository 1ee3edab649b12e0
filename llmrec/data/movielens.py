"""MovieLens-100K: 943 users, 1,682 films, 100,000 ratings from 1 to 5 (1997-98)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.errors import DataError, unknown
from llmrec.core.types import Dataset, Interactions
from llmrec.data.blocks import read_bytes
from llmrec.data.columns import codes, ratings, strings, times, unique_identifiers
from llmrec.data.downloads import Files, Url, Wheel, dataset_folder, get_files
from llmrec.data.published import compared
from llmrec.data.tables import Table, read_table

ORIGINAL = ("u.data", "u.item", "u.user")
RECBOLE = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)

ORIGINS = (
    Url(
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        {name: f"ml-100k/{name}" for name in ORIGINAL},
    ),
    Wheel(
        "recbole==1.2.1",
        "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        {name: f"recbole/dataset_example/ml-100k/{name}" for name in RECBOLE},
    ),
)

LICENCE = (
    "GroupLens terms: free for research, with acknowledgement (the citation); not to be "
    "redistributed or used commercially without permission, and without any warranty."
)
COUNTS = (943, 1_682, 100_000)
CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. doi:10.1145/2827872"
)
WHAT_TO_DO = (
    "Put its files (u.data, u.item, u.user) in a folder and set data.folder=THE_FOLDER, "
    "or use data=synthetic"
)


class MovieLens100K:
    """MovieLens-100K with titles, years and genres, and age, gender and occupation of users.

    It comes from `folder` if that is given, else from the cache, else from GroupLens' archive,
    else from the copy that the wheel of recbole 1.2.1 carries (fetched through pip and unpacked,
    never installed); downloads are checked by SHA-256. Both file forms give the same data set.
    Items and users have the order of the item and the user file. The film without a name
    (267, "unknown") keeps that title.
    """

    def __init__(self, *, folder: str | None = None) -> None:
        self.folder = folder

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: for a malformed local file, or if there is no network and no cache.
            RunError: if the cache cannot be written.
        """
        if self.folder is None:
            place = dataset_folder("ml-100k")
            files = get_files("ml-100k", ORIGINS, WHAT_TO_DO)
        else:
            place = Path(self.folder).expanduser()
            files = _local_files(place)
        tables = {name: _read(place / name, files.contents[name]) for name in files.contents}
        log, items, users = tables.values()
        item_ids, user_ids = unique_identifiers(items, "item"), unique_identifiers(users, "user")
        when = times(log, "timestamp")
        interactions = Interactions(
            codes(log, "user", user_ids, str(users.path)),
            codes(log, "item", item_ids, str(items.path)),
            ratings(log, "rating"),
            when.seconds,
        )
        dataset = Dataset(
            "ml-100k",
            interactions.sorted(),
            np.array(user_ids.to_list(), dtype=str),
            np.array(item_ids.to_list(), dtype=str),
            _item_fields(items),
            {name: strings(users.column(name)) for name in ("age", "gender", "occupation")},
            _source(files),
        )
        return compared(dataset, COUNTS)


def split_title(text: str) -> tuple[str, str]:
    """Return title and year of a MovieLens title.

    Example:
        >>> split_title("Postino, Il (1994)")
        ('Postino, Il', '1994')
        >>> split_title("unknown")
        ('unknown', '')
    """
    found = re.fullmatch(r"(.*?)\s*\((\d{4})\)(?:\s*\(V\))?", text.strip())
    return (found[1], found[2]) if found else (text.strip(), "")


def _local_files(folder: Path) -> Files:
    for names in (ORIGINAL, RECBOLE):
        if (folder / names[0]).is_file():
            contents = {name: read_bytes(folder / name) for name in names}
            return Files(contents, str(folder.absolute()), "")
    reason = "holds neither" if folder.is_dir() else "is not a folder; it should hold"
    raise DataError(
        f"{folder} {reason} {', '.join(ORIGINAL)} (GroupLens) {'n' * folder.is_dir()}or "
        f"{', '.join(RECBOLE)} (RecBole); correct data.folder, or leave it out to download"
    )


def _read(path: Path, content: bytes) -> Table:
    """Read one of the six files; the columns have the same names in both forms."""
    name = path.name
    if name == "u.data":
        columns = ["user", "item", "rating", "timestamp"]
        return read_table(path, content, delimiter="\t", quoting=False, names=columns)
    if name == "u.user":
        columns = ["user", "age", "gender", "occupation", "zip"]
        return read_table(path, content, delimiter="|", quoting=False, names=columns)
    if name == "u.item":
        columns = ["item", "title", "released", "video", "url", *GENRES]
        return read_table(
            path, content, delimiter="|", quoting=False, encoding="latin-1", names=columns
        )
    table = read_table(path, content, delimiter="\t", quoting=False)
    short = {"user_id": "user", "item_id": "item", "movie_title": "title", "release_year": "year"}
    plain = {name: name.partition(":")[0] for name in table.frame.columns}
    frame = table.frame.rename({name: short.get(word, word) for name, word in plain.items()})
    return Table(path, frame, table.lines)


def _item_fields(items: Table) -> dict[str, np.ndarray]:
    titles = items.column("title").to_list()
    if "class" in items.frame.columns:
        # RecBole cut the last parentheses off the title, whatever stood in them.
        years = items.column("year").to_list()
        titles = [f"{title} ({year})" for title, year in zip(titles, years, strict=True)]
        titles = ["unknown" if title == "unkonwn (unkonwn)" else title for title in titles]
        genres = [_genres(items, row, text) for row, text in enumerate(items.column("class"))]
    else:
        flags = items.frame.select(GENRES).to_numpy() == "1"
        genres = [", ".join(np.array(GENRES[1:])[row]) for row in flags[:, 1:]]
    split = [split_title(title) for title in titles]
    return {
        "title": np.array([title for title, _ in split], dtype=object),
        "year": np.array([year for _, year in split], dtype=object),
        "genres": np.array(genres, dtype=object),
    }


def _genres(items: Table, row: int, text: str) -> str:
    found = text.split()
    for genre in found:
        if genre not in GENRES:
            raise DataError(f"{items.where(row)}: {unknown('genre', genre, GENRES)}")
    return ", ".join(genre for genre in GENRES[1:] if genre in found)


def _source(files: Files) -> Mapping[str, Any]:
    return {
        "origin": files.origin,
        "archive_sha256": files.archive_sha256,
        "sha256": {
            name: hashlib.sha256(content).hexdigest() for name, content in files.contents.items()
        },
        "licence": LICENCE,
        "citation": CITATION,
        "preprocessing": "year cut off the titles; ordered by time, ties in the order of the file",
    }
