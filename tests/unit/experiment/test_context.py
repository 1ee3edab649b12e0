from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmrec.experiment.context import read_curve
from llmrec.experiment.run import run
from llmrec.experiment.store import load_run

Config = Callable[..., dict[str, Any]]


def test_a_curve_survives_a_kill_and_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    lines = [
        '{"step": 1, "loss": 3.0}',
        '{"step": 2, "loss": 2.0, "valid": 0.5}',
        '{"step": 3, "lo',  # cut by a kill; the resumed fit repeats the steps since its checkpoint
        '{"step": 2, "loss": 2.5}',
        '{"step": 3, "loss": 1.0}',
    ]
    path.write_text("\n".join(lines))
    assert read_curve(path) == {"loss": [(1, 3.0), (2, 2.5), (3, 1.0)], "valid": [(2, 0.5)]}
    assert read_curve(tmp_path / "absent") == {}


def test_the_context_of_a_report_comes_from_the_folder_alone(
    config: Config, tmp_path: Path
) -> None:
    chosen = config(models={"first": {"name": "counting"}, "ease": {"name": "ease"}})
    comparison = run(chosen, folder=tmp_path)
    stored = load_run(tmp_path)
    context = stored.context()
    assert "n_users: 40" in context.config
    assert context.leaks == stored.data["leaks"] != ""
    assert context.versions["python"]
    assert context.curves == {"first": {"loss": [(1, 1.0)]}}
    assert context.history_lengths is not None
    assert len(context.history_lengths) == len(comparison.results[0].users)


def test_examples_show_what_was_recommended_to_real_users(config: Config, tmp_path: Path) -> None:
    run(config(models={"ease": {"name": "ease"}}), folder=tmp_path)
    stored = load_run(tmp_path)
    data, result = stored.dataset(), stored.result("ease")
    titles = data.item_fields["title"]
    examples = json.loads((tmp_path / "examples.json").read_text())
    assert len(examples) == 3
    for example in examples:
        row = result.users.tolist().index(example["user"])
        history = titles[data.histories[data.user_index(example["user"])]].tolist()
        assert example["truth"] == history[-1:]
        assert example["history"] == history[-6:-1]
        assert result.lists is not None
        assert example["recommended"]["ease"] == titles[result.lists[row][:5]].tolist()
