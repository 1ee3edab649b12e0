from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llmrec.core.errors import RunError
from llmrec.evaluation.comparison import compare
from llmrec.evaluation.evaluate import evaluate, make_exam
from llmrec.evaluation.result import ModelResult
from llmrec.evaluation.statistics import holm

SIGNAL = {
    "ranking": lambda rating: np.full(len(rating), 3.0),
    "rating": lambda rating: rating,
    "preference": lambda rating: rating - 3.5,
}


@pytest.fixture(params=["ranking", "rating", "preference"])
def judged(request, split, table, options):
    """A good language model, a fair and a poor baseline, and a copy of the fair one."""
    exam = make_exam(split, options(request.param))
    log = split.test.interactions
    makers = {
        "poor": (6.0, 1, "baseline"),
        "fair": (2.0, 2, "baseline"),
        "good": (0.3, 3, "language_model"),
        "copy": (2.0, 2, "language_model"),
    }
    results = []
    for label, (noise, seed, family) in makers.items():
        scores = np.random.default_rng(seed).normal(size=(60, 40)) * noise
        scores[log.user, log.item] += SIGNAL[request.param](log.rating)
        results.append(evaluate(table(scores, family=family), exam, label=label))
    return results


def test_the_best_is_first_and_the_best_baseline_is_the_reference(judged):
    comparison = compare(judged, n_resamples=500)
    main, first = comparison.main_metric, comparison.results[0]
    assert first.label == "good"
    assert comparison.reference == "fair"
    values = [r.overall[main] for r in comparison.results]
    assert values == sorted(values, reverse=first.higher_is_better[main])
    assert set(comparison.versus) == {"good", "copy", "poor"}


def test_a_better_model_is_better_in_the_right_direction(judged):
    comparison = compare(judged, n_resamples=999)
    main = comparison.main_metric
    sign = 1 if judged[0].higher_is_better[main] else -1
    good, poor = comparison.versus["good"][main], comparison.versus["poor"][main]
    assert sign * good.difference > 0
    assert min(sign * good.low, sign * good.high) > 0
    assert good.p < 0.01
    assert sign * poor.difference < 0


def test_differences_are_those_of_the_table(judged):
    comparison = compare(judged, n_resamples=500)
    values = {r.label: r.overall for r in comparison.results}
    for label, versus in comparison.versus.items():
        for name, one in versus.items():
            expected = values[label][name] - values["fair"][name]
            assert one.difference == pytest.approx(expected, abs=1e-12)
            assert one.low <= one.difference <= one.high
    for label, intervals in comparison.intervals.items():
        for name, (low, high) in intervals.items():
            assert low <= values[label][name] <= high
            assert low < high or values[label][name] == 1.0  # nothing varies in a perfect one


def test_an_equal_model_is_no_different(judged):
    for one in compare(judged, n_resamples=500).versus["copy"].values():
        assert (one.difference, one.low, one.high, one.p, one.p_holm) == (0, 0, 0, 1, 1)


def test_p_values_are_corrected_for_the_number_of_recommenders(judged):
    versus = compare(judged, n_resamples=500).versus
    for name in versus["good"]:
        raw = np.array([one[name].p for one in versus.values()])
        corrected = [one[name].p_holm for one in versus.values()]
        assert corrected == holm(raw).tolist()


def test_the_same_seed_gives_the_same_rows_also_from_saved_results(judged, tmp_path):
    rows = compare(judged, seed=4, n_resamples=500).rows()
    for result in judged:
        result.with_costs(fit_seconds=9.9, peak_memory_bytes=9).save(tmp_path / result.label)
    again = [ModelResult.load(tmp_path / result.label) for result in judged]
    assert compare(again, seed=4, n_resamples=500).rows() == rows
    assert compare(again, seed=5, n_resamples=500).rows() != rows


def test_the_order_given_matters_only_for_ties(judged):
    one = compare(judged, n_resamples=500)
    other = compare(judged[::-1], n_resamples=500)
    assert one.reference == other.reference == "fair"
    for label, intervals in one.intervals.items():
        for name, interval in intervals.items():
            np.testing.assert_allclose(other.intervals[label][name], interval, rtol=1e-12)


def test_rows_hold_values_intervals_and_the_test(judged):
    comparison = compare(judged, n_resamples=500)
    main, protocol = comparison.main_metric, comparison.protocol
    rows = {row["model"]: row for row in comparison.rows()}
    assert all(list(row) == list(rows["good"]) for row in rows.values())
    good, versus = rows["good"], comparison.versus["good"][main]
    assert good["family"] == "language_model"
    assert good[f"{main} ({protocol})"] == comparison.results[0].overall[main]
    assert (good[f"{main} 95% low"], good[f"{main} 95% high"]) == comparison.intervals["good"][main]
    assert good[f"Δ {main} vs fair"] == versus.difference
    assert good[f"Δ {main} vs fair 95% low"] == versus.low
    assert good[f"Δ {main} vs fair 95% high"] == versus.high
    assert good[f"Δ {main} vs fair p_holm"] == versus.p_holm
    assert rows["fair"][f"Δ {main} vs fair"] is None
    assert (good["parameters"], good["trainable"]) == (2400, 3)
    assert not any("second" in column or "memory" in column for column in good)
    costs = comparison.cost_rows()[0]
    assert list(costs) == [
        "model",
        "weights",
        "fit_seconds",
        "score_milliseconds_per_user",
        "peak_memory_bytes",
        "parameters",
        "trainable",
    ]


def test_without_a_baseline_nothing_is_tested(judged):
    models = [r for r in judged if r.info.family != "baseline"]
    comparison = compare(models, n_resamples=500)
    assert comparison.reference is None
    assert comparison.versus == {}
    assert not any("Δ" in column for row in comparison.rows() for column in row)


def test_one_baseline_alone(judged):
    comparison = compare(judged[:1], n_resamples=500)
    assert (comparison.reference, comparison.versus) == ("poor", {})
    assert comparison.rows()[0][f"Δ {comparison.main_metric} vs poor"] is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fingerprint": "f" * 64}, "their fingerprint differs"),
        ({"protocol": "other, full"}, "their protocol differs: .* and other, full"),
        ({"data": "other"}, "their data differs: toy and other"),
        ({"task": "generation"}, "their task differs"),
        ({"metrics": ("hr@1",)}, "their metrics differs"),
        ({"users": np.array(["somebody"])}, "not asked about the same users"),
        ({"label": "poor"}, 'more than one result is called "poor"'),
    ],
)
def test_what_cannot_be_compared_is_refused(judged, change, sentence):
    with pytest.raises(RunError, match=sentence):
        compare([judged[0], replace(judged[1], **change)], n_resamples=500)


def test_nothing_to_compare():
    with pytest.raises(RunError, match="no result to compare"):
        compare([])


def test_an_undefined_value_comes_last(judged):
    main = judged[0].metrics[0]
    unknown = replace(judged[2], overall={**judged[2].overall, main: float("nan")})
    comparison = compare([unknown, *judged[:2]], n_resamples=500)
    assert comparison.results[-1].label == "good"


def with_twin(result: ModelResult, family: str, twin: str | None) -> ModelResult:
    details = {} if twin is None else {"twin": twin}
    return replace(result, info=replace(result.info, family=family, details=details))


def test_a_model_is_tested_against_its_control_alone(judged):
    by_label = {result.label: result for result in judged}
    rows = [
        with_twin(by_label["good"], "language_model", "a"),
        with_twin(by_label["copy"], "control", "a"),
        with_twin(by_label["fair"], "baseline", None),
    ]
    comparison = compare(rows, n_resamples=500)
    (test,) = comparison.controls
    assert (test.model, test.control) == ("good", "copy")
    main = comparison.main_metric
    values = {row.label: row.overall[main] for row in rows}
    assert test.versus.difference == pytest.approx(values["good"] - values["copy"], abs=1e-12)
    assert test.versus.low <= test.versus.difference <= test.versus.high
    assert test.versus.p == test.versus.p_holm == comparison.versus["good"][main].p
    (row,) = comparison.control_rows()
    assert (row["model"], row["control"], row["p_holm"]) == ("good", "copy", test.versus.p_holm)


def test_a_row_without_twin_has_no_control(judged):
    by_label = {result.label: result for result in judged}
    for twins in (("a", "b"), (None, None)):
        rows = [
            with_twin(by_label["good"], "language_model", twins[0]),
            with_twin(by_label["copy"], "control", twins[1]),
        ]
        assert compare(rows, n_resamples=100).controls == ()
