"""Validation of a language model while it trains: the metric that picks the best epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.core.ranking import mask_items, ranks_of
from llmrec.core.types import Queries, Targets
from llmrec.metrics.classes import MacroF1
from llmrec.metrics.preference import LogLoss
from llmrec.metrics.ranking import NDCG
from llmrec.metrics.rating import RMSE
from llmrec.recommenders.scoring import score

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled

SCORES_AT_ONCE = 1 << 25


def validation_metric(tasks: frozenset[str]) -> tuple[str, bool]:
    """Return the metric that picks the best epoch, and whether higher is better."""
    if "rating" in tasks:
        return "rmse", False
    if "preference" in tasks:
        return "log_loss", False
    if "classes" in tasks:
        return "macro_f1", True
    return "ndcg@10", True


def validated(
    assembled: Assembled, queries: Queries, targets: Targets, metric: str, batch_size: int
) -> dict[str, float]:
    """Return the validation metric of the current weights."""
    if metric != "ndcg@10":
        assert targets.ratings is not None
        scores = score(assembled, queries, targets.items.padded(), batch_size)
        predicted = scores[targets.items.row_of, targets.items.place_of]
        truth = targets.ratings.values
        if metric == "rmse":
            return {metric: float(RMSE().overall(truth, predicted))}
        if metric == "macro_f1":
            return {metric: MacroF1().overall(truth, predicted)}
        likes = (truth >= assembled.head.threshold).astype(np.float32)
        return {metric: float(LogLoss().overall(likes, predicted))}
    values = []
    # A block of users at a time: all their scores over a large catalogue would not fit.
    for place, block in queries.batches(max(1, SCORES_AT_ONCE // assembled.n_items)):
        scores = mask_items(score(assembled, block, None, batch_size), block.histories)
        ranks = ranks_of(scores, targets.items.take(place), block.users)
        values.append(NDCG(k=10).per_user(ranks))
    return {metric: float(np.mean(np.concatenate(values)))}


def validated_tasks(
    main: Callable[[], Mapping[str, float]], owner: Any, queries: Queries, targets: Targets
) -> dict[str, float]:
    """Return the metric of the main task and, as ``label_metric``, those of auxiliary ones.

    A task that is written token by token is left out: a search of all users after each epoch would
    take longer than the epoch.

    Args:
        main: returns the metric of the main task.
        owner: the language model.
        queries: of validation.
        targets: what came true.
    """
    values = dict(main())
    for label, view in owner._others.items():
        metric, _ = validation_metric(view._head.tasks)
        if view.needs != "generate":
            size = owner.score_batch_size
            found = validated(view._model, queries, targets, metric, size)
            values[f"{label}_{metric}"] = found[metric]
    return values


def task_facts(owner: Any, curve: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the weight of each task, and per epoch its unweighted loss and validation metric.

    Learned weights, per epoch too, start from the former.
    """
    weights = {"main": 1.0, **{label: view.weight for label, view in owner._others.items()}}
    facts: dict[str, Any] = {}
    for label, weight in weights.items():
        facts[label] = {"weight": weight}
        for name, key in (("losses", f"loss_{label}"), ("weights", f"weight_{label}")):
            values = [point[key] for point in curve if key in point]
            if values or name == "losses":
                facts[label][name] = values
        start = f"eval_{label}_"
        for point in curve:
            for key, value in point.items():
                if key.startswith(start):
                    facts[label].setdefault(key.removeprefix(start), []).append(value)
    return facts


def beside_facts(
    owner: Any, taught: Mapping[str, Any] | None, curve: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """Return what is to be said of auxiliary tasks and of a teacher, if there are any."""
    facts: dict[str, Any] = {}
    if owner._others:
        facts["tasks"] = task_facts(owner, curve)
    if taught is not None:
        losses = [point["loss_teacher"] for point in curve if "loss_teacher" in point]
        facts["teacher"] = {**taught, "losses": losses}
    return facts
