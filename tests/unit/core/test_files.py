from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from llmrec.core.errors import DataError, RunError
from llmrec.core.files import (
    atomic_path,
    cache_folder,
    read_json,
    readable_os_errors,
    sha256_of,
    write_json,
    write_text,
)


def _fail(target: Path, error: BaseException) -> None:
    """Write half of a file and fail."""
    with atomic_path(target) as temporary:
        temporary.write_text("half of the ne")
        raise error


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError):
        _fail(target, ZeroDivisionError())
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_the_name_is_given_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunError, match="gone"):
        write_text(tmp_path / "file", "whole")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for version in ("first", "second"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / version).touch()
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(KeyboardInterrupt):
        _fail(target, KeyboardInterrupt())
    assert (target / "old").exists()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "; make room, or choose another folder"),
        (errno.EDQUOT, "; make room, or choose another folder"),
        (errno.EROFS, "; choose another folder"),
        (errno.EACCES, "; choose another folder"),
        (errno.EPERM, "; choose another folder"),
        (errno.EIO, ""),
    ],
)
def test_an_os_error_becomes_a_sentence(tmp_path: Path, code: int, hint: str) -> None:
    target = tmp_path / "file"
    says = rf"cannot write .*file: the reason{hint}\. Nothing"
    with pytest.raises(RunError, match=says) as caught:
        _fail(target, OSError(code, "the reason"))
    assert isinstance(caught.value.__cause__, OSError)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_the_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        write_text(tmp_path / "file" / "below", "x")


def test_our_own_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mine"), readable_os_errors(tmp_path):
        raise DataError("mine")


def test_json_goes_round(tmp_path: Path) -> None:
    value = {"b": [1, 0.1 + 0.2, None], "a": "Amélie"}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert list(json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))) == ["b", "a"]


def test_json_that_is_absent_or_broken_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no"):
        read_json(tmp_path / "absent.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(RunError, match="not valid JSON"):
        read_json(tmp_path / "half.json")


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_the_cache_follows_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("LLMREC_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "llmrec"
