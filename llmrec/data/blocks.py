"""Text files of any size, block by block: whole records of UTF-8, and the line each begins on."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.files import sha256_of

QUOTE, NEWLINE = ord('"'), ord("\n")
SIZE = 2**24  # bytes read at once

GZIP = b"\x1f\x8b"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, eq=False)
class Block:
    """Some records of a file.

    Attributes:
        text: UTF-8; lines end with a line feed, the last one with nothing.
        line: of the file on which it begins, from 1.
    """

    text: bytes
    line: int

    @property
    def n_lines(self) -> int:
        return self.text.count(b"\n") + 1


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an OSError of reading a file into a sentence.

    Raises:
        DataError: that says whether it is absent or cannot be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path.absolute()}") from error
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        DataError: if it is absent or cannot be read.
    """
    with readable(path):
        return path.read_bytes()


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file, whatever its size.

    Raises:
        DataError: if it is absent or cannot be read.
    """
    with readable(path):
        return sha256_of(path)


def last_break(text: bytes) -> int:
    """Return the place of the last line feed, −1 without one."""
    return text.rfind(b"\n")


def last_unquoted_break(text: bytes) -> int:
    """Return the place of the last line feed that no double quotes enclose, −1 without one.

    Example:
        >>> last_unquoted_break(b'a,b\\n"c\\nd')
        3
    """
    if b'"' not in text:
        return last_break(text)
    raw = np.frombuffer(text, np.uint8)
    breaks = np.flatnonzero(raw == NEWLINE)
    outside = np.flatnonzero(np.searchsorted(np.flatnonzero(raw == QUOTE), breaks) % 2 == 0)
    return int(breaks[outside[-1]]) if len(outside) else -1


def blocks(
    path: Path,
    content: bytes | None = None,
    *,
    encoding: str = "utf-8",
    find_break: Callable[[bytes], int] = last_break,
) -> Iterator[Block]:
    """Yield a file in blocks of whole records, without the empty lines at its end.

    Args:
        path: the file, gzip-compressed or not; only its name is used if `content` is given.
        content: the bytes of the file, if they are known already.
        encoding: of the text; a byte-order mark is accepted.
        find_break: returns the place of the last line feed that ends a record.

    Raises:
        DataError: for an absent, empty, cut-off or wrongly encoded file, with the line of the first
            byte that does not fit.
    """
    with readable(path):
        stream = path.open("rb") if content is None else io.BytesIO(content)
    with stream:
        texts = _records(path, stream, encoding, find_break)
        first = next(texts, None)
        if first is None:
            raise DataError(f"{path} is empty")
        yield first
        yield from texts


def _records(
    path: Path, stream: BinaryIO, encoding: str, find_break: Callable[[bytes], int]
) -> Iterator[Block]:
    packed = stream.read(2) == GZIP
    stream.seek(0)
    plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if packed else stream
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        plain = io.BytesIO(_recoded(path, _read(path, plain, -1), encoding))
    rest = _read(path, plain, max(SIZE, len(BOM)))
    if rest[:2] in UTF16:
        raise DataError(
            f"{path} is UTF-16, not UTF-8 text; save it as UTF-8 or set the encoding to utf-16"
        )
    line, place = 1, len(BOM) * rest.startswith(BOM)
    rest = rest[place:]
    while True:
        # Twice as much each time that a record is larger than what was read.
        more = _read(path, plain, max(SIZE, len(rest)))
        known = rest + more
        stop = _before_empty_lines(known, find_break(known)) if more else len(known)
        if stop <= 0 and more:
            rest = known
            continue
        raw = known[:stop]
        _check_utf8(path, raw, line, place)
        text = (raw.removesuffix(b"\r") if more else raw).replace(b"\r\n", b"\n")
        if not more:
            text = text.rstrip(b"\n")
            if text:
                yield Block(text, line)
            return
        yield Block(text, line)
        rest = known[stop + 1 :]
        line, place = line + raw.count(b"\n") + 1, place + stop + 1


def _before_empty_lines(text: bytes, stop: int) -> int:
    """Return the place of the first line feed of those that end a block: the others may end the
    file, or be empty lines within it.
    """
    while stop > 0:
        before = stop - 1
        if text[before] == ord("\r"):
            before -= 1
        if before < 0:  # an empty line is all there is
            return 0
        if text[before] != NEWLINE:
            return stop
        stop = before
    return stop


def _read(path: Path, stream: BinaryIO, size: int) -> bytes:
    try:
        with readable(path):
            return stream.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} is cut off or damaged ({error}); fetch or compress it again"
        ) from error


def _recoded(path: Path, data: bytes, encoding: str) -> bytes:
    try:
        return data.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        raise DataError(f"{path} is not {encoding} text: {error}") from error


def _check_utf8(path: Path, data: bytes, line: int, place: int) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}, line {line}: byte {place + error.start + 1} of the file "
            f"(0x{data[error.start]:02x}) is not UTF-8 text; save the file as UTF-8 or set its "
            "encoding, e.g. latin-1"
        ) from error
