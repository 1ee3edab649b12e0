"""`llmrec write`: what is said of wrong words, and what a whole command leaves behind."""

from __future__ import annotations

import pytest

from llmrec.cli import _parsed
from llmrec.core.errors import UnknownNameError
from llmrec.experiment.writing import writer_specs


def test_a_template_is_taken_as_it_is_where_it_is_no_yaml() -> None:
    """`{{ item.title }}` is a mapping with a mapping as its key to YAML."""
    for template in ("{{ item.title }}", "{{ given }} Answer: [", "Say: {{ given }}"):
        specs, others = writer_specs(["t5_prompt", f"t5_prompt.template={template}", "data=x"])
        assert specs["t5_prompt"]["template"] == template
        assert others == ["data=x"]
    specs, _ = writer_specs(["pepler", "pepler.epochs=3", "pepler.early_stopping_patience=null"])
    assert specs["pepler"]["epochs"] == 3
    assert specs["pepler"]["early_stopping_patience"] is None


def test_an_unknown_writer_is_told_of_the_presets() -> None:
    with pytest.raises(UnknownNameError, match=r'did you mean "pepler".*gpt2_prompt.*t5_prompt'):
        writer_specs(["peppler"])


def test_overrides_may_stand_behind_the_flags() -> None:
    words = [
        "pepler",
        "--kind",
        "reply",
        "--source",
        "F",
        "--output",
        "D",
        "pepler.epochs=1",
        "a=b",
    ]
    assert _parsed(["write", *words]).words == ["pepler", "pepler.epochs=1", "a=b"]
    with pytest.raises(SystemExit):
        _parsed(["write", *words, "--kinds", "reply"])
