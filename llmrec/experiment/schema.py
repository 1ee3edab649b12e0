"""The schema of a run, and the one check of a whole config before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, Literal

from llmrec.core.config import (
    FilterSpec,
    RecommenderSpec,
    SourceSpec,
    Spec,
    SplitterSpec,
    TextStepSpec,
    TrackerSpec,
    build,
    check_options,
    options_of,
)
from llmrec.core.errors import ConfigError, LlmrecError, Problem, did_you_mean
from llmrec.core.protocols import serve
from llmrec.core.registry import registry
from llmrec.data.privacy import PrivacyOptions
from llmrec.evaluation.options import EvaluationOptions

OWN, FOLLOWING = {"members", "name"}, {"task", "threshold"}
BEST = ("best baseline", "best language_model")


@dataclass(frozen=True)
class RunConfig:
    """What one run does; the fields are the keys of ``configs/run.yaml``.

    Attributes:
        data: the data source.
        split: how it is divided.
        evaluation: the options of `EvaluationOptions`: task, metrics, candidates, …
        filters: what of the data takes part, by label, applied in this order before the split.
        tracker: where curves and the table are reported.
        audit: what to do about leaks that the auditor finds: refuse the run (``error``), go on
            and report them (``warn``), or not look for any (``off``, in quotes in a YAML file).
        privacy: pseudonyms, masked texts and removed users, before the filters.
        text: how texts are cleaned, by label, applied in this order after the filters.
        model: the recommender under test, beside those of `models`.
        label: its name in the table, by default made of its parts.
        models: recommenders by label.
        ensembles: by label, `members` (member name to a label of this run, ``best baseline`` or
            ``best language_model``) and options of the recommender ``ensemble``.
        seed: every recommender's seed is derived from it and the recommender's name.
        folder: the run folder, by default ``runs/<date>/<time>``.
        resume: go on with the run in `folder`.
        save_models: keep the fitted recommenders.
    """

    data: SourceSpec
    split: SplitterSpec
    evaluation: Mapping[str, Any]
    filters: Mapping[str, FilterSpec] = field(default_factory=dict)
    tracker: TrackerSpec = field(default_factory=lambda: {"name": "none"})
    audit: Literal["error", "warn", "off"] = "error"
    privacy: PrivacyOptions = field(default_factory=PrivacyOptions)
    text: Mapping[str, TextStepSpec] = field(default_factory=dict)
    model: RecommenderSpec | None = None
    label: str | None = None
    models: Mapping[str, RecommenderSpec] = field(default_factory=dict)
    ensembles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    folder: str | None = None
    resume: bool = False
    save_models: bool = True


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with the defaults of the keys that it leaves out, in schema order."""
    full: dict[str, Any] = {}
    for option in options_of(RunConfig).values():
        default = RunConfig.__dataclass_fields__[option.name].default_factory
        if option.name in config:
            full[option.name] = config[option.name]
        elif callable(default):
            made = default()
            plain = is_dataclass(made) and not isinstance(made, type)
            full[option.name] = asdict(made) if plain else made
        elif not option.required:
            full[option.name] = option.default
    return full


def recommenders(config: Mapping[str, Any]) -> dict[str, Spec]:
    """Return every single recommender of a checked config by label, the one under test last."""
    found = dict(config.get("models") or {})
    if config.get("model"):
        found[model_label(config)] = config["model"]
    return found


def model_label(config: Mapping[str, Any]) -> str:
    """Return the label of the recommender under test.

    Example:
        >>> model_label({"model": {"name": "language_model", "backbone": {"name": "bert"},
        ...                        "adapter": {"name": "lora"}}})
        'language_model bert+lora'
        >>> model_label({"model": {"name": "ease"}, "models": {"ease": {"name": "ease"}}})
        'ease (model)'
    """
    label = config.get("label")
    if label is None:
        label = spec_label(config["model"])
        if label in (config.get("models") or {}) or label in (config.get("ensembles") or {}):
            label += " (model)"
    return str(label)


def spec_label(spec: Spec) -> str:
    """Return the name of a recommender with the names of its parts."""
    parts = [_parts(value) for value in spec.values() if isinstance(value, Mapping)]
    named = "+".join(part for part in parts if part)
    return f"{spec['name']} {named}" if named else str(spec["name"])


def _parts(spec: Mapping[str, Any]) -> str:
    """Return the name of a part; a chain of adapters is named by what it chains."""
    if spec.get("name") == "chain" and isinstance(spec.get("steps"), Mapping):
        return "+".join(str(step["name"]) for step in spec["steps"].values())
    return str(spec.get("name", ""))


def check_config(config: Mapping[str, Any]) -> None:
    """Check a whole run without loading data or weights.

    Raises:
        ConfigError: with every problem: unknown keys, wrong types, parts that do not fit each
            other, labels used twice, ensemble members that do not exist, a recommender that does
            not serve the task.
    """
    config = {**complete(config), **config}
    problems = [*_unknown_keys(config), *_missing_models(config), *_nulls_as_text(config, "")]
    known = {problem.where for problem in problems}
    found = check_options(RunConfig, config, owner="the run")
    problems += [problem for problem in found if problem.where not in known]
    if isinstance(config.get("evaluation"), Mapping):
        problems += EvaluationOptions.problems(config["evaluation"])
    if not any(problem.where.startswith("ensembles") for problem in problems):
        problems += _check_ensembles(config)
    if not problems:
        problems = [*_check_labels(config), *_check_tasks(config)]
    if problems:
        raise ConfigError(problems)


def _unknown_keys(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield keys that no run has; an experiment is no key, but may have been meant."""
    fields = options_of(RunConfig)
    for key in config:
        if key not in fields:
            guess = did_you_mean(str(key), [*fields, "experiment"])
            allowed = ", ".join(sorted(fields))
            yield Problem(str(key), f'unknown key of the run "{key}"{guess}; allowed: {allowed}')


def _missing_models(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield models that only have parameters: overrides of a label that does not exist."""
    models = config.get("models")
    if not isinstance(models, Mapping):
        return
    named = [str(key) for key, spec in models.items() if _named(spec)]
    for label, spec in models.items():
        if isinstance(spec, Mapping) and not _named(spec):
            yield Problem(
                f"models.{label}",
                f'no recommender is labelled "{label}"{did_you_mean(str(label), named)}; labels '
                f"of this run: {', '.join(named) or 'none'}; add one with +model@models.{label}="
                "NAME",
            )


def _named(spec: object) -> bool:
    return isinstance(spec, Mapping) and "name" in spec


def _nulls_as_text(node: object, where: str) -> Iterator[Problem]:
    """Yield the places where somebody's None arrived as text (W&B sweeps, shells)."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _nulls_as_text(value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from _nulls_as_text(value, f"{where}[{place}]")
    elif node == "None":
        yield Problem(where, 'the text "None" is not an empty value; write null')


def _check_labels(config: Mapping[str, Any]) -> Iterator[Problem]:
    models, ensembles = config.get("models") or {}, config.get("ensembles") or {}
    if not recommenders(config):
        yield Problem("models", "nothing to compare: choose an experiment, or a model with model=")
    if config.get("model") and config.get("label") in {*models, *ensembles}:
        yield Problem("label", f'"{config["label"]}" is the label of another row; choose another')
    for label in ensembles:
        if label in models:
            yield Problem(f"ensembles.{label}", "is the label of a model too; choose another")
    for name, labels in (("models", models), ("ensembles", ensembles)):
        for label in labels:
            if not str(label).strip():
                yield Problem(name, "a label is empty")


def _check_ensembles(config: Mapping[str, Any]) -> Iterator[Problem]:
    ensembles = config.get("ensembles") or {}
    if not isinstance(ensembles, Mapping) or not ensembles:
        return
    cls = registry("recommender").get("ensemble")
    models = config.get("models")
    labels = set(models) if isinstance(models, Mapping) else set()
    if isinstance(config.get("model"), Mapping) and _named(config["model"]):
        labels.add(model_label(config))
    for label, spec in ensembles.items():
        where = f"ensembles.{label}"
        members = spec.get("members")
        if not isinstance(members, Mapping) or len(members) < 2:
            yield Problem(f"{where}.members", "expected at least two members: name to label")
            continue
        for key in FOLLOWING & set(spec):
            yield Problem(f"{where}.{key}", "follows the evaluation of the run; leave it out")
        options = {key: value for key, value in spec.items() if key not in OWN | FOLLOWING}
        found = check_options(cls, options, where, owner="an ensemble")
        yield from (problem for problem in found if problem.where != f"{where}.members")
        for name, member in members.items():
            if member not in labels and member not in BEST:
                allowed = [*BEST, *sorted(labels)]
                yield Problem(
                    f"{where}.members.{name}",
                    f'no row is labelled "{member}"{did_you_mean(str(member), allowed)}; '
                    f"allowed: {', '.join(allowed)}",
                )


def _check_tasks(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Construct every recommender (cheap: nothing is loaded) and ask what it serves."""
    task = config["evaluation"]["task"]
    places = {f"models.{label}": spec for label, spec in (config.get("models") or {}).items()}
    if config.get("model"):
        places["model"] = config["model"]
    for where, spec in places.items():
        try:
            built = build("recommender", spec)
            serve(built, task)
            tasks = built.tasks
        except ConfigError as error:
            yield from (
                Problem(f"{where}.{problem.where}".rstrip("."), problem.what)
                for problem in error.problems
            )
            continue
        except LlmrecError as error:
            yield Problem(where, str(error))
            continue
        if task not in tasks:
            yield Problem(
                where,
                f'recommender "{spec["name"]}" does not serve the task {task} as configured; it '
                f"serves: {', '.join(sorted(tasks))}",
            )
        yield from _check_threshold(where, built, config["evaluation"].get("threshold"))
        if getattr(built, "reads_review", False) and not config["evaluation"].get("reads_review"):
            place = f"{where}.prompt.question" if hasattr(built, "prompt") else where
            yield Problem(
                place,
                "reads the review of the interaction that is judged, which this evaluation does "
                "not show; set evaluation.reads_review=true (evaluation=classes)",
            )


def _check_threshold(where: str, built: Any, judged: float | None) -> Iterator[Problem]:
    """A model must learn likes from the rating from which they are judged."""
    learned = getattr(built, "threshold", None)
    if judged is not None and learned is not None and learned != judged:
        place = f"{where}.head" if hasattr(built, "head") else where
        yield Problem(
            f"{place}.threshold",
            f"learns likes from {learned:g}, but the evaluation judges them from {judged:g}; "
            "set both to the same rating",
        )
