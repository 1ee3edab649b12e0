"""Vectors of texts on disk, by text: computed once, read with the same bits ever after."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmrec.core.errors import RunError
from llmrec.core.files import atomic_path, readable_os_errors

DIGEST = "S32"  # compared as 32 bytes; numpy drops zeros at the end of one only when it is printed
PARTS = ("keys", "vectors", "owned_keys", "owners")


def digests(words: Iterable[str]) -> np.ndarray:
    """Return the SHA-256 of each text or user id: (N,) of 32 bytes."""
    found = [hashlib.sha256(str(word).encode("utf-8", "surrogatepass")).digest() for word in words]
    return np.array(found, DIGEST)


@dataclass(frozen=True, eq=False)
class Segment:
    """What one writer added: vectors of texts, and who wrote them.

    Attributes:
        keys: (N,) digests of texts.
        vectors: (N, H) float32.
        owned_keys: (P,) digests of texts that somebody wrote, and
        owners: (P,) digests of the ids of who did.
    """

    keys: np.ndarray
    vectors: np.ndarray
    owned_keys: np.ndarray
    owners: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> Segment:
        """Read a segment, its vectors memory-mapped.

        Raises:
            RunError: if it is damaged.
        """
        try:
            keys, owned_keys, owners = (
                np.load(folder / f"{part}.npy", allow_pickle=False)
                for part in ("keys", "owned_keys", "owners")
            )
            path = folder / "vectors.npy"
            if len(keys):
                vectors = np.load(path, mmap_mode="r", allow_pickle=False)
            else:  # an empty array cannot be mapped
                vectors = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"the cached vectors in {folder} are damaged; delete it") from error
        return cls(keys, vectors, owned_keys, owners)

    def write(self, folder: Path) -> None:
        """Write the arrays into a new folder."""
        folder.mkdir()
        for part in PARTS:
            np.save(folder / f"{part}.npy", getattr(self, part))


class VectorStore:
    """Vectors in numbered segments; of a text that occurs twice the first counts.

    A segment is written under a temporary name and takes the next free number by a rename that
    fails if another writer was quicker, so any number of processes may write at once; all of
    them read afterwards what the lowest number holds.

    Args:
        folder: holds the segments of one kind of vector.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def segments(self) -> list[Path]:
        """Return the folders of the segments, oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which texts are known, and their vectors.

        Args:
            keys: (N,) distinct digests.

        Returns:
            (N,) bool; (number known, H) float32 in the order of the keys, (0, 0) for none.
        """
        order = np.argsort(keys)
        wanted = keys[order]
        known = np.zeros(len(keys), bool)
        vectors = np.empty((0, 0), np.float32)
        for folder in self.segments():
            segment = Segment.read(folder)
            place = np.minimum(np.searchsorted(wanted, segment.keys), max(len(wanted) - 1, 0))
            rows = np.flatnonzero(wanted[place] == segment.keys) if len(wanted) else place[:0]
            rows = rows[~known[order[place[rows]]]]
            if len(rows):
                if not vectors.size:
                    vectors = np.zeros((len(keys), segment.vectors.shape[1]), np.float32)
                vectors[order[place[rows]]] = segment.vectors[rows]
                known[order[place[rows]]] = True
        return known, vectors[known] if vectors.size else vectors

    def add(
        self,
        keys: np.ndarray,
        vectors: np.ndarray,
        owned_keys: np.ndarray | None = None,
        owners: np.ndarray | None = None,
    ) -> None:
        """Add the vectors of texts, and who wrote which text; see `Segment`."""
        none = np.empty(0, DIGEST)
        segment = Segment(
            keys,
            np.asarray(vectors, np.float32),
            none if owned_keys is None else owned_keys,
            none if owners is None else owners,
        )
        with readable_os_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            holder = Path(tempfile.mkdtemp(prefix=".adding.", dir=self.folder))
            try:
                segment.write(holder / "segment")
                self._take_number(holder / "segment")
            finally:
                shutil.rmtree(holder, ignore_errors=True)

    def _take_number(self, written: Path) -> None:
        while True:
            last = self.segments()
            number = int(last[-1].name) + 1 if last else 0
            final = self.folder / f"{number:08d}"
            try:
                written.rename(final)  # refused where a folder with files in it has the name
                return
            except OSError:
                if not final.is_dir():
                    raise

    def own(self, owned_keys: np.ndarray, owners: np.ndarray) -> None:
        """Note who wrote texts, as far as it is not noted yet: (P,) digests of each."""
        pairs = _pairs(owned_keys, owners)
        for folder in self.segments():
            segment = Segment.read(folder)
            pairs = pairs[~np.isin(pairs, _pairs(segment.owned_keys, segment.owners))]
        if len(pairs):
            texts, people = _unpaired(np.unique(pairs))
            self.add(np.empty(0, DIGEST), np.empty((0, 0)), texts, people)

    def forget(self, users: Collection[str]) -> int:
        """Delete the vectors of all texts that some users wrote; return how many.

        A text that others wrote too goes as well, and is computed again when it is needed.
        """
        people = digests(users)
        segments = {folder: Segment.read(folder) for folder in self.segments()}
        gone = [part.owned_keys[np.isin(part.owners, people)] for part in segments.values()]
        texts = np.concatenate([np.empty(0, DIGEST), *gone])
        deleted = 0
        for folder, segment in segments.items():
            kept = ~np.isin(segment.keys, texts)
            noted = ~np.isin(segment.owned_keys, texts)
            if kept.all() and noted.all():
                continue
            deleted += int(np.count_nonzero(~kept))
            with atomic_path(folder) as temporary:
                Segment(
                    segment.keys[kept],
                    np.asarray(segment.vectors)[kept],
                    segment.owned_keys[noted],
                    segment.owners[noted],
                ).write(temporary)
        return deleted


def _pairs(texts: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Return (P,) of 64 bytes: a digest of a text and one of a user."""
    both = np.empty((len(texts), 2), DIGEST)
    both[:, 0], both[:, 1] = texts, people
    return both.view("S64")[:, 0]


def _unpaired(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = np.ascontiguousarray(pairs).view(DIGEST).reshape(-1, 2)
    return both[:, 0], both[:, 1]
