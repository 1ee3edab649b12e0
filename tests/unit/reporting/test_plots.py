from __future__ import annotations

import dataclasses

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core.errors import RunError
from llmrec.reporting import plots
from llmrec.reporting.labels import apart
from llmrec.reporting.svg import inline_svg

LENGTHS = np.arange(200) % 97


def _texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def _all(comparison):
    return {
        "metric": plots.metric_plot(comparison),
        "cost": plots.cost_plot(comparison),
        "curve": plots.curve_plot(comparison),
        "history": plots.history_plot(comparison, LENGTHS),
    }


def test_random_init_is_said_wherever_such_a_row_is_drawn(comparison):
    for name, figure in _all(comparison).items():
        texts = _texts(figure)
        assert "gpt2 items minilm (random init)" in texts, name
        assert not any(text == "gpt2 items minilm" for text in texts), name


def test_every_model_is_named(comparison):
    figures = _all(comparison)
    for name in ("metric", "cost", "curve"):
        texts = " ".join(_texts(figures[name]))
        assert all(result.label in texts for result in comparison.results), name
        assert "(leave-one-out, full)" in texts


def test_no_global_state_and_the_users_style_is_ignored(comparison):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 40, "axes.facecolor": "red"}):
        styled = inline_svg(plots.metric_plot(comparison), "p", "")
        assert matplotlib.rcParams["font.size"] == 40
    assert dict(matplotlib.rcParams) == before
    assert styled == inline_svg(plots.metric_plot(comparison), "p", "")


def test_names_do_not_cover_each_other(comparison):
    for figure in (plots.cost_plot(comparison), plots.curve_plot(comparison)):
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()
        labels = {result.label for result in comparison.results}
        boxes = [
            text.get_window_extent(renderer)
            for text in figure.axes[0].texts
            if text.get_text().replace(" (random init)", "") in labels
        ]
        assert len(boxes) == len(labels)
        for i, a in enumerate(boxes):
            assert not any(a.overlaps(b) for b in boxes[i + 1 :])


def test_curve_at_ten_is_the_metric_at_ten(comparison):
    figure = plots.curve_plot(comparison)
    values = {round(float(line.get_ydata()[9]), 10) for line in figure.axes[0].lines}
    assert values == {round(result.overall["ndcg@10"], 10) for result in comparison.results}


def test_plots_that_make_no_sense_are_absent(comparison, make_comparison):
    no_ranks = tuple(dataclasses.replace(r, ranks=None) for r in comparison.results)
    assert plots.curve_plot(dataclasses.replace(comparison, results=no_ranks)) is None
    assert plots.history_plot(make_comparison(["ease", "random"]), LENGTHS) is None
    assert plots.history_plot(comparison, np.full(200, 30)) is None


def test_lengths_of_other_users_are_refused(comparison):
    with pytest.raises(RunError, match="200 users"):
        plots.history_plot(comparison, np.arange(10))


def test_history_groups_are_quartiles():
    groups = plots.history_groups(np.arange(1, 101))
    assert [(name, int(rows.sum())) for name, rows in groups] == [
        ("1–25", 25),
        ("26–50", 25),
        ("51–75", 25),
        ("76–100", 25),
    ]
    assert [name for name, _ in plots.history_groups(np.full(9, 5))] == ["5"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=100))
def test_history_groups_hold_every_user_once(lengths):
    groups = plots.history_groups(np.array(lengths))
    assert sum(rows.astype(int) for _, rows in groups).tolist() == [1] * len(lengths)


@given(st.lists(st.floats(0, 500), min_size=1, max_size=25))
def test_apart_keeps_order_and_distance(wanted):
    placed = apart(np.array(wanted), 10.0)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(placed[order]) >= 10 - 1e-6).all()
    assert np.isclose(placed.mean(), np.mean(wanted))


def test_svg_stands_alone(comparison):
    text = inline_svg(plots.cost_plot(comparison), "one", 'a "quoted" <alt>')
    assert "http" not in text
    assert 'aria-label="a &quot;quoted&quot; &lt;alt&gt;"' in text
    assert "currentColor" in text
    assert 'id="one-' in text
    assert text.endswith("</svg>")


def test_training_curves():
    figure = plots.training_plot({"loss": [(1, 2.0), (2, 1.0)], "ndcg@10": [(2, 0.1)], "lr": []})
    assert {"loss", "ndcg@10", "lr"} <= set(
        _texts(figure) + [a.get_title("left") for a in figure.axes]
    )
