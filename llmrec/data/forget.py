"""Removal of users from what llmrec keeps on disk."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.files import cache_folder, readable_os_errors
from llmrec.core.vectors import VectorStore
from llmrec.data.privacy import pseudonym, read_key


@dataclass(frozen=True)
class Forgotten:
    """What was deleted, and what a person has to look after.

    Attributes:
        tables: cached data sets that held one of the users (made again without them when
            `removed_users` names them).
        embeddings: number of cached embeddings of texts that one of the users wrote.
        archives: downloads that stay as they are: an archive is checked by its checksum.
    """

    tables: tuple[Path, ...]
    embeddings: int
    archives: tuple[Path, ...]

    def __str__(self) -> str:
        lines = [
            f"deleted {len(self.tables)} cached data sets that held them, and "
            f"{self.embeddings} cached embeddings of what they wrote",
            "add their ids to the file of privacy.removed_users: every run then leaves them out",
            "look after your source files yourself",
        ]
        lines += [f"may still hold them, a download as published: {path}" for path in self.archives]
        return "\n".join(lines)


def forget(users: Collection[str], key: Path | None = None) -> Forgotten:
    """Delete cached data sets that hold some users, and cached embeddings of their texts.

    Args:
        users: external ids, as the source writes them.
        key: file of the key that made pseudonyms of them in some runs (``privacy.key``).

    Raises:
        DataError: for no user at all, or a key that cannot be read.
        RunError: if the cache cannot be written.
    """
    wanted = [str(user) for user in users if str(user).strip()]
    if not wanted:
        raise DataError("name at least one user to forget")
    root = cache_folder()
    tables = [
        folder
        for folder in sorted(root.glob("tables/*"))
        if folder.is_dir() and _holds(folder / "user_ids.npy", wanted)
    ]
    secret = None if key is None else read_key(key)
    names = wanted + ([pseudonym(user, secret) for user in wanted] if secret else [])
    with readable_os_errors(root):
        for folder in tables:
            shutil.rmtree(folder)
        for path in root.glob("embeddings/*"):
            if path.is_file():  # of an earlier version, whose files do not tell whose texts
                path.unlink()
        # States of prompts are made of histories, and do not tell whose: all go.
        shutil.rmtree(root / "prompts", ignore_errors=True)
        stores = sorted(path for path in root.glob("embeddings/*") if path.is_dir())
        embeddings = sum(VectorStore(path).forget(names) for path in stores)
    archives = sorted(path for path in root.glob("datasets/*/*") if path.is_file())
    return Forgotten(tuple(tables), embeddings, tuple(archives))


def _holds(path: Path, users: Collection[str]) -> bool:
    """Whether a file of ids has one of the users; a damaged one is deleted to be sure."""
    try:
        ids = np.load(path)
    except (OSError, ValueError):
        return True
    return bool(np.isin(ids.astype(str), list(users)).any())
