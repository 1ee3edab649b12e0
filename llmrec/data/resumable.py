"""Downloads that go on where they were interrupted."""

from __future__ import annotations

import re
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError

from llmrec.core.errors import DataError

CHUNK = 1 << 20


def fetch(url: str, partial: Path, *, timeout: float) -> bytes:
    """Return what an URL has, going on with what an earlier try left in `partial`.

    What has arrived stays in `partial` if the connection breaks, and is removed once all is there.
    Several processes may fetch the same at once: they write the same bytes to the same places.

    Raises:
        DataError: that says in a few words why it cannot be had, and what is kept.
        OSError: if `partial` cannot be written.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    with partial.open("r+b") as file:
        had = file.seek(0, 2)
        try:
            content = _received(url, file, had, timeout)
        except HTTPError as error:
            if error.code != 416 or not had:
                raise DataError(f"HTTP {error.code} {error.reason}") from error
            # There is nothing after what we have: it is not a part of today's file.
            content = _received(url, file, 0, timeout)
    partial.unlink(missing_ok=True)
    return content


def _received(url: str, file: BinaryIO, had: int, timeout: float) -> bytes:
    request = urllib.request.Request(url, headers={"Range": f"bytes={had}-"} if had else {})
    place = had
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            place, size = _range(answer, had)
            file.seek(place)
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                place += len(chunk)
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        raise DataError(f"{getattr(error, 'reason', None) or error}{_kept(place)}") from error
    if size is not None and place < size:
        raise DataError(f"the connection broke off{_kept(place, size)}")
    file.truncate(place)
    file.seek(0)
    return file.read()


def _range(answer: HTTPResponse, had: int) -> tuple[int, int | None]:
    """Return where the answer begins, and the size of the whole (None if it is not told)."""
    found = re.match(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and found and int(found[1]) == had:
        return had, int(found[2])
    length = answer.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _kept(place: int, size: int | None = None) -> str:
    if not place:
        return ""
    of = "" if size is None else f" of {size:,}"
    return f"; {place:,}{of} bytes are kept, and the next try goes on there"
