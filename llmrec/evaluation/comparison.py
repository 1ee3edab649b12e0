"""Recommenders side by side: values, intervals, paired tests against the best baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmrec.core.errors import RunError
from llmrec.evaluation.result import ModelResult, full_label
from llmrec.evaluation.statistics import (
    UserSums,
    bootstrap,
    holm,
    identity,
    interval,
    paired,
    randomization_test,
)
from llmrec.metrics.names import parse


@dataclass(frozen=True)
class Versus:
    """One recommender against the reference (the best baseline) on one metric.

    Attributes:
        difference: value of the recommender minus that of the reference; where a per-user value
            is undefined for one of them, over the users whom both have. Raw: for an error metric
            such as RMSE a negative difference is the better one.
        low: lower end of the paired bootstrap confidence interval of the difference.
        high: upper end.
        p: two-sided p-value of the paired randomization test.
        p_holm: the same after Holm's correction over all recommenders tested on this metric. The
            claim is about the main metric; the others are there to look at.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class ControlTest:
    """A language model against the same model without its text, on the main metric.

    Attributes:
        model: label of the language model.
        control: label of the control: equal in all options but where the item tokens start.
        versus: model minus control; Holm's correction is over all such pairs.
    """

    model: str
    control: str
    versus: Versus


@dataclass(frozen=True, eq=False)
class Comparison:
    """The judged recommenders of one data set, split, candidate set and task, best first.

    Attributes:
        results: one per recommender, ordered by the main metric, best first.
        reference: label of the best baseline on the main metric (ties: the first), or None.
            It is chosen on the numbers shown, which flatters the reference: conservative for
            whoever challenges it.
        intervals: by label, then metric: (low, high) bootstrap interval of the value itself.
        versus: by label, then metric, for all but the reference.
        confidence: level of the intervals, e.g. 0.95.
        controls: what the text contributes, for each row whose control was judged too.
    """

    results: tuple[ModelResult, ...]
    reference: str | None
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    versus: Mapping[str, Mapping[str, Versus]]
    confidence: float = 0.95
    controls: tuple[ControlTest, ...] = ()

    @property
    def main_metric(self) -> str:
        """The metric that orders the table."""
        return self.results[0].metrics[0]

    @property
    def protocol(self) -> str:
        """Split and candidates, as quoted in every label."""
        return self.results[0].protocol

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat mapping per recommender: only what a rerun reproduces bit for bit."""
        main, level = self.main_metric, f"{100 * self.confidence:g}%"
        delta = f"Δ {main} vs {self.reference}"
        rows = []
        for result in self.results:
            low, high = self.intervals[result.label][main]
            row: dict[str, Any] = {
                "model": result.label,
                "family": result.info.family,
                "weights": result.info.weights,
            }
            row |= {
                full_label(name, self.protocol): result.overall[name] for name in result.metrics
            }
            row |= {f"{main} {level} low": low, f"{main} {level} high": high}
            if self.reference is not None:
                versus = self.versus.get(result.label, {}).get(main)
                row |= {
                    delta: versus.difference if versus else None,
                    f"{delta} {level} low": versus.low if versus else None,
                    f"{delta} {level} high": versus.high if versus else None,
                    f"{delta} p_holm": versus.p_holm if versus else None,
                }
            row |= {"parameters": result.info.parameters, "trainable": result.info.trainable}
            rows.append(row)
        return rows

    def control_rows(self) -> list[dict[str, Any]]:
        """Return one flat mapping per pair of a language model and its control."""
        name = full_label(self.main_metric, self.protocol)
        values = {result.label: result.overall[self.main_metric] for result in self.results}
        level = f"{100 * self.confidence:g}%"
        return [
            {
                "model": test.model,
                "control": test.control,
                name: values[test.model],
                f"{name} of the control": values[test.control],
                "difference": test.versus.difference,
                f"{level} low": test.versus.low,
                f"{level} high": test.versus.high,
                "p_holm": test.versus.p_holm,
            }
            for test in self.controls
        ]

    def cost_rows(self) -> list[dict[str, Any]]:
        """Return one flat mapping per recommender of seconds, memory and parameters."""
        return [
            {
                "model": result.label,
                "weights": result.info.weights,
                "fit_seconds": result.costs.fit_seconds,
                "score_milliseconds_per_user": result.costs.score_milliseconds_per_user,
                "peak_memory_bytes": result.costs.peak_memory_bytes,
                "parameters": result.info.parameters,
                "trainable": result.info.trainable,
                **result.costs.endpoint(),
            }
            for result in self.results
        ]


def compare(
    results: Sequence[ModelResult],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Comparison:
    """Put results side by side.

    Args:
        results: of one data set, split and task.
        seed: of the bootstrap and the randomization test.
        n_resamples: bootstrap samples, and rounds of the randomization test.
        confidence: level of the intervals.

    Raises:
        RunError: if results of different data, protocols or tasks are mixed, or labels repeat.
    """
    _check_comparable(results)
    main = results[0].metrics[0]
    ordered = tuple(sorted(results, key=lambda result: _place(result, main)))
    baselines = [r.label for r in ordered if r.info.family == "baseline"]
    reference = baselines[0] if baselines else None
    tested = [name for name in results[0].metrics if all(name in r.per_user for r in results)]
    sums = {(r.label, name): user_sums(r, name) for r in ordered for name in tested}
    pairs = {
        (label, name): paired(one, sums[reference, name])
        for (label, name), one in sums.items()
        if reference is not None and label != reference  # without a baseline nothing is tested
    }
    twins = {
        (model.label, control.label): paired(sums[model.label, main], sums[control.label, main])
        for model in ordered
        for control in ordered
        if is_control_of(control, model)
    }
    together = [*pairs.values(), *twins.values()]
    columns = list(dict.fromkeys([*sums.values(), *(one for pair in together for one in pair)]))
    samples = dict(
        zip(columns, bootstrap(columns, seed=seed, n_resamples=n_resamples).T, strict=True)
    )
    intervals: dict[str, dict[str, tuple[float, float]]] = {r.label: {} for r in ordered}
    for (label, name), one in sums.items():
        intervals[label][name] = interval(samples[one], confidence)
    tests = randomization_test(together, seed=seed, n_resamples=n_resamples)
    p_values = dict(zip(pairs, tests[: len(pairs)].tolist(), strict=True))

    def judged(pair: tuple[UserSums, UserSums], p: float, p_holm: float) -> Versus:
        mine, theirs = pair
        low, high = interval(samples[mine] - samples[theirs], confidence)
        return Versus(mine.value - theirs.value, low, high, p, p_holm)

    versus: dict[str, dict[str, Versus]] = {label: {} for label, _ in pairs}
    for name in tested:
        labels = [label for label, tested_name in pairs if tested_name == name]
        adjusted = holm(np.array([p_values[label, name] for label in labels]))
        for label, p_holm in zip(labels, adjusted.tolist(), strict=True):
            pair, p = pairs[label, name], p_values[label, name]
            versus[label][name] = judged(pair, p, p_holm)
    found = tests[len(pairs) :]
    controls = tuple(
        ControlTest(model, control, judged(pair, p, p_holm))
        for ((model, control), pair), p, p_holm in zip(
            twins.items(), found.tolist(), holm(found).tolist(), strict=True
        )
    )
    return Comparison(ordered, reference, intervals, versus, confidence, controls)


def is_control_of(control: ModelResult, model: ModelResult) -> bool:
    """Whether one row is the other without its text: the same in all other options."""
    return (
        model.info.family == "language_model"
        and control.info.family == "control"
        and model.info.details.get("twin") is not None
        and model.info.details["twin"] == control.info.details.get("twin")
    )


def user_sums(result: ModelResult, metric: str) -> UserSums:
    """Return one metric of a result as sums over users, for the statistics."""
    if result.truth is not None and result.predicted is not None:
        judge = parse([metric])[0].metric
        if hasattr(judge, "parts"):
            above, below = judge.parts(result.truth, result.predicted)
            return UserSums(above, below, getattr(judge, "link", identity))
    return UserSums.of_mean(result.per_user[metric])


def _place(result: ModelResult, metric: str) -> float:
    """Return a sort key: best first, undefined last."""
    value = result.overall[metric]
    if math.isnan(value):
        return math.inf
    return -value if result.higher_is_better[metric] else value


def _check_comparable(results: Sequence[ModelResult]) -> None:
    if not results:
        raise RunError("there is no result to compare; fit at least one recommender")
    first = results[0]
    for other in results[1:]:
        for what in ("task", "data", "protocol", "metrics", "fingerprint"):
            mine, theirs = getattr(first, what), getattr(other, what)
            if mine != theirs:
                raise RunError(
                    f'"{first.label}" and "{other.label}" cannot be compared, their {what} '
                    f"differs: {_short(mine)} and {_short(theirs)}; judge both on the same data, "
                    "split and evaluation"
                )
        if not np.array_equal(first.users, other.users):
            raise RunError(
                f'"{first.label}" and "{other.label}" were not asked about the same users'
            )
    labels = [result.label for result in results]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise RunError(
            f'more than one result is called "{twice[0]}"; give each recommender a label of its own'
        )
    if first.metrics[0] not in first.per_user:
        raise RunError(
            f'the main metric "{first.metrics[0]}" has no value per user to test; '
            "put another metric first"
        )


def _short(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:12]}…"
