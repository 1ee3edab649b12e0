"""The ensembles of a run: members chosen on validation, taken as they were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrec.core.config import Spec
from llmrec.core.errors import RunError
from llmrec.core.files import read_json
from llmrec.core.protocols import Recommender
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


def load_members(
    bench: Bench, chosen: Mapping[str, str], fitted: Mapping[str, Recommender]
) -> dict[str, Recommender]:
    """Return the fitted members by label: from memory where models are not kept, else from disk."""
    return {
        label: fitted[label] if label in fitted else load_recommender(bench.model_folder(label))
        for label in chosen.values()
    }


def make_ensemble(
    bench: Bench,
    spec: Mapping[str, Any],
    singles: Mapping[str, Spec],
    fitted: Mapping[str, Recommender],
) -> Recommender:
    raise RunError("not yet")
