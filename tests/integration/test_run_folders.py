"""Whole runs as a user starts them: reproducible, killed and resumed, rebuilt from the folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

MORTAL = """
import os, signal
from pathlib import Path
from llmrec.recommenders.biased_mf import BiasedMF

class Mortal(BiasedMF):
    "Dies in its first fit, when half of it is done."
    def fit(self, train, valid=None, context=None):
        flag = Path(os.environ["MORTAL"])
        if flag.exists():
            context.folder.mkdir(parents=True)
            (context.folder / "half").touch()
            flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(train, valid, context)
"""
SMALL = ["experiment=synthetic", "evaluation.n_resamples=200", "data.n_users=80"]
TABLES = ("comparison.csv", "validation.json", "examples.json", "config.yaml", "data.json")


def _llmrec(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "MORTAL": str(folder / "flag"),
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "offline",
    }
    return subprocess.run(
        [sys.executable, "-m", "llmrec.cli", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=check,
    )


def _rerun(folder: Path, name: str) -> None:
    _llmrec(folder, "run", *SMALL, f"folder={name}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    _rerun(folder, "first")
    return folder


def test_the_folder_holds_everything(finished: Path) -> None:
    folder = finished / "first"
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *TABLES,
        "versions.json",
        "costs.csv",
        "comparison.tex",
        "report.html",
        "models",
        "results",
    }
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "<svg" in report
    assert "http://" not in report.replace("http://www.w3.org", "")
    lines = (folder / "comparison.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(list((folder / "results").iterdir()))
    assert json.loads((folder / "failures.json").read_text()) == {}


def test_the_same_config_and_seed_give_the_same_bytes(finished: Path) -> None:
    _rerun(finished, "second")
    for name in TABLES:
        assert (finished / "first" / name).read_bytes() == (finished / "second" / name).read_bytes()


def test_another_seed_gives_other_numbers(finished: Path) -> None:
    _llmrec(finished, "run", *SMALL, "seed=1", "folder=other")
    one, other = ((finished / name / "comparison.csv").read_bytes() for name in ("first", "other"))
    assert one != other


def test_the_report_is_rebuilt_from_the_folder(finished: Path) -> None:
    table = finished / "first" / "comparison.csv"
    before = table.read_bytes()
    table.unlink()
    done = _llmrec(finished, "report", "first")
    assert table.read_bytes() == before
    assert "ndcg@10" in done.stdout


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "mortal.py").write_text(MORTAL)
    words = [*SMALL, "++models.mortal={name: 'mortal:Mortal', loss: bpr, epochs: 3}"]
    _llmrec(tmp_path, "run", *words, "folder=whole")
    (tmp_path / "flag").touch()
    killed = _llmrec(tmp_path, "run", *words, "folder=killed", check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / ".lock").exists()
    assert (tmp_path / "killed" / "models" / "mortal" / "checkpoints" / "half").exists()
    assert not (tmp_path / "killed" / "comparison.csv").exists()
    kept = tmp_path / "killed" / "results" / "ease" / "result.json"
    written = kept.stat().st_mtime_ns
    _llmrec(tmp_path, "run", "--resume", "killed")
    for name in TABLES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert kept.stat().st_mtime_ns == written
    assert not (tmp_path / "killed" / ".lock").exists()
    assert not (tmp_path / "killed" / "models" / "mortal" / "checkpoints").exists()
