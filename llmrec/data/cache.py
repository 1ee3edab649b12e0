"""Loaded data sets as memory-mapped arrays on disk: the second load takes no parsing.

One folder per data set: ``.npy`` files for ids, the log and the order of its rows by user, one
Parquet file per table of texts, and ``dataset.json``, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import llmrec
from llmrec.core.errors import DataError
from llmrec.core.files import atomic_path, cache_folder
from llmrec.core.types import Dataset, Interactions, Ragged
from llmrec.data.columns import strings

VERSION = 1
LOG = ("user", "item", "rating", "timestamp")
META = "dataset.json"

log = logging.getLogger(__name__)


def cached(
    options: Mapping[str, Any], files: Sequence[str | None], load: Callable[[], Dataset]
) -> Dataset:
    """Return a data set from the cache, or load it and put it there.

    It is the same as long as the options of its source, the path, size and time of change of
    every file, and the version of llmrec are the same.

    Raises:
        DataError: for an absent file, and as `load`.
        RunError: if the cache cannot be written.
    """
    stamps = [_stamp(Path(file).expanduser()) for file in files if file is not None]
    key = json.dumps([VERSION, llmrec.__version__, stamps, dict(options)], default=str)
    folder = cache_folder() / "tables" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if (folder / META).is_file():
        try:
            return read_dataset(folder)
        except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
            log.warning("%s is damaged (%s); loading the files again", folder, error)
    dataset = load()
    write_dataset(dataset, folder)
    return dataset


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a data set, whole or not at all.

    Raises:
        RunError: if the folder cannot be written.
    """
    log_ = dataset.interactions
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name in LOG:
            values = getattr(log_, name)
            if values is not None:
                np.save(temporary / f"{name}.npy", values)
        np.save(temporary / "user_ids.npy", dataset.user_ids)
        np.save(temporary / "item_ids.npy", dataset.item_ids)
        np.save(temporary / "rows_by_user.npy", dataset.rows_by_user.values)
        np.save(temporary / "offsets.npy", dataset.rows_by_user.offsets)
        texts = {"items": dataset.item_fields, "users": dataset.user_fields}
        texts["texts"] = {} if log_.text is None else {"text": log_.text}
        for name, fields in texts.items():
            columns = {
                key: pl.Series(each.tolist(), dtype=pl.String) for key, each in fields.items()
            }
            if columns:
                pl.DataFrame(columns).write_parquet(temporary / f"{name}.parquet")
        meta = {
            "name": dataset.name,
            "source": dataset.source,
            "rows": len(dataset),
            "fields": {name: list(fields) for name, fields in texts.items()},
        }
        (temporary / META).write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")


def read_dataset(folder: Path) -> Dataset:
    """Open what `write_dataset` wrote: numbers memory-mapped, texts read.

    Raises:
        OSError, ValueError, KeyError, PolarsError: if something is missing or damaged.
    """
    meta = json.loads((folder / META).read_text(encoding="utf-8"))

    def array(name: str) -> np.ndarray | None:
        path = folder / f"{name}.npy"
        return np.load(path, mmap_mode="r") if path.is_file() else None

    def table(name: str) -> dict[str, np.ndarray]:
        if not meta["fields"][name]:
            return {}
        frame = pl.read_parquet(folder / f"{name}.parquet", columns=meta["fields"][name])
        return {column.name: strings(column) for column in frame}

    columns = {name: array(name) for name in LOG}
    user, item, order, offsets = (
        array(name) for name in ("user", "item", "rows_by_user", "offsets")
    )
    if user is None or item is None or order is None or offsets is None:
        raise ValueError("an array is missing")
    for values in (*columns.values(), order):
        if values is not None and len(values) != meta["rows"]:
            raise ValueError("an array has another length")
    dataset = Dataset(
        meta["name"],
        Interactions(
            user, item, columns["rating"], columns["timestamp"], table("texts").get("text")
        ),
        np.load(folder / "user_ids.npy"),
        np.load(folder / "item_ids.npy"),
        table("items"),
        table("users"),
        meta["source"],
    )
    # The value of the cached property, so that nothing is sorted again.
    vars(dataset)["rows_by_user"] = Ragged(order, offsets)
    return dataset


def _stamp(path: Path) -> list[str | int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"there is no file {path.absolute()}") from error
    return [str(path.absolute()), found.st_size, found.st_mtime_ns]
