from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from llmrec.core.builtins import BUILTINS
from llmrec.core.errors import ConfigError
from llmrec.core.registry import registry
from llmrec.metrics.names import check, parse


class Depth:
    """A ranking metric of somebody else."""

    family: ClassVar[str] = "ranking"
    higher_is_better: ClassVar[bool] = False

    def __init__(self, *, k: int) -> None:
        self.k = k

    def per_user(self, ranks):
        return np.ones(len(ranks))


def test_names_become_metrics():
    metrics = parse(["ndcg@10", "coverage@5", "rmse", "roc_auc"])
    assert [m.label for m in metrics] == ["ndcg@10", "coverage@5", "rmse", "roc_auc"]
    assert [m.k for m in metrics] == [10, 5, 0, 0]
    assert [m.family for m in metrics] == ["ranking", "catalogue", "rating", "preference"]
    assert [m.higher_is_better for m in metrics] == [True, True, False, True]


def test_a_dotted_path_names_a_metric_of_another_package():
    (metric,) = parse([f"{__name__}:Depth@7"])
    assert type(metric.metric).__name__ == "Depth"
    assert (metric.k, metric.higher_is_better) == (7, False)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ncdg@10", 'unknown metric "ncdg" \\(did you mean "ndcg"\\?\\); allowed: accuracy'),
        ("ndcg", "needs a list length, a whole number from 1: none is given; write ndcg@10"),
        ("ndcg@", "got ndcg@; write ndcg@10"),
        ("ndcg@0", "got ndcg@0"),
        ("ndcg@-3", "got ndcg@-3"),
        ("ndcg@1.5", "got ndcg@1.5"),
        ("ndcg@²", "got ndcg@²"),
        ("ndcg@10@5", "got ndcg@10@5"),
        ("rmse@10", "takes no list length: write rmse, not rmse@10"),
        ("", 'unknown metric ""'),
    ],
)
def test_a_bad_name_gets_a_sentence(name, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse([name])


def test_every_problem_is_reported_at_once():
    problems = check(["ncdg@10", "rmse", "hr", "rmse"], "evaluation.metrics")
    assert [problem.where for problem in problems] == [
        "evaluation.metrics[0]",
        "evaluation.metrics[2]",
        "evaluation.metrics[3]",
    ]
    assert "listed twice" in problems[2].what


def test_no_metric_at_all():
    with pytest.raises(ConfigError, match="name at least one metric"):
        parse([])


@pytest.mark.parametrize("name", BUILTINS["metric"])
def test_every_built_in_metric_says_what_it_is(name):
    cls = registry("metric").get(name)
    assert cls.family in ("ranking", "catalogue", "rating", "preference", "classes")
    assert isinstance(cls.higher_is_better, bool)
    assert cls.__doc__
