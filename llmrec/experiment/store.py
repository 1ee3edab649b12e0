"""Reading a run folder back, and (re)writing its tables from the results in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.core.errors import RunError, unknown
from llmrec.core.files import read_json
from llmrec.core.types import Dataset
from llmrec.evaluation.comparison import Comparison, compare
from llmrec.evaluation.options import EvaluationOptions
from llmrec.evaluation.result import ModelResult
from llmrec.experiment.compose import read_yaml
from llmrec.experiment.context import report_context
from llmrec.experiment.datasets import load_dataset
from llmrec.experiment.folder import COMPARISON, CONFIG, DATA, FAILURES, is_run, slugs
from llmrec.experiment.schema import recommenders
from llmrec.recommenders.base import load_recommender
from llmrec.reporting.html import ReportContext, write_report
from llmrec.reporting.tables import write_controls, write_costs, write_csv, write_latex


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run folder that was read back.

    Attributes:
        folder: where it is.
        config: the resolved config it was started with.
        data: what ``data.json`` says: sizes, protocol, leaks, fingerprints, source.
        results: the finished recommenders, in the order of the config.
        failures: sentences by label.
    """

    folder: Path
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    results: tuple[ModelResult, ...]
    failures: Mapping[str, str]

    @property
    def labels(self) -> list[str]:
        """Labels of all rows of the config, finished or not."""
        return [*recommenders(self.config), *(self.config.get("ensembles") or {})]

    def result(self, label: str) -> ModelResult:
        """Return the result of one recommender.

        Raises:
            UnknownNameError: if the run has no such row.
        """
        for result in self.results:
            if result.label == label:
                return result
        raise RunError(unknown(f"model of {self.folder}", label, [r.label for r in self.results]))

    def model(self, label: str) -> Any:
        """Return a fitted recommender.

        Raises:
            RunError: if there is no such row, or its model was not kept.
        """
        self.result(label)
        folder = self.folder / "models" / slugs(self.labels)[label]
        if not folder.is_dir():
            raise RunError(f'"{label}" of {self.folder} was not kept (save_models was false)')
        return load_recommender(folder)

    def dataset(self) -> Dataset:
        """Load the data of the run again.

        Raises:
            RunError: if it is no longer the same.
        """
        dataset = load_dataset(self.config)
        if dataset.fingerprint != self.data["dataset_fingerprint"]:
            raise RunError(
                f"the data {dataset.name} has changed since {self.folder} was run; "
                "the models in it do not fit it any more"
            )
        return dataset

    def context(self) -> ReportContext:
        """Return what its report says beside the numbers."""
        return report_context(self.folder, self.data, self.labels)

    def comparison(self) -> Comparison:
        """Compare the results again, exactly as the run did.

        Raises:
            RunError: if no recommender is finished.
        """
        if not self.results:
            raise RunError(f"{self.folder} has no finished recommender yet")
        options = EvaluationOptions.from_config(self.config["evaluation"])
        return compare_with(self.results, options, int(self.config["seed"]))


def load_run(folder: str | Path) -> StoredRun:
    """Read a run folder.

    Raises:
        RunError: if it is none.
    """
    place = Path(folder)
    if not is_run(place):
        raise RunError(f"{place} is not a run folder: it has no {CONFIG}")
    config = read_yaml(place / CONFIG)
    labels = [*recommenders(config), *(config.get("ensembles") or {})]
    return StoredRun(
        folder=place,
        config=config,
        data=read_json(place / DATA),
        results=tuple(load_results(place, labels)),
        failures=read_json(place / FAILURES) if (place / FAILURES).is_file() else {},
    )


def load_results(folder: Path, labels: Sequence[str]) -> list[ModelResult]:
    """Read the finished results of a run, in the order of the labels."""
    return [
        ModelResult.load(folder / "results" / slug)
        for slug in slugs(labels).values()
        if (folder / "results" / slug / "result.json").is_file()
    ]


def compare_with(
    results: Sequence[ModelResult], options: EvaluationOptions, seed: int
) -> Comparison:
    """Compare with the statistics that an evaluation config asks for."""
    return compare(
        results, seed=seed, n_resamples=options.n_resamples, confidence=options.confidence
    )


def write_tables(folder: Path, comparison: Comparison, context: ReportContext) -> None:
    """Write the comparison as CSV, LaTeX and HTML, its controls and its costs as CSV.

    Args:
        folder: where to.
        comparison: what to write.
        context: what the report says beside the numbers.
    """
    write_csv(comparison, folder / COMPARISON)
    write_controls(comparison, folder / "controls.csv")
    write_costs(comparison, folder / "costs.csv")
    write_latex(comparison, folder / "comparison.tex")
    write_report(comparison, folder, context=context)
