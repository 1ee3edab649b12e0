"""JSON lines, Parquet and tables in memory give what the same CSV gives."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import Dataset
from llmrec.data.delimited import DelimitedFiles
from llmrec.data.json_lines import read_json_lines
from llmrec.data.typed import JSONLines, Parquet, load_table

LOG = [
    {"u": 7, "i": "b", "stars": 4.0, "at": 1_500_000_100, "said": "good, really"},
    {"u": 10, "i": "a", "stars": 3.5, "at": 1_500_000_050, "said": "שלום 🎬"},
    {"u": 7, "i": "a", "stars": 1.0, "at": 1_500_000_075, "said": ""},
]
ITEMS = [
    {"i": "b", "title": "Bee", "tags": ["x", "y"]},
    {"i": "z", "title": "Zed", "tags": []},
    {"i": "a", "title": None, "tags": None},
]
MAP = {"user": "u", "item": "i", "rating": "stars", "timestamp": "at", "text": "said"}


def lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture
def as_csv(tmp_path: Path) -> Dataset:
    rows = [{**row, "u": str(row["u"])} for row in LOG]
    pl.DataFrame(rows).write_csv(tmp_path / "log.csv")
    flat = [{**row, "tags": ", ".join(row["tags"] or [])} for row in ITEMS]
    pl.DataFrame(flat).write_csv(tmp_path / "items.csv")
    return DelimitedFiles(
        interactions=str(tmp_path / "log.csv"),
        items=str(tmp_path / "items.csv"),
        item_id="i",
        **MAP,
    ).load()


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_json_lines_are_the_same_data(tmp_path: Path, as_csv: Dataset, ending: str) -> None:
    pack = gzip.compress if ending.endswith("gz") else bytes
    (tmp_path / f"log.{ending}").write_bytes(pack(lines(LOG)))
    (tmp_path / "items.jsonl").write_bytes(lines(ITEMS))
    data = JSONLines(
        interactions=str(tmp_path / f"log.{ending}"),
        items=str(tmp_path / "items.jsonl"),
        item_id="i",
        **MAP,
    ).load()
    assert data.name == "log"
    assert data.fingerprint == as_csv.fingerprint
    assert data.item_fields["tags"].tolist() == ["", "x, y"]
    assert data.source["items_left_out_for_lack_of_interactions"] == 1


def test_parquet_is_the_same_data(tmp_path: Path, as_csv: Dataset) -> None:
    pl.DataFrame(LOG).write_parquet(tmp_path / "log.parquet")
    pl.DataFrame(ITEMS).write_parquet(tmp_path / "items.parquet")
    data = Parquet(
        interactions=str(tmp_path / "log.parquet"),
        items=str(tmp_path / "items.parquet"),
        item_id="i",
        **MAP,
    ).load()
    assert data.fingerprint == as_csv.fingerprint


def test_tables_of_every_library_are_the_same_data(as_csv: Dataset) -> None:
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    for make in (pl.DataFrame, pl.LazyFrame, pandas.DataFrame, pyarrow.Table.from_pylist):
        data = load_table(make(LOG), items=make(ITEMS), item_id="i", **MAP)
        assert data.fingerprint == as_csv.fingerprint, make


def test_a_hugging_face_table_is_read_through_arrow() -> None:
    pyarrow = pytest.importorskip("pyarrow")

    class FakeDataset:
        __module__ = "datasets.arrow_dataset"

        def with_format(self, kind: str) -> dict[slice, object] | FakeDataset:
            assert kind == "arrow"
            return self

        def __getitem__(self, rows: slice) -> object:
            return pyarrow.Table.from_pylist(LOG)[rows]

    assert len(load_table(FakeDataset(), user="u", item="i")) == 3


def test_numbers_as_ids_come_in_alphabetical_order_as_text_does() -> None:
    for numbers in (
        [10, 9, -1, 100, 9],
        [3, 2, -1, 5, 12, 2],
        [2**62, -(2**62), 5, 5, 5],
        [2**63] * 3,
    ):
        check_numbers(numbers)


def check_numbers(numbers: list[int]) -> None:
    log = pl.DataFrame({"user": numbers, "item": range(len(numbers))})
    data = load_table(log)
    assert data.user_ids.tolist() == sorted(map(str, set(numbers)))
    assert data.user_ids[data.interactions.user].tolist() == list(map(str, numbers))


@pytest.mark.parametrize(
    ("moments", "seconds"),
    [
        ([datetime(2001, 9, 9, 1, 46, 40), datetime(2001, 9, 9)], [999993600, 1000000000]),
        ([datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)] * 2, [1000000000] * 2),
        ([datetime(2001, 9, 9).date()] * 2, [999993600] * 2),
        ([1e9, 999999999.5], [999999999, 1000000000]),
        ([1_000_000_000_500, 999_999_999_999], [999999999, 1000000000]),
        (["2001-09-09T01:46:40Z", "2001-09-09"], [999993600, 1000000000]),
    ],
)
def test_times_of_every_type(moments: list[object], seconds: list[int]) -> None:
    log = pl.DataFrame({"user": [1, 1], "item": [1, 2], "at": moments})
    assert load_table(log, timestamp="at").interactions.timestamp.tolist() == seconds


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("user", [1.5, 2.0], r"user holds Float64, but ids are text or whole numbers"),
        ("user", [1, None], r"row 2: user is missing"),
        ("user", ["x", None], r"row 2: user is missing"),
        ("item", ["", "y"], r"row 1: item is missing"),
        ("rating", [1.0, None], r"row 2: rating is missing"),
        ("rating", [1.0, float("nan")], r"row 2: rating nan is not a finite number"),
        ("rating", [datetime(2001, 1, 1)] * 2, r"rating holds Datetime.*ratings are numbers"),
        ("at", [datetime(2001, 1, 1), None], r"row 2: at is missing"),
        ("at", [1.0, float("inf")], r"row 2: at inf is not a finite number"),
        ("at", [True, False], r"at holds Boolean"),
        ("at", [1, 10**12], r"row 2: at 1000000000000 looks like milliseconds"),
    ],
)
def test_bad_values_are_sentences_with_their_row(column, values, message: str) -> None:
    log = {"user": [1, 2], "item": [1, 2], "rating": [1, 2], "at": [1, 2]} | {column: values}
    with pytest.raises(DataError, match=message):
        load_table(pl.DataFrame(log), rating="rating", timestamp="at")


def test_an_odd_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"pandas, polars, pyarrow or datasets.*got dict"):
        load_table({"user": [1]})
    with pytest.raises(DataError, match="the table of interactions has no rows"):
        load_table(pl.DataFrame({"user": [], "item": []}))
    with pytest.raises(DataError, match=r'unknown column of the table.*"user".*allowed: i, u'):
        load_table(pl.DataFrame({"u": [1], "i": [1]}))
    twice = pl.DataFrame({"user": [1, 1], "item": [2, 2]})
    with pytest.raises(DataError, match="user 1, item 2 on rows 1 and 2"):
        load_table(twice)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"log\.jsonl is empty"),
        (b"\n\n", r"log\.jsonl is empty"),
        (b'{"user": 1, "item": 2}\n{"user": 1,\n', r"line 2: not a JSON object \(Expecting"),
        (b'{"user": 1, "item": 2}\n\n{"user": 1, "item": 3}\n', r"line 2: an empty line"),
        (b'{"user": 1, "item": 2}\n[1]\n', r"line 2: expected a JSON object"),
        (b'{"user": 1, "item": 2} {"user": 1, "item": 3}\n', r"line 1: not a JSON object"),
        (b'{"user": 1, "item": 2}\n{"user": null, "item": 2}\n', r"line 2: user is missing"),
        (b'{"user": 1, "item": 2}\n{"item": 3}\n', r"line 2: user is missing"),
        (b'{"usr": 1, "item": 2}\n', r'unknown field .*"user" \(did you mean "usr"\?\)'),
        (b'{"user": "\xe9", "item": 2}\n', r"line 1: byte 11 .* is not UTF-8"),
        (gzip.compress(lines(LOG), mtime=0)[:-9], r"is cut off or damaged"),
        (b"\x1f\x8bxxxxxxxxxxx", r"is cut off or damaged"),
        (gzip.compress(b"", mtime=0), r"is empty"),
    ],
)
def test_bad_json_lines_are_sentences_with_their_line(tmp_path: Path, content, message) -> None:
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        JSONLines(interactions=str(tmp_path / "log.jsonl")).load()
    assert "\n" not in str(caught.value)


def test_bad_parquet_files_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    with pytest.raises(DataError, match=r"there is no file .*log\.parquet"):
        Parquet(interactions=str(path)).load()
    path.write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match=r"cannot be read as a Parquet file"):
        Parquet(interactions=str(path)).load()
    pl.DataFrame({"usr": [1], "item": [1]}).write_parquet(path)
    with pytest.raises(DataError, match=r'unknown column .*"user" \(did you mean "usr"'):
        Parquet(interactions=str(path)).load()


def test_wrong_options_are_config_errors() -> None:
    for name in ("jsonl", "parquet"):
        with pytest.raises(ConfigError, match="catalogue"):
            build("source", {"name": name, "interactions": "x", "catalogue": "items"})
    with pytest.raises(ConfigError, match="duplicates"):
        Parquet(interactions="x", duplicates="drop")  # type: ignore[arg-type]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({"a": JSON}, optional={"b": JSON}), min_size=1))
def test_any_objects_are_read_or_refused_in_words(rows, tmp_path: Path) -> None:
    try:
        table = read_json_lines(tmp_path / "x.jsonl", ["a", "b"], lines(rows))
    except DataError:
        assert not any("b" in row for row in rows), "else every line is fine"
        return
    assert len(table) == len(rows)
    for value, row in zip(table.column("a").to_list(), rows, strict=True):
        if isinstance(row["a"], str):
            assert value == row["a"]
        elif row["a"] is None:
            assert value == ""
        elif type(row["a"]) is int:
            assert value == str(row["a"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_words(content: bytes, tmp_path: Path) -> None:
    try:
        table = read_json_lines(tmp_path / "x.jsonl", ["a"], content)
    except DataError:
        return
    assert len(table) >= 1
    assert isinstance(np.asarray(table.column("a").to_list()), np.ndarray)
