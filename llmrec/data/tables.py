"""Strict reading of delimited text: every row is kept or refused with its file and line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.core.errors import DataError, unknown

QUOTE, NEWLINE, RETURN = ord('"'), ord("\n"), ord("\r")
BLOCK = 2**16  # rows at a time

DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", "::": "double colons"}


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one file, strings ("" where a field is empty) unless the file has types.

    Attributes:
        path: the file, for messages; of a table in memory a word for it.
        frame: N rows.
        lines: (N,) line of the file on which each row starts, counted from 1.
        unit: what `lines` counts: lines, or rows where a file has none.
    """

    path: Path
    frame: pl.DataFrame
    lines: np.ndarray | range
    unit: str = "line"

    def __len__(self) -> int:
        return self.frame.height

    def column(self, name: str) -> pl.Series:
        """Return a column.

        Raises:
            DataError: if the file has no such column.
        """
        if name not in self.frame.columns:
            said = unknown(f"column of {self.path}", name, self.frame.columns)
            raise DataError(said + _other_delimiter(self.frame.columns))
        return self.frame[name]

    def where(self, row: int) -> str:
        """Return the place of a row in words."""
        return f"{self.path}, {self.unit} {self.lines[row]}"


def _other_delimiter(columns: list[str]) -> str:
    """Return a hint if the header is one column that holds a delimiter."""
    if len(columns) != 1:
        return ""
    found = [name for mark, name in DELIMITERS.items() if mark in columns[0]]
    return f"; the fields seem to be divided by {found[0]}: set delimiter" if found else ""


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        DataError: if it is absent or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path.absolute()}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def unpacked(path: Path, content: bytes) -> bytes:
    """Return the content of a file, decompressed if it is gzip (told by its first bytes).

    Raises:
        DataError: if the gzip stream is cut off or damaged.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path} is cut off or damaged ({error}); fetch or compress it again"
        ) from error


def read_table(
    path: Path,
    content: bytes | None = None,
    *,
    delimiter: str = ",",
    quoting: bool = True,
    encoding: str = "utf-8",
    names: Sequence[str] | None = None,
) -> Table:
    """Read a delimited text file.

    Args:
        path: the file; only its name is used if `content` is given.
        content: the bytes of the file, if they are known already; gzip is unpacked.
        delimiter: one ASCII character.
        quoting: fields may stand in double quotes (RFC 4180) and then hold line breaks.
        encoding: of the text; a byte-order mark is accepted.
        names: of the columns where the file has no header line.

    Raises:
        DataError: for an absent, empty or wrongly encoded file, and for a row that has too few
            or too many fields or a stray quote, with its line.
    """
    data = as_utf8(path, unpacked(path, read_bytes(path) if content is None else content), encoding)
    data = data.replace(b"\r\n", b"\n").rstrip(b"\n")
    if not data:
        raise DataError(f"{path} is empty")
    starts, lines, n_fields = _records(path, data, ord(delimiter), quoting)
    if names is None:
        stop = starts[1] if len(starts) > 1 else len(data)
        names = _header(path, data[:stop].decode().rstrip("\n"), delimiter, quoting)
        starts, lines, n_fields = starts[1:], lines[1:], n_fields[1:]
        if not len(starts):
            raise DataError(f"{path} has a header but no rows")
    _check_rows(path, data, starts, lines, n_fields, len(names))
    frame = pl.read_csv(
        data[starts[0] :],
        has_header=False,
        new_columns=list(names),
        separator=delimiter,
        quote_char='"' if quoting else None,
        infer_schema=False,
    ).fill_null("")
    if frame.height != len(lines):
        raise DataError(f"{path} has {len(lines)} rows, but {frame.height} could be read")
    return Table(path, frame, lines)


def as_utf8(path: Path, data: bytes, encoding: str = "utf-8") -> bytes:
    """Return text of any encoding as UTF-8 without a byte-order mark.

    Raises:
        DataError: with the line of the first byte that does not fit.
    """
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        try:
            return data.decode(encoding).removeprefix("\ufeff").encode()
        except UnicodeError as error:
            raise DataError(f"{path} is not {encoding} text: {error}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path} is UTF-16, not UTF-8 text; save it as UTF-8 or set the encoding to utf-16"
        )
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte {error.start + 1} of the file "
            f"(0x{data[error.start]:02x}) is not UTF-8 text; save the file as UTF-8 or set its "
            "encoding, e.g. latin-1"
        ) from error
    return data.removeprefix(b"\xef\xbb\xbf")


def _records(
    path: Path, data: bytes, delimiter: int, quoting: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the start, the line and the number of fields of each record, header included."""
    raw = np.frombuffer(data, np.uint8)
    breaks, divides = raw == NEWLINE, raw == delimiter
    every_break = np.flatnonzero(breaks)
    if quoting and b'"' in data:
        quotes = raw == QUOTE
        _check_quotes(path, raw, np.flatnonzero(quotes), every_break, delimiter)
        outside = np.cumsum(quotes, dtype=np.uint8) % 2 == 0
        breaks &= outside
        divides &= outside
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    lines = np.searchsorted(every_break, starts) + 1
    return starts, lines, _counts(divides, starts) + 1


def _counts(marks: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return how many marks stand from each start up to the next.

    Block by block: numpy makes eight bytes of each mark before it adds them up.
    """
    counts = np.empty(len(starts), np.int64)
    for first in range(0, len(starts), BLOCK):
        block = starts[first : first + BLOCK]
        stop = starts[first + BLOCK] if first + BLOCK < len(starts) else len(marks)
        inside = marks[block[0] : stop]
        counts[first : first + BLOCK] = np.add.reduceat(inside, block - block[0], dtype=np.int64)
    return counts


def _check_quotes(
    path: Path, raw: np.ndarray, places: np.ndarray, breaks: np.ndarray, delimiter: int
) -> None:
    """Refuse a quote that neither opens nor closes a field, nor is doubled inside one."""
    opening, closing = places[0::2], places[1::2]
    before = raw[np.maximum(opening - 1, 0)]
    opens = (opening == 0) | (before == delimiter) | (before == NEWLINE)
    opens[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after = raw[np.minimum(closing + 1, len(raw) - 1)]
    closes = (closing == len(raw) - 1) | (after == delimiter) | (after == NEWLINE)
    closes[: len(opening) - 1] |= opening[1:] == closing[: len(opening) - 1] + 1
    stray = np.concatenate([opening[~opens], closing[~closes]])
    if len(stray):
        line = int(np.searchsorted(breaks, stray.min())) + 1
        raise DataError(
            f"{path}, line {line}: stray double quote; a field with quotes is written "
            '"like ""this""", or switch quoting off'
        )
    if len(opening) > len(closing):
        line = int(np.searchsorted(breaks, opening[-1])) + 1
        raise DataError(f"{path}, line {line}: the quote that opens here is never closed")


def _header(path: Path, text: str, delimiter: str, quoting: bool) -> list[str]:
    try:
        names = next(csv.reader([text], delimiter=delimiter)) if quoting else text.split(delimiter)
    except csv.Error as error:
        raise DataError(
            f"{path}, line 1: the header cannot be read ({error}); lines end with a "
            "line feed, not with a carriage return alone"
        ) from error
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"{path} has the column {twice[0]!r} more than once")
    return names


def _check_rows(
    path: Path,
    data: bytes,
    starts: np.ndarray,
    lines: np.ndarray,
    n_fields: np.ndarray,
    expected: int,
) -> None:
    ends = np.append(starts[1:] - 1, len(data))
    bad = np.flatnonzero((n_fields != expected) | (ends == starts))
    if not len(bad):
        return
    row = bad[0]
    found = "an empty line" if ends[row] == starts[row] else f"{n_fields[row]} field(s)"
    more = f" (and {len(bad) - 1} more such lines)" if len(bad) > 1 else ""
    raise DataError(f"{path}, line {lines[row]}: {found} where {expected} are expected{more}")
