"""Every YAML file composes, passes the schema, builds; none reaches into another's options."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmrec.core.config import build, check
from llmrec.core.errors import MissingExtraError
from llmrec.evaluation.options import EvaluationOptions
from llmrec.experiment.catalogue import GROUP_OF
from llmrec.experiment.compose import compose_config, config_files, config_folder, read_yaml
from llmrec.experiment.schema import check_config

FILES = config_files()
KIND_OF = {group: kind for kind, group in GROUP_OF.items() if kind not in ("metric", "combiner")}


def _place(file: str) -> str:
    """Return where a file lands in a config: a part of a model below its slot."""
    group = file.rpartition("/")[0]
    return group.replace("/", ".") if group.startswith("model/") else file.partition("/")[0]


# Values that a file leaves to the user (???) are files or dates.
NEEDED = {
    file: [
        f"{_place(file)}.{key}={'2000-01-01' if 'start' in key else 'log.csv'}"
        for key in re.findall(r"^(\w+): \?\?\?", text, re.MULTILINE)
    ]
    for file, text in ((file, path.read_text("utf-8")) for file, path in FILES.items())
}
EXPERIMENTS = [name for name in FILES if name.startswith("experiment/")]
COMPONENTS = [name for name in FILES if name.rpartition("/")[0] in KIND_OF]
SWEEPS = [name for name in FILES if name.startswith("sweep/")]


@cache
def _composed(*overrides: str) -> dict[str, Any]:
    return compose_config(list(overrides))


def _component(file: str) -> tuple[str, Mapping[str, Any]]:
    """Return the kind and the composed spec of one component file."""
    group, _, name = file.rpartition("/")
    needed = NEEDED.get(file, [])
    if group.startswith("model/"):  # a part, in the slot of a recommender that has such a part
        part = group.rpartition("/")[2]
        base = _model_with(part)
        spec = _composed("experiment=none", f"model={base}", f"{group}={name}", *needed)
        return KIND_OF[group], spec["model"][part]
    if group == "writer":  # no part of a run: llmrec write reads the file as it is
        return "writer", read_yaml(FILES[file])
    if group == "filter":
        needed = [option.replace("filter.", "filters.x.") for option in needed]
        composed = _composed("experiment=none", f"+filter@filters.x={name}", *needed)
        return KIND_OF[group], composed["filters"]["x"]
    if group == "text":
        composed = _composed("experiment=none", f"+text@text.x={name}")
        return KIND_OF[group], composed["text"]["x"]
    return KIND_OF[group], _composed("experiment=none", f"{group}={name}", *needed)[group]


def _model_with(part: str) -> str:
    """Return a recommender whose defaults list chooses such a part."""
    for file in FILES:
        if file.rpartition("/")[0] == "model":
            chosen = read_yaml(FILES[file]).get("defaults", [])
            if any(isinstance(entry, dict) and part in entry for entry in chosen):
                return file.rpartition("/")[2]
    raise AssertionError(f"no recommender has a {part}")


def test_every_file_is_tested_somewhere() -> None:
    tested = {*EXPERIMENTS, *COMPONENTS, *SWEEPS, "run"}
    other = [name for name in FILES if name not in tested]
    assert [name for name in other if not name.startswith(("evaluation/", "ensemble/"))] == []


@pytest.mark.parametrize("file", COMPONENTS)
def test_every_component_file_satisfies_its_signature_and_builds(file: str) -> None:
    kind, spec = _component(file)
    assert check(kind, spec) == []
    try:
        build(kind, spec)
    except MissingExtraError as missing:
        pytest.skip(str(missing))


def _descends(file: str, ancestor: str) -> bool:
    entries = read_yaml(FILES[f"model/{file}"]).get("defaults", [])
    parents = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
    return file == ancestor or any(_descends(parent, ancestor) for parent in parents)


LANGUAGE_MODELS = [
    name.partition("/")[2]
    for name in FILES
    if name.rpartition("/")[0] == "model" and _descends(name.partition("/")[2], "language_model")
]


@pytest.mark.parametrize("preset", LANGUAGE_MODELS)
def test_every_language_model_takes_an_identifier(preset: str) -> None:
    """Also a preset that leaves it out: without a plus sign, and nothing of the old one stays."""
    words = ["experiment=none", f"model={preset}", "model/identifier=numeric"]
    file = FILES["model/identifier/numeric"]
    assert _composed(*words)["model"]["identifier"] == read_yaml(file)


@pytest.mark.parametrize("file", [name for name in FILES if name.startswith("evaluation/")])
def test_every_evaluation_is_valid(file: str) -> None:
    name = file.rpartition("/")[2]
    spec = _composed("experiment=none", f"evaluation={name}")["evaluation"]
    assert EvaluationOptions.problems(spec) == []


@pytest.mark.parametrize("file", [name for name in FILES if name.startswith("ensemble/")])
def test_every_ensemble_is_valid_in_a_run(file: str) -> None:
    if file.count("/") > 1:
        name = file.rpartition("/")[2]
        assert check("combiner", read_yaml(FILES[file])) == [], name
        return
    name = file.rpartition("/")[2]
    rows = ["+model@models.a=ease", "+model@models.b=popularity"]
    members = "ensembles.x.members={one: a, two: b}"
    check_config(_composed("experiment=none", *rows, f"+ensemble@ensembles.x={name}", members))


@pytest.mark.parametrize("file", EXPERIMENTS)
def test_every_experiment_passes_the_check_of_a_run(file: str) -> None:
    name = file.rpartition("/")[2]
    rows = ["model=popularity"] if name == "none" else []
    config = _composed(f"experiment={name}", *rows)
    check_config(config)
    assert config["seed"] == 0


@pytest.mark.parametrize("file", EXPERIMENTS)
def test_every_row_of_an_experiment_can_be_swapped(file: str) -> None:
    """And then has the options of the new recommender only."""
    name = file.rpartition("/")[2]
    fresh = _composed("experiment=none", "model=popularity")["model"]
    for label in _composed(f"experiment={name}")["models"]:
        config = _composed(f"experiment={name}", f"model@models.{label}=popularity")
        assert config["models"][label] == fresh


def _set_in_body(content: Mapping[str, Any], groups: set[str]) -> Iterator[str]:
    """Yield the places where a file sets options inside a node that a group fills."""
    for key, value in content.items():
        if key in groups:
            yield str(key)
        if key == "models":
            yield from (f"models.{label}" for label in value)
        if key == "ensembles":  # its members are the experiment's own
            yield from (f"{key}.{each}" for each, spec in value.items() if set(spec) - {"members"})


@pytest.mark.parametrize("file", FILES)
def test_no_file_sets_options_of_another_group(file: str) -> None:
    """Else a swapped component would inherit the options of the one it replaces."""
    content = read_yaml(FILES[file])
    group = file.rpartition("/")[0]
    if group == "sweep":
        return
    if group == "experiment" or file == "run":
        groups = {"data", "split", "evaluation", "tracker", "model", "ensemble"}
        assert list(_set_in_body(content, groups)) == []
        return
    chosen = {
        str(key).removeprefix("override ").strip("/").partition("@")[0]
        for entry in content.get("defaults", [])
        if isinstance(entry, Mapping)
        for key in entry
    }
    assert [key for key in content if key in chosen] == []


@pytest.mark.parametrize("file", FILES)
def test_files_are_small(file: str) -> None:
    assert len(FILES[file].read_text(encoding="utf-8").splitlines()) < 60


# Sweeps


def _sweep(file: str) -> dict[str, Any]:
    from wandb.sdk.launch.sweeps.utils import load_sweep_config

    loaded = load_sweep_config(str(FILES[file]))
    assert loaded is not None
    return dict(loaded)


def _values(parameter: Mapping[str, Any]) -> list[Any]:
    """Return what a parameter of a sweep can be: its values, or both ends of its range."""
    if "values" in parameter:
        return list(parameter["values"])
    if "value" in parameter:
        return [parameter["value"]]
    return [parameter["min"], parameter["max"]]


@pytest.mark.parametrize("file", SWEEPS)
def test_every_combination_of_a_sweep_is_a_valid_run(file: str) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = _sweep(file)
    fixed = [word for word in sweep["command"][3:] if not word.startswith("${")]
    names, values = zip(*((n, _values(p)) for n, p in sweep["parameters"].items()), strict=True)
    for combination in itertools.product(*values):
        args = {"args": {n: {"value": v} for n, v in zip(names, combination, strict=True)}}
        words = create_sweep_command_args(args)["args_no_hyphens"]
        check_config(compose_config([*fixed, *words]))


@pytest.mark.parametrize("file", SWEEPS)
def test_a_sweep_has_what_wandb_asks_for(file: str) -> None:
    sweep = _sweep(file)
    assert sweep["method"] in ("grid", "random", "bayes")
    assert sweep["metric"]["goal"] in ("minimize", "maximize")
    assert "/validation/" in sweep["metric"]["name"], "never tune on the test"
    assert sweep["command"][:3] == ["${env}", "llmrec", "run"]
    assert sweep["command"][-1] == "${args_no_hyphens}"
    assert "program" in sweep
    for name, parameter in sweep["parameters"].items():
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name), "W&B's own rule for names"
        assert "None" not in _values(parameter)


def test_the_configs_are_where_the_wheel_takes_them_from() -> None:
    assert config_folder() == Path(__file__).parents[2] / "configs"
