"""How numbers, names and significance are written, the same in every table and plot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llmrec.core.protocols import Family
from llmrec.evaluation.comparison import Comparison, Versus
from llmrec.evaluation.result import ModelResult

RANDOM_INIT = "random init"
MISSING = "–"
SIGNIFICANT = 0.05
FAMILY_NAMES: dict[Family, str] = {
    "baseline": "baseline",
    "language_model": "language model",
    "control": "control without text",
    "ensemble": "ensemble",
}
FAMILY_SHORT: dict[Family, str] = {
    "baseline": "baseline",
    "language_model": "LM",
    "control": "control",
    "ensemble": "ensemble",
}
STARS_KEY = "*** p<.001, ** p<.01, * p<.05"


def is_random_init(result: ModelResult) -> bool:
    """Return whether the model, or a member of the ensemble, began with random weights."""
    return RANDOM_INIT in result.info.weights


def row_name(result: ModelResult) -> str:
    """Return the label, marked ``(random init)`` where it is so and the label does not say it."""
    if is_random_init(result) and RANDOM_INIT not in result.label:
        return f"{result.label} ({RANDOM_INIT})"
    return result.label


def short_name(result: ModelResult, width: int = 44) -> str:
    """Return the row's name for a plot: a long label loses its middle, never its mark."""
    name = row_name(result)
    mark = name[len(result.label) :]
    room = max(width - len(mark), 12)
    if len(result.label) <= room:
        return name
    head = room * 2 // 3
    return f"{result.label[:head].rstrip()}…{result.label[head + 1 - room :].lstrip()}{mark}"


def short_weights(weights: str, width: int = 24) -> str:
    """Return the origin of weights for a narrow column: no organisation, a short revision.

    Example:
        >>> short_weights("sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de3")
        'all-MiniLM-L6-v2@c9745ed'
    """
    if RANDOM_INIT in weights:  # the mark is never cut off
        return weights if len(weights) <= width else RANDOM_INIT
    name, at, revision = weights.partition("@")
    if "://" not in name and "," not in name and "(" not in name:
        name = name.rstrip("/").rpartition("/")[2]
    if len(revision) > 12 and all(char in "0123456789abcdef" for char in revision):
        revision = revision[:7]
    short = name + at + revision
    return short if len(short) <= width else short[: width - 1] + "…"


def number(value: float, digits: int = 4) -> str:
    """Return a metric's value, a dash where it is undefined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else MISSING


def interval(bounds: tuple[float, float] | None, digits: int = 4) -> str:
    """Return ``[low, high]``, a dash where there is none; three digits go without their zero.

    Example:
        >>> interval((0.0912, 1.0)), interval((0.0912, 1.0), digits=3)
        ('[0.0912, 1.0000]', '[.091, 1.000]')
    """
    if bounds is None or not all(math.isfinite(bound) for bound in bounds):
        return MISSING
    low, high = (number(bound, digits) for bound in bounds)
    if digits < 4:
        low, high = (
            text.replace("0.", ".", 1) if abs(float(text)) < 1 else text for text in (low, high)
        )
    return f"[{low}, {high}]"


def percent(share: float) -> str:
    """Return a signed share in percent, with a true minus sign."""
    if not math.isfinite(share):
        return MISSING
    return f"{100 * share:+.1f}%".replace("-", "−")


def signed(value: float, digits: int = 4) -> str:
    """Return a signed number, with a true minus sign."""
    return f"{value:+.{digits}f}".replace("-", "−") if math.isfinite(value) else MISSING


def p_value(p: float) -> str:
    """Return a p-value as papers write it.

    Example:
        >>> p_value(0.0123), p_value(0.0001), p_value(0.5), p_value(1.0)
        ('.012', '<.001', '.50', '1.0')
    """
    if not math.isfinite(p):
        return MISSING
    if p < 0.001:
        return "<.001"
    if p > 0.995:
        return "1.0"
    return (f"{p:.3f}" if p < 0.1 else f"{p:.2f}").lstrip("0")


def p_phrase(p: float) -> str:
    """Return ``p<.001`` or ``p=.012``, without blanks so that no line breaks inside."""
    text = p_value(p)
    return f"p{text}" if text.startswith("<") else f"p={text}"


def stars(p: float) -> str:
    """Return the stars of a p-value: three below .001, two below .01, one below .05."""
    return "*" * sum(p < limit for limit in (0.001, 0.01, SIGNIFICANT))


def seconds(value: float) -> str:
    """Return a duration in the unit people would say.

    Example:
        >>> [seconds(x) for x in (0, 0.0042, 7.25, 75, 4020)]
        ['0 s', '4 ms', '7.2 s', '1m 15s', '1h 7m']
    """
    if value == 0:
        return "0 s"
    if value < 0.0995:
        return f"{max(1, round(1000 * value))} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    return f"{minutes // 60}h {minutes % 60}m"


def milliseconds(value: float) -> str:
    """Return milliseconds with three significant digits."""
    if value == 0:
        return "0"
    if value < 0.0005:
        return "<0.001"
    return f"{value:.0f}" if value >= 100 else f"{value:.{2 if value < 10 else 1}f}".lstrip()


def size(n_bytes: float) -> str:
    """Return bytes in MB or GB (decimal).

    Example:
        >>> [size(x) for x in (0, 2_000, 34_500_000, 2_340_000_000)]
        ['0 MB', '<1 MB', '34 MB', '2.3 GB']
    """
    if n_bytes >= 999.5e6:
        return f"{n_bytes / 1e9:.1f} GB"
    return "<1 MB" if 0 < n_bytes < 0.5e6 else f"{n_bytes / 1e6:.0f} MB"


def count(n: int) -> str:
    """Return a count of parameters with its unit.

    Example:
        >>> [count(n) for n in (0, 943, 1682, 27_650, 22_713_216, 124_439_808, 1_500_000_000)]
        ['0', '943', '1.7k', '28k', '23M', '124M', '1.5B']
    """
    scaled, unit = float(n), ""
    for unit in ("", "k", "M", "B"):  # noqa: B007 - the unit that stopped the loop is used
        if scaled < 999.5:
            break
        scaled /= 1000
    return f"{scaled:.1f}{unit}" if unit and scaled < 9.95 else f"{scaled:.0f}{unit}"


def parameters(result: ModelResult) -> str:
    """Return ``all / trainable``, once if they are the same."""
    info = result.info
    if info.parameters == info.trainable:
        return count(info.parameters)
    return f"{count(info.parameters)} / {count(info.trainable)}"


def endpoint_lines(comparison: Comparison) -> list[str]:
    """Return one sentence for each row that asked an endpoint: requests, tokens, money."""
    asked = ((result.label, result.costs.endpoint()) for result in comparison.results)
    return [endpoint_line(label, usage) for label, usage in asked if usage]


def endpoint_line(label: str, usage: Mapping[str, Any]) -> str:
    """Return what a row or a writer asked of an endpoint, in one sentence."""
    paid = "no prices set" if usage["spent"] is None else f"{usage['spent']:.4g} spent"
    about = "about " if usage["estimated_tokens"] else ""
    return (
        f"{label}: {usage['requests']:,} requests sent and {usage['cached_requests']:,} answered "
        f"from disk, {about}{usage['input_tokens']:,} tokens read and {usage['output_tokens']:,} "
        f"written, {paid}."
    )


def best_values(comparison: Comparison) -> dict[str, list[float]]:
    """Return by metric its distinct values as shown in tables, best first (undefined ones out)."""
    ordered: dict[str, list[float]] = {}
    for metric in metric_names(comparison):
        values = {
            round(result.overall[metric], 4)
            for result in comparison.results
            if math.isfinite(result.overall.get(metric, math.nan))
        }
        ordered[metric] = sorted(values, reverse=higher_is_better(comparison, metric))
    return ordered


def metric_names(comparison: Comparison) -> list[str]:
    """Return every metric of the comparison, in table order."""
    return list(dict.fromkeys(metric for result in comparison.results for metric in result.metrics))


def higher_is_better(comparison: Comparison, metric: str) -> bool:
    """Return the direction of a metric."""
    return next(
        result.higher_is_better[metric]
        for result in comparison.results
        if metric in result.higher_is_better
    )


def result_of(comparison: Comparison, label: str) -> ModelResult:
    """Return the row of a label."""
    return next(result for result in comparison.results if result.label == label)


def best_of(comparison: Comparison, family: Family) -> ModelResult | None:
    """Return the best row of a family; for baselines that is the reference if there is one."""
    if family == "baseline" and comparison.reference is not None:
        return result_of(comparison, comparison.reference)
    return next((r for r in comparison.results if r.info.family == family), None)


def main_versus(comparison: Comparison, label: str) -> Versus | None:
    """Return a row against the reference on the main metric, None where it was not tested."""
    return comparison.versus.get(label, {}).get(comparison.main_metric)


def gain(comparison: Comparison, versus: Versus, against: str | None = None) -> tuple[str, str]:
    """Return the difference and its interval, relative to the other row where that makes sense.

    Args:
        comparison: where the rows are.
        versus: the difference.
        against: label of the other row, by default the reference.

    Returns:
        e.g. ``("+45.0%", "[+31.2%, +58.8%]")``; absolute if the other is not above zero.
    """
    base = math.nan
    other = comparison.reference if against is None else against
    if other is not None:
        base = result_of(comparison, other).overall[comparison.main_metric]
    if base > 0:
        values = [percent(x / base) for x in (versus.difference, versus.low, versus.high)]
    else:
        values = [signed(x) for x in (versus.difference, versus.low, versus.high)]
    return values[0], f"[{values[1]}, {values[2]}]"


def is_better(comparison: Comparison, versus: Versus) -> bool:
    """Return whether a difference points the good way on the main metric."""
    return (versus.difference > 0) == higher_is_better(comparison, comparison.main_metric)


def is_significant(versus: Versus) -> bool:
    """Return whether the corrected p-value is below 5 %."""
    return versus.p_holm < SIGNIFICANT
