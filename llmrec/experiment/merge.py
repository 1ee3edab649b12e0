"""``llmrec report``: tables rebuilt from run folders, several runs merged, folds averaged."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from llmrec.core.errors import RunError
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.folds import average
from llmrec.evaluation.options import EvaluationOptions
from llmrec.evaluation.result import ModelResult
from llmrec.experiment.store import StoredRun, compare_with, load_run, write_tables
from llmrec.reporting.html import ReportContext
from llmrec.reporting.tables import write_rows
from llmrec.reporting.terminal import make_console, print_comparison


def report(
    folders: Sequence[Path], output: Path | None = None, console: Console | None = None
) -> None:
    """Print the table of one or several runs, and write it.

    One run is written into its own folder, unless `output` says otherwise. Several runs on the
    same data and split make one table, written if there is an `output`; runs on the folds of one
    split make a table of means and standard deviations.

    Raises:
        RunError: if a folder is no run, or the runs cannot be put together.
    """
    console = console or make_console()
    runs = [load_run(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]
    if len(runs) > 1 and are_folds(runs):
        rows = average([run.comparison() for run in runs])
        _print_folds(rows, runs, console)
        if output is not None:
            write_rows(rows, output / "folds.csv")
            console.print(f"\nTable: {output / 'folds.csv'}", soft_wrap=True, markup=False)
        return
    comparison = merged(runs)
    place = output or (runs[0].folder if len(runs) == 1 else None)
    leaks = str(runs[0].data["leaks"])
    if place is not None:
        context = runs[0].context() if len(runs) == 1 else ReportContext(leaks=leaks)
        write_tables(place, comparison, context)
    print_comparison(comparison, console=console, leaks=leaks)
    if place is not None:
        console.print(f"\nReport: {place / 'report.html'}", soft_wrap=True, markup=False)
    for run in runs:
        for label, sentence in run.failures.items():
            console.print(f"{run.folder}: {label} failed: {sentence}", soft_wrap=True, markup=False)


def merged(runs: Sequence[StoredRun]) -> Comparison:
    """Compare all recommenders of runs on the same data, split and candidates.

    The same numbers under the same label are one row (with the costs of the first run); any other
    label that several runs use gets the name of its run.

    Raises:
        RunError: if they differ in data, protocol or task, or no recommender is finished.
    """
    if len(runs) == 1:
        return runs[0].comparison()
    names = run_names([run.folder for run in runs])
    rows: list[tuple[str, ModelResult]] = []
    for run in runs:
        for result in run.results:
            if not any(same_numbers(result, other) for _, other in rows):
                rows.append((names[run.folder], result))
    count = Counter(result.label for _, result in rows)
    results = [
        replace(result, label=f"{result.label} [{name}]") if count[result.label] > 1 else result
        for name, result in rows
    ]
    if not results:
        raise RunError("these runs have no finished recommender yet")
    options = EvaluationOptions.from_config(runs[0].config["evaluation"])
    return compare_with(results, options, int(runs[0].config["seed"]))


def same_numbers(one: ModelResult, other: ModelResult) -> bool:
    """Whether two results are the same row: label, exam, and every value of every user."""

    def exam(result: ModelResult) -> tuple[object, ...]:
        return (result.label, result.task, result.fingerprint, result.protocol, result.metrics)

    return (
        exam(one) == exam(other)
        and np.array_equal(one.users, other.users)
        and _same(list(one.overall.values()), list(other.overall.values()))
        and one.per_user.keys() == other.per_user.keys()
        and all(_same(values, other.per_user[name]) for name, values in one.per_user.items())
    )


def _same(one: ArrayLike, other: ArrayLike) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def run_names(folders: Sequence[Path]) -> dict[Path, str]:
    """Return the shortest names that tell run folders apart.

    Example:
        >>> run_names([Path("/a/runs/1"), Path("/a/runs/2")])[Path("/a/runs/2")]
        '2'
    """
    if len({folder.name for folder in folders}) == len(folders):
        return {folder: folder.name for folder in folders}
    shared = os.path.commonpath(folders)
    return {folder: folder.relative_to(shared).as_posix() for folder in folders}


def are_folds(runs: Sequence[StoredRun]) -> bool:
    """Whether runs have the same config but for the fold (and so other test rows)."""

    def without_fold(run: StoredRun) -> Mapping[str, Any]:
        split = {key: value for key, value in run.config["split"].items() if key != "fold"}
        return {**run.config, "split": split}

    folds = [run.config["split"].get("fold") for run in runs]
    return (
        None not in folds
        and len(set(folds)) == len(folds)
        and all(without_fold(run) == without_fold(runs[0]) for run in runs)
        and len({run.data["dataset_fingerprint"] for run in runs}) == 1
    )


def _print_folds(
    rows: Sequence[Mapping[str, Any]], runs: Sequence[StoredRun], console: Console
) -> None:
    split = runs[0].config["split"]
    console.print(
        f"{runs[0].data['name']}, {split['name']}: {len(runs)} of {split.get('n_folds', '?')} "
        "folds, mean ± standard deviation",
        markup=False,
    )
    metrics = [key.removesuffix(" mean") for key in rows[0] if key.endswith(" mean")]
    console.print(f"protocol: {metrics[0].partition('(')[2].rstrip(')')}", markup=False)
    table = Table(box=None)
    table.add_column("model")
    for metric in metrics:
        table.add_column(metric.partition(" (")[0], justify="right")
    for row in rows:
        values = [f"{row[f'{m} mean']:.4f} ± {row[f'{m} std']:.4f}" for m in metrics]
        table.add_row(str(row["model"]), *values)
    console.print(table)
