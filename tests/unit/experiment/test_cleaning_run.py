"""A run cleans texts before the split and records it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrec.core.errors import ConfigError, DataError
from llmrec.core.files import read_json
from llmrec.experiment.compose import compose_config
from llmrec.experiment.datasets import load_dataset
from llmrec.experiment.run import run


def test_steps_act_in_order_and_are_recorded(config, tmp_path: Path) -> None:
    text = {
        "cut": {"name": "truncate", "max_characters": 6, "fields": ["title"]},
        "small": {"name": "case"},
    }
    run(config(text=text), folder=tmp_path)
    report = read_json(tmp_path / "data.json")["source"]["text"]
    assert [(each["step"], each["field"]) for each in report["steps"]] == [
        ("cut", "title"),
        ("small", "title"),
        ("small", "genres"),
    ]
    titles = load_dataset({**config(), "text": text}).item_fields["title"]
    assert max(map(len, titles)) <= 6
    assert all(title == title.lower() for title in titles)


def test_wrong_steps_are_refused(config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"text\.a\.name.*did you mean \"html\""):
        run(config(text={"a": {"name": "htlm"}}), folder=tmp_path / "a")
    with pytest.raises(DataError, match='did you mean "title"'):
        run(config(text={"a": {"name": "case", "fields": ["titel"]}}), folder=tmp_path / "b")


def test_steps_are_chosen_by_group_and_changed_by_label() -> None:
    words = ["experiment=none", "+text@text.cut=truncate", "text.cut.max_characters=9"]
    assert compose_config(words)["text"]["cut"]["max_characters"] == 9
    with pytest.raises(ConfigError, match=r"text@text\.cut"):
        compose_config([*words, "text.cut.name=case"])
