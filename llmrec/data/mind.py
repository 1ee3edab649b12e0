"""MIND: clicks on Microsoft News, with titles and abstracts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset
from llmrec.data.assemble import About, Catalogue, Columns, Duplicates, assemble
from llmrec.data.local import Publisher, first_of_each, noted, packed
from llmrec.data.tables import Table, read_table

MIND_PUBLISHER = Publisher(
    "MIND",
    "MINDsmall_train.zip and MINDsmall_dev.zip (or MINDlarge), unpacked",
    "https://msnews.github.io/",
    "Microsoft Research License Terms: research only, not to be redistributed",
    "F. Wu et al. 2020. MIND: A Large-scale Dataset for News Recommendation. ACL 2020.",
)
BEHAVIORS = ["impression", "user", "time", "history", "shown"]
NEWS = ["item", "category", "subcategory", "title", "abstract", "url", "entities", "more_entities"]
FIELDS = ["title", "abstract", "category", "subcategory"]
CLOCK = "%m/%d/%Y %I:%M:%S %p"


class MIND:
    """MIND: news that users clicked, with title, abstract, category and subcategory.

    Clicked are the news of a user's history before the first impression, and those marked ``-1``
    in the impressions. News that were shown and not clicked are no interactions.

    Args:
        folders: each with a ``behaviors.tsv`` and a ``news.tsv``, e.g. MINDsmall_train and
            MINDsmall_dev; without them an error says where to get them.
        history: take the history too. It has no times, so the data set then has none: its order
            is the history, then the clicks by time.
        catalogue: ``interactions``: only clicked news; ``items``: all news.
        duplicates: users click some news again: refuse, or keep the first or last click (counted).
    """

    def __init__(
        self,
        *,
        folders: Sequence[str] | None = None,
        history: bool = True,
        catalogue: Catalogue = "interactions",
        duplicates: Duplicates = "first",
    ) -> None:
        self.folders = folders
        self.history = history
        self.catalogue = catalogue
        self.duplicates = duplicates
        construct_check(self)

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong, or with where to get the files.
        """
        if not self.folders:
            raise MIND_PUBLISHER.wanted("data.folders=[TRAIN_FOLDER,DEV_FOLDER]")
        sums: dict[str, str] = {}
        logs, news = [], []
        for name in self.folders:
            folder = Path(name).expanduser()
            logs.append(_behaviors(packed(folder, ["behaviors.tsv"]), sums))
            news.append(_read(packed(folder, ["news.tsv"]), NEWS, sums))
        clicks = [_clicks(log) for log in logs]
        frame = pl.concat([each.frame for each in clicks])
        lines = np.concatenate([np.asarray(each.lines) for each in clicks])
        order = frame["time"].arg_sort()
        log = Table(clicks[0].path, frame[order], lines[order.to_numpy()])
        if self.history:
            log = _after_history(logs, log)
        items, _ = first_of_each(_joined(news), "item")
        return assemble(
            "mind",
            log,
            Columns("user", "item", None, None if self.history else "time"),
            items=About(items, "item", FIELDS),
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source=MIND_PUBLISHER.source(sums, Path(self.folders[0]))
            | {"impressions": sum(map(len, logs)), "clicks": sum(map(len, clicks))},
        )


def _read(path: Path, names: list[str], sums: dict[str, str]) -> Table:
    own: dict[str, str] = {}
    noted(path, own)
    sums[f"{path.parent.name}/{path.name}"] = own[path.name]
    return read_table(path, delimiter="\t", quoting=False, names=names)


def _behaviors(path: Path, sums: dict[str, str]) -> Table:
    """Return the impressions with their times read."""
    log = _read(path, BEHAVIORS, sums)
    time = log.column("time").str.to_datetime(CLOCK, strict=False)
    bad = np.flatnonzero(time.is_null().to_numpy())
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{log.where(row)}: time {log.column('time')[row]!r} is not like 11/11/2019 9:05:58 AM"
        )
    return Table(path, log.frame.with_columns(time), log.lines)


def _clicks(log: Table) -> Table:
    """Return one row per click of the impressions."""
    shown = log.column("shown").str.extract_all(r"\S+")
    rows = np.repeat(np.arange(len(log)), shown.list.len().to_numpy())
    words = shown.explode(empty_as_null=False)
    bad = np.flatnonzero(~words.str.contains(r"^\S+-[01]$").to_numpy())
    if len(bad):
        raise DataError(
            f"{log.where(rows[bad[0]])}: {words[int(bad[0])]!r} does not say whether it was "
            "clicked (N123-1, N456-0); the test folder of MIND has no labels, use train and dev"
        )
    clicked = words.str.ends_with("-1")
    rows = rows[clicked.to_numpy()]
    items = words.filter(clicked).str.strip_suffix("-1")
    frame = log.frame.select("user", "time")[rows].with_columns(item=items)
    return Table(log.path, frame, np.asarray(log.lines)[rows])


def _after_history(logs: list[Table], clicks: Table) -> Table:
    """Return the histories before each user's first impression, then the clicks."""
    frame = pl.concat(
        [log.frame.select("user", "time", "history", line=pl.Series(log.lines)) for log in logs]
    )
    first = frame.sort("time", maintain_order=True).unique(
        "user", keep="first", maintain_order=True
    )
    read = first.select("user", "line", item=pl.col("history").str.extract_all(r"\S+")).filter(
        pl.col("item").list.len() > 0
    )
    read = read.explode("item")
    both = pl.concat([read.select("user", "item"), clicks.frame.select("user", "item")])
    return Table(clicks.path, both, np.concatenate([read["line"].to_numpy(), clicks.lines]))


def _joined(tables: list[Table]) -> Table:
    lines = np.concatenate([np.asarray(table.lines) for table in tables])
    return Table(tables[0].path, pl.concat([table.frame for table in tables]), lines)
