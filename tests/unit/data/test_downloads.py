from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llmrec.core.errors import DataError, LlmrecError, RunError
from llmrec.data import downloads, movielens
from llmrec.data.downloads import Url, Wheel, cached_files, dataset_folder, get_files


def archive(**contents: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, text in contents.items():
            packed.writestr(f"inside/{name}", text)
    return stream.getvalue()


GOOD = archive(a="first", b="second")
MEMBERS = {"a": "inside/a", "b": "inside/b"}


@dataclass
class FakeOrigin:
    name: str = "fake"
    content: bytes | BaseException = GOOD
    sha256: str = hashlib.sha256(GOOD).hexdigest()
    file: str = "x.zip"
    members: dict[str, str] = field(default_factory=lambda: dict(MEMBERS))
    calls: int = 0

    def fetch(self) -> bytes:
        self.calls += 1
        if isinstance(self.content, BaseException):
            raise self.content
        return self.content


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_files_are_fetched_once_and_then_cached() -> None:
    origin = FakeOrigin()
    assert cached_files("x", [origin]) is None
    first = get_files("x", [origin], "")
    again = get_files("x", [origin], "")
    assert first.contents == again.contents == {"a": b"first", "b": b"second"}
    assert (first.origin, first.archive_sha256) == (again.origin, again.archive_sha256)
    assert origin.calls == 1


def test_the_next_origin_serves_if_one_fails_or_is_not_what_was_expected() -> None:
    broken = FakeOrigin("broken", DataError("no such host"))
    forged = FakeOrigin("forged", archive(a="evil", b="evil"))
    cut = FakeOrigin("cut", GOOD[:-7])
    good = FakeOrigin("good")
    assert get_files("x", [broken, forged, cut, good], "").origin == "good"


def test_without_any_origin_one_sentence_says_what_to_do(cache: Path) -> None:
    origins = [FakeOrigin("web", DataError("no such host")), FakeOrigin("forged", b"nonsense")]
    with pytest.raises(DataError) as caught:
        get_files("x", origins, "Use the synthetic data.")
    message = str(caught.value)
    assert "web (no such host)" in message
    assert "forged (its SHA-256 is not the expected one)" in message
    assert message.endswith("Use the synthetic data.")
    assert everything_in(cache) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"rubbish"),
        lambda path: path.write_bytes(GOOD[:-1]),
        lambda path: path.write_bytes(archive(a="forged", b="forged")),
        Path.unlink,
    ],
)
def test_a_damaged_cache_is_noticed_and_fetched_again(damage) -> None:
    origin = FakeOrigin()
    get_files("x", [origin], "")
    damage(dataset_folder("x") / "x.zip")
    assert cached_files("x", [origin]) is None
    assert get_files("x", [origin], "").contents["a"] == b"first"
    assert origin.calls == 2
    assert cached_files("x", [origin]) is not None


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), RuntimeError("killed")])
def test_an_interrupted_fetch_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, interrupt: BaseException
) -> None:
    with pytest.raises(type(interrupt)):
        get_files("x", [FakeOrigin("slow", interrupt)], "")
    assert list((cache / "datasets" / "x").iterdir()) == []
    write = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise interrupt

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(type(interrupt)):
        get_files("x", [FakeOrigin()], "")
    assert list((cache / "datasets" / "x").iterdir()) == []


def test_a_killed_process_leaves_no_half_cache(cache: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_downloads import FakeOrigin, get_files
write = Path.write_bytes
def half(path, content):
    write(path, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
Path.write_bytes = half
get_files("x", [FakeOrigin()], "")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        check=False,
        env={**os.environ, "LLMREC_CACHE": str(cache)},
    )
    assert done.returncode == -9
    assert not (dataset_folder("x") / "x.zip").exists()
    assert get_files("x", [FakeOrigin()], "").contents["b"] == b"second"


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"cannot write .*x\.zip: No space left.*LLMREC_CACHE"):
        get_files("x", [FakeOrigin()], "")
    assert list((cache / "datasets" / "x").iterdir()) == []


def test_a_read_only_cache_is_a_sentence_before_any_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    origin = FakeOrigin()
    with pytest.raises(
        RunError, match=r"cannot write .*x\.zip: Read-only file system.*LLMREC_CACHE"
    ):
        get_files("x", [origin], "")
    assert origin.calls == 0


def test_a_cache_below_a_file_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match="cannot write"):
        get_files("x", [FakeOrigin()], "")


def test_many_at_once_all_get_the_files() -> None:
    barrier, results = threading.Barrier(8), []

    def fetch() -> None:
        barrier.wait()
        try:
            results.append(get_files("x", [FakeOrigin()], "").contents["a"])
        except LlmrecError as error:
            results.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"first"] * 8
    assert [path.name for path in dataset_folder("x").iterdir()] == ["x.zip"]


def test_an_unreachable_url_is_a_reason_not_a_traceback() -> None:
    with pytest.raises(DataError):
        Url("http://127.0.0.1:9/nothing.zip", "", {}).fetch()


def test_wheel_without_pip_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip is not installed .* uv pip install pip"):
        Wheel("recbole==1.2.1", "", {}).fetch()


def test_wheel_is_downloaded_by_pip_without_dependencies(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / "thing-1-py3-none-any.whl").write_bytes(GOOD)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert Wheel("thing==1", "", {}).fetch() == GOOD
    assert seen[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in seen[0]
    assert "install" not in seen[0]


def test_failing_pip_is_quoted_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        said = "WARNING: retrying\nERROR: No matching distribution found for thing==1\n"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError, match=r"^ERROR: No matching distribution found for thing==1$"):
        Wheel("thing==1", "", {}).fetch()


def test_movielens_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = FakeOrigin("the web", DataError("no network"))
    monkeypatch.setattr(movielens, "ORIGINS", (nothing,))
    with pytest.raises(DataError, match=r"no network.*data\.folder=.*data=synthetic"):
        movielens.MovieLens100K().load()
