"""`llmrec audit RUN` finds saved recommenders that were fitted on more than the training side."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrec.cli import main
from llmrec.core.errors import RunError
from llmrec.core.files import read_json, write_json
from llmrec.core.saving import unfitted
from llmrec.core.types import Dataset
from llmrec.data.audit import errors
from llmrec.experiment.audit_fitted import FittedAudit, audit_fitted, split_again
from llmrec.experiment.run import run
from llmrec.experiment.store import load_run
from llmrec.recommenders.base import HEADER, load_recommender

FEATURES = {"item": {"name": "tfidf"}, "user": {"name": "history"}}
ROWS: dict[str, dict[str, Any]] = {
    "popular": {"name": "popularity"},
    "knn": {"name": "item_knn"},
    "features": {"name": "feature_model", "features": FEATURES, "epochs": 100},
    "two": {
        "name": "two_stage",
        "retriever": {"name": "user_knn"},
        "ranker": {"name": "markov_knn"},
    },
}
LM = {
    "name": "language_model",
    "backbone": {"name": "gpt2", "hidden_size": 16, "n_layers": 1},
    "prompt": {"name": "text"},
    "head": {"name": "classification", "item_weights": "own"},
    "epochs": 1,
    "examples_per_user": 1,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run with an ensemble."""
    folder = tmp_path_factory.mktemp("audited") / "run"
    members = {"a": "popular", "b": "knn"}
    weighted = {"name": "ensemble", "members": members, "combiner": {"name": "weighted"}}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("llmrec.experiment.store.write_report", lambda *_, **__: None)
        run(
            {
                "data": {"name": "synthetic", "n_users": 40, "n_items": 60},
                "split": {"name": "leave_one_out"},
                "evaluation": {"task": "ranking", "metrics": ["ndcg@10"], "n_resamples": 100},
                "models": ROWS,
                "ensembles": {"both": weighted},
            },
            folder=folder,
        )
    return folder


@pytest.fixture
def finished(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def fit_again(folder: Path, label: str, rows: Dataset, valid: Dataset) -> None:
    """Put a fit on other rows in the place of a saved one."""
    place = folder / "models" / label
    receipt = read_json(place / "fit.json")
    made = unfitted(type(load_recommender(place)), place, HEADER).fit(rows, valid)
    made.save(place)
    write_json(place / "fit.json", receipt)


def looked_at(folder: Path, **options: Any) -> FittedAudit:
    stored = load_run(folder)
    return audit_fitted(stored, split_again(stored), **options)


def test_a_clean_run_has_no_finding(finished: Path) -> None:
    done = looked_at(finished)
    assert done.findings == []
    assert done.counted == []
    assert done.skipped == {}
    every = ["popular", "knn", "features", "two: retriever", "two: ranker"]
    assert done.whole == [*every, "both (combiner, on validation)"]


@pytest.mark.parametrize("label", list(ROWS))
@pytest.mark.parametrize("with_test", [True, False])
def test_a_fit_on_held_out_rows_is_found(finished: Path, label: str, with_test: bool) -> None:
    split = split_again(load_run(finished))
    known = split.train.union(split.valid)
    fit_again(finished, label, known.union(split.test) if with_test else known, split.valid)
    told = "train and held-out rows" if with_test else "train and validation"
    found = looked_at(finished).findings
    assert len(found) == (2 if label == "two" else 1)
    for each in found:
        assert (each.code, each.severity) == ("held-out-statistic", "error")
        assert f"values of {label}" in each.message
        assert f"{told} together" in each.message
        assert 0 < each.count <= each.total
        assert each.examples


def test_examples_name_items_and_both_numbers(finished: Path) -> None:
    split = split_again(load_run(finished))
    whole = split.train.union(split.valid).union(split.test)
    fit_again(finished, "popular", whole, split.valid)
    (found,) = looked_at(finished).findings
    before, after = split.train.item_counts, whole.item_counts
    changed = np.flatnonzero(before != after)
    assert (found.count, found.total) == (len(changed), split.train.n_items)
    item = changed[0]
    told = f"counts[item {split.train.item_ids[item]}]: {after[item]}, on train {before[item]}"
    assert found.examples[0] == told


def test_the_weights_of_an_ensemble_are_learned_again_on_validation(finished: Path) -> None:
    path = finished / "models" / "both" / "combiner.npz"
    weights = np.load(path)["weights"]
    np.savez(path, weights=weights[::-1] * np.array([0.9, 1.1]))
    (found,) = looked_at(finished).findings
    assert "combiner of both" in found.message
    assert "validation" in found.message
    assert found.total == 2


def test_what_is_not_looked_at_is_said(finished: Path) -> None:
    shutil.rmtree(finished / "models" / "knn")
    done = looked_at(finished, refit_seconds=0.0)
    assert "was not kept" in done.skipped["knn"]
    assert "more than 0" in done.skipped["features"]
    assert "not looked at: features" in str(done)
    assert done.whole == ["both (combiner, on validation)"]


def test_the_command(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(finished)]) == 0
    told = capsys.readouterr().out
    assert "fitted again on train and compared: popular, knn" in told
    assert "0 errors" in told
    split = split_again(load_run(finished))
    fit_again(finished, "popular", split.train.union(split.test), split.valid)
    assert main(["audit", str(finished)]) == 1
    assert "error held-out-statistic" in capsys.readouterr().out
    assert main(["audit", str(finished / "nowhere")]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_another_split_is_refused(finished: Path) -> None:
    stored = load_run(finished)
    changed = {**stored.config, "split": {"name": "global_temporal"}}
    with pytest.raises(RunError, match="comes out differently now"):
        split_again(replace(stored, config=changed))


def test_a_language_model_is_known_by_its_rows_and_vocabulary(config, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run(config(models={"lm": LM}), folder=tmp_path)
    done = looked_at(tmp_path)
    assert done.findings == []
    assert (done.whole, done.counted) == ([], ["lm"])
    assert "weights not trained again: lm" in str(done)
    split = split_again(load_run(tmp_path))
    fit_again(tmp_path, "lm", split.train.union(split.valid).union(split.test), split.valid)
    (found,) = errors(looked_at(tmp_path).findings)
    assert "train and held-out rows together" in found.message
    assert found.examples[0].startswith("training rows (fingerprint)")
    # A folder of before rows were kept: the vocabulary alone may tell, and nothing is invented.
    path = tmp_path / "models" / "lm" / "fitted.json"
    told = read_json(path)
    del told["trained_on"]
    write_json(path, told)
    assert "fingerprint" not in str(looked_at(tmp_path).findings)


SEMANTIC = {"name": "semantic", "features": ["interactions"], "codebook_size": 4, "n_levels": 2}
WRITES = {"name": "generative", "n_beams": 2}


@pytest.mark.parametrize(
    ("prompt", "identifier", "name"),
    [
        ({"name": "identifiers", "max_length": 4}, SEMANTIC, "codes["),
        ({"name": "text"}, {"name": "numeric"}, "numbers of items["),
    ],
)
def test_codes_of_items_are_made_again(
    config, tmp_path: Path, prompt: Any, identifier: Any, name: str
) -> None:
    pytest.importorskip("torch")
    spec = {**LM, "prompt": prompt, "head": WRITES, "identifier": identifier}
    run(config(models={"lm": spec}), folder=tmp_path)
    done = looked_at(tmp_path)
    assert (done.findings, done.counted) == ([], ["lm"])
    split = split_again(load_run(tmp_path))
    fit_again(tmp_path, "lm", split.train.union(split.valid).union(split.test), split.valid)
    path = tmp_path / "models" / "lm" / "fitted.json"
    write_json(path, {**read_json(path), "trained_on": split.train.fingerprint})  # a lie
    (found,) = errors(looked_at(tmp_path).findings)
    assert any(example.startswith(name) for example in found.examples)


def test_averages_of_a_rating_head_are_computed_again(config, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    head = {"name": "regression", "averages": True}
    items = {"name": "items", "init": "random", "use_ratings": True}
    spec = {**LM, "prompt": items, "head": head}
    rates = {"task": "rating", "metrics": ["rmse"], "n_resamples": 100}
    run(config(models={"lm": spec}, evaluation=rates), folder=tmp_path)
    assert looked_at(tmp_path).findings == []
    split = split_again(load_run(tmp_path))
    fit_again(tmp_path, "lm", split.train.union(split.test), split.valid)
    path = tmp_path / "models" / "lm" / "fitted.json"
    write_json(path, {**read_json(path), "trained_on": split.train.fingerprint})  # a lie
    (found,) = looked_at(tmp_path).findings
    assert any("averages." in example for example in found.examples)
