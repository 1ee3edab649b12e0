"""Writing that never leaves half a file: to a temporary name first, then a rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmrec.core.errors import LlmrecError, RunError

_FULL, _CLOSED = "; make room, or choose another folder", "; choose another folder"
HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _CLOSED),
}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name of `path` if the block succeeds.

    Works for a file or a folder. On any error the temporary is removed and `path` is as it was.

    Raises:
        RunError: if the disk is full, read-only, or not ours to write.
    """
    final = Path(path)
    with readable_os_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    temporary = holder / final.name
    try:
        with readable_os_errors(final):
            yield temporary
            if final.is_dir() and temporary.is_dir():
                final.replace(holder / "replaced")
            temporary.replace(final)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def readable_os_errors(path: str | Path) -> Iterator[None]:
    """Turn an OSError of writing below `path` into a sentence.

    Raises:
        RunError: that names the path and the reason (full disk, read-only, no permission, …).
    """
    try:
        yield
    except LlmrecError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        hint = HINTS.get(error.errno or 0, "")
        raise RunError(f"cannot write {path}: {reason}{hint}. Nothing was half written") from error


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, keys in their order, readable."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        RunError: if the file is absent or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"there is no {path}") from error
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON: {error}") from error


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return where downloads and embeddings are kept: ``LLMREC_CACHE`` or ``~/.cache/llmrec``."""
    return Path(os.environ.get("LLMREC_CACHE") or Path.home() / ".cache" / "llmrec")
