"""Write the pages of docs/reference that follow from the code.

    python scripts/write_reference.py

A test fails when they are out of date.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from llmrec.core.config import Option, check, describe, options_of
from llmrec.core.registry import registry
from llmrec.evaluation.options import EvaluationOptions
from llmrec.experiment.catalogue import GROUP_OF, kinds
from llmrec.experiment.compose import compose_config, config_folder, options_of_group, read_yaml
from llmrec.experiment.schema import RunConfig

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by scripts/write_reference.py from the code; do not edit. -->"
PARTS, PROMPTS = (
    ("backbone", "adapter", "head", "prompt"),
    ("items", "text", "text_list", "identifiers", "item_texts"),
)


def components() -> str:
    """Return the page of all components: what each is, its options, its config files."""
    lines = ["# Components", "", NOTE, ""]
    lines += [
        "Every component that llmrec ships, by kind. `llmrec list` prints the same with plugins,",
        "`llmrec show NAME` one of them with what its options mean.",
        "",
    ]
    for kind in kinds():
        group = GROUP_OF[kind]
        lines += [f"## {kind}", ""]
        if kind == "metric":
            lines += [
                "Chosen by `evaluation.metrics=[ndcg@10,…]`; formulas: [metrics](metrics.md).",
                "",
            ]
        elif options_of_group(config_folder(), group):
            files = ", ".join(f"`{name}`" for name in options_of_group(config_folder(), group))
            lines += [f"Chosen by `{group}=NAME`; NAME is one of {files}.", ""]
        lines += ["| name | what | options |", "|---|---|---|"]
        for entry in registry(kind).entries():
            if entry.origin == "llmrec":
                options = options_of(registry(kind).get(entry.name)).values()
                listed = "<br>".join(_option(option) for option in options if option.name != "self")
                lines.append(f"| `{entry.name}` | {_cell(entry.summary)} | {listed} |")
        lines.append("")
    return "\n".join(lines)


def _option(option: Option) -> str:
    default = "required" if option.required else f"default {_value(option.default)}"
    return f"`{option.name}`: {_cell(describe(option.annotation))}, {_cell(default)}"


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return "see `llmrec show`" if len(value) > 40 else f'"{value}"'
    if isinstance(value, Mapping):
        return str(value["name"]) if "name" in value else ", ".join(value)
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("``", "`")


def config_keys() -> str:
    """Return the page of the keys of a run and of an evaluation."""
    lines = ["# Config keys", "", NOTE, ""]
    lines += [
        "A run is one mapping with these keys; `llmrec run KEY=VALUE` sets them, `llmrec run --cfg",
        "job` prints the whole config. The keys below a component are the options of its",
        "constructor ([components](components.md)); an unknown key is always an error.",
        "",
        "## A run",
        "",
        *_fields(RunConfig),
        "",
        "## `evaluation`",
        "",
        *_fields(EvaluationOptions),
        "",
        "## Groups",
        "",
        "`GROUP=FILE` chooses a file; `GROUP@PLACE=FILE` puts it in a place, e.g.",
        "`model@models.ease=ease`; `+` adds a place that does not exist yet.",
        "",
        "| group | files |",
        "|---|---|",
    ]
    root = config_folder()
    for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
        group = folder.relative_to(root).as_posix()
        files = options_of_group(root, group)
        if files and group != "sweep":
            lines.append(f"| `{group}` | {', '.join(f'`{name}`' for name in files)} |")
    return "\n".join([*lines, ""])


def _fields(cls: type) -> list[str]:
    texts = _attributes(inspect.getdoc(cls) or "")
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for option in options_of(cls).values():
        factory = cls.__dataclass_fields__[option.name].default_factory  # type: ignore[attr-defined]
        if callable(factory):
            made = factory()
            made = asdict(made) if is_dataclass(made) else made
            plain = made == {} or "name" not in made
            default = f"`{{{', '.join(made)}}}`" if plain else f"`{made['name']}`"
        else:
            default = "required" if option.required else f"`{_value(option.default)}`"
        kind = describe(option.annotation)
        meaning = _cell(texts[option.name])
        lines.append(f"| `{option.name}` | {_cell(kind)} | {default} | {meaning} |")
    return lines


def _attributes(docstring: str) -> dict[str, str]:
    """Return the texts of the section Attributes by name."""
    found: dict[str, str] = {}
    _, _, section = docstring.partition("Attributes:\n")
    for line in section.splitlines():
        if line.startswith("        ") and found:
            found[list(found)[-1]] += f" {line.strip()}"
        elif line.startswith("    "):
            name, _, text = line.strip().partition(": ")
            found[name] = text
        else:
            break
    return found


def combinations() -> str:
    """Return the page of prompt × backbone × adapter × head: what works, and why the rest not."""
    parts = {part: options_of_group(config_folder(), f"model/{part}") for part in PARTS}
    # Files that only set other sizes would repeat their rows; an endpoint goes with no head.
    parts["backbone"] = [
        name for name in parts["backbone"] if name in registry("backbone") and name != "api"
    ]
    spec = compose_config(["experiment=none", "data=synthetic", "model=language_model"])["model"]
    specs = {
        (part, name): read_yaml(config_folder() / "model" / part / f"{name}.yaml")
        for part, names in parts.items()
        for name in names
    }
    notes: dict[str, int] = {}
    lines = ["# Combinations of a language model", "", NOTE, ""]
    lines += [
        "Prompt × backbone × adapter × head, by the names of their config files. ✓ builds, trains",
        "and scores (tests do it for each kind of head, and for each loss once); a number is the",
        "sentence below that refuses it",
        "before anything is loaded. The backbones start at random here, except `minilm`; with a",
        "`checkpoint` sentences about random weights fall away. The prompts `items_no_text` and",
        "`items_shuffled_text` are as `items`. The backbone `api` has no weights here, so",
        "it goes with `model=hosted` alone: [hosted models](../how-to/hosted-models.md).",
        "",
    ]
    for prompt in PROMPTS:
        written, given = "", spec
        if prompt == "identifiers":
            written = ", `model/identifier=semantic`"
            file = config_folder() / "model" / "identifier" / "semantic.yaml"
            given = spec | {"identifier": read_yaml(file)}
        lines += [f"## `model/prompt={prompt}`{written}", ""]
        lines += [
            "| head | backbone | " + " | ".join(f"`{name}`" for name in parts["adapter"]) + " |",
            "|---|---|" + "---|" * len(parts["adapter"]),
        ]
        for head, backbone in itertools.product(parts["head"], parts["backbone"]):
            cells = []
            for adapter in parts["adapter"]:
                chosen = {"prompt": prompt, "head": head, "backbone": backbone, "adapter": adapter}
                made = given | {part: specs[part, name] for part, name in chosen.items()}
                cells.append(_verdict(made, notes))
            lines.append(f"| `{head}` | `{backbone}` | {' | '.join(cells)} |")
        lines.append("")
    lines += ["## Why not", ""]
    lines += [f"{number}. {sentence}" for sentence, number in notes.items()]
    return "\n".join([*lines, ""])


def _verdict(spec: Mapping[str, Any], notes: dict[str, int]) -> str:
    problems = check("recommender", spec)
    if not problems:
        return "✓"
    sentence = _cell("; ".join(str(problem) for problem in problems))
    return str(notes.setdefault(sentence, len(notes) + 1))


PAGES = {
    "components.md": components,
    "config-keys.md": config_keys,
    "combinations.md": combinations,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
        print(REFERENCE / name)


if __name__ == "__main__":
    main()
