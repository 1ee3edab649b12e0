from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from llmrec.core.errors import ConfigError
from llmrec.evaluation.options import CandidateOptions, EvaluationOptions
from llmrec.metrics.names import parse

CONFIGS = Path(__file__).parents[3] / "configs" / "evaluation"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_file_is_valid(path):
    options = EvaluationOptions.from_config(yaml.safe_load(path.read_text("utf-8")))
    assert options.task == ("classes" if path.stem == "sentiment" else path.stem)
    assert all(metric.metric for metric in parse(options.metrics))


def test_there_is_a_config_file_for_every_task():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {
        "ranking",
        "rating",
        "preference",
        "classes",
        "sentiment",
    }


def test_plain_values_become_options():
    plain = {"task": "ranking", "metrics": ["hr@5"], "candidates": {"name": "sampled", "n": 9}}
    options = EvaluationOptions.from_config(plain)
    assert options.candidates == CandidateOptions("sampled", n=9, seed=0)
    assert options == EvaluationOptions(
        task="ranking", metrics=["hr@5"], candidates=CandidateOptions("sampled", 9)
    )


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"metrics": ["ncdg@10"]}, "evaluation.metrics[0]", 'did you mean "ndcg"'),
        ({"metrics": ["hr@5", "rmse"]}, "evaluation.metrics[1]", "judges rating, but the task is"),
        ({"metrics": ["coverage@5", "hr@5"]}, "evaluation.metrics[0]", "cannot come first"),
        ({"metrics": []}, "evaluation.metrics", "at least one metric"),
        ({"metrics": "hr@5"}, "evaluation.metrics", "expected a list of str"),
        ({"metric": ["hr@5"]}, "evaluation.metric", 'did you mean "metrics"'),
        ({"task": "rank"}, "evaluation.task", 'unknown value "rank"'),
        ({"batch_size": 0}, "evaluation.batch_size", "at least 1"),
        ({"batch_size": "many"}, "evaluation.batch_size", "expected int"),
        ({"confidence": 95}, "evaluation.confidence", "between 0 and 1"),
        ({"n_resamples": 10}, "evaluation.n_resamples", "at least 100"),
        ({"threshold": 4.0}, "evaluation.threshold", "takes no threshold"),
        ({"candidates": {"name": "some"}}, "evaluation.candidates.name", 'value "some"'),
        ({"candidates": {"m": 3}}, "evaluation.candidates.m", "unknown key"),
        ({"candidates": {"name": "sampled", "n": 0}}, "evaluation.candidates.n", "at least one"),
        ({"task": "rating", "metrics": ["rmse"], "candidates": {"name": "sampled"}},
         "evaluation.candidates.name", "no candidates to sample"),
        ({"task": "preference", "metrics": ["f1"]}, "evaluation.threshold", "needs the rating"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(changes, where, what):
    plain = {"task": "ranking", "metrics": ["hr@5"]} | changes
    with pytest.raises(ConfigError) as caught:
        EvaluationOptions.from_config(plain)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert what in problem.what


def test_all_problems_at_once_also_when_built_directly():
    with pytest.raises(ConfigError) as caught:
        EvaluationOptions(task="ranking", metrics=["x@1"], batch_size=0, confidence=2.0)
    assert [p.where for p in caught.value.problems] == ["metrics[0]", "batch_size", "confidence"]


def test_changing_a_good_value_into_a_bad_one_is_refused():
    options = EvaluationOptions(task="ranking", metrics=["hr@1"])
    with pytest.raises(ConfigError, match="rmse"):
        dataclasses.replace(options, metrics=["rmse"])
