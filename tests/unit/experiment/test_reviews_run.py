"""A run whose models read the review that is judged: checked, reported, probed, shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import review_cases

from llmrec.core.errors import ComponentError, ConfigError, DataError
from llmrec.core.registry import registry
from llmrec.evaluation.evaluate import READING
from llmrec.experiment.answers import recommend_text
from llmrec.experiment.compose import compose_config
from llmrec.experiment.probing import probe_text
from llmrec.experiment.prompts import prompt_text
from llmrec.experiment.run import run
from llmrec.experiment.schema import check_config
from llmrec.experiment.store import load_run

pytest.importorskip("transformers")
pytest.importorskip("sklearn")

DATA = ["data=synthetic", "data.n_users=40", "data.n_items=60", "data.texts=true"]
SENTIMENT = [*DATA, "evaluation=sentiment", "evaluation.class_bounds=[3.5]"]


def small(**changes: Any) -> dict[str, Any]:
    data = {"name": "synthetic", "n_users": 40, "n_items": 60, "texts": True}
    return {
        "data": {**data, "n_interactions_per_user": 10},
        "split": {"name": "leave_one_out"},
        "evaluation": {
            "task": "classes",
            "metrics": ["class_accuracy", "macro_f1"],
            "reads_review": True,
            "class_bounds": [3.5],
            "n_resamples": 100,
        },
        "audit": "warn",  # the reviews are made by a few forms, so that many are alike
        "models": {
            "majority": {"name": "majority"},
            "words": {"name": "tfidf_logistic"},
            "vectors": review_cases.spec(
                backbone={"name": "word_vectors", "embedding_size": 8}, epochs=3, learning_rate=0.1
            ),
        },
        **changes,
    }


def test_a_run_says_that_reviews_are_read_and_models_use_them(tmp_path: Path) -> None:
    comparison = run(small(), folder=tmp_path / "run")
    found = {result.label: result.overall["class_accuracy"] for result in comparison.results}
    assert found["words"] == found["vectors"] == 1.0  # the verdict is in every review
    assert found["majority"] < 0.85
    assert READING in comparison.protocol
    assert "classes from 3.5" in comparison.protocol
    assert READING in (tmp_path / "run" / "report.html").read_text()
    assert READING in json.loads((tmp_path / "run" / "data.json").read_text())["protocol"]

    probed = probe_text(tmp_path / "run", label="vectors", users=20, memory=0)
    changed = [line for line in probed.splitlines() if line.startswith("text ")]
    assert changed  # titles say nothing to a model that reads the review alone
    assert all("1.0000" in line for line in changed)
    reviews = [line for line in probed.splitlines() if line.startswith("review ")]
    assert [line.split()[1] for line in reviews] == ["permuted", "removed"]
    assert not any("1.0000" in line for line in reviews)
    assert "1.0000" in probe_text(tmp_path / "run", label="words", users=20, memory=0)
    with pytest.raises(ComponentError, match="cannot recommend"):
        recommend_text(tmp_path / "run", user="u1", label="vectors")

    # resumed, nothing is fitted again; another question is another run
    again = run({**small(), "resume": True}, folder=tmp_path / "run")
    assert {r.label: r.overall["class_accuracy"] for r in again.results} == found
    assert load_run(tmp_path / "run").model("words").reads_review


def test_the_same_test_with_and_without_reviews_is_never_compared(tmp_path: Path) -> None:
    shown = small(models={"majority": {"name": "majority"}})
    hidden = {**shown, "evaluation": {**shown["evaluation"], "reads_review": False}}
    first = run(shown, folder=tmp_path / "shown").results[0]
    second = run(hidden, folder=tmp_path / "hidden").results[0]
    assert first.overall == second.overall
    assert first.fingerprint != second.fingerprint
    assert READING not in second.protocol


def problems(*overrides: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        check_config(compose_config(["experiment=none", *overrides]))
    return {problem.where: problem.what for problem in caught.value.problems}


@pytest.mark.parametrize("name", ["bert_review", "word_vectors_review", "tfidf_logistic"])
def test_a_model_that_reads_reviews_needs_an_evaluation_that_shows_them(name: str) -> None:
    check_config(compose_config(["experiment=none", *SENTIMENT, f"model={name}"]))
    (what,) = problems(*DATA, "evaluation=classes", f"model={name}").values()
    assert "set evaluation.reads_review=true" in what


@pytest.mark.parametrize(
    ("task", "key", "value", "what"),
    [
        ("ranking", "reads_review", "true", "predicts before anything is written"),
        ("rating", "reads_review", "true", "it is for the task classes"),
        ("preference", "class_bounds", "[3]", "the task preference has no classes"),
        ("classes", "class_bounds", "[4,3]", "expected one or more rising ratings"),
        ("classes", "class_bounds", "[]", "expected one or more rising ratings"),
    ],
)
def test_options_that_make_no_sense(task: str, key: str, value: str, what: str) -> None:
    model = {"ranking": "ease", "classes": "majority", "rating": "bias"}.get(task, "bias_like")
    found = problems(f"evaluation={task}", f"model={model}", f"evaluation.{key}={value}")
    assert what in found[f"evaluation.{key}"]


def test_data_without_reviews_is_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    bare = small()
    bare["data"] = {**bare["data"], "texts": False}
    with pytest.raises(DataError, match="vectors: prompt question: names the review, but"):
        run(bare, folder=tmp_path / "prompt")
    bare["models"] = {"majority": {"name": "majority"}}
    with pytest.raises(DataError, match="no texts that users wrote"):
        run(bare, folder=tmp_path / "exam")


def test_copied_reviews_are_a_leak_for_who_reads_them(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="a model that reads what users write recognises them"):
        run(small(audit="error"), folder=tmp_path / "run")


def test_the_review_is_shown_as_the_model_reads_it() -> None:
    sources = registry("source")
    options = {"n_users": 40, "n_items": 60, "texts": True}
    data = sources.get("synthetic")(**options).load()
    last = data.rows_by_user[4][-1]
    review = data.interactions.text[last]
    shown = prompt_text("bert_review", "u5", SENTIMENT)
    rendered = shown.partition("rendered:\n")[2].partition("\n")[0]
    assert rendered.strip() == review
    assert "cut from the front: nothing" in shown
    short = prompt_text("bert_review", "u5", [*SENTIMENT, "model.prompt.max_length=8"])
    assert "tokens: 8 of at most 8" in short
    assert "of the history first, then of the review's end" in short
    read = short.partition("read by the model:\n")[2]
    assert read.startswith(f"[CLS] {review.split()[0].lower()}")
    other = data.item_ids[data.interactions.item[data.rows_by_user[4][0]]]
    with pytest.raises(DataError, match="the test holds none by user u5 of item"):
        prompt_text("bert_review", "u5", SENTIMENT, candidate=str(other))
    title = prompt_text("review_title", "u5", [*SENTIMENT, "model/head=classes"])
    held = data.item_fields["title"][data.interactions.item[last]]
    assert f"{held}: {review}" in title
