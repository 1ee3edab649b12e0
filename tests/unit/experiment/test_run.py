from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from experiment_doubles import Counting, Fragile, Recorder, Slow

from llmrec.core.errors import ConfigError, DataError, RunError
from llmrec.core.types import Queries, Targets
from llmrec.ensembles.ensemble import Ensemble
from llmrec.experiment.compose import read_yaml
from llmrec.experiment.merge import merged
from llmrec.experiment.run import FailedModelsError, run
from llmrec.experiment.store import load_run

Config = Callable[..., dict[str, Any]]


def test_the_folder_holds_everything(config: Config, tmp_path: Path) -> None:
    comparison = run(config(), folder=tmp_path / "run")
    folder = tmp_path / "run"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found >= {
        "config.yaml",
        "versions.json",
        "data.json",
        "validation.json",
        "comparison.csv",
        "costs.csv",
        "comparison.tex",
        "report.html",
        "models/first/recommender.json",
        "results/second/result.json",
        "results/second/per_user.parquet",
        "curves/first.jsonl",
    }
    assert not [name for name in found if "checkpoint" in name or ".lock" in name]
    assert {result.label for result in comparison.results} == {"first", "second"}
    assert pl.read_csv(folder / "comparison.csv")["model"].to_list() == [
        result.label for result in comparison.results
    ]
    assert read_yaml(folder / "config.yaml")["models"]["first"] == {"name": "counting"}
    versions = json.loads((folder / "versions.json").read_text())
    assert {"python", "platform", "packages", "processor", "commit"} <= set(versions)
    data = json.loads((folder / "data.json").read_text())
    assert data["protocol"] == "leave-one-out, full"
    assert data["fingerprint"] == comparison.results[0].fingerprint


def test_filters_act_before_the_split_and_are_recorded(config: Config, tmp_path: Path) -> None:
    filters = {
        "liked": {"name": "rating_threshold", "minimum": 3.0},
        "core": {"name": "k_core", "k": 3},
    }
    comparison = run(config(filters=filters), folder=tmp_path / "run")
    assert comparison.protocol == "leave-one-out, ratings from 3, 3-core, full"
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    steps = data["source"]["filters"]
    assert [step["label"] for step in steps] == ["liked", "core"]
    assert steps[-1]["after"]["users"] == data["users"]
    assert data["ratings"][0] >= 3
    assert list(read_yaml(tmp_path / "run" / "config.yaml")["filters"]) == ["liked", "core"]
    assert load_run(tmp_path / "run").dataset().n_users == data["users"]
    with pytest.raises(ConfigError, match=r"filters\.core\.k: at least 2, got 1"):
        run(config(filters={"core": {"name": "k_core", "k": 1}}), folder=tmp_path / "wrong")


def test_rows_of_one_component_share_a_seed_that_follows_the_run(
    config: Config, tmp_path: Path
) -> None:
    same = {"a": {"name": "counting"}, "b": {"name": "counting"}, "c": {"name": "fragile"}}
    run(config(models=same), folder=tmp_path / "0")
    run(config(models=same, seed=1), folder=tmp_path / "1")
    run(config(models={"a": {"name": "counting", "seed": 5}}), folder=tmp_path / "2")
    a0, b0, a1, b1, fixed = (fit["seed"] for fit in Counting.fits)
    assert a0 == b0 != Fragile.fits[0]["seed"]
    assert a1 == b1 != a0
    assert fixed == 5


def test_a_failing_model_is_recorded_and_the_others_go_on(config: Config, tmp_path: Path) -> None:
    Fragile.trouble = ValueError("no such luck")
    models = {"bad": {"name": "fragile"}, "good": {"name": "counting"}}
    with pytest.raises(FailedModelsError, match="bad: ValueError: no such luck") as caught:
        run(config(models=models), folder=tmp_path)
    assert caught.value.comparison is not None
    assert [result.label for result in caught.value.comparison.results] == ["good"]
    assert "Traceback" in (tmp_path / "errors" / "bad.txt").read_text()
    assert load_run(tmp_path).failures == {"bad": "ValueError: no such luck"}
    assert Recorder.events[-1] == ("finish", 1, True)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: you tried to allocate 16 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_to_lower(
    config: Config, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fragile, "trouble", error)
    with pytest.raises(FailedModelsError, match=r"out of memory; .* lower batch_size"):
        run(config(models={"bad": {"name": "fragile"}}), folder=tmp_path)


def test_resume_tries_a_failed_model_again_and_leaves_the_others(
    config: Config, tmp_path: Path
) -> None:
    Fragile.trouble = ValueError("no such luck")
    with pytest.raises(FailedModelsError):
        run(config(), folder=tmp_path)
    Fragile.trouble = None
    judged = (tmp_path / "results" / "first" / "result.json").stat().st_mtime_ns
    comparison = run(config(resume=True), folder=tmp_path)
    assert (tmp_path / "results" / "first" / "result.json").stat().st_mtime_ns == judged
    assert len(comparison.results) == 2
    assert len(Counting.fits) == 1
    assert [(fit["resume"], fit["checkpoints"]) for fit in Fragile.fits] == [
        (False, False),
        (True, True),
    ]
    assert load_run(tmp_path).failures == {}


def test_when_all_fail_there_is_no_table(config: Config, tmp_path: Path) -> None:
    Counting.trouble = Fragile.trouble = ValueError("no")
    with pytest.raises(FailedModelsError, match="2 of the recommenders failed; there is nothing"):
        run(config(), folder=tmp_path)
    assert not (tmp_path / "comparison.csv").exists()


def test_a_model_saved_but_not_judged_is_not_fitted_again(config: Config, tmp_path: Path) -> None:
    run(config(), folder=tmp_path)
    before = (tmp_path / "comparison.csv").read_bytes()
    (tmp_path / "results" / "second" / "result.json").unlink()
    run(config(resume=True), folder=tmp_path)
    assert len(Fragile.fits) == 1
    assert (tmp_path / "comparison.csv").read_bytes() == before


def test_a_folder_with_a_run_is_refused(config: Config, tmp_path: Path) -> None:
    run(config(), folder=tmp_path)
    with pytest.raises(RunError, match=r"already holds a run; go on with it \(llmrec run --resume"):
        run(config(), folder=tmp_path)
    assert len(Counting.fits) == 1


def test_a_folder_with_other_results_or_a_file_is_refused(config: Config, tmp_path: Path) -> None:
    (tmp_path / "other" / "results").mkdir(parents=True)
    with pytest.raises(RunError, match="holds results of something else"):
        run(config(), folder=tmp_path / "other")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        run(config(), folder=tmp_path / "file")


def test_resume_lists_what_differs(config: Config, tmp_path: Path) -> None:
    run(config(), folder=tmp_path)
    other = config(
        resume=True, seed=3, models={"first": {"name": "counting", "noise": 1}, "third": {}}
    )
    other["models"]["third"] = {"name": "fragile"}
    with pytest.raises(RunError) as caught:
        run(other, folder=tmp_path)
    text = str(caught.value)
    assert "seed: 0 then, 3 now" in text
    assert "models.first.noise: absent then, 1 now" in text
    assert 'models.second.name: "fragile" then, absent now' in text
    assert "models.first.name" not in text


def test_resume_where_nothing_was_run(config: Config, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run to resume"):
        run(config(resume=True), folder=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_resume_notices_other_data(config: Config, tmp_path: Path) -> None:
    run(config(), folder=tmp_path)
    data = json.loads((tmp_path / "data.json").read_text())
    (tmp_path / "data.json").write_text(json.dumps({**data, "fingerprint": "0" * 64}))
    with pytest.raises(RunError, match="has changed since the run was started"):
        run(config(resume=True), folder=tmp_path)


def test_an_interrupted_run_keeps_what_is_finished(config: Config, tmp_path: Path) -> None:
    Fragile.trouble = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(config(), folder=tmp_path)
    assert Recorder.events[-1] == ("finish", 0, True)
    assert not (tmp_path / ".lock").exists()
    Fragile.trouble = None
    assert len(run(config(resume=True), folder=tmp_path).results) == 2
    assert len(Counting.fits) == 1


def test_a_full_disk_during_a_fit_stops_with_a_sentence(
    config: Config, tmp_path: Path, full_disk: OSError
) -> None:
    Fragile.trouble = full_disk
    with pytest.raises(RunError, match=r"stopped at second: .*No space left.*make room, then"):
        run(config(), folder=tmp_path)
    assert (tmp_path / "results" / "first" / "result.json").is_file()


def test_a_full_disk_while_a_model_is_saved_leaves_nothing_half_written(
    config: Config, tmp_path: Path, full_disk: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_state(self: Fragile, folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise full_disk

    monkeypatch.setattr(Fragile, "save_state", save_state)
    with pytest.raises(RunError, match=r"stopped at second: cannot write .*No space left"):
        run(config(), folder=tmp_path)
    assert not list((tmp_path / "models").rglob("half"))
    assert not (tmp_path / "results" / "second").exists()


def test_a_read_only_disk_is_a_sentence(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RunError, match=r"cannot write .*: Read-only file system"):
        run(config(), folder=tmp_path / "run")
    assert not Counting.fits


def test_a_wrong_config_stops_before_anything_is_loaded(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        run(config(sed=1), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_that_cannot_be_read_leaves_no_folder(config: Config, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    data = {"name": "csv", "interactions": str(tmp_path / "empty.csv")}
    with pytest.raises(DataError, match="empty"):
        run(config(data=data), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _csv(tmp_path: Path, rows: list[str]) -> dict[str, Any]:
    file = tmp_path / "log.csv"
    file.write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    return {"name": "csv", "interactions": str(file), "timestamp": "timestamp"}


def test_a_user_without_history_is_judged_like_others(config: Config, tmp_path: Path) -> None:
    rows = [f"u{u},i{(u + t) % 7},{10 * t + u}" for u in range(5) for t in range(4)]
    data = _csv(tmp_path, [*rows, "late,i1,1000"])
    split = {"name": "global_temporal", "valid_share": 0.2, "test_share": 0.2}
    comparison = run(
        config(data=data, split=split, models={"ease": {"name": "ease"}}), folder=tmp_path / "run"
    )
    result = comparison.results[0]
    assert "late" in result.users
    assert np.isfinite(result.per_user["ndcg@10"]).all()


def test_a_catalogue_of_one_item_is_judged(config: Config, tmp_path: Path) -> None:
    data = {**_csv(tmp_path, [f"u{u},only,{u}" for u in range(20)])}
    comparison = run(
        config(
            data=data,
            split={"name": "global_temporal"},
            models={"popularity": {"name": "popularity"}, "ease": {"name": "ease"}},
        ),
        folder=tmp_path / "run",
    )
    assert all(np.isfinite(list(result.overall.values())).all() for result in comparison.results)


def test_models_need_not_be_kept(config: Config, tmp_path: Path) -> None:
    run(config(save_models=False), folder=tmp_path)
    assert not list((tmp_path / "models").glob("*"))
    with pytest.raises(RunError, match="was not kept"):
        load_run(tmp_path).model("first")


def test_the_tracker_gets_config_curves_and_table(config: Config, tmp_path: Path) -> None:
    run(config(), folder=tmp_path)
    kinds = [event[0] for event in Recorder.events]
    assert kinds == ["start", "log", "log", "log", "log", "finish"]
    assert Recorder.events[0][1]["seed"] == 0
    assert Recorder.events[1][1:] == ({"first/loss": 1.0}, 1)
    validation = json.loads((tmp_path / "validation.json").read_text())["first"]
    assert Recorder.events[2][1] == {f"first/validation/{k}": v for k, v in validation.items()}
    assert Recorder.events[-1] == ("finish", 2, False)


def test_the_watcher_hears_of_every_step(config: Config, tmp_path: Path) -> None:
    heard: list[tuple[Any, ...]] = []

    class Watcher:
        def fitting(self, label: str, share: float = 0.0, text: str = "") -> None:
            heard.append(("fitting", label, share, text))

        def scoring(self, label: str) -> None:
            heard.append(("scoring", label))

        def done(self, result: Any) -> None:
            heard.append(("done", result.label))

        def failed(self, label: str, sentence: str) -> None:
            heard.append(("failed", label, sentence))

    Fragile.trouble = ValueError("no")
    with pytest.raises(FailedModelsError):
        run(config(), folder=tmp_path, watcher=Watcher())
    assert heard == [
        ("fitting", "first", 0.0, ""),
        ("fitting", "first", 0.5, "counting"),
        ("scoring", "first"),
        ("done", "first"),
        ("fitting", "second", 0.0, ""),
        ("fitting", "second", 0.5, "counting"),
        ("failed", "second", "ValueError: no"),
    ]


def _ensemble(**changes: Any) -> dict[str, Any]:
    return {
        "members": {"language": "best language_model", "collaborative": "best baseline"},
        "combiner": {"name": "mean"},
        **changes,
    }


LANGUAGE, COLLABORATIVE = ("language", "language, noisy"), ("baseline", "baseline, noisy")
FAMILIES = {
    "baseline": {"name": "counting"},
    "baseline, noisy": {"name": "counting", "noise": 1000.0},
    "language, noisy": {"name": "fragile", "noise": 1000.0, "family": "language_model"},
    "language": {"name": "fragile", "family": "language_model"},
}


def test_an_ensemble_takes_the_best_of_each_kind_on_validation(
    config: Config, tmp_path: Path
) -> None:
    run(config(models=FAMILIES, ensembles={"both": _ensemble()}), folder=tmp_path)
    stored = load_run(tmp_path)
    validation = json.loads((tmp_path / "validation.json").read_text())
    value = {label: values["ndcg@10"] for label, values in validation.items()}
    best = [max(pair, key=value.__getitem__) for pair in (LANGUAGE, COLLABORATIVE)]
    assert len(set(value.values())) >= 3
    assert stored.result("both").info.details["members"] == best
    assert stored.result("both").info.family == "ensemble"
    assert len(Counting.fits) == len(Fragile.fits) == 2


@pytest.mark.parametrize("save_models", [True, False])
def test_an_ensemble_is_the_same_after_a_resume(
    config: Config, tmp_path: Path, save_models: bool
) -> None:
    chosen = config(models=FAMILIES, ensembles={"both": _ensemble()}, save_models=save_models)
    run(chosen, folder=tmp_path)
    before = (tmp_path / "comparison.csv").read_bytes()
    (tmp_path / "results" / "both" / "result.json").unlink()
    (tmp_path / "comparison.csv").unlink()
    run({**chosen, "resume": True}, folder=tmp_path)
    assert (tmp_path / "comparison.csv").read_bytes() == before


def test_members_by_label_and_a_member_that_failed(config: Config, tmp_path: Path) -> None:
    Fragile.trouble = ValueError("no")
    members = {"a": "first", "b": "second"}
    with pytest.raises(FailedModelsError, match='both: its member "second" failed'):
        run(config(ensembles={"both": _ensemble(members=members)}), folder=tmp_path)


def test_the_best_of_a_kind_that_is_not_there(config: Config, tmp_path: Path) -> None:
    with pytest.raises(FailedModelsError, match="no language model with validation values"):
        run(config(ensembles={"both": _ensemble()}), folder=tmp_path)


def test_a_member_twice_is_refused(config: Config, tmp_path: Path) -> None:
    members = {"a": "first", "b": "best baseline"}
    models = {"first": {"name": "counting"}}
    with pytest.raises(FailedModelsError, match="is a member twice"):
        run(config(models=models, ensembles={"both": _ensemble(members=members)}), folder=tmp_path)


@pytest.mark.parametrize("save_models", [True, False])
def test_an_ensemble_is_made_again_when_a_better_row_no_longer_fails(
    config: Config, tmp_path: Path, save_models: bool
) -> None:
    models = {
        "weak": {"name": "counting", "noise": 1000.0},
        "language": {"name": "counting", "family": "language_model"},
        "strong": {"name": "fragile", "noise": 1.0},
    }
    chosen = config(models=models, ensembles={"both": _ensemble()}, save_models=save_models)
    run(chosen, folder=tmp_path / "whole")
    Fragile.trouble = ValueError("once")
    with pytest.raises(FailedModelsError):
        run(chosen, folder=tmp_path / "resumed")
    assert load_run(tmp_path / "resumed").result("both").info.details["members"] == [
        "language",
        "weak",
    ]
    Fragile.trouble = None
    run({**chosen, "resume": True}, folder=tmp_path / "resumed")
    ensemble = load_run(tmp_path / "resumed").result("both")
    assert ensemble.info.details["members"] == ["language", "strong"]
    whole, resumed = (tmp_path / name / "comparison.csv" for name in ("whole", "resumed"))
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_current_ensemble_is_not_made_again(config: Config, tmp_path: Path) -> None:
    chosen = config(models=FAMILIES, ensembles={"both": _ensemble()}, save_models=False)
    run(chosen, folder=tmp_path)
    result = tmp_path / "results" / "both" / "result.json"
    before = result.stat().st_mtime_ns
    run({**chosen, "resume": True}, folder=tmp_path)
    assert result.stat().st_mtime_ns == before
    assert len(Counting.fits) == 2


def test_a_combiner_learns_on_the_candidates_that_are_judged(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Queries, Targets]] = []
    learn = Ensemble.fit_combiner

    def listen(self: Ensemble, queries: Queries, targets: Targets) -> Ensemble:
        asked.append((queries, targets))
        return learn(self, queries, targets)

    monkeypatch.setattr(Ensemble, "fit_combiner", listen)
    chosen = config(
        ensembles={"both": _ensemble(members={"a": "first", "b": "second"})},
        models={"first": {"name": "counting"}, "second": {"name": "fragile", "noise": 9.0}},
    )
    chosen["ensembles"]["both"]["combiner"] = {"name": "weighted"}
    chosen["evaluation"]["candidates"] = {"name": "sampled", "n": 9}
    run(chosen, folder=tmp_path)
    queries, targets = asked[0]
    assert queries.candidates is not None
    assert set(queries.candidates.lengths) == {10}
    for held_out, candidates in zip(targets.items, queries.candidates, strict=True):
        assert set(held_out) <= set(candidates)


def test_a_combiner_of_likes_learns_from_both_kinds(config: Config, tmp_path: Path) -> None:
    likes = {"name": "biased_mf", "loss": "logistic", "epochs": 2, "threshold": 4.0}
    chosen = config(
        data={"name": "synthetic", "n_users": 60, "n_items": 60},
        split={"name": "random_k_fold", "valid_share": 0.2},
        models={"first": {"name": "bias", "task": "preference"}, "second": likes},
        evaluation={"task": "preference", "metrics": ["roc_auc"], "threshold": 4.0},
        ensembles={"both": _ensemble(members={"a": "first", "b": "second"})},
    )
    chosen["ensembles"]["both"]["combiner"] = {"name": "weighted"}
    run(chosen, folder=tmp_path)
    ensemble = load_run(tmp_path).result("both")
    assert sum(ensemble.info.details["weights"].values()) > 0


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass only where `Slow` says so."""
    monkeypatch.setattr("llmrec.experiment.fitting.time.perf_counter", lambda: Slow.clock[0])


SLOW = {"slow": {"name": "slow"}}


@pytest.mark.usefixtures("slow_clock")
def test_loading_libraries_is_no_cost_of_a_row(config: Config, tmp_path: Path) -> None:
    costs = run(config(models=SLOW), folder=tmp_path).results[0].costs
    assert costs.fit_seconds == 10
    assert costs.peak_memory_bytes < 40_000_000
    assert Slow.warmed


@pytest.mark.usefixtures("slow_clock")
def test_the_seconds_before_a_resume_count(config: Config, tmp_path: Path) -> None:
    Slow.trouble = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(config(models=SLOW), folder=tmp_path)
    Slow.trouble = None
    result = run(config(models=SLOW, resume=True), folder=tmp_path).results[0]
    assert result.costs.fit_seconds == 20
    assert [path.name for path in tmp_path.glob("models/slow/elapsed*")] == []


@pytest.mark.usefixtures("slow_clock")
def test_a_fit_that_begins_again_counts_from_zero(config: Config, tmp_path: Path) -> None:
    Slow.trouble = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(config(models=SLOW), folder=tmp_path)
    (tmp_path / "models" / "slow" / "checkpoints" / "checkpoint").unlink()
    Slow.trouble = None
    result = run(config(models=SLOW, resume=True), folder=tmp_path).results[0]
    assert result.costs.fit_seconds == 10


def test_a_resumed_run_keeps_what_it_was_started_with(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(python: str) -> Any:
        now = {"python": python, "packages": {}}
        monkeypatch.setattr("llmrec.experiment.run.versions", lambda: now)
        resume = (tmp_path / "versions.json").exists()
        run(config(resume=resume), folder=tmp_path)
        return json.loads((tmp_path / "versions.json").read_text())

    first, second = ({"python": python, "packages": {}} for python in ("3.12", "3.13"))
    assert written("3.12") == first
    assert written("3.12") == first
    assert written("3.13") == {**first, "resumed": [second]}
    assert written("3.13") == {**first, "resumed": [second]}
    assert written("3.12") == {**first, "resumed": [second, first]}


def test_the_same_numbers_of_two_runs_are_one_row(config: Config, tmp_path: Path) -> None:
    run(config(), folder=tmp_path / "one")
    models = {"first": {"name": "counting"}, "second": {"name": "fragile", "noise": 1000.0}}
    run(config(models=models), folder=tmp_path / "two")
    both = merged([load_run(tmp_path / "one"), load_run(tmp_path / "two")])
    assert sorted(r.label for r in both.results) == ["first", "second [one]", "second [two]"]
