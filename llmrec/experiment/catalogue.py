"""What exists: the components for `llmrec list`, one of them in full for `llmrec show`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrec.core.builtins import BUILTINS
from llmrec.core.config import Option, describe, options_of
from llmrec.core.errors import UnknownNameError, unknown
from llmrec.core.registry import registry
from llmrec.experiment.compose import config_files, read_yaml

GROUP_OF = {
    "source": "data",
    "filter": "filter",
    "text_step": "text",
    "split": "split",
    "recommender": "model",
    "writer": "writer",
    "backbone": "model/backbone",
    "adapter": "model/adapter",
    "head": "model/head",
    "prompt": "model/prompt",
    "regularizer": "model/regularizer",
    "distillation": "model/distillation",
    "feature": "model/feature",
    "identifier": "model/identifier",
    "combiner": "ensemble/combiner",
    "metric": "evaluation",
    "tracker": "tracker",
}


def kinds() -> list[str]:
    """Return all kinds of components, in the order of the data path."""
    return list(BUILTINS)


def list_text(kind: str | None = None) -> str:
    """Return every component with its first docstring line; broken plugins with their error.

    Args:
        kind: only this kind (``recommender``) or its config group (``model``).

    Raises:
        UnknownNameError: for a kind that does not exist.
    """
    chosen = kinds() if kind is None else [_kind(kind)]
    blocks = []
    for each in chosen:
        entries = list(registry(each).entries())
        width = max((len(entry.name) for entry in entries), default=0)
        lines = [f"{each}  ({_how(each)})"]
        for entry in entries:
            text = f"BROKEN: {entry.error}" if entry.error else entry.summary
            origin = "" if entry.origin == "llmrec" else f"  [{entry.origin}]"
            lines.append(f"  {entry.name:<{width}}  {text}{origin}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _kind(word: str) -> str:
    groups = {group: kind for kind, group in GROUP_OF.items()}
    if word in BUILTINS:
        return word
    if word in groups:
        return groups[word]
    raise UnknownNameError(unknown("kind of component", word, {*BUILTINS, *groups}))


def _how(kind: str) -> str:
    if kind == "metric":
        return "evaluation.metrics=[ndcg@10,…]"
    if kind == "filter":
        return "+filter@filters.LABEL=NAME"
    if kind == "text_step":
        return "+text@text.LABEL=NAME"
    if kind == "writer":
        return "llmrec write NAME"
    return f"{GROUP_OF[kind]}=NAME"


def find(name: str) -> tuple[str, str]:
    """Return kind and name of a component, given ``name`` or ``kind/name``.

    Raises:
        UnknownNameError: if there is none, or several and no kind.
    """
    for kind in kinds():
        for prefix in (kind, GROUP_OF[kind]):
            bare = name.removeprefix(f"{prefix}/")
            if bare != name and bare in registry(kind):
                return kind, bare
    found = [kind for kind in kinds() if name in registry(kind)]
    if len(found) > 1:
        spelled = " or ".join(f"{kind}/{name}" for kind in found)
        raise UnknownNameError(f'several components are called "{name}": say {spelled}')
    if not found:
        names = {each for kind in kinds() for each in registry(kind).names()}
        raise UnknownNameError(unknown("component", name, names))
    return found[0], name


def show_text(name: str) -> str:
    """Return one component in full: options with types and defaults, docstring, source, configs.

    Raises:
        UnknownNameError: if there is no such component.
        ComponentError: if it cannot be imported.
    """
    kind, name = find(name)
    cls = registry(kind).get(name)
    lines = [f"{kind} {name}", f"{cls.__module__}:{cls.__qualname__}", _source(cls), ""]
    lines += [inspect.getdoc(cls) or "(no description)", "", "Options"]
    options = [option for option in options_of(cls).values() if option.name != "self"]
    rows = [("option", "type", "default"), *map(_row, options)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for row in rows if options else []:
        lines.append(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}")
    if not options:
        lines.append("  none")
    used = sorted(_users(kind, name))
    lines += ["", f"Configs: {', '.join(used) or 'none'}"]
    files = [file.rpartition("/")[2] for file in used if file.rpartition("/")[0] == GROUP_OF[kind]]
    if files and kind != "metric":
        file = name if name in files else files[0]
        lines.append(f"Choose it: llmrec run {_how(kind).replace('NAME', file)}")
    return "\n".join(lines)


def _row(option: Option) -> tuple[str, str, str]:
    default = "required" if option.required else _value(option.default)
    return option.name, describe(option.annotation), default


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _source(cls: type) -> str:
    try:
        return str(Path(inspect.getsourcefile(cls) or "").resolve())
    except TypeError:
        return "(no source file)"


def _users(kind: str, name: str) -> set[str]:
    """Return the config files that name a component, or choose such a file in their defaults."""
    group = GROUP_OF[kind]
    files = {file: read_yaml(path) for file, path in config_files().items()}
    own = {
        file
        for file, content in files.items()
        if file.rpartition("/")[0] == group and _names(content, name)
    }
    if kind == "metric":
        return {file for file, content in files.items() if _has_metric(content, name)}
    using: set[str] = set()
    found = own
    while found - using:
        using |= found
        found = {file for file, content in files.items() if _chosen(file, content) & using}
    return using


def _names(node: Any, name: str) -> bool:
    """Whether a config names a component, itself or in a part of it."""
    if isinstance(node, Mapping):
        return node.get("name") == name or any(_names(value, name) for value in node.values())
    return False


def _chosen(file: str, content: Mapping[str, Any]) -> set[str]:
    """Return the config files that a defaults list chooses, by name below the config folder."""
    chosen = set()
    for entry in content.get("defaults", []):
        if isinstance(entry, str):
            chosen.add(f"{file.rpartition('/')[0]}/{entry}")
            continue
        for key, value in entry.items():
            group = str(key).removeprefix("override ").removeprefix("optional ").partition("@")[0]
            if not group.startswith("/"):
                group = f"{file.rpartition('/')[0]}/{group}".lstrip("/")
            options = (
                value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            )
            chosen |= {f"{group.lstrip('/')}/{option}" for option in options}
    return chosen


def _has_metric(content: Mapping[str, Any], name: str) -> bool:
    metrics = content.get("metrics", [])
    return any(str(metric).partition("@")[0] == name for metric in metrics)
