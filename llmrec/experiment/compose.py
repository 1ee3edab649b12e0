"""Hydra at the door: where the configs are, which overrides are allowed, composing, its errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrec.core.errors import ConfigError, LlmrecError, Problem, unknown

GROUPS = ("data", "split", "evaluation", "tracker", "model", "experiment")
KEYS = (
    *(
        "seed",
        "filters",
        "text",
        "privacy",
        "audit",
        "models",
        "ensembles",
        "label",
        "folder",
        "resume",
    ),
    "save_models",
)


def config_folder() -> Path:
    """Return the folder of the configs: inside an installed llmrec, or beside it in a checkout.

    Raises:
        ConfigError: if neither exists.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "run.yaml").is_file():
            return folder
    raise ConfigError(f"there are no configs beside {package}: this copy of llmrec is incomplete")


def prepare_overrides(overrides: Sequence[str]) -> list[str]:
    """Check Hydra overrides for known mistakes and let them set options that no YAML mentions.

    A dotted ``key=value`` becomes ``++key=value``: the constructor's signature decides what may
    be set, not what a YAML file happens to list; a wrong key is then found with all other
    problems, by our own check. At the place of a component, ``model.backbone=bert`` means the
    group ``model/backbone=bert`` (names of W&B sweep parameters may not hold a slash).

    Raises:
        ConfigError: with every override that would not do what it seems to.
    """
    problems = [problem for override in overrides for problem in _mistakes(override)]
    if problems:
        raise ConfigError(problems)
    return [_widened(override) for override in overrides]


def _split(override: str) -> tuple[str, str, str | None]:
    """Return the prefix (``+``, ``++``, ``~`` or nothing), the key and the value, if any."""
    found = re.fullmatch(r"(\+\+|\+|~)?([^=]*)(?:=(.*))?", override, re.DOTALL)
    assert found is not None
    return found[1] or "", found[2], found[3]


def _widened(override: str) -> str:
    prefix, key, value = _split(override)
    plain = not prefix and value is not None and ("." in key or _is_no_key(key))
    if plain and "@" not in key and "/" not in key and not key.startswith("hydra."):
        if "." in key and _is_choice(key, value or ""):
            return f"{_by_group(key)}={value}"
        return f"++{override}"
    return override


def _is_no_key(key: str) -> bool:
    """Whether a run has no such key: a misspelt one, which our own check names with the rest."""
    return (
        key not in (*GROUPS, *KEYS, "ensemble", "sweep") and re.fullmatch(r"\w+", key) is not None
    )


def _is_choice(key: str, value: str) -> bool:
    """Whether a word is given to the place of a component, which its group fills."""
    word = re.fullmatch(r"[\w.+,-]+", value) is not None and value != "null"
    return word and _has_group(key)


def _has_group(key: str) -> bool:
    """Whether a config group fills a place, so that one chooses by name what is there."""
    return (config_folder() / _by_group(key).partition("@")[0]).is_dir()


def _mistakes(override: str) -> list[Problem]:
    prefix, key, value = _split(override)
    if value is None or key.startswith("hydra"):
        return []
    place = "." in key or key in GROUPS
    if not prefix and place and re.match(r"\{.*\bname *:", value) and _has_group(key):
        return [
            Problem(
                override,
                "would keep the options of the component that is there; write "
                f"{_by_group(key)}=NAME and its options one by one",
            )
        ]
    named = key.endswith(".name") and "@" not in key and "/" not in key
    if named and _has_group(key.removesuffix(".name")):
        return [
            Problem(
                override,
                "a component is chosen by its group, so that it does not inherit the options of "
                f"the one it replaces; write {_by_group(key.removesuffix('.name'))}={value}",
            )
        ]
    group = _by_group(key).partition("@")[0]
    if not prefix and value.startswith("[") and group.startswith("model/") and _has_group(key):
        chains = "choose int8+lora or nf4+lora; other chains: model/adapter=int8+lora and its steps"
        return [
            Problem(
                override,
                "a list would mix the options of several files in one component; "
                f"{chains if group == 'model/adapter' else f'write {_by_group(key)}=NAME'}",
            )
        ]
    if value == "null" and (key in GROUPS or "/" in key or "@" in key):
        other = "experiment=none" if key == "experiment" else f"~{key}"
        return [Problem(override, f"a config group cannot be null; write {other}")]
    if any(part.strip(" '\"[]()") == "None" for part in value.split(",")):
        return [Problem(override, f"None is text here, not an empty value; write {key}=null")]
    return []


def _by_group(package: str) -> str:
    """Return the group override that chooses the component at a package.

    Example:
        >>> _by_group("models.gpt2.backbone"), _by_group("model.backbone"), _by_group("data")
        ('model/backbone@models.gpt2.backbone', 'model/backbone', 'data')
    """
    first, *rest = package.split(".")
    if first in ("models", "ensembles", "filters", "text") and rest:
        group = "/".join([first.removesuffix("s"), *rest[1:]])
        return f"{group}@{package}"
    return "/".join([first, *rest])


def compose_config(
    overrides: Sequence[str] = (), *, folder: Path | None = None, job: str = "run"
) -> dict[str, Any]:
    """Compose a run's config as the command line does, as plain values, everything resolved.

    Args:
        overrides: Hydra overrides, e.g. ``["experiment=baselines", "models.ease.seed=1"]``.
        folder: another folder of configs.
        job: the primary config.

    Raises:
        ConfigError: that says what is wrong with the overrides.
    """
    from hydra import compose, initialize_config_dir

    prepared = prepare_overrides(overrides)
    root = folder or config_folder()
    try:
        with initialize_config_dir(str(root), version_base="1.3"):
            return plain(compose(job, prepared))
    except Exception as error:
        raise readable(error, root) from error


def plain(config: Any) -> dict[str, Any]:
    """Return a resolved mapping of plain values from what Hydra composed, without Hydra's node.

    Raises:
        ConfigError: with every mandatory value (``???``) that nobody gave.
    """
    from omegaconf import OmegaConf

    missing = sorted(str(key) for key in OmegaConf.missing_keys(config))
    missing = [key for key in missing if not key.startswith("hydra")]
    if missing:
        raise ConfigError([Problem(key, f"a value is needed: {key}=…") for key in missing])
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items() if key != "hydra"}


def readable(error: Exception, root: Path) -> LlmrecError:
    """Return an error of Hydra or OmegaConf as one sentence in the words of the command line.

    Anything else that is not an `LlmrecError` is raised again: it is a bug, not a mistake.
    """
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, LlmrecError):
        return error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = error.options or options_of_group(root, group)
        return ConfigError(unknown(group or "config", name, options))
    if isinstance(error, OverrideParseException):
        what = str(error.__cause__ or error).splitlines()[0]
        return ConfigError(f'cannot read "{error.override}": {what}; put odd text in quotes')
    if isinstance(error, HydraException | OmegaConfBaseException):
        return ConfigError(_sentence(error))
    raise error


def _sentence(error: Exception) -> str:
    text = str(error) if error.__cause__ is None else f"{error}\n{error.__cause__}"
    struct = re.search(r"Key '([^']+)' is not in struct", text)
    if struct:
        key = struct[1]
        if key in GROUPS:
            return f"nothing is chosen as {key} yet; choose with {key}=NAME, then set its options"
        return unknown("key", key, [*GROUPS, *KEYS])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key:", "object_type=", "See "))]
    return " ".join(dict.fromkeys(kept))


def options_of_group(root: Path, group: str) -> list[str]:
    """Return the names one can choose from in a config group (sub-groups excluded)."""
    folder = root / group if group else root
    if not folder.is_dir():
        return []
    if not group:
        return [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted(path.stem for path in folder.glob("*.yaml"))


def config_files(root: Path | None = None) -> dict[str, Path]:
    """Return every config file by its name below the config folder, without ``.yaml``."""
    base = root or config_folder()
    return {
        path.relative_to(base).with_suffix("").as_posix(): path
        for path in sorted(base.rglob("*.yaml"))
    }


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file into plain values.

    Raises:
        ConfigError: if it is not a YAML mapping.
    """
    from omegaconf import OmegaConf

    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # the YAML reader has many errors of its own
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} holds no mapping")
    return {str(key): value for key, value in loaded.items()}


def to_yaml(config: Mapping[str, Any]) -> str:
    """Return a plain config as YAML."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))
