from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core.errors import RunError
from llmrec.experiment.folder import LOCK, default_folder, locked, out_of_space, slugs


@given(st.lists(st.text(max_size=12), unique=True, max_size=8))
def test_slugs_are_unique_and_safe(labels: list[str]) -> None:
    found = slugs(labels)
    assert list(found) == labels
    assert len({slug.lower() for slug in found.values()}) == len(labels)
    for slug in found.values():
        assert slug
        assert "/" not in slug
        assert "\\" not in slug
        assert not slug.startswith(".")


def test_default_folders_differ_and_carry_the_id_of_the_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    assert default_folder() != default_folder()
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    assert default_folder().name.endswith("-abc123")


def test_a_lock_is_held_and_released(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        with pytest.raises(RunError, match=f"by process {os.getpid()}"), locked(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EPERM])
def test_a_file_system_without_hard_links_has_locks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        with pytest.raises(RunError, match=f"by process {os.getpid()}"), locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / LOCK).write_text("half a lo")
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_the_lock_of_another_living_process_is_respected(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom llmrec.experiment.folder import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"by process {other.pid}"), locked(tmp_path):
            pass
        other.kill()
        other.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):  # that process is dead now: its lock is taken over
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    "content",
    [
        "half a lo",
        json.dumps({"pid": os.getpid(), "started": 1.0, "host": socket.gethostname()}),
    ],
    ids=["half written", "process id used again"],
)
def test_a_stale_lock_is_taken_over(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["started"] != 1.0


def test_the_lock_of_another_machine_is_never_taken_over(tmp_path: Path) -> None:
    lock = {"pid": 1, "started": 1.0, "host": "elsewhere"}
    (tmp_path / LOCK).write_text(json.dumps(lock))
    with pytest.raises(RunError, match=r"on elsewhere; .*delete"), locked(tmp_path):
        pass


def test_a_full_disk_is_known_behind_other_errors() -> None:
    error = RunError("cannot write")
    error.__cause__ = OSError(errno.ENOSPC, "full")
    assert out_of_space(error)
    assert not out_of_space(OSError(errno.ENOENT, "absent"))
    assert not out_of_space(None)
