"""One exam for everybody: the same questions, candidates and metric code for each recommender."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from llmrec.core.errors import ComponentError, DataError
from llmrec.core.protocols import Recommender
from llmrec.core.ranking import mask_items, ranks_of, top_k
from llmrec.core.types import PADDING, Queries, Ragged, Split, Targets, make_queries
from llmrec.data.transforms import require_classes
from llmrec.evaluation.candidates import attach, distinct, excluded_items, places_of
from llmrec.evaluation.options import EvaluationOptions, JudgedTask
from llmrec.evaluation.result import Costs, ModelResult
from llmrec.metrics.names import NamedMetric, parse

Side = Literal["valid", "test"]
# Said in every label: with the review at hand it is another question.
READING = "models may read the review that is judged"


def _ignore(*_: Any) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Exam:
    """What every recommender of a run is asked, and how the answers are judged. Build it once.

    Attributes:
        task: ranking, rating or preference.
        metrics: in table order.
        queries: B queries, with candidates if those are sampled.
        targets: B rows of truth; for ranking without repeated items, for preference the ratings
            are 1 (like) or 0.
        excluded: B rows of item ids that may not be recommended.
        user_ids: (B,) external ids.
        n_items: size of the catalogue.
        data: name of the data set.
        fingerprint: of the data, the split and the candidates.
        protocol: split and candidates, as every label quotes it.
        batch_size: users scored at once.
        repeats: ranking: held-out items that their query's history holds already. They are ranked
            all the same.
    """

    task: JudgedTask
    metrics: tuple[NamedMetric, ...]
    queries: Queries
    targets: Targets
    excluded: Ragged
    user_ids: np.ndarray
    n_items: int
    data: str
    fingerprint: str
    protocol: str
    batch_size: int = 1024
    repeats: int = 0

    def __len__(self) -> int:
        return len(self.queries)


def make_exam(split: Split, options: EvaluationOptions, side: Side = "test") -> Exam:
    """Turn one side of a split into an exam.

    Args:
        split: the data.
        options: task, metrics, candidates.
        side: ``test`` asks with the history of train and validation; ``valid`` with that of train
            only, and says *validation* in the protocol.

    Raises:
        DataError: if that side is empty, or has no ratings (or reviews, or classes) where the task
            needs them.
    """
    held_out = split.test if side == "test" else split.valid
    known = split.train.union(split.valid) if side == "test" else split.train
    if not len(held_out):
        raise DataError(f'the split "{split.protocol}" of {split.train.name} has no {side} rows')
    queries, targets = make_queries(known, held_out, reviews=options.reads_review)
    n_items = held_out.n_items
    words = [split.protocol]
    excluded, repeats = Ragged.empty(len(queries)), 0
    if options.task == "ranking":
        targets = Targets(distinct(targets.items, n_items))
        excluded, repeats = excluded_items(queries, targets, n_items)
        queries, said = attach(options.candidates, queries, targets, n_items)
        words.append(said)
    elif targets.ratings is None:
        raise DataError(f"{split.train.name} has no ratings; the task {options.task} needs them")
    elif options.task == "preference":
        likes = (targets.ratings.values >= options.threshold).astype(np.float32)
        targets = Targets(targets.items, targets.ratings.with_values(likes))
        words.append(f"liked from {options.threshold:g}")
    if options.class_bounds is not None:
        require_classes(held_out, options.class_bounds)
        words.append(f"classes from {' and '.join(f'{b:g}' for b in options.class_bounds)}")
    if options.reads_review:
        words.append(READING)
    if side == "valid":
        words.append("validation")
    return Exam(
        task=options.task,
        metrics=tuple(parse(options.metrics)),
        queries=queries,
        targets=targets,
        excluded=excluded,
        user_ids=held_out.user_ids[queries.users],
        n_items=n_items,
        data=held_out.name,
        fingerprint=_fingerprint(split, options, side),
        protocol=", ".join(words),
        batch_size=options.batch_size,
        repeats=repeats,
    )


def _fingerprint(split: Split, options: EvaluationOptions, side: Side) -> str:
    parts = [part.fingerprint for part in (split.train, split.valid, split.test)]
    how: dict[str, Any] = {"side": side, "task": options.task, "threshold": options.threshold}
    if options.reads_review:
        how["reads_review"] = True
    if options.candidates.name != "full":
        how["candidates"] = asdict(options.candidates)
    return hashlib.sha256(json.dumps([*parts, how]).encode()).hexdigest()


def evaluate(
    recommender: Recommender,
    exam: Exam,
    *,
    label: str,
    progress: Callable[[float, str], None] = _ignore,
) -> ModelResult:
    """Judge a fitted recommender.

    Args:
        recommender: who is judged.
        exam: what it is asked.
        label: the row's name in tables, and in messages.
        progress: called with the share done (0..1) and a short text.

    Returns:
        the result; its `costs` hold the time of scoring and ranking only. What fitting cost is
        added with `ModelResult.with_costs`.

    Raises:
        ComponentError: if the recommender does not serve the task, or its scores have another
            shape or hold NaN.
    """
    if exam.task not in recommender.tasks:
        served = ", ".join(sorted(recommender.tasks))
        raise ComponentError(
            f'"{label}" ({type(recommender).__name__}) serves {served}, but the task is '
            f"{exam.task}; choose another recommender or another evaluation"
        )
    take_counts = getattr(recommender, "take_counts", dict)
    take_counts()  # what was generated before this exam is not its business
    judge = _judge_ranking if exam.task == "ranking" else _judge_points
    result, seconds = judge(recommender, exam, label, progress)
    usage: dict[str, Any] = getattr(recommender, "endpoint_usage", dict)()
    cost = Costs(score_milliseconds_per_user=1000 * seconds / len(exam), **usage)
    info = recommender.info
    info = replace(info, details={**info.details, **take_counts()})
    return replace(result, info=info, costs=cost)


def _judge_ranking(
    recommender: Recommender, exam: Exam, label: str, progress: Callable[[float, str], None]
) -> tuple[ModelResult, float]:
    width = max(1, *(metric.k for metric in exam.metrics))
    lists = np.full((len(exam), width), PADDING, np.int64)
    ranks = np.zeros(len(exam.targets.items.values), np.int64)
    offsets = exam.targets.items.offsets
    buffer = np.empty(0, np.float32)
    seconds = 0.0
    for place, batch in exam.queries.batches(exam.batch_size):
        began = time.perf_counter()
        items = None if batch.candidates is None else batch.candidates.padded()
        given = _ask(recommender, batch, items, exam.n_items, label)
        # A copy that is ours to write to; one buffer for all blocks saves the page faults.
        if buffer.size < given.size:
            buffer = np.empty(given.size, np.float32)
        scores = buffer[: given.size].reshape(given.shape)
        np.copyto(scores, given, casting="same_kind")
        if items is not None:
            scores[items < 0] = -np.inf
        if np.isnan(np.max(scores, initial=-np.inf)):
            raise _not_a_number(label, recommender)
        columns = exam.targets.items.take(place)
        if batch.candidates is None:
            mask_items(scores, exam.excluded.take(place))
        else:
            columns = places_of(columns, batch.candidates)
        ranks[offsets[place.start] : offsets[place.stop]] = ranks_of(
            scores, columns, batch.users
        ).values
        best = top_k(scores, width, batch.users)
        ids = best if items is None else np.take_along_axis(items, np.maximum(best, 0), axis=1)
        lists[place] = np.where(best >= 0, ids, PADDING)
        seconds += time.perf_counter() - began
        progress(place.stop / len(exam), f"judging {label}")
    ranked = exam.targets.items.with_values(ranks)
    per_user = {m.label: m.metric.per_user(ranked) for m in exam.metrics if m.family == "ranking"}
    overall = {name: _mean(values) for name, values in per_user.items()} | {
        m.label: m.metric.overall(lists, exam.n_items)
        for m in exam.metrics
        if m.family == "catalogue"
    }
    return _result(exam, label, overall, per_user, ranks=ranked, lists=lists), seconds


def _judge_points(
    recommender: Recommender, exam: Exam, label: str, progress: Callable[[float, str], None]
) -> tuple[ModelResult, float]:
    truth = exam.targets.ratings
    assert truth is not None
    predicted = np.empty(len(truth.values), np.float32)
    seconds = 0.0
    for place, batch in exam.queries.batches(exam.batch_size):
        began = time.perf_counter()
        asked = exam.targets.items.take(place)
        items = asked.padded()
        scores = _ask(recommender, batch, items, exam.n_items, label)[items >= 0]
        if np.isnan(scores).any():
            raise _not_a_number(label, recommender)
        predicted[truth.offsets[place.start] : truth.offsets[place.stop]] = scores
        seconds += time.perf_counter() - began
        progress(place.stop / len(exam), f"judging {label}")
    guesses = truth.with_values(predicted)
    overall = {m.label: float(m.metric.overall(truth.values, predicted)) for m in exam.metrics}
    per_user = {m.label: m.metric.per_user(truth, guesses) for m in exam.metrics}
    return _result(exam, label, overall, per_user, truth=truth, predicted=guesses), seconds


def _ask(
    recommender: Recommender, batch: Queries, items: np.ndarray | None, n_items: int, label: str
) -> np.ndarray:
    """Return the scores of one block, (B, C) as they come.

    Raises:
        ComponentError: for another shape, or values that are no real numbers.
    """
    scores = np.asarray(recommender.score(batch, items))
    expected = (len(batch), n_items) if items is None else items.shape
    if scores.shape != expected or scores.dtype.kind != "f":
        raise ComponentError(
            f'"{label}" ({type(recommender).__name__}) gave scores of shape {scores.shape} and '
            f"type {scores.dtype} where float32 of shape {expected} was asked for"
        )
    return scores


def _not_a_number(label: str, recommender: Recommender) -> ComponentError:
    return ComponentError(
        f'"{label}" ({type(recommender).__name__}) gave NaN as a score; a score is a number for '
        "every item of every query, also of an unknown user or an empty history"
    )


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _result(
    exam: Exam,
    label: str,
    overall: dict[str, float],
    per_user: dict[str, np.ndarray],
    **outcome: Any,
) -> ModelResult:
    return ModelResult(
        label=label,
        task=exam.task,
        data=exam.data,
        fingerprint=exam.fingerprint,
        protocol=exam.protocol,
        metrics=tuple(metric.label for metric in exam.metrics),
        higher_is_better={metric.label: metric.higher_is_better for metric in exam.metrics},
        overall={metric.label: overall[metric.label] for metric in exam.metrics},
        users=exam.user_ids.astype(str),
        per_user=per_user,
        repeats=exam.repeats,
        **outcome,
    )
