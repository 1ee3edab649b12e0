"""What a reader has to know of single rows is told under and above every table."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from rich.console import Console

from llmrec.core.errors import MissingExtraError
from llmrec.evaluation.comparison import Comparison
from llmrec.reporting import html
from llmrec.reporting.beware import beware_lines
from llmrec.reporting.tables import latex
from llmrec.reporting.terminal import print_comparison


def noted(comparison: Comparison, details: dict[str, Any]) -> tuple[Comparison, str]:
    """Return the comparison with other details in its first row, and the label of that."""
    first, *others = comparison.results
    first = dataclasses.replace(first, info=dataclasses.replace(first.info, details=details))
    return dataclasses.replace(comparison, results=(first, *others)), first.label


def test_unknown_tokens_are_told_from_a_tenth_on(comparison: Comparison) -> None:
    assert beware_lines(comparison) == []
    few, _ = noted(comparison, {"unknown_share": 0.0999})
    assert beware_lines(few) == []
    many, label = noted(comparison, {"unknown_share": 0.347})
    (line,) = beware_lines(many)
    assert line.startswith(f"{label} does not know 35% of the tokens of its training texts")


def test_places_beyond_the_beams_are_told(comparison: Comparison) -> None:
    assert comparison.results[0].metrics[:2] == ("ndcg@10", "hr@10")
    enough, _ = noted(comparison, {"n_beams": 10})
    assert beware_lines(enough) == []
    few, label = noted(comparison, {"n_beams": 9})
    (line,) = beware_lines(few)
    assert line.startswith(f"{label} writes 9 items (n_beams), so that ndcg@10, hr@10")
    assert line.endswith("raise model.head.n_beams to 10 or more")
    first, *others = few.results
    short = dataclasses.replace(first, metrics=("rmse", "hr@5"))
    assert beware_lines(dataclasses.replace(few, results=(short, *others))) == []


def test_what_a_row_is_made_of_is_told_with_its_name(comparison: Comparison) -> None:
    details = {"ranker": {"unknown_share": 0.5, "prompts_cut": 1, "n_examples": 2}}
    made, label = noted(comparison, details)
    lines = beware_lines(made)
    assert len(lines) == 2
    assert all(line.startswith(f"{label} (ranker) ") for line in lines)


def test_every_table_tells_it(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any) -> None:
        raise MissingExtraError("no plots here")

    monkeypatch.setattr(html.plots, "metric_plot", absent)
    many, label = noted(comparison, {"unknown_share": 0.347})
    said = f"{label} does not know 35% of the tokens"
    stream = io.StringIO()
    print_comparison(many, console=Console(file=stream, width=100, highlight=False))
    assert f"Beware: {said}" in " ".join(stream.getvalue().split())
    assert f"<strong>Beware:</strong> {said}" in html.render_report(many)
    assert f"% beware: {said}" in latex(many)
    assert "beware" not in latex(comparison)
