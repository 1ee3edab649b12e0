"""Registries of components: lazy names, entry points, a decorator, dotted paths."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from llmrec.core.builtins import BUILTINS
from llmrec.core.errors import ComponentError, LlmrecError, UnknownNameError, unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """What `llmrec list` knows of one component without importing llmrec's own modules.

    Attributes:
        name: the registered name.
        target: ``module:Class``.
        origin: ``llmrec``, the distribution that brought it, or ``script`` (decorator).
        summary: first line of the docstring, empty if unknown.
        error: why the component cannot be imported, or None.
    """

    name: str
    target: str
    origin: str
    summary: str = ""
    error: str | None = None


class Registry:
    """Names of one kind of component, each imported only when it is asked for.

    Args:
        kind: ``backbone``, ``recommender``, …; its entry points are ``llmrec.<kind>``.
        builtins: name to ``module:Class``.
    """

    def __init__(self, kind: str, builtins: dict[str, str]) -> None:
        self.kind = kind
        self._targets: dict[str, str] = dict(builtins)
        self._objects: dict[str, type] = {}

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=f"llmrec.{self.kind}"):
            if point.name in self._targets:
                raise ComponentError(
                    f'{self.kind} "{point.name}" of package {_distribution(point)} has the name of '
                    "a built-in component; a plugin must choose another name"
                )
            if point.name in found and found[point.name].value != point.value:
                raise ComponentError(
                    f'{self.kind} "{point.name}" is registered twice, by '
                    f"{_distribution(found[point.name])} and {_distribution(point)}; "
                    "uninstall one of them"
                )
            found[point.name] = point
        return found

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        return sorted({*self._targets, *self._plugins, *self._objects})

    def __contains__(self, name: object) -> bool:
        return name in self._targets or name in self._objects or name in self._plugins

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Return a class decorator that registers `name` for this process.

        Raises:
            ComponentError: if the name is taken by another class.
        """

        def add(cls: type[T]) -> type[T]:
            known = self._objects.get(name)
            same = known is not None and (known.__module__, known.__qualname__) == (
                cls.__module__,
                cls.__qualname__,
            )
            if name in self and not same:
                raise ComponentError(
                    f'{self.kind} "{name}" is registered already; choose another name'
                )
            self._objects[name] = cls
            return cls

        return add

    def get(self, name: str) -> type[Any]:
        """Return the class behind a registered name or a dotted path.

        Raises:
            UnknownNameError: for a name that does not exist, with a suggestion.
            ComponentError: if its module cannot be imported or has no such class.
        """
        if name in self._objects:
            return self._objects[name]
        if name in self._targets:
            return self._import(name, self._targets[name])
        if name in self._plugins:
            return self._import(name, self._plugins[name].value)
        if ":" in name or "." in name:
            return self._import(name, name if ":" in name else ":".join(name.rsplit(".", 1)))
        raise UnknownNameError(unknown(self.kind, name, self.names()))

    def _import(self, name: str, target: str) -> type[Any]:
        module_name, _, attribute = target.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except LlmrecError:
            raise
        except Exception as error:  # a plugin may fail in any way while it is imported
            raise ComponentError(
                f'{self.kind} "{name}" ({target}) cannot be imported: '
                f"{type(error).__name__}: {error}"
            ) from error
        if not inspect.isclass(found):
            raise ComponentError(f'{self.kind} "{name}" ({target}) is not a class')
        return found

    def entries(self) -> Iterator[Entry]:
        """Yield every component; own modules are parsed, plugins are imported to be checked."""
        for name in self.names():
            if name in self._targets:
                target = self._targets[name]
                yield Entry(name, target, "llmrec", summary=_parsed_summary(target))
                continue
            point = self._plugins.get(name)
            target = point.value if point else _target(self._objects[name])
            origin = _distribution(point) if point else "script"
            try:
                yield Entry(name, target, origin, summary=_summary(self.get(name)))
            except LlmrecError as error:
                yield Entry(name, target, origin, error=str(error))


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]


def _target(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _parsed_summary(target: str) -> str:
    """Return the first docstring line of a class, read from its file, importing nothing heavy."""
    module_name, _, class_name = target.partition(":")
    found = importlib.util.find_spec(module_name)
    if found is None or found.origin is None:
        return ""
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


REGISTRIES: dict[str, Registry] = {kind: Registry(kind, names) for kind, names in BUILTINS.items()}


def registry(kind: str) -> Registry:
    """Return the registry of one kind of component.

    Raises:
        UnknownNameError: for a kind that does not exist.
    """
    if kind not in REGISTRIES:
        raise UnknownNameError(unknown("kind of component", kind, REGISTRIES))
    return REGISTRIES[kind]


def register(kind: str, name: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator that registers a class from a script or notebook.

    Example:
        >>> from llmrec.core.registry import register, registry
        >>> @register("recommender", "doctest-nothing")
        ... class Nothing:
        ...     "Recommends nothing."
        >>> registry("recommender").get("doctest-nothing").__name__
        'Nothing'
    """
    return registry(kind).register(name)
