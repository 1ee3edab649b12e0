"""The ranked table on the terminal: what fits the width, with a caption that explains it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrec.core.protocols import Family
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.result import ModelResult
from llmrec.reporting.beware import beware_lines
from llmrec.reporting.text import (
    FAMILY_NAMES,
    FAMILY_SHORT,
    MISSING,
    RANDOM_INIT,
    STARS_KEY,
    best_values,
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
    parameters,
    row_name,
    seconds,
    short_weights,
    size,
    stars,
)
from llmrec.reporting.verdict import verdict

FAMILY_STYLE: dict[Family, str] = {
    "baseline": "cyan",
    "language_model": "magenta",
    "control": "blue",
    "ensemble": "green",
}
KEPT = 0
_PAD = 2
_LABEL_WIDTH, _LABEL_SHARE = 32, 0.4
_PIPE_WIDTH = 200
_CAPTION_WIDTH = 80


@dataclass(frozen=True)
class Column:
    """One column before it is known whether it fits.

    Attributes:
        key: what it is, for the note on what was left out.
        header: as printed.
        cells: one per row.
        drop: order of leaving: the highest goes first, `KEPT` never.
        left: whether the cells are words, which are aligned left.
    """

    key: str
    header: str
    cells: list[Text]
    drop: int
    left: bool = False

    @property
    def width(self) -> int:
        return max([cell_len(self.header), *(cell.cell_len for cell in self.cells)])


def make_console(file: IO[str] | None = None) -> Console:
    """Return a console for tables: as wide as the terminal, wide and plain in a pipe or file.

    A stream that cannot encode a character prints ``?`` instead of failing after a long run.
    """
    stream: Any = sys.stdout if file is None else file
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    console = Console(file=file, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(file=file, highlight=False, width=_PIPE_WIDTH)
    return console


def print_comparison(
    comparison: Comparison, *, console: Console | None = None, leaks: str = ""
) -> None:
    """Print the verdict, the ranked table and how to read it.

    Args:
        comparison: what to show.
        console: where; by default standard output.
        leaks: what the split may leak by construction, quoted under the table.
    """
    console = make_console() if console is None else console
    table, left_out = comparison_table(comparison, console.width)
    wide = min(console.width, max(console.measure(table).maximum, _CAPTION_WIDTH))
    console.print()
    console.print(Text(_title(comparison), "bold"), width=wide)
    console.print(table)
    for line in caption(comparison, leaks=leaks, left_out=left_out):
        console.print(line, width=wide)
    if console.color_system and "kind" in left_out:
        console.print(_colours(comparison), width=wide)
    console.print()
    console.print(Text(verdict(comparison).sentence, "bold"), width=wide)


def comparison_table(comparison: Comparison, width: int) -> tuple[Table, list[str]]:
    """Return the table that fits a width, and the names of the columns that did not.

    Columns leave by priority instead of wrapping; rank, model and the main metric always stay.
    """
    kept, left_out = _fit(_columns(comparison, origin_in_name=False), width)
    if "weights" in left_out:  # the mark must stay with the numbers: move it into the name
        kept, left_out = _fit(_columns(comparison, origin_in_name=True), width)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # with the divider, two blanks between columns
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    for column in kept:
        table.add_column(
            Text(column.header),
            justify="left" if column.left else "right",
            no_wrap=column.key != "model",
            overflow="fold",
        )
    for cells in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*cells)
    return table, left_out


def caption(comparison: Comparison, *, leaks: str = "", left_out: Sequence[str] = ()) -> list[Text]:
    """Return the lines under the table: what the columns mean and what to beware of."""
    main = comparison.main_metric
    order = "higher" if higher_is_better(comparison, main) else "lower"
    level = f"{100 * comparison.confidence:g}%"
    lines = [f"Ordered by {main} ({order} is better); the best of each metric is bold."]
    lines[0] += f" {level} CI: bootstrap over users."
    if comparison.reference is not None and comparison.versus:
        lines.append(
            f"Δ: relative to the best baseline, {comparison.reference}; paired randomization "
            f"test, Holm-corrected over the rows: {STARS_KEY}."
        )
    if any(is_random_init(result) for result in comparison.results):
        lines.append(f"{RANDOM_INIT}: the weights were not pretrained.")
    lines += endpoint_lines(comparison)
    if leaks:
        lines.append(f"Beware: {leaks}")
    lines += [f"Beware: {line}" for line in beware_lines(comparison)]
    if left_out:
        lines.append(f"Too narrow for: {', '.join(left_out)}.")
    return [Text(line, "dim") for line in lines]


def _title(comparison: Comparison) -> str:
    first = comparison.results[0]
    return f"{first.data} · {comparison.protocol} · {first.task} · {len(first.users):,} users"


def _colours(comparison: Comparison) -> Text:
    families = dict.fromkeys(result.info.family for result in comparison.results)
    names = [Text(FAMILY_NAMES[family], FAMILY_STYLE[family]) for family in families]
    return Text("Colours: ", "dim") + Text(", ", "dim").join(names)


def _fit(columns: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """Drop columns until the others fit; a very long label may wrap, so only a share counts."""
    kept, left_out = list(columns), []
    most = max(_LABEL_WIDTH, round(_LABEL_SHARE * width))

    def needed(column: Column) -> int:
        return min(column.width, most) if column.key == "model" else column.width

    while sum(needed(column) + _PAD for column in kept) - _PAD > width:
        last = max(kept, key=lambda column: column.drop)
        if last.drop == KEPT:
            break
        kept.remove(last)
        left_out.append(last.key)
    order = [column.key for column in columns]
    return kept, sorted(left_out, key=order.index)


def _columns(comparison: Comparison, origin_in_name: bool) -> list[Column]:
    results = comparison.results
    main, *others = metric_names(comparison)
    best = best_values(comparison)
    columns = [
        Column("rank", "#", [Text(str(place + 1), "dim") for place in range(len(results))], KEPT),
        Column("model", "model", [_name(r, origin_in_name) for r in results], KEPT, left=True),
        Column("kind", "kind", [_kind(result) for result in results], 55, left=True),
    ]
    if any(result.info.weights for result in results):
        origins = [Text(short_weights(r.info.weights), _origin_style(r)) for r in results]
        columns.append(Column("weights", "weights", origins, 60, left=True))
    columns.append(_metric_column(comparison, main, best[main], KEPT))
    if comparison.intervals:
        level = f"{100 * comparison.confidence:g}% CI"
        cells = [
            Text(interval(comparison.intervals.get(result.label, {}).get(main), digits=3), "dim")
            for result in results
        ]
        columns.append(Column(level, level, cells, 20))
    if comparison.reference is not None and comparison.versus:
        columns.append(Column("Δ", "Δ vs best", _gains(comparison), 10))
        columns.append(Column("p", "p (Holm)", _p_values(comparison), 50))
    for place, metric in enumerate(others):
        columns.append(_metric_column(comparison, metric, best[metric], 45 + 20 * place))
    costs = [result.costs for result in results]
    return [
        *columns,
        Column("fit", "fit", [Text(seconds(c.fit_seconds)) for c in costs], 30),
        Column(
            "ms/user",
            "ms/user",
            [Text(milliseconds(c.score_milliseconds_per_user)) for c in costs],
            40,
        ),
        Column("peak memory", "memory", [Text(size(c.peak_memory_bytes)) for c in costs], 64),
        Column("parameters", "params / train", [Text(parameters(r)) for r in results], 48),
    ]


def _name(result: ModelResult, with_origin: bool) -> Text:
    text = Text(result.label, FAMILY_STYLE[result.info.family])
    mark = row_name(result)[len(result.label) :]
    if with_origin and mark:
        text.append(mark, _origin_style(result))
    return text


def _kind(result: ModelResult) -> Text:
    return Text(FAMILY_SHORT[result.info.family], FAMILY_STYLE[result.info.family])


def _origin_style(result: ModelResult) -> str:
    return "yellow" if is_random_init(result) else "dim"


def _metric_column(comparison: Comparison, metric: str, best: list[float], drop: int) -> Column:
    header = metric if higher_is_better(comparison, metric) else f"{metric} ↓"
    cells = []
    for result in comparison.results:
        value = result.overall.get(metric, math.nan)
        winner = bool(best) and round(value, 4) == best[0]
        cells.append(Text(number(value), "bold" if winner else ""))
    return Column(metric, header, cells, drop)


def _gains(comparison: Comparison) -> list[Text]:
    """Return the cells with stars in a column of their own, so that the digits line up."""
    cells = []
    for result in comparison.results:
        versus = main_versus(comparison, result.label)
        if result.label == comparison.reference:
            cells.append(Text("reference", "dim"))
        elif versus is None:
            cells.append(Text(MISSING, "dim"))
        else:
            mark = stars(versus.p_holm)
            change = gain(comparison, versus)[0]
            cells.append(Text(f"{change} {mark:<3}", "" if mark else "dim"))
    return cells


def _p_values(comparison: Comparison) -> list[Text]:
    cells = []
    for result in comparison.results:
        versus = main_versus(comparison, result.label)
        cells.append(Text(MISSING if versus is None else p_value(versus.p_holm), "dim"))
    return cells
