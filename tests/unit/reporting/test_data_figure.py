from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from llmrec.core.errors import ConfigError
from llmrec.core.files import read_json
from llmrec.core.types import Dataset, Interactions
from llmrec.data.summary import rows_of, summary
from llmrec.data.synthetic import Synthetic
from llmrec.experiment.datasets import data_text
from llmrec.reporting.data_figure import data_figure, latex_table, write_data_figure


def test_the_figure_shows_what_the_data_has() -> None:
    data = Synthetic(n_users=40, n_items=50).load()
    figure = data_figure(data)
    titles = [axes.get_title() for axes in figure.axes]
    own = ["Length of histories", "Popularity of items", "Activity", "Ratings", "Texts of items"]
    assert titles == [*own, ""]
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
        figure = data_figure(each)
        assert figure.get_suptitle().endswith("interactions, no times, no ratings")
        assert len(figure.axes) == 2
        write_data_figure(each, tmp_path / "x.png")
        assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_lengths_of_texts_leave_out_the_empty_and_tell_the_long() -> None:
    texts = np.array(["", "a", "a b", "b c", "x " * 500] + ["k l m"] * 495, dtype=object)
    log = Interactions(
        np.zeros(500, np.int32), np.arange(500, dtype=np.int32), None, None, np.array(texts)
    )
    data = Dataset("x", log, np.array(["u"]), np.array([f"i{n}" for n in range(500)]))
    axes = data_figure(data).axes[2]
    assert axes.get_title() == "What users write"
    assert [bar.get_height() for bar in axes.patches] == [1, 2, 495]
    assert axes.texts[0].get_text() == "median 3\n1 longer, up to 500\n1 without text"


def test_the_last_month_is_drawn_to_its_end() -> None:
    days = np.array([0, 300, 300]) * 86_400
    log = Interactions(np.zeros(3, np.int32), np.arange(3, dtype=np.int32), None, days)
    data = Dataset("x", log, np.array(["u"]), np.array(["a", "b", "c"]))
    line = data_figure(data).axes[2].lines[0]
    assert line.get_ydata()[-2:].tolist() == [2, 2]
    assert str(line.get_xdata()[-1]) == "1970-11-01"


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


def test_filters_and_steps_of_a_run_act_first_and_are_told(tmp_path: Path) -> None:
    words = ["n_users=30", "n_items=40", "+filter@filters.core=k_core", "filters.core.k=9"]
    text = data_text("synthetic", [*words, "+text@text.lower=case"], output=tmp_path)
    assert "steps.filters  " in text
    told = (tmp_path / "data.tex").read_text()
    assert "Applied: filters & 9-core" in told
    assert "Applied: text & lower" in told
    facts = read_json(tmp_path / "data.json")
    assert facts["k_core"]["5"]["interactions"] == facts["interactions"]
    assert facts["history_length"]["min"] >= 9
    with pytest.raises(ConfigError, match="k_core"):
        data_text("synthetic", ["+filter@filters.core=kcore"])
    with pytest.raises(ConfigError, match=r"filters\.core\.k"):
        data_text("synthetic", ["+filter@filters.core=k_core", "filters.core.k=0"])


def test_the_table_of_any_names_is_balanced_latex() -> None:
    facts = summary(Synthetic(n_users=30, n_items=40).load())
    text = latex_table("a{b}_c\\d^e~f#g$h%i&j", [*rows_of(facts), ("50 % & more_", "{x}")])
    plain = re.sub(r"\\([{}#$%&_]|textbackslash{}|textasciicircum{}|textasciitilde{})", "", text)
    assert plain.count("{") == plain.count("}") == 3  # of begin, its columns, and end
    assert not re.search("[#$^~_%]", plain)
    body = [line for line in plain.splitlines() if line.endswith(r"\\")]
    assert len(body) == len(rows_of(facts)) + 2
    assert all(line.count("&") == 1 for line in body)
