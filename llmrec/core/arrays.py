"""Named arrays of an object, dense or sparse, in one uncompressed file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

PARTS = ("data", "indices", "indptr")


def write_arrays(path: Path, owner: Any, names: Iterable[str]) -> None:
    """Write the named attributes: numpy arrays, CSR matrices or numbers."""
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        value = getattr(owner, name)
        if hasattr(value, "indptr"):
            arrays |= {f"{name}.{part}": getattr(value, part) for part in PARTS}
            arrays[f"{name}.shape"] = np.array(value.shape)
        else:
            arrays[name] = np.asarray(value)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, owner: Any, names: Iterable[str]) -> None:
    """Set the attributes that `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        for name in names:
            if f"{name}.indptr" in arrays:
                from scipy.sparse import csr_matrix

                parts = tuple(arrays[f"{name}.{part}"] for part in PARTS)
                shape = tuple(int(n) for n in arrays[f"{name}.shape"])
                setattr(owner, name, csr_matrix(parts, shape=shape))
            else:
                value = arrays[name]
                setattr(owner, name, value if value.ndim else value.item())
