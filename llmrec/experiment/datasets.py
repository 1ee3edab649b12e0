"""``llmrec data``: get a data set if needed, and say what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, Problem
from llmrec.core.files import write_json
from llmrec.core.registry import registry
from llmrec.core.types import Dataset
from llmrec.data.cleaning import clean_dataset
from llmrec.data.filters import apply_filters
from llmrec.data.privacy import PrivacyOptions, protected
from llmrec.data.summary import rows_of, summary
from llmrec.data.transforms import classed
from llmrec.experiment.compose import compose_config, config_files
from llmrec.experiment.schema import check_config
from llmrec.reporting.data_figure import write_data_figure, write_latex_table

SECTIONS = ("privacy", "filters", "text")
OF_A_RUN = ("+", *(f"{section}." for section in SECTIONS))


def data_spec(name: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Return the spec of a data source from its config file, or of a registered one.

    Args:
        name: a file of the config group ``data``, else a registered name or dotted path.
        options: ``key=value``, as on the command line.

    Raises:
        ConfigError: for options that are not ``key=value``, or wrong.
    """
    spec: dict[str, Any] = data_config(name, options)["data"]
    return spec


def data_config(name: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Return what of a run's config is about data: source, privacy, filters, steps of cleaning.

    Args:
        name: as for `data_spec`.
        options: ``key=value`` of the source; or, as for a run, a chosen component
            (``+filter@filters.core=k_core``) or an option of ``filters``, ``text`` or ``privacy``.

    Raises:
        ConfigError: for options that are not ``key=value``, or wrong.
    """
    wrong = [Problem(option, "expected key=value") for option in options if "=" not in option]
    if wrong:
        raise ConfigError(wrong)
    own = [
        option if option.startswith(OF_A_RUN) else f"data.{option.removeprefix('data.')}"
        for option in options
    ]
    known = f"data/{name}" in config_files()
    if not known:
        registry("source").get(name)
    chosen = [f"data={name}"] if known else ["~data", f"++data={{name: '{name}'}}"]
    config = compose_config(["experiment=none", "model=popularity", *chosen, *own])
    check_config(config)
    return {key: config[key] for key in ("data", *SECTIONS) if config.get(key)}


def load_dataset(config: Mapping[str, Any]) -> Dataset:
    """Return the data of a run: loaded, protected, filtered, classed, its texts cleaned.

    Args:
        config: with the keys ``data`` and, if there are any, ``privacy``, ``filters``, ``text``,
            and ``evaluation``, whose class bounds make classes of ratings.

    Raises:
        DataError: if it cannot be loaded, a filter leaves nothing, or a step names no column.
    """
    dataset: Dataset = build("source", config["data"]).load()
    dataset = protected(dataset, PrivacyOptions(**(config.get("privacy") or {})))
    filters = config.get("filters") or {}
    dataset = apply_filters(dataset, {label: build("filter", filters[label]) for label in filters})
    bounds = (config.get("evaluation") or {}).get("class_bounds")
    if bounds is not None:
        dataset = classed(dataset, bounds)
    steps = config.get("text") or {}
    return clean_dataset(dataset, {label: build("text_step", steps[label]) for label in steps})


def data_text(name: str, options: Sequence[str] = (), output: str | Path | None = None) -> str:
    """Load a data set and return its description: sizes, distributions, texts, licence, source.

    Filters, steps of cleaning and privacy among the options act first, as in a run.

    Args:
        name: a file of the config group ``data``, else a registered name or dotted path.
        options: as for `data_config`.
        output: a folder for the same as ``data.json``, as a LaTeX table and as a figure.

    Raises:
        DataError: that says what is wrong with its files, or what to do without a network.
        MissingExtraError: for a figure without matplotlib.
        RunError: if the folder cannot be written.
    """
    dataset = load_dataset(data_config(name, options))
    facts = summary(dataset)
    if output is not None:
        folder = Path(output)
        write_json(folder / "data.json", facts)
        write_latex_table(dataset.name, rows_of(facts), folder / "data.tex")
        write_data_figure(dataset, folder / "data.png")
    flat = _flat(facts)
    width = max(map(len, flat))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in flat.items())


def _flat(facts: Mapping[str, Any], where: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in facts.items():
        name = f"{where}.{key}" if where else str(key)
        if isinstance(value, Mapping):
            flat |= _flat(value, name)
        elif isinstance(value, float):
            flat[name] = f"{value:.6g}"
        elif isinstance(value, list | tuple):
            flat[name] = ", ".join(map(str, value)) or "none"
        else:
            flat[name] = "none" if value is None else str(value)
    return flat
