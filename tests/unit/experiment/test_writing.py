"""`llmrec write`: what is said of wrong words, and what a whole command leaves behind."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import question, serving

from llmrec.cli import _parsed
from llmrec.core.errors import RunError, UnknownNameError
from llmrec.core.files import read_json
from llmrec.experiment.writing import write_text_report, writer_specs

SCRIPT = Path(__file__).parents[3] / "scripts" / "made_up_dialogues.py"


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    """Made-up conversations, in the form of ReDial."""
    spec = importlib.util.spec_from_file_location("made_up_dialogues", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path / "dialogues.jsonl"
    path.write_text("\n".join(map(json.dumps, module.conversations(40))), "utf-8")
    return path


def test_a_hosted_writer_is_judged_and_what_it_cost_is_kept(
    dialogues: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names a film that does not exist, and repeats the film of the seeker: both are told."""
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NOBODYS_KEY", "sk-key-of-nobody")

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        liked = question(body).partition("[[")[2].partition("]]")[0]
        return {"text": f"You liked [[{liked}]], then see [[Zog]]!"}

    words = ["hosted", "frequent_sentence", "data=synthetic"]
    options = ["key_variable=NOBODYS_KEY", "input_price=1", "output_price=2", "model=fake-1"]
    with serving(answer) as fake:
        words += [f"hosted.backbone.{each}" for each in [f"base_url={fake.base_url}", *options]]
        shown = write_text_report(
            words, tmp_path / "out", kind="conversation", source=dialogues, limit=None
        )
        sent = len(fake.bodies)
        write_text_report(
            words, tmp_path / "again", kind="conversation", source=dialogues, limit=None
        )
        assert len(fake.bodies) == sent, "the second time the disk answers"
        poor = [*words, "hosted.backbone.budget=0.000001", "hosted.instruction=Anew."]
        with pytest.raises(RunError, match="more than the budget"):
            write_text_report(poor, tmp_path / "poor", kind="conversation", source=dialogues)
        assert len(fake.bodies) == sent
    with (tmp_path / "out" / "texts.csv").open(encoding="utf-8") as file:
        rows = {row["writer"]: row for row in csv.DictReader(file)}
    hosted, truth = rows["hosted"], rows["(truth)"]
    assert (hosted["grounded"], hosted["invented_texts"]) == ("0.5", "1.0")
    assert (hosted["recommends"], hosted["recommends_true"]) == ("0.0", "0.0")
    assert (truth["recommends"], truth["recommends_true"]) == ("0.5", "1.0")
    assert int(hosted["requests"]) == sent
    assert rows["frequent_sentence"]["requests"] == ""
    kept = read_json(tmp_path / "out" / "writing.json")["fitted"]["hosted"]
    usage = kept["usage"]
    price = (usage["input_tokens"] + 2 * usage["output_tokens"]) / 1e6
    assert usage["spent"] == float(hosted["spent"]) == pytest.approx(price)
    assert kept["decoding"]["temperature"] == 0
    assert kept["weights"] == f"fake-1 at {fake.base_url.split('/')[2]}"
    assert f"hosted: {sent} requests sent and 0 answered from disk" in shown
    assert read_json(tmp_path / "again" / "writing.json")["fitted"]["hosted"]["usage"]["spent"] == 0
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"sk-key-of-nobody" not in path.read_bytes(), path


def test_a_missing_key_is_found_before_another_writer_is_fitted(
    dialogues: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_KEY_HERE", raising=False)
    words = ["nearest_review", "hosted", "hosted.backbone.key_variable=NO_KEY_HERE"]
    with pytest.raises(RunError, match="NO_KEY_HERE"):
        write_text_report(words, tmp_path / "out", kind="conversation", source=dialogues)
    assert not (tmp_path / "out").exists()


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
