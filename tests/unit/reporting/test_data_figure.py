from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmrec.core.types import Dataset, Interactions
from llmrec.data.summary import rows_of, summary
from llmrec.data.synthetic import Synthetic
from llmrec.experiment.datasets import data_text
from llmrec.reporting.data_figure import data_figure, latex_table, write_data_figure


def test_the_figure_shows_what_the_data_has() -> None:
    data = Synthetic(n_users=40, n_items=50).load()
    figure = data_figure(data)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Length of histories", "Popularity of items", "Activity", "Ratings"]
    shares = figure.axes[0].lines[0].get_ydata()
    assert shares[0] == 1, "everybody has at least the shortest history"
    assert figure.axes[1].lines[0].get_ydata().sum() == len(data)
    assert sum(bar.get_height() for bar in figure.axes[3].patches) == pytest.approx(1)


def test_the_share_with_at_least_x_is_right() -> None:
    user = np.repeat([0, 1, 2], [1, 2, 4]).astype(np.int32)
    log = Interactions(user, np.zeros(7, np.int32))
    data = Dataset("x", log, np.array(list("abc")), np.array(["i"]))
    line = data_figure(data).axes[0].lines[0]
    assert line.get_xdata().tolist() == [1, 2, 4]
    assert line.get_ydata().tolist() == pytest.approx([1, 2 / 3, 1 / 3])


def test_without_times_ratings_or_rows_the_figure_says_so(tmp_path: Path) -> None:
    log = Interactions(np.zeros(2, np.int32), np.arange(2, dtype=np.int32))
    data = Dataset("bare", log, np.array(["u"]), np.array(["a", "b"]))
    for each in (data, data.select(np.zeros(2, bool))):
        texts = [text.get_text() for axes in data_figure(each).axes for text in axes.texts]
        assert {"no times", "no ratings and no texts"} <= set(texts)
        write_data_figure(each, tmp_path / "x.png")
        assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_is_latex() -> None:
    text = latex_table("my_data", [("Share & more", "5 %")])
    assert "& my\\_data \\\\" in text
    assert "Share \\& more & 5 \\% \\\\" in text


def test_the_command_writes_all_three(tmp_path: Path) -> None:
    text = data_text("synthetic", ["n_users=30", "n_items=40"], output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "data.json",
        "data.png",
        "data.tex",
    ]
    assert "k_core.5.users" in text
    rows = rows_of(summary(Synthetic(n_users=30, n_items=40).load()))
    assert (tmp_path / "out" / "data.tex").read_text() == latex_table("synthetic", rows)
