"""The ensembles of a run: members chosen on validation, taken as they were fitted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from llmrec.core.config import Spec
from llmrec.core.errors import RunError
from llmrec.core.files import read_json
from llmrec.core.protocols import FitContext, Recommender
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Split, make_queries
from llmrec.ensembles.ensemble import Ensemble
from llmrec.evaluation.evaluate import Exam
from llmrec.evaluation.result import ModelResult
from llmrec.experiment.fitting import Bench
from llmrec.experiment.folder import VALIDATION
from llmrec.experiment.schema import BEST
from llmrec.recommenders.base import load_recommender


def choose(wanted: str, results: list[ModelResult], validation: Mapping[str, Any]) -> str:
    """Return the label that a member names: itself, or the best of a family on validation.

    Args:
        wanted: a label of the run, or ``best <family>``.
        results: the finished recommenders, in config order (the first wins a tie).
        validation: their validation values by label and metric.

    Raises:
        RunError: if there is none.
    """
    if wanted not in BEST:
        if wanted not in {result.label for result in results}:
            raise RunError(f'its member "{wanted}" failed')
        return wanted
    family = wanted.removeprefix("best ")
    able = [r for r in results if r.info.family == family and r.label in validation]
    if not able:
        raise RunError(f"no {family.replace('_', ' ')} with validation values is finished")
    metric = able[0].metrics[0]
    sign = 1 if able[0].higher_is_better[metric] else -1
    return max(able, key=lambda result: sign * validation[result.label][metric]).label


def members_of(
    bench: Bench, spec: Mapping[str, Any], singles: Mapping[str, Spec]
) -> dict[str, str]:
    """Return the label of each member of an ensemble.

    Raises:
        RunError: if a member failed, or two are the same recommender.
    """
    results = [
        ModelResult.load(bench.result_folder(label)) for label in singles if bench.finished(label)
    ]
    path = bench.folder / VALIDATION
    validation = read_json(path) if path.is_file() else {}
    chosen = {name: choose(wanted, results, validation) for name, wanted in spec["members"].items()}
    for name, label in chosen.items():
        if list(chosen.values()).count(label) > 1:
            raise RunError(f'its member {name}, "{label}", is a member twice')
    return chosen


def members_or_none(
    bench: Bench, spec: Mapping[str, Any], singles: Mapping[str, Spec]
) -> list[str] | None:
    """Return the labels of an ensemble's members; None if it cannot be made (`members_of` says
    why).
    """
    try:
        return list(members_of(bench, spec, singles).values())
    except RunError:
        return None


def is_current(bench: Bench, label: str, members: list[str] | None) -> bool:
    """Whether an ensemble is finished, and with the members that it has now.

    They were others if a row that failed at that time is better.
    """
    if not bench.finished(label):
        return False
    recorded = ModelResult.load(bench.result_folder(label)).info.details.get("members")
    return recorded == members


def forget(bench: Bench, label: str) -> None:
    """Remove what is kept of an ensemble: it may be of other members, and costs little to redo."""
    for folder in (bench.result_folder(label), bench.model_folder(label)):
        shutil.rmtree(folder, ignore_errors=True)


def make_ensemble(
    bench: Bench,
    spec: Mapping[str, Any],
    singles: Mapping[str, Spec],
    fitted: Mapping[str, Recommender],
) -> Ensemble:
    """Return an ensemble of fitted recommenders of the run; its combiner has not learned yet.

    Args:
        bench: the run.
        spec: members and other options of the recommender ``ensemble``.
        singles: the single recommenders of the run by label.
        fitted: those that are in memory; the others are read back.
    """
    labels = members_of(bench, spec, singles).values()
    members = {
        label: fitted[label] if label in fitted else load_recommender(bench.model_folder(label))
        for label in labels
    }
    options = {key: value for key, value in spec.items() if key not in ("name", "members")}
    if bench.options.threshold is not None:
        options["threshold"] = bench.options.threshold
    seed = derive_seed(bench.seed, "model", "ensemble")
    return Ensemble.of(members, **{"seed": seed, "task": bench.options.task, **options})


def fit_combiner(bench: Bench, ensemble: Ensemble, _: FitContext) -> float:
    """Let the combiner learn on validation; return the seconds that its members took to fit.

    It is asked what the validation exam asks, candidates included: the protocol that is judged.

    Raises:
        RunError: if it learns and the split has no validation rows.
    """
    if bench.valid is not None:
        teach(ensemble, bench.valid, bench.split)
    elif not ensemble.ready:
        raise RunError("its combiner learns on validation rows and the split has none")
    results = [ModelResult.load(bench.result_folder(label)) for label in ensemble.fitted]
    return sum(result.costs.fit_seconds for result in results)


def teach(ensemble: Ensemble, exam: Exam, split: Split) -> None:
    """Let a combiner learn from what the validation exam asks."""
    targets = exam.targets
    if exam.task == "preference":
        # the ratings of that exam are likes already; the ensemble has its own threshold
        targets = make_queries(split.train, split.valid)[1]
    ensemble.fit_combiner(exam.queries, targets)
