"""The comparison as files for other programs: CSV with every digit, LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrec.core.files import write_text
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.result import ModelResult
from llmrec.reporting.beware import beware_lines
from llmrec.reporting.latex_text import escape_latex
from llmrec.reporting.text import (
    RANDOM_INIT,
    best_values,
    higher_is_better,
    is_random_init,
    is_significant,
    metric_names,
    milliseconds,
    parameters,
    seconds,
    short_weights,
)


def write_csv(comparison: Comparison, path: str | Path) -> None:
    """Write `Comparison.rows`: the same run gives the same bytes.

    Raises:
        RunError: if the file cannot be written.
    """
    write_rows(comparison.rows(), path)


def write_controls(comparison: Comparison, path: str | Path) -> None:
    """Write `Comparison.control_rows`: what the text is worth, for rows with a control.

    Raises:
        RunError: if the file cannot be written.
    """
    if comparison.controls:
        write_rows(comparison.control_rows(), path)


def write_costs(comparison: Comparison, path: str | Path) -> None:
    """Write `Comparison.cost_rows`: seconds, memory and parameters, which differ between runs.

    Raises:
        RunError: if the file cannot be written.
    """
    write_rows(comparison.cost_rows(), path)


def write_rows(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write mappings as CSV: columns in order of first appearance, floats with every digit.

    A value that is None or NaN is an empty field.

    Raises:
        RunError: if the file cannot be written.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_field(row.get(column)) for column in columns])
    write_text(path, text.getvalue())


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):  # numpy's float64 is one too
        return "" if math.isnan(value) else repr(float(value))
    return str(value)


def write_latex(comparison: Comparison, path: str | Path) -> None:
    """Write a LaTeX table (packages booktabs and fontenc T1), ready to ``\\input``.

    Best value of each metric bold, second best underlined; a dagger where a row is significantly
    better than the reference after Holm's correction, a double dagger where it is worse.

    Raises:
        RunError: if the file cannot be written.
    """
    write_text(path, latex(comparison))


def latex(comparison: Comparison) -> str:
    """Return the LaTeX table as text."""
    metrics = metric_names(comparison)
    best = best_values(comparison)
    heads = [
        escape_latex(metric)
        + (r"~$\uparrow$" if higher_is_better(comparison, metric) else r"~$\downarrow$")
        for metric in metrics
    ]
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}; names in other scripts need",
        "% lualatex or xelatex and a font that has them",
        *(f"% beware: {line}" for line in beware_lines(comparison)),
        r"\begin{table}",
        r"  \centering\small",
        rf"  \caption{{{_caption(comparison)}}}",
        r"  \label{tab:llmrec}",
        rf"  \begin{{tabular}}{{ll{'r' * len(metrics)}rrr}}",
        r"    \toprule",
        "    " + _row(["Model", "Weights", *heads, "Fit", "ms/user", "Parameters"]),
        r"    \midrule",
    ]
    for result in comparison.results:
        lines.append("    " + _row(_cells(comparison, result, metrics, best)))
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cells(
    comparison: Comparison,
    result: ModelResult,
    metrics: Sequence[str],
    best: Mapping[str, list[float]],
) -> list[str]:
    costs = result.costs
    return [
        escape_latex(result.label),
        escape_latex(short_weights(result.info.weights)) or "--",
        *(_value(comparison, result, metric, best[metric]) for metric in metrics),
        escape_latex(seconds(costs.fit_seconds)),
        escape_latex(milliseconds(costs.score_milliseconds_per_user)),
        escape_latex(parameters(result)),
    ]


def _value(comparison: Comparison, result: ModelResult, metric: str, best: list[float]) -> str:
    value = result.overall.get(metric, math.nan)
    if not math.isfinite(value):
        return "--"
    text = f"{value:.4f}" if value >= 0 else f"$-${-value:.4f}"
    place = best.index(round(value, 4))
    if place == 0:
        text = rf"\textbf{{{text}}}"
    elif place == 1:
        text = rf"\underline{{{text}}}"
    versus = comparison.versus.get(result.label, {}).get(metric)
    if versus is None or not is_significant(versus):
        return text
    better = (versus.difference > 0) == higher_is_better(comparison, metric)
    return text + (r"\rlap{$^\dagger$}" if better else r"\rlap{$^\ddagger$}")


def _caption(comparison: Comparison) -> str:
    first = comparison.results[0]
    text = escape_latex(
        f"{first.data}, {comparison.protocol}, {len(first.users):,} users, ordered by "
        f"{comparison.main_metric}. Best in bold, second best underlined."
    )
    if comparison.reference is not None:
        text += (
            r" $\dagger$ ($\ddagger$): significantly better (worse) than the best baseline, "
            f"{escape_latex(comparison.reference)} (paired randomization test, $p < .05$ after "
            "Holm's correction)."
        )
    if any(is_random_init(result) for result in comparison.results):
        text += f" {RANDOM_INIT.capitalize()}: the weights were not pretrained."
    return text
