"""The tables are compiled by pdfLaTeX itself, with the names that break tables."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from llmrec.reporting.data_figure import latex_table
from llmrec.reporting.latex_text import escape_latex
from llmrec.reporting.tables import latex

AWKWARD = [
    r"R&D_100% $5 #1 {x} ~a^b \cmd",
    "[bracket] first",
    "*star",
    'a--b ---c "quoted" `x\' ,, <<y>>|',
    "naïve Œuvre Žižek Ștefan Ħamrun ŉ",
    "e\u0301 decomposed",
    "😀👩\u200d👩\u200d👧 family",
    "עברית and العربية",
    "中文 русский ελληνικά",
    "\u202eoverride \ufeffmark \x07bell \x00nul \ud83d half",
    "two\nlines\tand tab",
    "€ ™ × − – … · ½ ′ ≤",
    "",
]


@pytest.mark.parametrize("text", AWKWARD)
def test_nothing_special_is_left_bare(text: str) -> None:
    made = escape_latex(text)
    made.encode()  # can be written
    assert "\n" not in made
    depth = 0
    for char in made.replace(r"\{", "").replace(r"\}", ""):
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_pdflatex_compiles_awkward_names(comparison, tmp_path: Path) -> None:
    results = tuple(
        dataclasses.replace(comparison.results[n % len(comparison.results)], label=name, data=name)
        for n, name in enumerate(AWKWARD)
    )
    table = latex(dataclasses.replace(comparison, results=results, reference=AWKWARD[6]))
    parts = [
        r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}",
        r"\usepackage[margin=1cm]{geometry}\begin{document}",
        table,
        *(latex_table(name, [(other, name) for other in AWKWARD]) for name in AWKWARD[:3]),
        r"\end{document}",
    ]
    (tmp_path / "all.tex").write_text("\n\n".join(parts), encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").is_file()
    assert "Missing character" not in (tmp_path / "all.log").read_text("latin-1")
