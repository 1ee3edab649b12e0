from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset
from llmrec.data import typed
from llmrec.data.cache import read_dataset, write_dataset
from llmrec.data.delimited import DelimitedFiles
from llmrec.data.splits import LeaveOneOut
from llmrec.data.typed import Parquet, load_table

LOG = pl.DataFrame(
    {
        "user": ["b", "a", "b", "b", "é🎬"],
        "item": [3, 1, 20, 1, 3],
        "rating": [1.0, 2, 3, 4, 5],
        "time": [50, 40, 30, 20, 10],
        "text": ["x", "", "שלום", "two\nlines", "y"],
    }
)
ITEMS = pl.DataFrame({"item": [1, 3], "title": ["one", ""]})
COLUMNS = {"rating": "rating", "timestamp": "time", "text": "text"}


def same(a: Dataset, b: Dataset) -> None:
    assert a.fingerprint == b.fingerprint
    assert (a.name, a.source) == (b.name, b.source)
    for one, other in ((a.rows_by_user, b.rows_by_user), (a.histories, b.histories)):
        assert one.values.tolist() == other.values.tolist()
        assert one.offsets.tolist() == other.offsets.tolist()
    for name in ("user", "item", "rating", "timestamp"):
        ours, theirs = getattr(a.interactions, name), getattr(b.interactions, name)
        assert (ours is None) == (theirs is None)
        assert ours is None or ours.dtype == theirs.dtype


@pytest.mark.parametrize("options", [COLUMNS, {}])
def test_what_is_written_is_read(tmp_path: Path, options: dict[str, str]) -> None:
    data = load_table(LOG, items=ITEMS, **options)
    write_dataset(data, tmp_path / "x")
    again = read_dataset(tmp_path / "x")
    same(again, data)
    assert isinstance(again.interactions.user, np.memmap)
    parts, expected = LeaveOneOut().split(again), LeaveOneOut().split(data)
    assert parts.train.fingerprint == expected.train.fingerprint


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    LOG.write_parquet(tmp_path / "log.parquet")
    ITEMS.write_parquet(tmp_path / "items.parquet")
    return {
        "interactions": str(tmp_path / "log.parquet"),
        "items": str(tmp_path / "items.parquet"),
        **COLUMNS,
    }


def test_the_second_load_reads_no_files(files, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Parquet(**files, cache=True).load()
    same(first, Parquet(**files).load())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the files are read again")

    monkeypatch.setattr(typed, "read_parquet", refuse)
    same(Parquet(**files, cache=True).load(), first)
    with pytest.raises(AssertionError):  # another option
        Parquet(**files, cache=True, label="other").load()
    with pytest.raises(AssertionError):  # no cache wanted
        Parquet(**files).load()
    os.utime(files["items"], ns=(1, 1))
    with pytest.raises(AssertionError):  # a changed file
        Parquet(**files, cache=True).load()


@pytest.mark.parametrize("damage", ["cut", "gone", "text", "meta"])
def test_a_damaged_cache_is_noticed_and_made_again(files, tmp_path: Path, damage: str) -> None:
    first = Parquet(**files, cache=True).load()
    (folder,) = (tmp_path / "cache" / "tables").iterdir()
    if damage == "cut":
        np.save(folder / "rating.npy", np.zeros(2, np.float32))
    elif damage == "gone":
        (folder / "rows_by_user.npy").unlink()
    elif damage == "text":
        (folder / "items.parquet").write_bytes(b"no table")
    else:
        (folder / "dataset.json").write_text("{")
    same(Parquet(**files, cache=True).load(), first)
    same(read_dataset(folder), first)


def test_csv_is_cached_too_and_an_absent_file_is_a_sentence(files, tmp_path: Path) -> None:
    LOG.write_csv(tmp_path / "log.csv")
    options = {"interactions": str(tmp_path / "log.csv"), **COLUMNS}
    data = DelimitedFiles(**options, cache=True).load()
    same(DelimitedFiles(**options, cache=True).load(), data)
    (tmp_path / "log.csv").unlink()
    with pytest.raises(DataError, match=r"there is no file .*log\.csv"):
        DelimitedFiles(**options, cache=True).load()
