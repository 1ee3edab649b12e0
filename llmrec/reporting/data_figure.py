"""A data set as a table for a paper and as one figure of its distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.files import atomic_path, write_text
from llmrec.core.types import Dataset
from llmrec.data.transforms import gini
from llmrec.reporting.latex_text import escape_latex
from llmrec.reporting.plots import INK, plot_style

BLUE, ORANGE = "#0072b2", "#d55e00"
DOTS_PER_INCH = 200
MONTHS_FROM_DAYS = 200
MOST_BARS = 20
FEW_DECADES = 200
MOST_BINS = 40


def latex_table(name: str, rows: Sequence[tuple[str, str]]) -> str:
    r"""Return a ``booktabs`` table of (what, figure) rows.

    Example:
        >>> print(latex_table("toy", [("Users", "3")]))
        \begin{tabular}{lr}
        \toprule
        & toy \\
        \midrule
        Users & 3 \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
    """
    body = [f"{escape_latex(what)} & {escape_latex(figure)} \\\\" for what, figure in rows]
    lines = [r"\begin{tabular}{lr}", r"\toprule", f"& {escape_latex(name)} \\\\", r"\midrule"]
    return "\n".join([*lines, *body, r"\bottomrule", r"\end{tabular}", ""])


def write_data_figure(dataset: Dataset, path: str | Path) -> None:
    """Write the figure as PNG.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        RunError: if the file cannot be written.
    """
    with plot_style():
        figure = data_figure(dataset)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format="png")


def write_latex_table(name: str, rows: Sequence[tuple[str, str]], path: str | Path) -> None:
    """Write `latex_table`.

    Raises:
        RunError: if the file cannot be written.
    """
    write_text(path, latex_table(name, rows))


def data_figure(dataset: Dataset) -> Any:
    """Return histories, popularity, activity over time, ratings and lengths of texts.

    What a data set lacks is no panel; the title says so of times and ratings.
    """
    with plot_style():
        from matplotlib.figure import Figure

        panels = _panels(dataset)
        n_rows = -(-len(panels) // 2)
        figure = Figure(figsize=(7.2, 0.2 + 2.4 * n_rows), layout="constrained")
        every = figure.subplots(n_rows, 2, squeeze=False).ravel()
        for axes, draw in zip(every, panels, strict=False):
            draw(axes)
        for axes in every[len(panels) :]:
            axes.set_axis_off()
        log = dataset.interactions
        has = {"times": log.timestamp, "ratings": log.rating}
        lacking = [f"no {name}" for name, values in has.items() if values is None]
        title = ", ".join([f"{dataset.name}: {len(dataset):,} interactions", *lacking])
        figure.suptitle(title, color=INK, fontsize=10)
    return figure


def _panels(dataset: Dataset) -> list[Callable[[Any], None]]:
    log = dataset.interactions
    panels: list[Callable[[Any], None]] = [
        lambda axes: _survival(axes, dataset.rows_by_user.lengths),
        lambda axes: _ranks(axes, dataset.item_counts),
    ]
    if log.timestamp is not None and len(log):
        time = log.timestamp
        panels.append(lambda axes: _activity(axes, time))
    if log.rating is not None and len(log):
        rating = log.rating
        panels.append(lambda axes: _ratings(axes, rating))
    written = dataset.item_texts()
    if any(written):
        panels.append(lambda axes: _words(axes, written, "Texts of items", "items"))
    if log.text is not None and any(log.text):
        said = log.text.tolist()
        panels.append(lambda axes: _words(axes, said, "What users write", "interactions"))
    return panels


def _survival(axes: Any, lengths: np.ndarray) -> None:
    lengths = lengths[lengths > 0]
    axes.set(title="Length of histories", xlabel="interactions of a user, at least")
    axes.set_ylabel("share of users")
    if len(lengths):
        values, counts = np.unique(lengths, return_counts=True)
        # The share with at least x holds from just above the value before x up to x.
        axes.step(values, counts[::-1].cumsum()[::-1] / len(lengths), where="pre", color=BLUE)
        _logarithmic(axes)
        _note(axes, f"median {np.median(lengths):g}\nGini {gini(lengths):.2f}")


def _ranks(axes: Any, counts: np.ndarray) -> None:
    counts = np.sort(counts[counts > 0])[::-1]
    axes.set(title="Popularity of items", xlabel="rank of the item", ylabel="interactions")
    if len(counts):
        axes.plot(np.arange(1, len(counts) + 1), counts, color=ORANGE)
        _logarithmic(axes)
        _note(axes, f"median {np.median(counts):g}\nGini {gini(counts):.2f}")


def _activity(axes: Any, timestamp: np.ndarray) -> None:
    from matplotlib.dates import AutoDateLocator

    axes.set(title="Activity", ylabel="interactions")
    days = timestamp.astype("datetime64[s]").astype("datetime64[D]")
    long = (days.max() - days.min()).astype(int) > MONTHS_FROM_DAYS
    unit = days.astype("datetime64[M]") if long else days
    bins, counts = np.unique(unit, return_counts=True)
    every = np.arange(bins[0], bins[-1] + 2)  # up to the end of the last one
    filled = np.zeros(len(every), np.int64)
    filled[np.searchsorted(every, bins)] = counts
    filled[-1] = filled[-2]
    edges = every.astype("datetime64[D]")
    axes.fill_between(edges, filled, step="post", color=BLUE, alpha=0.35)
    axes.step(edges, filled, where="post", color=BLUE, linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(AutoDateLocator(maxticks=7))
    _thousands(axes.yaxis)
    axes.set_xlabel("month" if long else "day")
    axes.tick_params(axis="x", rotation=30)


def _ratings(axes: Any, rating: np.ndarray) -> None:
    values, counts = np.unique(rating, return_counts=True)
    axes.set(title="Ratings", xlabel="rating", ylabel="share of interactions")
    if len(values) <= MOST_BARS:
        width = 0.8 * float(np.diff(values).min()) if len(values) > 1 else 0.8
        axes.bar(values, counts / counts.sum(), width=width, color=ORANGE)
        return
    weights = np.full(len(rating), 1 / len(rating))
    axes.hist(rating, bins=40, weights=weights, color=ORANGE)


def _words(axes: Any, texts: Sequence[str], title: str, owner: str) -> None:
    """Draw the lengths of texts that are not empty, up to the 99th percentile; tell the others."""
    from matplotlib.ticker import MaxNLocator

    every = np.array([len(text.split()) for text in texts])
    words = every[every > 0]
    most = int(np.quantile(words, 0.99, method="higher"))
    axes.set(title=title, xlabel="words", ylabel=owner)
    width = -(-most // MOST_BINS)  # whole words, so that no bin is wider than another
    axes.hist(words[words <= most], bins=np.arange(0.5, most + width + 0.5, width), color=ORANGE)
    axes.set_xlim(left=0)
    axes.margins(y=0.3)  # room for the note
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _thousands(axes.yaxis)
    longer, empty = int((words > most).sum()), len(every) - len(words)
    told = [f"median {np.median(words):g}"]
    told += [f"{longer:,} longer, up to {words.max():,}"] * bool(longer)
    told += [f"{empty:,} without text"] * bool(empty)
    axes.text(0.98, 0.97, "\n".join(told), ha="right", va="top", transform=axes.transAxes)


def _logarithmic(axes: Any) -> None:
    """Give both axes decades, with plain numbers at 1, 2 and 5 where there are few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(xscale="log", yscale="log")
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        steps = (1.0, 2.0, 5.0) if high / low < FEW_DECADES else (1.0,)
        axis.set_major_locator(LogLocator(10, subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        axis.set_minor_formatter(NullFormatter())


def _thousands(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _note(axes: Any, text: str) -> None:
    axes.text(0.04, 0.05, text, ha="left", va="bottom", transform=axes.transAxes)
