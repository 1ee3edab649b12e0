"""Seeds derived from one number and the names of who asks: never a global generator."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 31-bit seed for a named part of a run, the same on every machine.

    Example:
        >>> derive_seed(0, "split") == derive_seed(0, "split") != derive_seed(1, "split")
        True
    """
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") % (2**31 - 1)


def hash_pairs(a: np.ndarray, b: np.ndarray, seed: int) -> np.ndarray:
    """Return a pseudo-random uint64 for each pair (broadcast), by splitmix64 mixing.

    It orders ties: fixed for a (user, item, seed), unrelated to any order of ids.
    """
    with np.errstate(over="ignore"):
        mixed = _splitmix(np.asarray(a).astype(np.int64).astype(np.uint64) + np.uint64(seed))
        return _splitmix(mixed + np.asarray(b).astype(np.int64).astype(np.uint64))


def _splitmix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed
