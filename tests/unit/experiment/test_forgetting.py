"""Taking users out of run folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from llmrec.cli import main
from llmrec.core.errors import RunError
from llmrec.data.privacy import new_key, pseudonym, read_key
from llmrec.experiment.forgetting import forget_in_run, forget_text
from llmrec.experiment.run import run
from llmrec.experiment.store import load_run

GONE = ["u1", "u7"]


def started(folder: Path, **more: object) -> Path:
    run(
        {
            "data": {"name": "synthetic", "n_users": 30, "n_items": 40},
            "split": {"name": "leave_one_out"},
            "models": {"popularity": {"name": "popularity"}, "item_knn": {"name": "item_knn"}},
            "evaluation": {"task": "ranking", "metrics": ["ndcg@10"], "n_resamples": 100},
            **more,
        },
        folder=folder,
    )
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return started(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "runs" / "one")
    return tmp_path / "runs" / "one"


def test_users_leave_results_lengths_examples_and_quotes(folder: Path) -> None:
    before = load_run(folder)
    examples = json.loads((folder / "examples.json").read_text())
    gone = [*GONE, examples[0]["user"]]
    done = forget_in_run(folder, gone)
    assert dict(done.results) == {"popularity": 3, "item_knn": 3}
    assert done.examples >= 1
    assert folder / "models" in done.fitted
    after = load_run(folder)
    for old, new in zip(before.results, after.results, strict=True):
        stays = ~np.isin(old.users, gone)
        assert new.users.tolist() == old.users[stays].tolist()
        for name, values in old.per_user.items():
            assert np.array_equal(new.per_user[name], values[stays], equal_nan=True)
        assert np.array_equal(new.lists, old.lists[stays])
        assert new.ranks.lengths.tolist() == old.ranks.lengths[stays].tolist()
        assert new.overall == old.overall, "what was published stays"
    assert len(np.load(folder / "history_lengths.npy")) == 27
    for path in folder.rglob("*.json"):
        if "models" not in path.parts:
            assert f'"{gone[-1]}"' not in path.read_text(), path
    assert (folder / "report.html").stat().st_mtime_ns > 0
    assert not forget_in_run(folder, gone).results, "nothing is left to take out"


def test_pseudonyms_of_a_run_are_found_with_its_key(tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    folder = started(tmp_path / "run", privacy={"key": str(tmp_path / "key")})
    hidden = pseudonym("u7", read_key(tmp_path / "key"))
    assert hidden in load_run(folder).results[0].users
    assert dict(forget_in_run(folder, ["u7"]).results)["popularity"] == 1
    assert hidden not in load_run(folder).results[0].users
    (tmp_path / "key").unlink()
    assert "not looked for under their pseudonyms" in str(forget_in_run(folder, ["u8"]))


def test_the_command_goes_through_all_runs_and_lists_what_stays(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    assert main(["forget", *GONE, "--runs", str(folder.parent)]) == 0
    said = capsys.readouterr().out
    assert f"{folder}: rows taken out: item_knn 2, popularity 2" in said
    assert f"still holds what was learnt from them, perhaps: {folder / 'models'}" in said
    assert "run folders were not looked at" not in said
    assert main(["forget", "u1"]) == 0
    assert "--runs FOLDER" in capsys.readouterr().out
    with pytest.raises(RunError, match="is no run folder"):
        forget_text(["u1"], [tmp_path / "cache"])
