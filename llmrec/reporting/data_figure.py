"""A data set as a table for a paper and as one figure of four distributions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.files import atomic_path, write_text
from llmrec.core.types import Dataset
from llmrec.data.transforms import gini
from llmrec.reporting.plots import INK, plot_style
from llmrec.reporting.tables import escape_latex

BLUE, ORANGE = "#0072b2", "#d55e00"
DOTS_PER_INCH = 200
MONTHS_FROM_DAYS = 200


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
    """Return histories, popularity, activity over time, and ratings or words of texts."""
    with plot_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.2, 5.0), layout="constrained")
        histories, popularity, time, values = figure.subplots(2, 2).ravel()
        _survival(histories, dataset.rows_by_user.lengths)
        _ranks(popularity, dataset.item_counts)
        _activity(time, dataset.interactions.timestamp)
        _values(values, dataset)
        figure.suptitle(f"{dataset.name}: {len(dataset):,} interactions", color=INK, fontsize=10)
    return figure


def _survival(axes: Any, lengths: np.ndarray) -> None:
    lengths = lengths[lengths > 0]
    axes.set(title="Length of histories", xlabel="interactions of a user, at least")
    axes.set_ylabel("share of users")
    if len(lengths):
        values, counts = np.unique(lengths, return_counts=True)
        # The share with at least x holds from just above the value before x up to x.
        axes.step(values, counts[::-1].cumsum()[::-1] / len(lengths), where="pre", color=BLUE)
        axes.set(xscale="log", yscale="log")
        _note(axes, f"median {np.median(lengths):g}, Gini {gini(lengths):.2f}")


def _ranks(axes: Any, counts: np.ndarray) -> None:
    counts = np.sort(counts[counts > 0])[::-1]
    axes.set(title="Popularity of items", xlabel="rank of the item", ylabel="interactions")
    if len(counts):
        axes.plot(np.arange(1, len(counts) + 1), counts, color=ORANGE)
        axes.set(xscale="log", yscale="log")
        _note(axes, f"median {np.median(counts):g}, Gini {gini(counts):.2f}")


def _activity(axes: Any, timestamp: np.ndarray | None) -> None:
    axes.set(title="Activity", ylabel="interactions")
    if timestamp is None or not len(timestamp):
        _without(axes, "no times")
        return
    days = timestamp.astype("datetime64[s]").astype("datetime64[D]")
    long = (days.max() - days.min()).astype(int) > MONTHS_FROM_DAYS
    unit = days.astype("datetime64[M]") if long else days
    bins, counts = np.unique(unit, return_counts=True)
    every = np.arange(bins[0], bins[-1] + 1)
    filled = np.zeros(len(every), np.int64)
    filled[np.searchsorted(every, bins)] = counts
    axes.fill_between(every.astype("datetime64[D]"), filled, step="post", color=BLUE, alpha=0.35)
    axes.step(every.astype("datetime64[D]"), filled, where="post", color=BLUE, linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("month" if long else "day")
    axes.tick_params(axis="x", rotation=30)


def _values(axes: Any, dataset: Dataset) -> None:
    log = dataset.interactions
    if log.rating is not None and len(log.rating):
        values, counts = np.unique(log.rating, return_counts=True)
        axes.set(title="Ratings", xlabel="rating", ylabel="share of interactions")
        if len(values) <= 20:
            width = 0.8 * float(np.diff(values).min()) if len(values) > 1 else 0.8
            axes.bar(values, counts / counts.sum(), width=width, color=ORANGE)
        else:
            weights = np.full(len(log.rating), 1 / len(log.rating))
            axes.hist(log.rating, bins=40, weights=weights, color=ORANGE)
        return
    words = np.array([len(text.split()) for text in dataset.item_texts()])
    axes.set(title="Texts of items", xlabel="words", ylabel="items")
    if not words.any():
        _without(axes, "no ratings and no texts")
        return
    axes.hist(words, bins=min(40, int(words.max()) + 1), color=ORANGE)


def _note(axes: Any, text: str) -> None:
    axes.text(0.98, 0.97, text, ha="right", va="top", transform=axes.transAxes)


def _without(axes: Any, what: str) -> None:
    axes.text(0.5, 0.5, what, ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
