from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from llmrec.core.config import build, check, options_of
from llmrec.core.errors import ConfigError
from llmrec.core.protocols import Tracker
from llmrec.experiment.tracking import NoTracker, WandbTracker

pytest.importorskip("wandb", reason="wandb (extra track) is not installed")

SCRIPT = """
import sys
from pathlib import Path
from llmrec.experiment.tracking import WandbTracker

folder, failed = Path(sys.argv[1]), sys.argv[2] == "failed"
tracker = WandbTracker(project="planted", group="g", tags=["one", "two"])
tracker.start({"seed": 3, "models": {"ease": {"regularization": 250}}}, folder)
(folder / "run_id").write_text(tracker.run_id)
for step in range(3):
    tracker.log({"gpt2 items/train loss": 3.0 - step, "gpt2 items/lr": 0.1}, step * 10)
tracker.log({"t5/train loss": 7.5}, 4)
(folder / "comparison.csv").write_text("model,ndcg@10\\nease,0.07\\n")
(folder / ".lock").write_text("")
(folder / "models").mkdir()
(folder / "models" / "weights.bin").write_text("big")
rows = [
    {"model": "gpt2 items", "weights": "random init", "ndcg@10": 0.105, "p_holm": float("nan")},
    {"model": "ease", "weights": "", "ndcg@10": 0.07, "p_holm": None},
]
tracker.finish([] if failed else rows, folder, failed=failed)
tracker.log({"late": 1.0}, 1)
tracker.finish([], folder)
"""


def _clean_environment(home: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    nowhere = {f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https", "all")}
    return kept | nowhere | {"HOME": str(home), "NETRC": str(home / "netrc")} | more


def _track(
    folder: Path, how: str, before: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", before + SCRIPT, str(folder), how],
        env=_clean_environment(home, **more),
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _records(folder: Path) -> list:
    """Return what W&B wrote for `wandb sync`: length-prefixed protobuf records in 32 KiB blocks."""
    from wandb.proto import wandb_internal_pb2 as protocol

    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    data, place, parts, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = protocol.Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def _values(items) -> dict[str, object]:
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offline") / "run"
    return folder, _track(folder, "fine"), _records(folder)


def test_offline_is_silent_and_keeps_everything_in_the_run_folder(offline):
    folder, done, _ = offline
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((folder.parent / "home").rglob("*")) == []
    assert {path.name for path in folder.parent.iterdir()} == {"run", "home"}


def test_config_group_and_tags_are_kept(offline):
    _, _, records = offline
    runs = [r.run for r in records if r.WhichOneof("record_type") == "run"]
    config = _values(runs[0].config.update)
    assert config["seed"] == 3
    assert config["models"] == {"ease": {"regularization": 250}}
    assert (runs[0].project, runs[0].run_group, list(runs[0].tags)) == (
        "planted",
        "g",
        ["one", "two"],
    )


def test_curves_have_a_step_of_their_own_per_model(offline):
    _, _, records = offline
    history = [_values(r.history.item) for r in records if r.WhichOneof("record_type") == "history"]
    loss = [
        (h["gpt2 items/step"], h["gpt2 items/train loss"])
        for h in history
        if "gpt2 items/step" in h
    ]
    assert loss == [(0, 3.0), (10, 2.0), (20, 1.0)]
    assert [h["t5/step"] for h in history if "t5/train loss" in h] == [4]
    steps = {r.metric.glob_name: r.metric.step_metric for r in records if r.metric.glob_name}
    assert steps == {"gpt2 items/*": "gpt2 items/step", "t5/*": "t5/step"}
    assert not any("late" in entry for entry in history)


def test_table_and_summary_hold_the_rows(offline):
    folder, _, records = offline
    (path,) = (folder / "wandb").rglob("comparison*.table.json")
    table = json.loads(path.read_text(encoding="utf-8"))
    assert table["columns"] == ["model", "weights", "ndcg@10", "p_holm"]
    assert table["data"] == [["gpt2 items", "random init", 0.105, None], ["ease", "", 0.07, None]]
    summary: dict[str, object] = {}
    for record in records:
        if record.WhichOneof("record_type") == "summary":
            summary |= _values(record.summary.update)
    assert summary["gpt2 items/ndcg@10"] == 0.105
    assert summary["ease/ndcg@10"] == 0.07


def test_the_files_of_the_run_folder_are_an_artifact_without_models(offline):
    folder, _, records = offline
    artifacts = [r.artifact for r in records if r.WhichOneof("record_type") == "artifact"]
    (files,) = [artifact for artifact in artifacts if artifact.type == "run-folder"]
    assert {entry.path for entry in files.manifest.contents} == {"comparison.csv", "run_id"}
    assert all(Path(e.local_path).parent == folder for e in files.manifest.contents)


def test_success_and_failure_end_with_their_exit_code(offline, tmp_path):
    def code(records):
        return [r.exit.exit_code for r in records if r.WhichOneof("record_type") == "exit"]

    assert code(offline[2]) == [0]
    done = _track(tmp_path / "run", "failed", WANDB_RUN_ID="fromagent", WANDB_MODE="offline")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    records = _records(tmp_path / "run")
    assert code(records) == [1]
    assert (tmp_path / "run" / "run_id").read_text() == "fromagent"
    assert not list((tmp_path / "run" / "wandb").rglob("*.table.json"))


def test_online_without_an_account_is_a_sentence_not_a_prompt(tmp_path):
    done = _track(tmp_path / "run", "fine", WANDB_MODE="online")
    assert done.returncode == 1
    assert "RunError: Weights & Biases cannot start the run (online)" in done.stderr
    assert "tracker.mode=offline" in done.stderr
    assert done.stdout == ""


def test_a_wrong_key_is_refused_not_taken_for_a_dead_network(tmp_path):
    done = _track(tmp_path / "run", "fine", WANDB_API_KEY="short")
    assert done.returncode == 1
    assert "cannot start the run (online): WANDB_API_KEY invalid" in done.stderr


def test_a_server_that_does_not_answer_is_a_warning_and_the_run_is_kept(tmp_path):
    done = _track(
        tmp_path / "run",
        "fine",
        before="import llmrec.experiment.tracking as t; t._ONLINE_TIMEOUT = 1.0\n",
        WANDB_API_KEY="a" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
    )
    assert done.returncode == 0
    assert "Weights & Biases does not answer, so this run is kept offline" in done.stderr
    kinds = {record.WhichOneof("record_type") for record in _records(tmp_path / "run")}
    assert {"history", "artifact", "exit"} <= kinds


def test_the_environment_is_as_before(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    tracker = WandbTracker(mode="disabled")
    tracker.start({}, tmp_path)
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "wandb")
    tracker.log({"a/b": 1.0}, 1)
    tracker.finish([{"model": "a", "x": 1.0}], tmp_path)
    assert "WANDB_DATA_DIR" not in os.environ
    assert tracker.run_id is None


def test_no_tracker_does_nothing(tmp_path):
    tracker = build("tracker", {"name": "none"})
    assert isinstance(tracker, NoTracker)
    tracker.start({}, tmp_path)
    tracker.log({"a": 1.0}, 1)
    tracker.finish([{"a": 1}], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_options_are_checked_and_nothing_is_imported_early():
    tracker: Tracker = build("tracker", {"name": "wandb", "project": "p", "tags": ["a"]})
    assert {name: getattr(tracker, name) for name in options_of(WandbTracker)} == {
        "project": "p",
        "entity": None,
        "group": None,
        "tags": ["a"],
        "mode": "auto",
    }
    assert check("tracker", {"name": "wandb", "mode": "of-line"})
    with pytest.raises(ConfigError, match="projct"):
        build("tracker", {"name": "wandb", "projct": "p"})
    code = "import sys, llmrec.experiment.tracking; assert 'wandb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_shipped_configs_are_accepted():
    from omegaconf import OmegaConf

    folder = Path(__file__).parents[3] / "configs" / "tracker"
    for path in folder.glob("*.yaml"):
        assert check("tracker", OmegaConf.to_container(OmegaConf.load(path))) == [], path.name
