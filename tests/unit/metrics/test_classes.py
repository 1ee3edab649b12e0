"""Metrics of k classes beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from llmrec.core.types import Ragged
from llmrec.metrics.classes import ClassAccuracy, MacroF1


@pytest.mark.parametrize("seed", range(5))
def test_pooled_and_per_user_as_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 60).astype(np.float32)
    guess = np.where(rng.random(60) < 0.5, truth, rng.integers(0, 5, 60)).astype(np.float32)
    assert MacroF1().overall(truth, guess) == pytest.approx(f1_score(truth, guess, average="macro"))
    assert ClassAccuracy().overall(truth, guess) == pytest.approx(accuracy_score(truth, guess))
    users = Ragged(truth, np.array([0, 10, 10, 35, 60]))
    found = MacroF1().per_user(users, users.with_values(guess))
    for row, (begin, end) in enumerate([(0, 10), (10, 10), (10, 35), (35, 60)]):
        if begin == end:
            assert np.isnan(found[row])
            continue
        expected = f1_score(truth[begin:end], guess[begin:end], average="macro")
        assert found[row] == pytest.approx(expected)


def test_the_parts_give_the_pooled_value_and_its_first_order_change() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 4000)).astype(np.float32)
    guess[:3000] = truth[:3000]
    order = rng.permutation(4000)
    users = Ragged(truth[order], np.arange(0, 4001, 10))
    guesses = users.with_values(guess[order])
    values, ones = MacroF1().parts(users, guesses)
    pooled = MacroF1().overall(users.values, guesses.values)
    assert values.sum() / ones.sum() == pytest.approx(pooled)
    drawn = rng.integers(0, 400, 400)
    again = MacroF1().overall(users.take(drawn).values, guesses.take(drawn).values)
    assert values[drawn].mean() == pytest.approx(again, abs=2e-3)
    assert abs(again - pooled) > 1e-4
