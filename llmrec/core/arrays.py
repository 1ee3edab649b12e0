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
            setattr(owner, name, _value(arrays, name))


def all_arrays(path: Path) -> dict[str, Any]:
    """Return all that `write_arrays` wrote, by name."""
    with np.load(path, allow_pickle=False) as arrays:
        matrices = {name.removesuffix(".indptr") for name in arrays if name.endswith(".indptr")}
        owners = {name: name.rpartition(".")[0] for name in arrays}
        names = dict.fromkeys(o if o in matrices else name for name, o in owners.items())
        return {name: _value(arrays, name) for name in names}


def _value(arrays: Any, name: str) -> Any:
    """Return a CSR matrix, an array, or a number, as it was written."""
    if f"{name}.indptr" in arrays:
        from scipy.sparse import csr_matrix

        parts = tuple(arrays[f"{name}.{part}"] for part in PARTS)
        shape = tuple(int(n) for n in arrays[f"{name}.shape"])
        return csr_matrix(parts, shape=shape)
    value = arrays[name]
    return value if value.ndim else value.item()
