"""Probes of a fitted recommender: what its numbers rest on, without fitting it again.

Each probe changes one thing that the model is given (the history, the words of the items, the
company in a batch, the order of the candidates) and judges it again on the same users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Queries, Ragged, Targets
from llmrec.evaluation.evaluate import Exam, evaluate
from llmrec.evaluation.result import ModelResult
from llmrec.evaluation.statistics import UserSums, bootstrap, interval

Records = Sequence[Mapping[str, str]]
LISTED = 10
CANDIDATES = 20


@dataclass(frozen=True)
class Probe:
    """One changed condition and what it did.

    Attributes:
        group: history, text, batch, inference or candidates.
        name: what was changed.
        value: the metric under it; NaN where only scores are compared.
        difference: mean over users of the metric minus that of the unchanged model.
        low: lower end of the 95 % bootstrap interval of `difference`.
        high: its upper end.
        changed: share of users whose top-10 list differs.
        drift: largest absolute difference of a score; NaN where scores are not compared.
    """

    group: str
    name: str
    value: float
    difference: float
    low: float
    high: float
    changed: float
    drift: float = float("nan")


@dataclass(frozen=True)
class Probed:
    """All probes of one recommender.

    Attributes:
        label: the recommender.
        metric: label of the metric, the first of the exam.
        value: of the unchanged model on these users.
        n_users: how many were asked.
        probes: in the order they were made.
        notes: what could not be asked, and why.
    """

    label: str
    metric: str
    value: float
    n_users: int
    probes: tuple[Probe, ...]
    notes: tuple[str, ...]


def sample_exam(exam: Exam, n_users: int, seed: int) -> Exam:
    """Return the exam with at most `n_users` users, drawn with a seed, in the old order."""
    if len(exam) <= n_users:
        return exam
    rng = np.random.default_rng(derive_seed(seed, "probed users"))
    rows = np.sort(rng.choice(len(exam), n_users, replace=False))
    return replace(
        exam,
        queries=exam.queries.take(rows),
        targets=exam.targets.take(rows),
        excluded=exam.excluded.take(rows),
        user_ids=exam.user_ids[rows],
    )


def probe(
    recommender: Any,
    exam: Exam,
    *,
    label: str,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Probed:
    """Ask a fitted recommender under changed conditions.

    Args:
        recommender: who is asked; the texts are changed only if it has ``other_texts``.
        exam: the users, see `sample_exam`; items of the full history stay excluded throughout.
        label: name of the row.
        seed: of shuffles and random words.
        progress: called with the name of each probe.
    """
    judge = _Judge(recommender, exam, label, progress)
    probes: list[Probe] = []
    notes: list[str] = []
    for name, changed in history_changes(exam.queries, seed).items():
        probes.append(judge.again("history", name, replace(exam, queries=changed)))
    reader = getattr(recommender, "item_records", None)
    if reader is None:
        notes.append(
            "text: not changed: this model reads no words when it scores (item tokens, features "
            "made before, or no language at all); fit it without text and with shuffled text to "
            "see what the text contributes"
        )
    else:
        for name, records in text_changes(reader, seed).items():
            try:
                with recommender.other_texts(records):
                    probes.append(judge.again("text", name, exam))
            except DataError as error:  # e.g. random words that are too long for a prompt
                notes.append(f"text: {name} could not be asked: {error}")
    for name, changed in review_changes(exam.queries, seed).items():
        probes.append(judge.again("review", name, replace(exam, queries=changed)))
    probes.append(_one_by_one(judge))
    if getattr(recommender, "inference", "fp32") == "int8":
        with recommender.in_fp32():
            probes.append(judge.again("inference", "fp32 instead of int8", exam))
    if exam.task == "ranking":
        probes.append(_other_candidate_order(judge, seed))
    return Probed(label, judge.metric, judge.value, len(exam), tuple(probes), tuple(notes))


class _Judge:
    """Judges conditions against the unchanged model."""

    def __init__(
        self, recommender: Any, exam: Exam, label: str, progress: Callable[[str], None]
    ) -> None:
        self.recommender = recommender
        self.exam = exam
        self.label = label
        self.progress = progress
        self.unchanged = self._result(exam)
        self.metric = next(iter(self.unchanged.per_user))
        self.value = float(self.unchanged.overall[self.metric])

    def _result(self, exam: Exam) -> ModelResult:
        return evaluate(self.recommender, exam, label=self.label)

    def again(self, group: str, name: str, exam: Exam) -> Probe:
        self.progress(name)
        result = self._result(exam)
        before = self.unchanged.per_user[self.metric]
        after = result.per_user[self.metric]
        known = ~(np.isnan(before) | np.isnan(after))
        difference = after[known] - before[known]
        low = high = float("nan")
        if len(difference):
            low, high = interval(bootstrap([UserSums.of_mean(difference)], seed=0)[:, 0])
        return Probe(
            group,
            name,
            float(result.overall[self.metric]),
            float(difference.mean()) if len(difference) else float("nan"),
            low,
            high,
            _lists_changed(self.unchanged, result),
        )


def _lists_changed(before: ModelResult, after: ModelResult) -> float:
    if before.lists is None or after.lists is None:
        return float("nan")
    width = min(LISTED, before.lists.shape[1])
    return float((before.lists[:, :width] != after.lists[:, :width]).any(1).mean())


def history_changes(queries: Queries, seed: int) -> dict[str, Queries]:
    """Return queries with other histories, by what was done to them."""
    n = len(queries.histories.values)
    rows = queries.histories.row_of
    noise = np.random.default_rng(derive_seed(seed, "shuffled histories")).random(n)
    shuffled = np.lexsort((noise, rows))
    backwards = np.lexsort((-np.arange(n), rows))
    from_end = queries.histories.offsets[1:][rows] - np.arange(n)
    latest = {k: _changed(queries, partial(Ragged.tail, n=k)) for k in (0, 1, 3, 10)}
    return {
        **{f"only the latest {k}": latest[k] for k in (1, 3, 10)},
        "without the newest item": _changed(queries, lambda r: r.keep(from_end > 1)),
        "shuffled order": _changed(queries, lambda r: r.with_values(r.values[shuffled])),
        "reversed order": _changed(queries, lambda r: r.with_values(r.values[backwards])),
        "no history": latest[0],
    }


def _changed(queries: Queries, change: Callable[[Ragged], Ragged]) -> Queries:
    """Return the queries with histories, ratings and times changed in the same way."""
    ratings, times = queries.ratings, queries.timestamps
    return replace(
        queries,
        histories=change(queries.histories),
        ratings=None if ratings is None else change(ratings),
        timestamps=None if times is None else change(times),
    )


def review_changes(queries: Queries, seed: int) -> dict[str, Queries]:
    """Return queries with other reviews of what is judged, by what was done; none without any."""
    reviews = queries.reviews
    if reviews is None:
        return {}
    order = np.random.default_rng(derive_seed(seed, "other reviews")).permutation(
        len(reviews.values)
    )
    empty = np.full(len(reviews.values), "", object)
    return {
        "permuted reviews": replace(queries, reviews=reviews.with_values(reviews.values[order])),
        "removed reviews": replace(queries, reviews=reviews.with_values(empty)),
    }


def text_changes(records: Records, seed: int) -> dict[str, list[dict[str, str]]]:
    """Return item records with other words, by what was done to them.

    * permuted: each item has the texts of another one,
    * removed: no text,
    * anonymised: ``item 17`` instead of a title, nothing else,
    * random: as many words, drawn from all the items' words.
    """
    rng = np.random.default_rng(derive_seed(seed, "other texts"))
    order = rng.permutation(len(records))
    words = sorted(
        {word for record in records for text in record.values() for word in text.split()}
    )
    draw = words or ["word"]

    def noise(text: str) -> str:
        return " ".join(draw[i] for i in rng.integers(len(draw), size=len(text.split())))

    return {
        "permuted texts": [dict(records[i]) for i in order],
        "removed texts": [dict.fromkeys(record, "") for record in records],
        "anonymised titles": [
            {**dict.fromkeys(record, ""), "title": f"item {number}"}
            for number, record in enumerate(records)
        ],
        "random words": [
            {field: noise(text) for field, text in record.items()} for record in records
        ],
    }


def _one_by_one(judge: _Judge) -> Probe:
    """Score users alone and in reverse order: nothing may depend on the company."""
    judge.progress("one by one")
    queries = judge.exam.queries.take(np.arange(min(len(judge.exam), 32))[::-1])
    items = None if queries.candidates is None else queries.candidates.padded()
    if judge.exam.task != "ranking":
        items = judge.exam.targets.take(np.arange(len(queries))[::-1]).items.padded()
    together = np.asarray(judge.recommender.score(queries, items))
    alone = np.empty_like(together)
    for row in range(len(queries)):
        one = slice(row, row + 1)
        alone[one] = judge.recommender.score(
            queries.take(one), None if items is None else items[one]
        )
    real = np.ones(alone.shape, bool) if items is None else items >= 0
    return _score_probe("batch", "users one by one", together, alone, real)


def _other_candidate_order(judge: _Judge, seed: int) -> Probe:
    """Score the same candidates in another order: a list must not be judged by its order."""
    judge.progress("candidates in another order")
    n = min(len(judge.exam), 64)
    queries = replace(judge.exam.queries.take(slice(0, n)), candidates=None)
    rng = np.random.default_rng(derive_seed(seed, "candidate order"))
    truth = judge.exam.targets.take(slice(0, n))
    size = min(CANDIDATES, judge.exam.n_items)
    items = np.stack([_with_target(truth, row, judge.exam.n_items, size, rng) for row in range(n)])
    order = np.argsort(rng.random(items.shape), axis=1)
    straight = np.asarray(judge.recommender.score(queries, items))
    moved = np.asarray(judge.recommender.score(queries, np.take_along_axis(items, order, axis=1)))
    back = np.empty_like(moved)
    np.put_along_axis(back, order, moved, axis=1)
    return _score_probe(
        "candidates", "candidates in another order", straight, back, np.ones(back.shape, bool)
    )


def _with_target(
    truth: Targets, row: int, n_items: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    target = truth.items[row][:1]
    others = rng.permutation(n_items)
    return np.concatenate([target, others[~np.isin(others, target)]])[:size]


def _score_probe(
    group: str, name: str, before: np.ndarray, after: np.ndarray, real: np.ndarray
) -> Probe:
    finite = real & np.isfinite(before) & np.isfinite(after)
    drift = float(np.abs(before - after)[finite].max(initial=0.0))
    low = np.where(real, before, -np.inf)
    high = np.where(real, after, -np.inf)
    first, second = (np.argsort(-x, axis=1, kind="stable")[:, :LISTED] for x in (low, high))
    changed = float((first != second).any(1).mean())
    nan = float("nan")
    return Probe(group, name, nan, nan, nan, nan, changed, drift)
