"""A run with `model=hosted`, from the command line to the run folder."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import Answer, FakeEndpoint, opinions, serving

from llmrec.cli import main
from llmrec.core.files import read_json

KEY = "sk-a-key-of-nobody-000111222"
SMALL = [
    "experiment=none",
    "data=synthetic",
    "data.n_users=12",
    "data.n_items=40",
    "data.n_interactions_per_user=6",
    "+model@models.popularity=popularity",
    "model=hosted",
    "label=hosted",
    "model.backbone.model=fake-1",
    "model.backbone.key_variable=NOBODYS_KEY",
    "model.backbone.input_price=1",
    "model.backbone.output_price=2",
    "evaluation.candidates.name=sampled",
    "evaluation.candidates.n=9",
]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOBODYS_KEY", KEY)
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serving(opinions) as endpoint:
        yield endpoint


def run(fake: FakeEndpoint, folder: Path, *overrides: str) -> int:
    url = f"model.backbone.base_url={fake.base_url}"
    return main(["run", *SMALL, url, f"folder={folder}", *overrides])


def costs(folder: Path) -> dict[str, str]:
    with (folder / "costs.csv").open(encoding="utf-8", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["model"] == "hosted")


def nowhere(folder: Path, secret: str) -> None:
    for file in (path for path in folder.rglob("*") if path.is_file()):
        assert secret.encode() not in file.read_bytes(), file


def test_costs_stand_in_the_table_and_a_second_run_pays_nothing(
    fake: FakeEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, tmp_path / "first") == 0
    first = costs(tmp_path / "first")
    assert first["requests"] == "24"
    assert len(fake.bodies) == 24
    spent = (int(first["input_tokens"]) + 2 * int(first["output_tokens"])) / 1e6
    assert float(first["spent"]) == pytest.approx(spent)
    assert "hosted: 24 requests sent and 0 answered from disk" in capsys.readouterr().out
    assert "24 requests sent" in (tmp_path / "first" / "report.html").read_text("utf-8")

    assert run(fake, tmp_path / "second", "seed=0") == 0
    assert len(fake.bodies) == 24
    second = costs(tmp_path / "second")
    assert (second["requests"], second["cached_requests"]) == ("0", "24")
    assert float(second["spent"]) == 0
    tables = [(tmp_path / name / "comparison.csv").read_bytes() for name in ("first", "second")]
    assert tables[0] == tables[1]
    nowhere(tmp_path, KEY)


def test_a_run_that_failed_half_way_is_resumed_and_pays_only_for_the_rest(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    left = iter(range(15))

    def short(body: dict[str, Any]) -> Answer:
        if next(left, None) is None:
            message = f'{{"error": {{"message": "bad key {KEY}"}}}}'
            return 401, {}, message
        return opinions(body)

    fake.answer = short
    folder = tmp_path / "stopped"
    assert run(fake, folder, "model.backbone.concurrency=1") == 1
    sentence = read_json(folder / "failures.json")["hosted"]
    assert "bad key ***; the key in NOBODYS_KEY is not accepted" in sentence
    assert "3 of 12 replies are kept" in sentence
    sent = len(fake.bodies)
    assert sent == 16
    nowhere(tmp_path, KEY)

    fake.answer = opinions
    assert main(["run", "--resume", str(folder)]) == 0
    assert len(fake.bodies) == sent + 9
    assert costs(folder)["requests"] == "9"
    assert costs(folder)["cached_requests"] == "15"
    nowhere(tmp_path, KEY)


def test_a_key_in_the_config_is_refused_before_anything_is_written(
    fake: FakeEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, tmp_path / "run", f"model.backbone.key_variable={KEY}") == 1
    said = capsys.readouterr()
    assert "never put the key itself into a config" in said.err
    assert KEY not in said.err + said.out
    nowhere(tmp_path, KEY)


def test_the_prompt_is_shown_without_a_request(
    fake: FakeEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", "prompt", "hosted", "--user", "u3", "data=synthetic", "model.n_examples=1"]
    for mode in ("rank", "score", "generate"):
        assert main([*words, f"model.mode={mode}"]) == 0
        said = capsys.readouterr().out
        assert "nothing was sent" in said
        assert "\nassistant:\n" in said
        assert ("[10]" in said) == (mode == "rank")
    assert not fake.bodies
