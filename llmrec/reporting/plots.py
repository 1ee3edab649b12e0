"""Plots of a comparison as matplotlib figures, made without pyplot and without global state.

Families differ by colour (Okabe and Ito's palette, safe for colour-blind readers) and by marker; a
hollow marker is a random-initialised model, and its name says so too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from llmrec.core.config import build, check
from llmrec.core.errors import RunError
from llmrec.core.extras import require
from llmrec.core.protocols import Family
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.result import ModelResult, full_label
from llmrec.reporting.labels import place_beside, spread
from llmrec.reporting.text import (
    FAMILY_NAMES,
    RANDOM_INIT,
    best_of,
    count,
    higher_is_better,
    is_random_init,
    short_name,
)

INK = "#1c1b19"
GRID = "#8c8a85"
COLOURS: dict[Family, str] = {
    "baseline": "#0072b2",
    "language_model": "#d55e00",
    "control": "#cc79a7",
    "ensemble": "#009e73",
}
MARKERS: dict[Family, str] = {
    "baseline": "o",
    "language_model": "s",
    "control": "^",
    "ensemble": "D",
}
CURVE_KS = tuple(range(1, 51))
_WIDTH = 7.2
_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "llmrec",
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Draw with our settings whatever the user's are; theirs are back afterwards.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "report", "a plot")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def metric_plot(comparison: Comparison) -> Any:
    """Return a dot plot of the main metric with confidence intervals, best on top."""
    main, results = comparison.main_metric, comparison.results
    with plot_style():
        figure, axes = _figure(0.9 + 0.3 * len(results))
        for place, result in enumerate(results):
            value = result.overall[main]
            colour = COLOURS[result.info.family]
            low, high = comparison.intervals.get(result.label, {}).get(main, (value, value))
            axes.plot([low, high], [place, place], color=colour, linewidth=1.8)
            axes.plot([value], [place], **_point(result), markersize=7)
        if comparison.reference is not None:
            reference = best_of(comparison, "baseline")
            if reference is not None:
                axes.axvline(reference.overall[main], color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(results)), [short_name(result) for result in results])
        axes.set_ylim(len(results) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(_metric_label(comparison))
        _legend(figure, results)
    return figure


def cost_plot(comparison: Comparison) -> Any:
    """Return the main metric against fit seconds (log scale), marker area by parameters."""
    main = comparison.main_metric
    results = [r for r in comparison.results if math.isfinite(r.overall[main])]
    with plot_style():
        figure, axes = _figure(4.4)
        fastest = [r.costs.fit_seconds for r in results if r.costs.fit_seconds > 0]
        floor = min([1.0, *fastest])
        x = np.array([max(r.costs.fit_seconds, floor) for r in results])
        y = np.array([r.overall[main] for r in results])
        for result, seconds, value in zip(results, x, y, strict=True):
            point = _point(result)
            axes.scatter(
                [seconds],
                [value],
                s=_area(result.info.parameters),
                marker=point["marker"],
                facecolor=point["markerfacecolor"],
                edgecolor=point["color"],
                linewidth=1.5,
                clip_on=False,
            )
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.1)
        axes.set_xlabel("fit, seconds (log scale)")
        axes.set_ylabel(_metric_label(comparison))
        _legend(figure, results, sizes=True)
        names = [short_name(result) for result in results]
        radii = [math.sqrt(_area(result.info.parameters)) / 2 for result in results]
        place_beside(axes, x, y, names, radii)
    return figure


def curve_plot(comparison: Comparison) -> Any | None:
    """Return the main metric at list lengths 1 to 50, None where there is no such thing."""
    base = comparison.main_metric.partition("@")[0]
    results = [result for result in comparison.results if result.ranks is not None]
    if not results or "@" not in comparison.main_metric:
        return None
    if check("metric", {"name": base, "k": 1}) or not hasattr(
        build("metric", {"name": base, "k": 1}), "per_user"
    ):
        return None
    metrics = [build("metric", {"name": base, "k": k}) for k in CURVE_KS]
    leaders = {
        found.label for family in COLOURS if (found := best_of(comparison, family)) is not None
    }
    with plot_style():
        figure, axes = _figure(4.2)
        ends, names, colours = [], [], []
        for result in reversed(results):
            values = [float(np.nanmean(metric.per_user(result.ranks))) for metric in metrics]
            leads = result.label in leaders
            axes.plot(
                CURVE_KS,
                values,
                **_point(result),
                linewidth=2.0 if leads else 1.0,
                alpha=1.0 if leads else 0.55,
                markersize=4.5,
                markevery=[0, 4, 9, 19, 29, 39, 49],
            )
            ends.append(values[-1])
            names.append(short_name(result))
            colours.append(COLOURS[result.info.family])
        axes.set_xlim(0, CURVE_KS[-1] + 0.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("k, length of the list")
        axes.set_ylabel(full_label(f"{base}@k", comparison.protocol))
        _legend(figure, results)
        spread(axes, CURVE_KS[-1], ends, names, colours)
    return figure


def history_plot(comparison: Comparison, history_lengths: np.ndarray) -> Any | None:
    """Return the main metric by quartile of history length, for the best of each family.

    None if there are not two families to compare, or all histories are equally long.

    Args:
        comparison: the rows; those judged need values per user.
        history_lengths: (U,) number of known items of each user, in the order of the results.

    Raises:
        RunError: if there is not one length per user.
    """
    found = (best_of(comparison, family) for family in COLOURS)
    leaders = [
        result
        for result in found
        if result is not None and comparison.main_metric in result.per_user
    ]
    if len(leaders) < 2:
        return None
    n_users = len(comparison.results[0].users)
    if np.shape(history_lengths) != (n_users,):
        raise RunError(
            f"the plot by history length needs one length for each of the {n_users} users, "
            f"got an array of shape {np.shape(history_lengths)}"
        )
    groups = history_groups(history_lengths)
    if len(groups) < 2:
        return None
    z = _z(comparison.confidence)
    with plot_style():
        figure, axes = _figure(3.4)
        for shift, result in zip(_shifts(len(leaders)), leaders, strict=True):
            means, errors = [], []
            for _, rows in groups:
                values = result.per_user[comparison.main_metric][rows]
                values = values[np.isfinite(values)]
                means.append(values.mean() if len(values) else math.nan)
                spread_of = values.std(ddof=1) if len(values) > 1 else 0.0
                errors.append(z * spread_of / math.sqrt(max(len(values), 1)))
            point = _point(result) | {"linestyle": "none"}
            places = np.arange(len(groups)) + shift
            axes.errorbar(
                places, means, yerr=errors, **point, markersize=7, label=short_name(result)
            )
        axes.set_xticks(
            range(len(groups)), [f"{name}\n{rows.sum()} users" for name, rows in groups]
        )
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("items in the user's history (quartiles of users)")
        axes.set_ylabel(_metric_label(comparison))
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2)
    return figure


def history_groups(lengths: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the quartiles of history length: a name such as ``21–46`` and a (U,) mask.

    Equal lengths stay together, so there may be fewer than four groups of unequal size.
    """
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="lower"))
    group = np.searchsorted(edges, lengths, side="left")
    groups = []
    for number in np.unique(group):
        rows = group == number
        low, high = int(lengths[rows].min()), int(lengths[rows].max())
        groups.append((str(low) if low == high else f"{low}–{high}", rows))
    return groups


def training_plot(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Any:
    """Return the training curves of one model, a small panel per name.

    Args:
        curves: (step, value) pairs by name.
    """
    columns = min(len(curves), 3)
    rows = math.ceil(len(curves) / columns)
    with plot_style():
        figure, panels = _figure(1.9 * rows, rows, columns)
        panels = np.ravel(panels)
        for axes, (name, points) in zip(panels, curves.items(), strict=False):
            steps, values = zip(*points, strict=True) if points else ((), ())
            few = len(points) <= 40
            axes.plot(steps, values, color=COLOURS["language_model"], marker="." if few else "")
            axes.set_title(name, loc="left", fontsize=9)
            axes.set_xlabel("step")
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
    return figure


def _figure(height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    figure_module = require("matplotlib.figure", "report", "a plot")
    agg = require("matplotlib.backends.backend_agg", "report", "a plot")
    figure = figure_module.Figure(figsize=(_WIDTH, height), layout="constrained")
    agg.FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def _point(result: ModelResult) -> dict[str, Any]:
    colour = COLOURS[result.info.family]
    return {
        "color": colour,
        "marker": MARKERS[result.info.family],
        "markerfacecolor": "none" if is_random_init(result) else colour,
        "markeredgewidth": 1.5,
    }


def _metric_label(comparison: Comparison) -> str:
    label = full_label(comparison.main_metric, comparison.protocol)
    better = higher_is_better(comparison, comparison.main_metric)
    return label if better else f"{label} ↓"


def _area(n_parameters: int) -> float:
    """Return a marker area in points² that grows with the order of magnitude."""
    return 22.0 + 26.0 * max(0.0, math.log10(max(n_parameters, 1)) - 3)


def _legend(figure: Any, results: Sequence[ModelResult], sizes: bool = False) -> None:
    lines = require("matplotlib.lines", "report", "a plot")

    def entry(label: str, marker: str, colour: str, fill: str, area: float = 40.0) -> Any:
        return lines.Line2D(
            [], [], color=colour, marker=marker, markerfacecolor=fill, markeredgewidth=1.5,
            linestyle="none", markersize=math.sqrt(area), label=label,
        )  # fmt: skip

    present = {result.info.family for result in results}
    entries = [
        entry(FAMILY_NAMES[family], MARKERS[family], COLOURS[family], COLOURS[family])
        for family in COLOURS
        if family in present
    ]
    if any(is_random_init(result) for result in results):
        entries.append(
            entry(
                f"hollow: {RANDOM_INIT}",
                MARKERS["language_model"],
                COLOURS["language_model"],
                "none",
            )
        )
    if sizes:
        most = max((result.info.parameters for result in results), default=0)
        for n in (10**3, 10**6, 10**8):
            if n <= max(most, 1000) * 3:
                entries.append(entry(f"{count(n)} parameters", "o", GRID, "none", _area(n)))
    figure.legend(
        handles=entries,
        loc="outside upper left",
        ncols=4 if len(entries) != 5 else 3,
        handletextpad=0.2,
        columnspacing=1.4,
    )


def _shifts(n: int) -> np.ndarray:
    return (np.arange(n) - (n - 1) / 2) * 0.16


def _z(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + confidence / 2)
