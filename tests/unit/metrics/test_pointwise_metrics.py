from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.types import Ragged
from llmrec.metrics.preference import (
    F1,
    ROCAUC,
    Accuracy,
    BinaryPrecision,
    BinaryRecall,
    LogLoss,
)
from llmrec.metrics.rating import MAE, RMSE

PREFERENCE = [Accuracy, BinaryPrecision, BinaryRecall, F1, ROCAUC, LogLoss]


def two(rows: list[list[tuple[float, float]]]) -> tuple[Ragged, Ragged]:
    """Rows of (truth, prediction) as two ragged arrays."""
    truth = Ragged.from_rows([[t for t, _ in row] for row in rows], np.float32)
    predicted = Ragged.from_rows([[p for _, p in row] for row in rows], np.float32)
    return truth, predicted


quick = settings(max_examples=30, deadline=None)

RATINGS = two([[(4, 3), (2, 2)], [(5, 2)], []])
LIKES = two([[(1, 2), (0, 1), (1, -1), (0, -3)], [(1, 1), (1, -2)], [(0, -1)], []])


def test_rating_by_hand():
    truth, predicted = RATINGS
    assert RMSE().overall(truth.values, predicted.values) == pytest.approx(np.sqrt(10 / 3))
    assert MAE().overall(truth.values, predicted.values) == pytest.approx(4 / 3)
    np.testing.assert_allclose(RMSE().per_user(truth, predicted), [np.sqrt(1 / 2), 3, np.nan])
    np.testing.assert_allclose(MAE().per_user(truth, predicted), [1 / 2, 3, np.nan])


nan = np.nan


@pytest.mark.parametrize(
    ("metric", "overall", "per_user"),
    [
        (Accuracy(), 4 / 7, [1 / 2, 1 / 2, 1, nan]),
        (BinaryPrecision(), 2 / 3, [1 / 2, 1, nan, nan]),
        (BinaryRecall(), 2 / 4, [1 / 2, 1 / 2, nan, nan]),
        (F1(), 4 / 7, [1 / 2, 2 / 3, nan, nan]),
        (ROCAUC(), (3 + 1.5 + 2.5 + 1) / 12, [3 / 4, nan, nan, nan]),
    ],
)
def test_preference_by_hand(metric, overall, per_user):
    truth, predicted = LIKES
    # Pooled: likes score 2, -1, 1, -2 and the rest 1, -3, -1.
    assert metric.overall(truth.values, predicted.values) == pytest.approx(overall)
    np.testing.assert_allclose(metric.per_user(truth, predicted), per_user)


def test_log_loss_is_exact_far_from_zero():
    truth = np.array([1, 0, 1, 0], np.float32)
    scores = np.array([800, -800, -800, 800], np.float32)
    assert LogLoss().overall(truth, scores) == pytest.approx(400.0)
    assert LogLoss().overall(truth[:1], np.array([40.0])) == pytest.approx(np.exp(-40.0))


def test_a_score_of_exactly_zero_is_no_like():
    assert Accuracy().overall(np.array([0.0]), np.array([0.0])) == 1.0


@pytest.mark.parametrize("cls", [BinaryPrecision, BinaryRecall, F1, ROCAUC])
def test_an_undefined_pooled_value_is_nan(cls):
    truth, predicted = np.zeros(3), np.full(3, -1.0)
    assert np.isnan(cls().overall(truth, predicted))


def test_a_constant_scorer_has_an_area_of_one_half():
    assert ROCAUC().overall(np.array([1, 0, 0, 1, 1]), np.zeros(5)) == 0.5


row = st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]))
users = st.lists(st.lists(row, max_size=5), min_size=1, max_size=6)


@pytest.mark.parametrize("cls", [RMSE, MAE, *PREFERENCE])
@quick
@given(rows=users, data=st.data())
def test_the_order_of_users_changes_nothing(cls, rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    truth, predicted = two(rows)
    other_truth, other_predicted = truth.take(np.array(order)), predicted.take(np.array(order))
    metric = cls()
    np.testing.assert_allclose(
        metric.per_user(other_truth, other_predicted),
        metric.per_user(truth, predicted)[list(order)],
    )
    if len(truth.values):
        np.testing.assert_allclose(
            metric.overall(other_truth.values, other_predicted.values),
            metric.overall(truth.values, predicted.values),
        )


@pytest.mark.parametrize("cls", [RMSE, MAE, *PREFERENCE])
@quick
@given(rows=users)
def test_the_parts_of_all_users_make_the_pooled_value(cls, rows):
    truth, predicted = two(rows)
    metric = cls()
    if not len(truth.values):
        return
    overall = metric.overall(truth.values, predicted.values)
    above, below = metric.parts(truth, predicted)
    if np.isnan(overall):
        assert np.isnan(above).any() or below.sum() == 0
        return
    link = getattr(metric, "link", lambda ratio: ratio)
    assert link(np.float64(above.sum() / below.sum())) == pytest.approx(overall)


@pytest.mark.parametrize("cls", [Accuracy, BinaryPrecision, BinaryRecall, F1, ROCAUC])
@quick
@given(rows=users)
def test_values_lie_between_0_and_1(cls, rows):
    values = cls().per_user(*two(rows))
    known = values[~np.isnan(values)]
    assert ((known >= 0) & (known <= 1)).all()
