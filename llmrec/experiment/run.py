"""One run: check, load, split, fit and judge every recommender, compare, report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from llmrec.core.config import build
from llmrec.core.errors import RunError
from llmrec.core.files import read_json, write_json, write_text
from llmrec.core.memory import passive_waiting, tune_allocator
from llmrec.core.protocols import Recommender, Tracker
from llmrec.core.types import Dataset, Split
from llmrec.data.transforms import describe, describe_split
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.evaluate import Exam, make_exam
from llmrec.evaluation.options import EvaluationOptions
from llmrec.experiment.audits import audit_run, refuse
from llmrec.experiment.compose import read_yaml, to_yaml
from llmrec.experiment.context import write_examples, write_lengths
from llmrec.experiment.datasets import load_dataset
from llmrec.experiment.findings import write_audit
from llmrec.experiment.fitting import Bench, Silent, Watcher, attempt, fresh
from llmrec.experiment.folder import (
    CONFIG,
    DATA,
    FAILURES,
    VERSIONS,
    default_folder,
    is_run,
    locked,
    slugs,
    versions,
)
from llmrec.experiment.members import (
    fit_combiner,
    forget,
    is_current,
    make_ensemble,
    members_or_none,
)
from llmrec.experiment.prompts import check_prompts
from llmrec.experiment.schema import check_config, complete, recommenders
from llmrec.experiment.store import load_run, write_tables

UNSAVED = ("folder", "resume")


class FailedModelsError(RunError):
    """Some recommenders of a finished run failed.

    Attributes:
        folder: the run folder.
        comparison: of those that did not fail; None if all did.
        failures: sentences by label.
    """

    def __init__(
        self, folder: Path, comparison: Comparison | None, failures: Mapping[str, str]
    ) -> None:
        self.folder, self.comparison, self.failures = folder, comparison, dict(failures)
        lines = "\n".join(f"  - {label}: {sentence}" for label, sentence in failures.items())
        kept = "the other rows are complete" if comparison else "there is nothing to compare"
        super().__init__(
            f"{len(failures)} of the recommenders failed; {kept}. Tracebacks are in "
            f"{folder / 'errors'}; once the cause is gone, llmrec run --resume {folder}\n{lines}"
        )


def run(
    config: Mapping[str, Any],
    *,
    folder: str | Path | None = None,
    watcher: Watcher | None = None,
) -> Comparison:
    """Run an experiment and return its comparison; everything is written into a run folder.

    Args:
        config: a plain mapping with the keys of `llmrec.experiment.schema.RunConfig`.
        folder: the run folder; by default that of the config, else ``runs/<date>/<time>``.
        watcher: told how the run goes on.

    Raises:
        ConfigError: with every problem of the config, before anything is loaded.
        RunError: if the split or the prompts leak, or the folder holds results, is written by
            another process, or is full.
        FailedModelsError: at the end, if some recommenders failed (it carries the comparison).

    Example:
        >>> import tempfile
        >>> config = {
        ...     "data": {"name": "synthetic"},
        ...     "split": {"name": "leave_one_out"},
        ...     "evaluation": {"task": "ranking", "metrics": ["ndcg@10"], "n_resamples": 100},
        ...     "models": {"popular": {"name": "popularity"}, "ease": {"name": "ease"}},
        ... }
        >>> comparison = run(config, folder=tempfile.mkdtemp())
        >>> sorted(result.label for result in comparison.results)
        ['ease', 'popular']
    """
    passive_waiting()
    check_config(config)
    full = complete(config)
    place = Path(folder or full["folder"] or default_folder())
    resume = bool(full["resume"])
    saved = {key: value for key, value in full.items() if key not in UNSAVED}
    _check_folder(place, saved, resume=resume)
    tune_allocator()
    dataset = load_dataset(full)
    check_prompts(full, dataset)
    split: Split = build("split", full["split"]).split(dataset)
    options = EvaluationOptions.from_config(full["evaluation"])
    findings = audit_run(full, split) if full["audit"] != "off" else None
    if findings is not None and full["audit"] == "error":
        refuse(findings)
    test = make_exam(split, options)
    valid = make_exam(split, options, "valid") if len(split.valid) else None
    tracker: Tracker = build("tracker", full["tracker"])
    with locked(place):
        _check_folder(place, saved, resume=resume)
        _describe(place, saved, dataset, split, test, resume=resume)
        if findings is not None:
            write_audit(place, findings)
        ended = False
        comparison: Comparison | None = None
        try:
            tracker.start(saved, place)
            bench = Bench(
                folder=place,
                split=split,
                options=options,
                valid=valid,
                test=test,
                seed=full["seed"],
                slugs=slugs([*recommenders(full), *full["ensembles"]]),
                save_models=full["save_models"],
                resume=resume,
                tracker=tracker,
                watcher=watcher or Silent(),
            )
            failures = _work(bench, full)
            comparison = _compare(place, test, dataset)
            ended = not failures
        finally:
            rows = comparison.rows() if comparison is not None else []
            tracker.finish(rows, place, failed=not ended)
    if failures or comparison is None:
        raise FailedModelsError(place, comparison, failures)
    return comparison


def _work(bench: Bench, config: Mapping[str, Any]) -> dict[str, str]:
    """Fit and judge what is not finished; return the failures by label."""
    write_json(bench.folder / FAILURES, {})
    singles = recommenders(config)
    fitted: dict[str, Recommender] = {}
    in_memory = bool(config["ensembles"]) and not bench.save_models

    def fit_single(label: str) -> None:
        made = attempt(bench, label, partial(fresh, bench, singles[label]))
        if made is not None and in_memory:
            fitted[label] = made

    for label in singles:
        if not bench.finished(label):
            fit_single(label)
    for label, spec in config["ensembles"].items():
        members = members_or_none(bench, spec, singles)
        if is_current(bench, label, members):
            continue
        forget(bench, label)
        for member in members or ():
            if in_memory and member not in fitted:
                fit_single(member)
        attempt(bench, label, partial(make_ensemble, bench, spec, singles, fitted), fit_combiner)
    failures: dict[str, str] = read_json(bench.folder / FAILURES)
    return failures


def _compare(folder: Path, test: Exam, dataset: Dataset) -> Comparison | None:
    """Compare the results as they are on disk, so that a rebuilt report is the same."""
    stored = load_run(folder)
    if not stored.results:
        return None
    comparison = stored.comparison()
    write_examples(folder, test, comparison, dataset)
    write_tables(folder, comparison, stored.context())
    return comparison


def _check_folder(folder: Path, config: Mapping[str, Any], *, resume: bool) -> None:
    """Refuse a folder with results, and a resumed run that is not the same run.

    Raises:
        RunError: that lists the differences.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; choose another folder for the run")
    if not is_run(folder):
        if resume:
            raise RunError(f"there is no run to resume in {folder}")
        if (folder / "results").exists():
            raise RunError(f"{folder} holds results of something else; choose another folder")
        return
    if not resume:
        raise RunError(
            f"{folder} already holds a run; go on with it (llmrec run --resume {folder}), or "
            "choose another folder"
        )
    before = _flat(read_yaml(folder / CONFIG))
    now = _flat(config)
    absent = "absent"
    different = [
        f"  - {key}: {before.get(key, absent)} then, {now.get(key, absent)} now"
        for key in dict.fromkeys([*before, *now])
        if before.get(key, absent) != now.get(key, absent)
    ]
    if different:
        raise RunError(
            f"{folder} was started with another config, so it cannot be resumed with this one:\n"
            + "\n".join(different)
        )


def _flat(node: Any, where: str = "") -> dict[str, str]:
    """Return every value of a config as JSON by dotted path; the order of keys is irrelevant."""
    if isinstance(node, Mapping) and node:
        flat: dict[str, str] = {}
        for key, value in node.items():
            flat |= _flat(value, f"{where}.{key}" if where else str(key))
        return flat
    return {where: json.dumps(node, default=str)}


def _all_versions(folder: Path) -> dict[str, Any]:
    """Return what a run was started with and, as `resumed`, what it went on with if different."""
    now = versions()
    if not (folder / VERSIONS).is_file():
        return now
    first: dict[str, Any] = read_json(folder / VERSIONS)
    later = first.pop("resumed", [])
    if now != (later[-1] if later else first):
        later = [*later, now]
    return {**first, "resumed": later} if later else first


def _describe(
    folder: Path,
    config: Mapping[str, Any],
    dataset: Dataset,
    split: Split,
    test: Exam,
    *,
    resume: bool,
) -> None:
    """Write config, versions and data before anything is fitted.

    Raises:
        RunError: if a resumed run would see other data than before.
    """
    if resume:
        before = read_json(folder / DATA)["fingerprint"] if (folder / DATA).is_file() else None
        if before not in (None, test.fingerprint):
            raise RunError(
                f"the data of {folder} has changed since the run was started (fingerprint "
                f"{before[:12]} then, {test.fingerprint[:12]} now): start a new run"
            )
    write_json(folder / VERSIONS, _all_versions(folder) if resume else versions())
    described = describe(dataset)
    write_json(
        folder / DATA,
        {
            **described,
            "dataset_fingerprint": described["fingerprint"],
            "fingerprint": test.fingerprint,
            "protocol": test.protocol,
            "leaks": split.leaks,
            "split": describe_split(split),
        },
    )
    write_lengths(folder, test)
    write_text(folder / CONFIG, to_yaml(config))
