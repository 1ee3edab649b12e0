"""Files that are read block by block are what they are when they are read at once."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset
from llmrec.data import blocks as blocks_module
from llmrec.data.blocks import blocks, last_unquoted_break
from llmrec.data.delimited import DelimitedFiles
from llmrec.data.json_lines import read_json_lines
from llmrec.data.tables import read_table
from llmrec.data.typed import JSONLines

PIECES = [
    "a",
    "é",
    "😀",
    ",",
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    "1",
    "1,2",
    '"x\ny"',
    "\ufeff",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
SIZES = st.integers(1, 40)
SAME = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)


def told(text: str, size: int, *, quoting: bool) -> tuple:
    """Return the rows and lines of a table, or the first word of what was wrong, and its line."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks_module, "SIZE", size)
        try:
            table = read_table(Path("x.csv"), text.encode(), names=["p", "q"], quoting=quoting)
        except DataError as error:
            return (str(error).partition(" (and")[0],)
    return table.frame.rows(), list(table.lines)


@SAME
@example(text='1,2\n"x\ny",1\n\n\n1,2\n\n', size=1)
@example(text="1,2\r\n1,2\r\n\r\n\r\n", size=2)
@given(text=TEXT, size=SIZES)
def test_blocks_of_any_size_give_the_same_rows_or_the_same_refusal(text: str, size: int) -> None:
    for quoting in (True, False):
        at_once = told(text, 10**9, quoting=quoting)
        in_blocks = told(text, size, quoting=quoting)
        if len(at_once) == 2 or len(in_blocks) == 2:
            assert in_blocks == at_once
        # Of several faults another may be met first: a later block is not looked at before.


@SAME
@given(
    rows=st.lists(st.tuples(st.sampled_from(PIECES), st.text(max_size=5)), min_size=1, max_size=15),
    size=SIZES,
)
def test_quoted_rows_survive_any_cut(rows: list[tuple[str, str]], size: int) -> None:
    def quoted(field: str) -> str:
        return '"' + field.replace("\r\n", "\n").replace('"', '""') + '"'

    text = "\n".join(f"{quoted(a)},{quoted(b)}" for a, b in rows)
    found = told(text, size, quoting=True)
    assert found == told(text, 10**9, quoting=True)


@pytest.mark.parametrize("size", [1, 7, 64, 10**9])
def test_lines_of_errors_are_those_of_the_file(size: int, monkeypatch) -> None:
    monkeypatch.setattr(blocks_module, "SIZE", size)
    good = 'p,q\n1,2\n"a\nb",3\n'
    for bad, line, what in (
        ("4\n5,6\n", 5, r"1 field\(s\)"),
        ("\n5,6\n", 5, "an empty line"),
        ('4,x"y\n5,6\n', 5, "stray double quote"),
        ('4,"y\n5,6\n', 5, "never closed"),
        ("4,\udcff\n5,6\n", 5, "not UTF-8"),
    ):
        content = (good + bad).encode("utf-8", "surrogateescape")
        with pytest.raises(DataError, match=f"line {line}: .*{what}"):
            read_table(Path("x.csv"), content)
    with pytest.raises(DataError, match="has a header but no rows"):
        read_table(Path("x.csv"), b"p,q\n\n\n")
    with pytest.raises(DataError, match="is empty"):
        read_table(Path("x.csv"), b"\n\r\n")
    with pytest.raises(DataError, match="byte 25 of the file"):
        read_table(Path("x.csv"), "\ufeffp,q\r\n1,2\r\na,b\r\n".encode() + b"12345,\xff\n")
    with pytest.raises(DataError, match="UTF-16"):
        read_table(Path("x.csv"), "p,q\n1,2\n".encode("utf-16"))


def test_packed_files_are_streamed_and_cut_off_ones_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(blocks_module, "SIZE", 50)
    text = "".join(f"{n},{n * n}\n" for n in range(500))
    path = tmp_path / "x.csv.gz"
    two = gzip.compress(text[:2000].encode()) + gzip.compress(text[2000:].encode())
    path.write_bytes(two)
    assert "\n".join(b.text.decode() for b in blocks(path)) == text.rstrip()
    assert [b.line for b in blocks(path)][:2] != [1, 1]
    path.write_bytes(two[:-9])
    with pytest.raises(DataError, match="cut off or damaged"):
        list(blocks(path))
    path.write_bytes(two[:100] + b"xxxx" + two[104:])
    with pytest.raises(DataError, match="cut off or damaged"):
        list(blocks(path))
    with pytest.raises(DataError, match="there is no file"):
        list(blocks(tmp_path / "none.csv"))


def test_a_break_within_quotes_ends_nothing() -> None:
    assert last_unquoted_break(b'a\n"b\nc') == 1
    assert last_unquoted_break(b'a\n"b\nc"\n') == 7
    assert last_unquoted_break(b'"b\nc') == -1
    assert last_unquoted_break(b"ab") == -1


def same(a: Dataset, b: Dataset) -> None:
    assert a.fingerprint == b.fingerprint
    for name in ("user", "item", "rating", "timestamp"):
        x, y = getattr(a.interactions, name), getattr(b.interactions, name)
        assert x.dtype == y.dtype
        assert np.array_equal(x, y)
    assert a.user_ids.tolist() == b.user_ids.tolist()
    assert a.item_ids.tolist() == b.item_ids.tolist()


@pytest.mark.parametrize(
    ("users", "ratings", "times"),
    [
        (["1", "10", "9", "200"], ["4.0", "3.5", "1.0"], ["800000000", "800000001", "1600000000"]),
        (["1", "007", "7", "07"], ["4", "3", "5"], ["800000000.5", "800000001", "800000001.25"]),
        (["a", "10", "b", "-3"], ["4", "3.5", "1e0"], ["2001-01-01", "2001-01-02", "2001-05-01"]),
        (["99999999999999999999", "1", "2", "3"], ["-0", "0", "1"], ["1", "2", "+3"]),
    ],
)
def test_numbers_and_texts_give_the_same_data_set(
    users: list[str], ratings: list[str], times: list[str], tmp_path: Path, monkeypatch
) -> None:
    rng = np.random.default_rng(0)
    n = 300
    frame = pl.DataFrame(
        {
            "user": rng.choice(users[:2] if n < 0 else users, n),
            "item": rng.integers(0, 60, n).astype(str),
            "rating": rng.choice(ratings, n),
            "at": rng.choice(times, n),
            "note": [f'say "{k}",\n{k}' for k in range(n)],
        }
    )
    # The rare words come late: earlier blocks are numbers alone.
    frame = frame.sort(pl.col("user") != users[0], maintain_order=True)
    frame.write_csv(tmp_path / "log.csv")
    frame.write_ndjson(tmp_path / "log.jsonl")
    options = {"rating": "rating", "timestamp": "at", "text": "note", "duplicates": "first"}
    sources = (
        DelimitedFiles(interactions=str(tmp_path / "log.csv"), **options),
        JSONLines(interactions=str(tmp_path / "log.jsonl"), **options),
    )
    for source in sources:
        whole = source.load()
        for size in (200, 1000):
            monkeypatch.setattr(blocks_module, "SIZE", size)
            same(source.load(), whole)
        monkeypatch.undo()


def test_columns_are_numbers_only_in_many_blocks_and_only_if_nothing_is_lost(monkeypatch) -> None:
    kinds = {"p": (pl.Int64,), "q": (pl.Int64, pl.Float64), "absent": (pl.Int64,)}

    def types(text: str) -> list[pl.DataType]:
        return read_table(Path("x.csv"), text.encode(), numbers=kinds).frame.dtypes

    rows = "".join(f"{n},{n}.5\n" for n in range(30))
    assert types("p,q\n" + rows) == [pl.String, pl.String]
    monkeypatch.setattr(blocks_module, "SIZE", 40)
    assert types("p,q\n" + rows) == [pl.Int64, pl.Float64]
    assert types("p,q\n" + rows + "007,1.5\n") == [pl.String, pl.Float64]
    assert types("p,q\n" + rows + "7,1.50\n") == [pl.Int64, pl.String]
    assert types("p,q\n" + rows + "7,nan\n") == [pl.Int64, pl.String]
    assert types("p,q\n" + rows + ",1.5\n") == [pl.String, pl.Float64]
    mixed = read_table(Path("x.csv"), ("p,q\n" + rows + "007,1.50\n").encode(), numbers=kinds)
    assert mixed.frame.rows() == [*((f"{n}", f"{n}.5") for n in range(30)), ("007", "1.50")]
    assert mixed.lines == range(2, 33)


def test_unused_columns_are_checked_but_not_kept(monkeypatch) -> None:
    monkeypatch.setattr(blocks_module, "SIZE", 10)
    table = read_table(Path("x.csv"), b"p,q\n1,2\n3,4\n5,6\n", keep=["q"])
    assert table.frame.columns == ["q"]
    with pytest.raises(DataError, match=r"no column of x\.csv|column of x\.csv"):
        table.column("r")
    with pytest.raises(DataError, match=r"line 4: 3 field\(s\)"):
        read_table(Path("x.csv"), b"p,q\n1,2\n3,4\n5,6,7\n", keep=["q"])


@pytest.mark.parametrize("size", [1, 30, 10**9])
def test_json_lines_in_blocks(size: int, monkeypatch) -> None:
    monkeypatch.setattr(blocks_module, "SIZE", size)
    text = "".join(f'{{"a": {n}, "b": "x\\n{n}"}}\n' for n in range(40))
    table = read_json_lines(Path("x.jsonl"), ["a", "b"], text.encode())
    assert table.frame.rows() == [(f"{n}", f"x\n{n}") for n in range(40)]
    assert list(table.lines) == list(range(1, 41))
    with pytest.raises(DataError, match="line 41: not a JSON object"):
        read_json_lines(Path("x.jsonl"), ["a"], (text + "{oops\n{}").encode())
    with pytest.raises(DataError, match="line 41: an empty line"):
        read_json_lines(Path("x.jsonl"), ["a"], (text + '\n{"a": 1}').encode())
    with pytest.raises(DataError, match='"c"'):
        read_json_lines(Path("x.jsonl"), ["c"], text.encode())
    late = text + '{"c": null}\n'
    assert set(read_json_lines(Path("x.jsonl"), ["c"], late.encode()).frame["c"]) == {""}
