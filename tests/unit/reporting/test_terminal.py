from __future__ import annotations

import dataclasses
import io
import math
import re
from dataclasses import replace

import pytest
from rich.console import Console

from llmrec.reporting.progress import Progress
from llmrec.reporting.terminal import make_console, print_comparison
from llmrec.reporting.text import short_name, short_weights


def _printed(comparison, width, terminal=False, leaks=""):
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
        highlight=False,
    )
    print_comparison(comparison, console=console, leaks=leaks)
    return stream.getvalue()


def _table(text):
    """Return the lines of the table's body by model (the part before the caption)."""
    lines = text.splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("───"))
    end = next(i for i, line in enumerate(lines) if line.startswith("Ordered by"))
    return lines[rule - 1], lines[rule + 1 : end]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_every_width_keeps_one_line_per_model_with_its_mark_and_value(comparison, width):
    text = _printed(comparison, width)
    head, body = _table(text)
    assert all(len(line) <= width for line in text.splitlines())
    assert "ndcg@10" in head
    assert len(body) == len(comparison.results)
    for place, (line, result) in enumerate(zip(body, comparison.results, strict=True), start=1):
        assert line.startswith(f"{place}  {result.label}")
        assert f"{result.overall['ndcg@10']:.4f}" in line
        assert ("random init" in line) == (result.info.weights == "random init")


def test_a_very_long_label_wraps_and_leaves_room_for_the_numbers(comparison):
    first, *rest = comparison.results
    long = dataclasses.replace(first, label="bert + lora + regression + text prompt, a label " * 2)
    renamed = dataclasses.replace(
        comparison,
        results=(long, *rest),
        versus={long.label: comparison.versus[first.label]},
        intervals={},
    )
    head, body = _table(_printed(renamed, 80))
    assert "Δ vs best" in head
    assert "+41.1% ***" in body[0]
    assert "random init" in " ".join(body[:5])
    assert short_name(long, 40).startswith("bert + lora")
    assert short_name(long, 40).endswith("a label  (random init)")
    assert len(short_name(long, 40)) <= 40


def test_narrow_tables_name_what_they_left_out(comparison):
    head, _ = _table(_printed(comparison, 80))
    assert "95% CI" in head
    assert "memory" not in head
    wide, _ = _table(_printed(comparison, 200))
    for name in (
        "kind",
        "weights",
        "p (Holm)",
        "coverage@10",
        "fit",
        "ms/user",
        "memory",
        "params",
    ):
        assert name in wide
    narrow = " ".join(_printed(comparison, 80).split())
    assert "Too narrow for: kind, weights, p, hr@10" in narrow
    assert "Too narrow" not in _printed(comparison, 200)


def test_caption_says_how_to_read_it(comparison):
    text = " ".join(_printed(comparison, 100, leaks="the future is known").split())
    assert "planted · leave-one-out, full · ranking · 200 users" in text
    assert "best baseline, ease" in text
    assert "Holm-corrected" in text
    assert "Beware: the future is known" in text
    assert "random init: the weights were not pretrained" in text
    assert "The best language-model row, gpt2 items minilm (random init)" in text


def test_prompts_that_lost_history_are_told(comparison):
    assert "Beware" not in _printed(comparison, 100)
    first, *others = comparison.results
    details = {"prompts_cut": 96, "n_examples": 1200}
    cut = replace(first, info=replace(first.info, details=details))
    text = " ".join(_printed(replace(comparison, results=(cut, *others)), 100).split())
    said = f"Beware: {first.label} lost the oldest of the history in 96 of 1,200 training prompts"
    assert said in text
    reading = replace(first, info=replace(first.info, details={**details, "reads_review": True}))
    text = " ".join(_printed(replace(comparison, results=(reading, *others)), 100).split())
    assert "lost the oldest of the history, or the end of the review, in 96 of" in text


def test_stars_follow_the_corrected_p_value(make_comparison):
    _, body = _table(_printed(make_comparison(p=0.03), 100))
    assert "+41.1% * " in body[0]
    assert "reference" in next(line for line in body if " ease " in line)
    _, body = _table(_printed(make_comparison(p=0.3), 100))
    assert not any("*" in line for line in body)


def test_colour_on_a_terminal_only_and_bold_best(comparison):
    assert "\x1b" not in _printed(comparison, 120)
    coloured = _printed(comparison, 120, terminal=True)
    assert re.search(r"\x1b\[1m *0\.2420\x1b", coloured)
    assert not re.search(r"\x1b\[1m *0\.2294\x1b", coloured)
    assert "Colours:" in coloured


def test_lower_is_better_and_undefined_values(make_comparison):
    comparison = make_comparison(["ease", "random"])
    results = tuple(
        dataclasses.replace(
            result,
            higher_is_better=dict.fromkeys(result.metrics, False),
            overall=dict(result.overall) | {"mrr@10": math.nan},
        )
        for result in comparison.results
    )
    text = _printed(dataclasses.replace(comparison, results=results), 200)
    head, body = _table(text)
    assert "ndcg@10 ↓" in head
    assert "–" in body[0]
    assert "lower is better" in text


def test_an_unencodable_character_does_not_end_a_run(comparison):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_comparison(comparison, console=make_console(stream))
    stream.flush()
    assert b"gpt2 items minilm" in raw.getvalue()


def test_pipes_get_the_whole_table(comparison, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console(io.StringIO()).width == 200


def test_short_weights_never_lose_the_mark():
    assert short_weights("acme/bert-mini@0123456789abcdef0123") == "bert-mini@0123456"
    assert short_weights("a-very-long-checkpoint-name@1234567, random init") == "random init"


def test_progress_in_a_pipe_is_a_few_plain_lines(comparison):
    stream = io.StringIO()
    first = comparison.results[0]
    with Progress([first.label, "b [x]"], console=Console(file=stream, width=60)) as progress:
        report = progress.reporter(first.label)
        for step in range(20):
            report(step / 20, "epoch")
        progress.scoring(first.label)
        progress.done(first)
        progress.failed("b [x]", "no memory left")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "gpt2 items minilm: fitting (1 of 2)"
    assert lines[1].startswith("gpt2 items minilm: ndcg@10 0.2420 (random init), ")
    assert lines[2] == "b [x]: failed: no memory left"
    assert len(lines) == 3


def test_progress_on_a_terminal_shows_every_state(comparison):
    first = comparison.results[0]
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30)
    with Progress([first.label, "second", "third", "fourth"], console=console) as progress:
        progress.fitting("second", 0.25, "epoch 1/4")
        progress.scoring("third")
        progress.done(first)
        with console.capture() as capture:
            console.print(progress)
    text = capture.get()
    assert "1 of 4 models" in text
    assert "0.2420 (random init)" in text
    assert "25%" in text
    assert "epoch 1/4" in text
    assert "scoring" in text
    assert "waiting" in text


def test_progress_on_a_low_terminal_keeps_the_running_model_in_sight():
    labels = [f"model {i}" for i in range(30)]
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=12)
    progress = Progress(labels, console=console)
    for label in labels[:20]:
        progress.failed(label, "x")
    progress.fitting("model 20", 0.5)
    with console.capture() as capture:
        console.print(progress)
    lines = capture.get().splitlines()
    assert len(lines) <= 12
    assert any("model 20 " in line for line in lines)
    assert any("more waiting" in line for line in lines)
