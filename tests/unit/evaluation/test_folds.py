from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llmrec.core.errors import RunError
from llmrec.evaluation.comparison import Comparison, compare
from llmrec.evaluation.evaluate import evaluate, make_exam
from llmrec.evaluation.folds import average, without_fold


@pytest.fixture
def runs(split, table, options, scores):
    exam = make_exam(split, options("rating"))
    one, other = (evaluate(table(scores(i) + i), exam, label=f"m{i}") for i in (1, 2))
    folds = []
    for fold in (1, 2, 3):
        protocol = f"random 3-fold, fold {fold}"
        results = [
            replace(r, protocol=protocol, overall={"rmse": base + fold, "mae": 1.0})
            for r, base in ((one, 0.5), (other, 0.25))
        ]
        folds.append(compare(results, n_resamples=100))
    return folds


def test_mean_and_deviation_over_folds(runs):
    rows = average(runs)
    assert [row["model"] for row in rows] == ["m2", "m1"]  # the smaller error first
    assert rows[0]["n"] == 3
    assert rows[0]["rmse (random 3-fold) mean"] == 2.25
    assert rows[0]["rmse (random 3-fold) std"] == 1.0
    assert rows[0]["mae (random 3-fold) std"] == 0.0


def test_one_fold_has_no_deviation(runs):
    assert np.isnan(average(runs[:1])[0]["rmse (random 3-fold) std"])


def changed(comparison: Comparison, **change) -> Comparison:
    return replace(comparison, results=tuple(replace(r, **change) for r in comparison.results))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": "random 5-fold, fold 2"}, "random 3-fold and random 5-fold"),
        ({"protocol": "random 3-fold, fold 1"}, "fold 1 is there twice"),
        ({"data": "other"}, "different data"),
        ({"metrics": ("mae",)}, "different metrics"),
        ({"label": "new"}, '"m1" is not in every fold'),
    ],
)
def test_runs_that_differ_in_more_than_the_fold_are_refused(runs, change, sentence):
    with pytest.raises(RunError, match=sentence):
        average([runs[0], changed(runs[1], **change)])


def test_nothing_to_average():
    with pytest.raises(RunError, match="no comparison to average"):
        average([])


def test_only_the_number_of_the_fold_is_dropped():
    assert without_fold("random 10-fold, fold 10, full") == "random 10-fold, full"
    assert without_fold("leave-one-out, full") == "leave-one-out, full"


def test_the_splitter_names_its_folds_this_way(split):
    from llmrec.data.splits import RandomKFold

    whole = split.train.union(split.test)
    protocols = {RandomKFold(n_folds=3, fold=fold).split(whole).protocol for fold in range(3)}
    assert len(protocols) == 3
    assert len({without_fold(protocol) for protocol in protocols}) == 1
