"""Downloads from a server of our own that breaks off, ignores ranges, or lies."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_downloads import GOOD, MEMBERS

from llmrec.core.errors import DataError
from llmrec.data.downloads import Url, cached_files, get_files
from llmrec.data.resumable import fetch

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves `content`; breaks off after `stop` bytes of an answer."""

    content = CONTENT
    stop: int | None = None
    ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/thing.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        content, start = self.server.content, 0
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = self.server.stop
        self.wfile.write(content[start : None if stop is None else start + stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_a_broken_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / "deep" / "thing.part"
    server.stop = 4000
    with pytest.raises(DataError, match=r"broke off; 4,000 of 10,240 bytes are kept"):
        fetch(server.url, partial, timeout=5)
    with pytest.raises(DataError, match=r"8,000 of 10,240 bytes are kept"):
        fetch(server.url, partial, timeout=5)
    assert partial.read_bytes() == CONTENT[:8000]
    server.stop = None
    assert fetch(server.url, partial, timeout=5) == CONTENT
    assert server.asked == [None, "bytes=4000-", "bytes=8000-"]
    assert not partial.exists()


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / "thing.part"
    partial.write_bytes(b"x" * 20_000)
    server.ranges = False
    assert fetch(server.url, partial, timeout=5) == CONTENT


def test_what_is_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / "thing.part"
    partial.write_bytes(b"x" * 20_000)
    assert fetch(server.url, partial, timeout=5) == CONTENT
    assert server.asked == ["bytes=20000-", None]


def test_no_server_and_no_page_are_sentences(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / "thing.part"
    with pytest.raises(DataError, match="refused"):
        fetch("http://127.0.0.1:9/thing.zip", partial, timeout=5)
    server.content = b""
    partial.write_bytes(b"")
    assert fetch(server.url, partial, timeout=5) == b""


def test_an_archive_is_known_by_its_md5(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    server.content = GOOD
    md5 = hashlib.md5(GOOD, usedforsecurity=False).hexdigest()
    origin = Url(server.url, "", MEMBERS, md5)
    server.stop = 50
    with pytest.raises(DataError, match="broke off"):
        get_files("x", [origin], "")
    server.stop = None
    files = get_files("x", [origin], "")
    assert files.contents["a"] == b"first"
    assert files.archive_sha256 == hashlib.sha256(GOOD).hexdigest()
    assert cached_files("x", [origin]) is not None
    assert list((tmp_path / "downloads").iterdir()) == []
    with pytest.raises(DataError, match="its MD5 is not the expected one"):
        get_files("y", [Url(server.url, "", MEMBERS, "0" * 32)], "")
