"""A component in a folder: its class and options in a small file, what it learned beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import llmrec
from llmrec.core.config import options_of
from llmrec.core.errors import RunError
from llmrec.core.files import atomic_path, read_json, write_json

T = TypeVar("T")


def spec_of(component: Any) -> dict[str, Any]:
    """Return the spec that builds a component again: its class and its options."""
    cls = type(component)
    return {"name": _path(cls)} | {
        name: _plain(getattr(component, name)) for name in options_of(cls)
    }


@contextmanager
def saving(component: Any, folder: Path, header: str) -> Iterator[Path]:
    """Yield a folder to write what was learned into; it gets its name at the end of the block.

    Args:
        component: an object whose options are attributes of the same names.
        folder: the final place.
        header: name of the file that holds class and options.
    """
    spec = spec_of(component)
    told = {"class": spec.pop("name"), "params": spec, "llmrec": llmrec.__version__}
    with atomic_path(Path(folder)) as temporary:
        temporary.mkdir()
        write_json(temporary / header, told)
        yield temporary


def unfitted(cls: type[T], folder: Path, header: str) -> T:
    """Return a component with the options that `saving` stored, and nothing learned.

    Raises:
        RunError: if the folder holds another class.
    """
    told = read_json(Path(folder) / header)
    if told.get("class") != _path(cls):
        raise RunError(f"{folder} holds a {told.get('class')}, not a {_path(cls)}")
    return cls(**told["params"])


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value) if isinstance(value, Path) else value
