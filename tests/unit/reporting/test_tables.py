from __future__ import annotations

import csv
import dataclasses
import math

import pytest

from llmrec.core.errors import RunError
from llmrec.core.protocols import ModelInfo
from llmrec.reporting.tables import (
    escape_latex,
    latex,
    write_costs,
    write_csv,
    write_latex,
    write_rows,
)


def _read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_keeps_every_digit_and_awkward_labels(tmp_path):
    rows = [
        {"label": 'a,"b"\nc', "ndcg@10": 0.1 + 0.2, "p": None, "n": 3},
        {"label": "é–", "ndcg@10": 1e-300, "p": math.nan, "more": True},
    ]
    write_rows(rows, tmp_path / "rows.csv")
    first, second = _read(tmp_path / "rows.csv")
    assert list(first) == ["label", "ndcg@10", "p", "n", "more"]
    assert first["label"] == 'a,"b"\nc'
    assert float(first["ndcg@10"]) == 0.1 + 0.2
    assert (first["p"], first["more"], second["p"], second["n"]) == ("", "", "", "")
    assert float(second["ndcg@10"]) == 1e-300


def test_csv_is_the_rows_of_the_comparison(comparison, tmp_path):
    write_csv(comparison, tmp_path / "comparison.csv")
    rows, read = comparison.rows(), _read(tmp_path / "comparison.csv")
    assert len(read) == len(rows) == len(comparison.results)
    for row, line in zip(rows, read, strict=True):
        for key, value in row.items():
            if isinstance(value, float) and not math.isnan(value):
                assert float(line[key]) == value
            elif isinstance(value, str):
                assert line[key] == value
    assert "random init" in (tmp_path / "comparison.csv").read_text().splitlines()[1]


def test_costs(comparison, tmp_path):
    write_costs(comparison, tmp_path / "costs.csv")
    read = _read(tmp_path / "costs.csv")
    assert len(read) == len(comparison.results)
    assert any("131.0" in line.values() for line in read)


def test_a_file_that_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_rows([{"a": 1}], tmp_path / "file" / "rows.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_latex_escapes_and_marks(comparison, tmp_path):
    write_latex(comparison, tmp_path / "table.tex")
    text = (tmp_path / "table.tex").read_text(encoding="utf-8")
    lines = {line.split(" & ")[0].strip(): line for line in text.splitlines() if " & " in line}
    assert r"bert \& text\_100\%" in text
    assert "bert & text" not in text
    first = next(line for line in text.splitlines() if "gpt2 items minilm" in line)
    assert "random init" in first
    assert r"\textbf{0.2420}\rlap{$^\dagger$}" in first
    assert r"\underline{0.2294}\rlap{$^\dagger$}" in lines["mean of best"]
    assert r"$^\ddagger$" in lines["popularity"]
    assert "dagger" not in lines["ease"]
    assert "leave-one-out, full, 200 users" in text
    assert text.count(r"\textbf{") == len(comparison.results[0].metrics)


def test_latex_not_significant_has_no_dagger(make_comparison):
    text = latex(make_comparison(p=0.2))
    assert r"\rlap" not in text


def test_escape_every_special_character():
    assert escape_latex("&_%") == r"\&\_\%"
    assert escape_latex("a\\b{c}~^#$") == (
        r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\#\$"
    )


def test_an_ensemble_with_a_random_member_keeps_its_mark(make_comparison):
    comparison = make_comparison(["mean of best", "ease"])
    first, *rest = comparison.results
    origins = "sentence-transformers/all-MiniLM-L6-v2@c9745ed, random init"
    marked = dataclasses.replace(first, info=ModelInfo("ensemble", 1, 1, origins))
    assert "random init" in latex(dataclasses.replace(comparison, results=(marked, *rest)))
