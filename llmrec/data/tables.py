"""Strict reading of delimited text: every row is kept or refused with its file and line."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.core.errors import DataError, unknown
from llmrec.data.blocks import (
    NEWLINE,
    QUOTE,
    Block,
    blocks,
    last_break,
    last_unquoted_break,
)

BLOCK = 2**16  # rows at a time
Kinds = tuple[type[pl.Int64] | type[pl.Float64], ...]

DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", "::": "double colons"}


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one file, strings ("" where a field is empty) unless the file has types.

    Attributes:
        path: the file, for messages; of a table in memory a word for it.
        frame: N rows.
        lines: (N,) line of the file on which each row starts, counted from 1.
        unit: what `lines` counts: lines, or rows where a file has none.
        names: of all columns of the file, for messages; () if those of the frame are all.
    """

    path: Path
    frame: pl.DataFrame
    lines: np.ndarray | range
    unit: str = "line"
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.frame.height

    def column(self, name: str) -> pl.Series:
        """Return a column.

        Raises:
            DataError: if the file has no such column.
        """
        if name not in self.frame.columns:
            known = list(self.names) or self.frame.columns
            said = unknown(f"column of {self.path}", name, known)
            raise DataError(said + _other_delimiter(known))
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


def read_table(
    path: Path,
    content: bytes | None = None,
    *,
    delimiter: str = ",",
    quoting: bool = True,
    encoding: str = "utf-8",
    names: Sequence[str] | None = None,
    keep: Collection[str] | None = None,
    numbers: Mapping[str, Kinds] | None = None,
) -> Table:
    """Read a delimited text file, block by block.

    Args:
        path: the file; only its name is used if `content` is given.
        content: the bytes of the file, if they are known already; gzip is unpacked.
        delimiter: one ASCII character.
        quoting: fields may stand in double quotes (RFC 4180) and then hold line breaks.
        encoding: of the text; a byte-order mark is accepted.
        names: of the columns where the file has no header line.
        keep: the columns that are kept, None for all; all are checked.
        numbers: columns that a file of many blocks may keep as numbers of the given kinds, the
            first that fits, if every text is exactly what such a number is written as.

    Raises:
        DataError: for an absent, empty or wrongly encoded file, and for a row that has too few
            or too many fields or a stray quote, with its line.
    """
    find_break = last_unquoted_break if quoting else last_break
    frames: list[pl.DataFrame] = []
    lines: list[np.ndarray] = []
    known = None if names is None else list(names)
    for block in blocks(path, content, encoding=encoding, find_break=find_break):
        data = block.text
        starts, on_line, n_fields = _records(path, block, ord(delimiter), quoting)
        if known is None:
            stop = starts[1] if len(starts) > 1 else len(data)
            known = _header(path, data[:stop].decode().rstrip("\n"), delimiter, quoting)
            starts, on_line, n_fields = starts[1:], on_line[1:], n_fields[1:]
            if not len(starts):
                continue
        _check_rows(path, data, starts, on_line, n_fields, len(known))
        frame = pl.read_csv(
            data[starts[0] :],
            has_header=False,
            new_columns=known,
            separator=delimiter,
            quote_char='"' if quoting else None,
            infer_schema=False,
        ).fill_null("")
        if frame.height != len(on_line):
            at = f"{path}, from line {block.line}" if lines else str(path)
            raise DataError(f"{at} has {len(on_line)} rows, but {frame.height} could be read")
        if keep is not None:
            frame = frame.select(name for name in known if name in keep)
        frames.append(frame)
        lines.append(on_line)
        if len(frames) > 1:
            compact(frames, numbers or {})
    if known is None or not frames:
        raise DataError(f"{path} has a header but no rows")
    return Table(path, joined(frames), joined_lines(lines), names=tuple(known))


def compact(frames: list[pl.DataFrame], numbers: Mapping[str, Kinds]) -> None:
    """Turn texts of the newest frames into numbers, in place, where that loses nothing.

    A file of one block is left as it is; a column must be of one kind in all blocks.

    Args:
        frames: the blocks of a file so far; all but the newest are compact.
        numbers: the columns that may be numbers, and which kinds.
    """
    start = 0 if len(frames) == 2 else len(frames) - 1
    for place in range(start, len(frames)):
        frame = frames[place]
        made = [
            found
            for name, kinds in numbers.items()
            if name in frame.columns and (found := _as_number(frame[name], kinds)) is not None
        ]
        frames[place] = frame.with_columns(made)


def _as_number(texts: pl.Series, kinds: Kinds) -> pl.Series | None:
    """Return texts as numbers if each is written as such a number is, else None."""
    for kind in kinds:
        numbers = texts.cast(kind, strict=False)
        if not numbers.null_count() and (numbers.cast(pl.String) == texts).all():
            finite = not kind.is_float() or bool(numbers.is_finite().all())
            return numbers if finite else None
    return None


def joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the blocks of a file as one frame; columns that are not alike become texts again."""
    if len(frames) == 1:
        return frames[0]
    kinds = {name: {frame[name].dtype for frame in frames} for name in frames[0].columns}
    mixed = [name for name, found in kinds.items() if len(found) > 1]
    return pl.concat([frame.with_columns(pl.col(mixed).cast(pl.String)) for frame in frames])


def joined_lines(lines: list[np.ndarray]) -> np.ndarray | range:
    """Return the lines of all blocks, as a range where each row of many has its own."""
    if len(lines) == 1:
        return lines[0]
    first, last = int(lines[0][0]), int(lines[-1][-1])
    if last - first + 1 == sum(map(len, lines)):
        return range(first, last + 1)
    return np.concatenate(lines)


def _records(
    path: Path, block: Block, delimiter: int, quoting: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the start, the line and the number of fields of each record, header included."""
    raw = np.frombuffer(block.text, np.uint8)
    breaks, divides = raw == NEWLINE, raw == delimiter
    every_break = np.flatnonzero(breaks)
    if quoting and b'"' in block.text:
        quotes = raw == QUOTE
        _check_quotes(path, block, np.flatnonzero(quotes), delimiter)
        outside = np.cumsum(quotes, dtype=np.uint8) % 2 == 0
        breaks &= outside
        divides &= outside
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    lines = np.searchsorted(every_break, starts) + block.line
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


def _check_quotes(path: Path, block: Block, places: np.ndarray, delimiter: int) -> None:
    """Refuse a quote that neither opens nor closes a field, nor is doubled inside one."""
    raw = np.frombuffer(block.text, np.uint8)
    opening, closing = places[0::2], places[1::2]
    before = raw[np.maximum(opening - 1, 0)]
    opens = (opening == 0) | (before == delimiter) | (before == NEWLINE)
    opens[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after = raw[np.minimum(closing + 1, len(raw) - 1)]
    closes = (closing == len(raw) - 1) | (after == delimiter) | (after == NEWLINE)
    closes[: len(opening) - 1] |= opening[1:] == closing[: len(opening) - 1] + 1
    stray = np.concatenate([opening[~opens], closing[~closes]])
    if len(stray):
        line = block.line + block.text.count(b"\n", 0, int(stray.min()))
        raise DataError(
            f"{path}, line {line}: stray double quote; a field with quotes is written "
            '"like ""this""", or switch quoting off'
        )
    if len(opening) > len(closing):
        line = block.line + block.text.count(b"\n", 0, int(opening[-1]))
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
