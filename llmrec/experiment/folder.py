"""The run folder: where things are, who may write, and what it was made with."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import platform
import re
import secrets
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from llmrec.core.errors import RunError
from llmrec.core.files import read_json, readable_os_errors

CONFIG, DATA, VERSIONS = "config.yaml", "data.json", "versions.json"
VALIDATION, FAILURES, COMPARISON = "validation.json", "failures.json", "comparison.csv"
LOCK = ".lock"
NO_HARD_LINKS = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.ENOSYS)
PACKAGES = (
    *("llmrec", "numpy", "scipy", "polars", "hydra-core", "omegaconf", "torch", "transformers"),
    *("peft", "accelerate", "bitsandbytes", "safetensors", "implicit", "wandb", "matplotlib"),
)


def default_folder(root: str | Path = "runs") -> Path:
    """Return a folder name that no parallel run has: date, time with microseconds, W&B run id."""
    now = dt.datetime.now()
    agent = os.environ.get("WANDB_RUN_ID")
    name = now.strftime("%H-%M-%S-%f") + (f"-{agent}" if agent else "")
    return Path(root) / now.strftime("%Y-%m-%d") / name


def slugs(labels: Iterable[str]) -> dict[str, str]:
    """Return a folder name for each label: readable, safe on every file system, unique.

    Example:
        >>> slugs(["ease", "bert + lora", "bert/lora"])
        {'ease': 'ease', 'bert + lora': 'bert-+-lora', 'bert/lora': 'bert-lora'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        base = re.sub(r"[^\w.+-]+", "-", label).strip(".-") or "model"
        slug, count = base, 1
        while slug.lower() in taken:
            count += 1
            slug = f"{base}-{count}"
        taken.add(slug.lower())
        found[label] = slug
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writing process; the lock of a dead process is taken over.

    Raises:
        RunError: if another process that is alive writes it, or the folder cannot be written.
    """
    path = folder / LOCK
    mine = {"pid": os.getpid(), "started": _started(os.getpid()), "host": socket.gethostname()}
    with readable_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{LOCK}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            draft.write_text(json.dumps(mine), encoding="utf-8")
            _link(draft, path, folder)
        finally:
            draft.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _link(draft: Path, path: Path, folder: Path) -> None:
    """Give the lock its name, which only one process can; the lock of a dead one is removed."""
    try:
        _claim(draft, path)
        return
    except FileExistsError:
        holder = _holder(path)
    if holder is not None and _alive(holder):
        raise RunError(
            f"{folder} is being written by process {holder['pid']} on {holder['host']}; wait for "
            f"it, or choose another folder (if that process is gone, delete {path})"
        )
    path.unlink(missing_ok=True)
    try:
        _claim(draft, path)
    except FileExistsError:
        raise RunError(f"{folder} was taken by another process just now") from None


def _claim(draft: Path, path: Path) -> None:
    """Make the lock from its draft.

    A hard link fails if the name exists, and the lock is never seen half written. On a file
    system without hard links (FAT, some network and container mounts) it is created and filled.

    Raises:
        FileExistsError: if there is a lock already.
    """
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        with path.open("x", encoding="utf-8") as file:
            file.write(draft.read_text(encoding="utf-8"))


def _holder(path: Path) -> Mapping[str, Any] | None:
    try:
        found = read_json(path)
    except RunError:
        return None
    return found if isinstance(found, dict) and {"pid", "started", "host"} <= set(found) else None


def _alive(holder: Mapping[str, Any]) -> bool:
    """Whether the holder may still run; on another machine nobody can tell, so it may."""
    if holder["host"] != socket.gethostname():
        return True
    return bool(_started(int(holder["pid"])) == holder["started"])


def _started(pid: int) -> float | None:
    """Return when a process began, None if there is no such process (a pid is used again)."""
    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return None if dead else float(process.create_time())
    except psutil.Error:
        return None


def is_run(folder: Path) -> bool:
    """Whether a run was started in a folder."""
    return (folder / CONFIG).is_file()


def out_of_space(error: BaseException | None) -> bool:
    """Whether an error (or its cause) says that nothing can be written here any more."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS):
            return True
        error = error.__cause__
    return False


def versions() -> dict[str, Any]:
    """Return what produced the numbers: Python, packages, commit, machine, threads."""
    packages: dict[str, str] = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "commit": _commit(),
        "processor": _processor(),
        "gpus": _gpus(),
        "cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
            if name in os.environ
        },
    }


def _commit() -> str | None:
    """Return the git commit of llmrec's own source, with ``+changes``; None if installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    head = _output(["git", "-C", str(root), "rev-parse", "HEAD"])
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "--", "llmrec"])
    return None if head is None else head + ("+changes" if changed else "")


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _gpus() -> list[str]:
    """Return the names of NVIDIA's GPUs, without importing torch for it."""
    listed = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return listed.splitlines() if listed else []
