"""The report: one HTML file that holds everything and loads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from llmrec.core.errors import MissingExtraError
from llmrec.core.files import write_text
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.result import ModelResult
from llmrec.reporting import plots
from llmrec.reporting.beware import beware_lines
from llmrec.reporting.svg import inline_svg
from llmrec.reporting.text import (
    FAMILY_NAMES,
    MISSING,
    RANDOM_INIT,
    best_values,
    count,
    endpoint_lines,
    gain,
    higher_is_better,
    interval,
    is_random_init,
    main_versus,
    metric_names,
    milliseconds,
    number,
    p_value,
    row_name,
    seconds,
    size,
    stars,
)
from llmrec.reporting.verdict import verdict


@dataclass(frozen=True)
class Example:
    """What some recommenders gave one user.

    Attributes:
        user: external id.
        history: titles the user had, oldest first (the last few are enough).
        truth: titles held out.
        recommended: titles by label, best first.
    """

    user: str
    history: Sequence[str]
    truth: Sequence[str]
    recommended: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ReportContext:
    """What surrounds a comparison; every part may be absent.

    Attributes:
        data: facts of the data set by name (users, items, source, licence, …).
        leaks: what the split may leak by construction, in one sentence.
        findings: what the leak audit found, a sentence each; None if there was no audit.
        versions: of the packages and the machine, by name.
        config: the resolved config as YAML.
        history_lengths: (U,) known items of each user, in the order of the results' users.
        curves: by label, then curve name: (step, value) pairs.
        examples: recommendations to a few users.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    leaks: str = ""
    findings: Sequence[str] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    history_lengths: np.ndarray | None = None
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]] = field(default_factory=dict)
    examples: Sequence[Example] = ()


NO_CONTEXT = ReportContext()


@dataclass(frozen=True)
class Cell:
    """One table cell: what is shown and what it is sorted by."""

    text: str
    key: float
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """One plot with its words."""

    title: str
    note: str
    svg: Markup


def write_report(
    comparison: Comparison, folder: str | Path, *, context: ReportContext = NO_CONTEXT
) -> Path:
    """Write ``report.html`` into a folder and return its path.

    Without matplotlib (extra ``report``) the page says so in the place of the plots.

    Raises:
        RunError: if the file cannot be written, or the history lengths do not match the users.
    """
    path = Path(folder) / "report.html"
    write_text(path, render_report(comparison, context))
    return path


def render_report(comparison: Comparison, context: ReportContext = NO_CONTEXT) -> str:
    """Return the page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("llmrec.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["row_name"] = row_name
    environment.globals["named"] = _namer(comparison)
    try:
        pictures, without = _pictures(comparison, context), ""
        curves = _curves(context)
    except MissingExtraError as error:
        pictures, curves, without = [], [], str(error)
    first = comparison.results[0]
    return environment.get_template("report.html.j2").render(
        title=f"{first.data}: language models against collaborative filtering",
        first=first,
        comparison=comparison,
        context=context,
        verdict=verdict(comparison),
        level=f"{100 * comparison.confidence:g}%",
        metrics=metric_names(comparison),
        up={metric: higher_is_better(comparison, metric) for metric in metric_names(comparison)},
        rows=[_row(comparison, result) for result in comparison.results],
        tested=comparison.reference is not None and bool(comparison.versus),
        costs=[_cost_row(result) for result in comparison.results],
        endpoints=endpoint_lines(comparison),
        beware=beware_lines(comparison),
        any_random=any(is_random_init(result) for result in comparison.results),
        details=_details(comparison),
        facts=_facts(comparison, context),
        pictures=pictures,
        curves=curves,
        without_plots=without,
    )


def _namer(comparison: Comparison) -> Any:
    names = {result.label: row_name(result) for result in comparison.results}
    return lambda label: names.get(label, label)


def _row(comparison: Comparison, result: ModelResult) -> dict[str, Any]:
    best = best_values(comparison)
    main = comparison.main_metric
    cells = []
    for metric in metric_names(comparison):
        value = result.overall.get(metric, math.nan)
        winner = bool(best[metric]) and round(value, 4) == best[metric][0]
        note = ""
        if metric == main:
            note = interval(comparison.intervals.get(result.label, {}).get(metric))
        cells.append(Cell(number(value), _key(value), winner, note))
    versus = main_versus(comparison, result.label)
    change, probability = Cell(MISSING, -math.inf), Cell(MISSING, math.inf)
    if result.label == comparison.reference:
        change = Cell("reference", 0.0)
    elif versus is not None:
        text, bounds = gain(comparison, versus)
        mark = stars(versus.p_holm)
        change = Cell(f"{text} {mark}".strip(), _key(versus.difference), note=bounds)
        probability = Cell(p_value(versus.p_holm), _key(versus.p_holm))
    return {
        "result": result,
        "family": FAMILY_NAMES[result.info.family],
        "random": is_random_init(result),
        "weights": "" if result.info.weights == RANDOM_INIT else result.info.weights,
        "cells": cells,
        "change": change,
        "p": probability,
    }


def _cost_row(result: ModelResult) -> dict[str, Any]:
    costs, info = result.costs, result.info
    per_user = costs.score_milliseconds_per_user
    return {
        "result": result,
        "random": is_random_init(result),
        "cells": [
            Cell(seconds(costs.fit_seconds), costs.fit_seconds),
            Cell(milliseconds(per_user), per_user),
            Cell(size(costs.peak_memory_bytes), costs.peak_memory_bytes),
            Cell(count(info.parameters), info.parameters),
            Cell(count(info.trainable), info.trainable),
        ],
    }


def _key(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _facts(comparison: Comparison, context: ReportContext) -> dict[str, str]:
    first = comparison.results[0]
    facts = {
        "data set": first.data,
        "protocol": comparison.protocol,
        "task": first.task,
        "users judged": f"{len(first.users):,}",
        "reference": comparison.reference or "none: no baseline was judged",
        "confidence": f"{100 * comparison.confidence:g}%, bootstrap over users",
        "test": "paired randomization over users, two-sided, Holm's correction over the rows",
        "fingerprint": first.fingerprint,
    }
    if first.repeats:
        facts["repeats"] = f"{first.repeats:,} held-out items were in the history already"
    return facts | {_words(name): _plain(value) for name, value in context.data.items()}


def _plain(value: Any) -> str:
    """Return a fact in words: thousands apart, four digits, lists and mappings without braces."""
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: MISSING}[value]
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{_words(key)}: {_nested(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_nested(part) for part in value) or "none"
    return str(value)


def _nested(value: Any) -> str:
    inner = isinstance(value, Mapping | list | tuple) and value
    return f"({_plain(value)})" if inner else _plain(value)


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _details(comparison: Comparison) -> list[tuple[str, dict[str, str]]]:
    """Return by row what its fit noted (best epoch, ensemble weights, …)."""
    return [
        (
            row_name(result),
            {_words(key): _plain(value) for key, value in result.info.details.items()},
        )
        for result in comparison.results
        if result.info.details
    ]


def _pictures(comparison: Comparison, context: ReportContext) -> list[Picture]:
    main, best = comparison.main_metric, comparison.results[0]
    up = higher_is_better(comparison, main)
    level = f"{100 * comparison.confidence:g}%"
    summary = f"Best: {row_name(best)}, {number(best.overall[main])}."
    dotted = " The dotted line is the best baseline." if comparison.reference else ""
    made: list[tuple[str, str, Any]] = [
        (
            f"{main} by model",
            f"Dots are values, bars {level} bootstrap intervals over users.{dotted}",
            plots.metric_plot(comparison),
        ),
        (
            "Accuracy against cost",
            f"{'Up' if up else 'Down'} and to the left is better; the marker grows with the number "
            "of parameters.",
            plots.cost_plot(comparison),
        ),
        (
            "Length of the list",
            "The same metric if k items are shown; the best of each family is bold.",
            plots.curve_plot(comparison),
        ),
    ]
    if context.history_lengths is not None:
        made.append(
            (
                "For whom",
                "Users by the number of items they had (quartiles), the best row of each family. "
                f"Bars: {level} intervals of the mean, normal approximation.",
                plots.history_plot(comparison, context.history_lengths),
            )
        )
    return [
        Picture(title, note, Markup(inline_svg(figure, f"plot{place}", f"{title}. {summary}")))
        for place, (title, note, figure) in enumerate(made)
        if figure is not None
    ]


def _curves(context: ReportContext) -> list[tuple[str, Markup]]:
    found = []
    for place, (label, curves) in enumerate(context.curves.items()):
        if curves:
            alt = f"Training curves of {label}: {', '.join(curves)}"
            figure = plots.training_plot(curves)
            found.append((label, Markup(inline_svg(figure, f"curve{place}", alt))))
    return found
