from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmrec.core.errors import ConfigError
from llmrec.experiment.schema import check_config, complete, model_label, recommenders

Config = Callable[..., dict[str, Any]]


def _problems(config: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    return {problem.where: problem.what for problem in caught.value.problems}


def test_a_good_config_passes(config: Config) -> None:
    check_config(config())


def test_every_problem_of_every_part_is_reported_at_once(config: Config) -> None:
    wrong = config(
        sed=1,
        seed="zero",
        data={"name": "synthetic", "n_user": 3},
        split={"name": "leave_one_out", "min_interactions": "many"},
        evaluation={"task": "ranking", "metrics": ["ndgc@10"], "metric": 1},
        tracker={"name": "wandbb"},
        models={"a": {"name": "eas"}, "b": {"name": "ease", "regularisation": 1}},
    )
    found = _problems(wrong)
    assert set(found) == {
        "sed",
        "seed",
        "data.n_user",
        "split.min_interactions",
        "evaluation.metric",
        "evaluation.metrics[0]",
        "tracker.name",
        "models.a.name",
        "models.b.regularisation",
    }
    assert 'did you mean "ease"' in found["models.a.name"]
    assert 'did you mean "regularization"' in found["models.b.regularisation"]


def test_parts_that_must_be_there(config: Config) -> None:
    found = _problems({"models": {"ease": {"name": "ease"}}})
    assert set(found) == {"data", "split", "evaluation"}


def test_metrics_are_checked(config: Config) -> None:
    found = _problems(config(evaluation={"task": "ranking", "metrics": ["ndgc@10", "rmse"]}))
    assert set(found) == {"evaluation.metrics[0]"} or set(found) == {
        "evaluation.metrics[0]",
        "evaluation.metrics[1]",
    }


def test_a_label_that_does_not_exist_is_named(config: Config) -> None:
    found = _problems(config(models={"ease": {"name": "ease"}, "eese": {"regularization": 1}}))
    assert list(found) == ["models.eese"]
    assert 'no recommender is labelled "eese" (did you mean "ease"?)' in found["models.eese"]


@pytest.mark.parametrize("value", ["None", ["a", "None"], {"deep": "None"}])
def test_none_as_text_is_refused(config: Config, value: Any) -> None:
    found = _problems(config(label=value, model={"name": "ease"}))
    assert any("write null" in what for what in found.values())


def test_a_recommender_must_serve_the_task(config: Config) -> None:
    found = _problems(config(model={"name": "rates_only"}))
    assert "does not serve the task ranking as configured; it serves: rating" in found["model"]


def test_the_label_of_the_model_slot() -> None:
    spec = {
        "name": "language_model",
        "backbone": {"name": "bert", "size": "tiny"},
        "adapter": {"name": "chain", "steps": {"a": {"name": "int8"}, "b": {"name": "lora"}}},
        "head": {"name": "classification"},
    }
    assert model_label({"model": spec}) == "language_model bert+int8+lora+classification"
    assert model_label({"model": spec, "label": "mine"}) == "mine"
    taken = {"model": {"name": "ease"}, "models": {"ease": {"name": "ease"}}}
    assert list(recommenders(taken)) == ["ease", "ease (model)"]


def test_labels_are_unique(config: Config) -> None:
    found = _problems(config(model={"name": "ease"}, label="first"))
    assert "label of another row" in found["label"]


def test_a_run_needs_something_to_compare(config: Config) -> None:
    assert "nothing to compare" in _problems(config(models={}))["models"]


def test_defaults_are_completed_in_the_order_of_the_schema(config: Config) -> None:
    full = complete({"models": {}, "data": {"name": "csv"}})
    assert list(full)[:3] == ["data", "filters", "tracker"]
    assert full["tracker"] == {"name": "none"}
    assert full["seed"] == 0
    assert "split" not in full


def test_ensembles_are_checked_with_the_rest(config: Config) -> None:
    found = _problems(
        config(
            seed="zero",
            ensembles={
                "a": {"members": {"x": "frist", "y": "second"}, "combiner": {"name": "mean"}},
                "b": {"members": {"x": "first"}},
                "c": {"members": {"x": "first", "y": "second"}, "combiner": {"name": "men"}},
                "d": {"members": {"x": "first", "y": "second"}, "task": "rating", "normal": "x"},
            },
        )
    )
    assert set(found) == {
        "seed",
        "ensembles.a.members.x",
        "ensembles.b.members",
        "ensembles.c.combiner.name",
        "ensembles.d.task",
        "ensembles.d.normal",
    }
    assert 'did you mean "first"' in found["ensembles.a.members.x"]
    assert "follows the evaluation" in found["ensembles.d.task"]


def test_an_ensemble_may_not_have_the_label_of_a_model(config: Config) -> None:
    members = {"x": "first", "y": "second"}
    found = _problems(config(ensembles={"first": {"members": members}}))
    assert list(found) == ["ensembles.first"]
