from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.errors import ConfigError
from llmrec.core.ranking import ranks_of
from llmrec.core.types import Ragged
from llmrec.metrics.catalogue import Coverage
from llmrec.metrics.ranking import MAP, MRR, NDCG, HitRate, Precision, Recall

ALL = [HitRate, Recall, Precision, MRR, NDCG, MAP]

quick = settings(max_examples=30, deadline=None)

# Distinct ranks within a user; 0 (not ranked) may repeat.
a_user = st.builds(
    lambda ranks, missing: [*ranks, *[0] * missing],
    st.lists(st.integers(1, 30), max_size=6, unique=True),
    st.integers(0, 2),
)
some_users = st.lists(a_user, min_size=1, max_size=6)


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged.from_rows(rows, np.int64)


def log2(x: float) -> float:
    return float(np.log2(x))


HAND = [[1], [3, 0], [11], [2, 5, 1], [4, 2, 20, 30]]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (HitRate(k=3), [1, 1, 0, 1, 1]),
        (Recall(k=3), [1, 1 / 2, 0, 2 / 3, 1 / 4]),
        (Precision(k=3), [1 / 3, 1 / 3, 0, 2 / 3, 1 / 3]),
        (MRR(k=3), [1, 1 / 3, 0, 1, 1 / 2]),
        (
            NDCG(k=3),
            [
                1,
                (1 / log2(4)) / (1 + 1 / log2(3)),
                0,
                (1 + 1 / log2(3)) / (1 + 1 / log2(3) + 1 / log2(4)),
                (1 / log2(3)) / (1 + 1 / log2(3) + 1 / log2(4)),
            ],
        ),
        (MAP(k=3), [1, (1 / 3) / 2, 0, (1 + 1) / 3, (1 / 2) / 3]),
        (MAP(k=5), [1, (1 / 3) / 2, 0, (1 + 1 + 3 / 5) / 3, (1 / 2 + 2 / 4) / 4]),
    ],
)
def test_hand_computed(metric, expected):
    np.testing.assert_allclose(metric.per_user(ragged(HAND)), expected, rtol=1e-14)


@pytest.mark.parametrize("cls", ALL)
def test_a_user_without_held_out_items_has_no_value(cls):
    values = cls(k=2).per_user(ragged([[], [1], []]))
    assert np.isnan(values).tolist() == [True, False, True]


@pytest.mark.parametrize("cls", ALL)
def test_no_users_at_all(cls):
    assert cls(k=2).per_user(ragged([])).shape == (0,)


@pytest.mark.parametrize("cls", [*ALL, Coverage])
@pytest.mark.parametrize("k", [0, -1, 2.0, True, "3"])
def test_a_bad_list_length_is_refused(cls, k):
    with pytest.raises(ConfigError, match=r"k: .*whole number from 1"):
        cls(k=k)


@pytest.mark.parametrize("cls", ALL)
@quick
@given(rows=some_users, k=st.integers(1, 35))
def test_values_lie_between_0_and_1(cls, rows, k):
    values = cls(k=k).per_user(ragged(rows))
    asked = np.array([len(row) > 0 for row in rows])
    assert np.isnan(values[~asked]).all()
    assert ((values[asked] >= 0) & (values[asked] <= 1 + 1e-12)).all()


@pytest.mark.parametrize("cls", [HitRate, Recall, MRR, NDCG, MAP])
@quick
@given(n=st.integers(1, 8), k=st.integers(1, 12))
def test_a_perfect_list_gives_the_best_value(cls, n, k):
    value = cls(k=k).per_user(ragged([list(range(1, n + 1))]))[0]
    assert value == pytest.approx(min(k, n) / n if cls is Recall else 1.0)


@pytest.mark.parametrize("cls", ALL)
@quick
@given(rows=some_users, k=st.integers(1, 12), data=st.data())
def test_moving_a_held_out_item_up_never_hurts(cls, rows, k, data):
    row = data.draw(st.sampled_from(rows))
    ranked = [rank for rank in row if rank > 1 and rank - 1 not in row]
    if not ranked:
        return
    moved = data.draw(st.sampled_from(ranked))
    better = [rank - 1 if rank == moved else rank for rank in row]
    before, after = cls(k=k).per_user(ragged([row, better]))
    assert after >= before - 1e-12


@pytest.mark.parametrize("cls", ALL)
@quick
@given(rows=some_users, k=st.integers(1, 12), data=st.data())
def test_the_order_of_users_and_of_their_items_changes_nothing(cls, rows, k, data):
    order = data.draw(st.permutations(range(len(rows))))
    shuffled = [data.draw(st.permutations(rows[user])) for user in order]
    values = cls(k=k).per_user(ragged(rows))
    np.testing.assert_allclose(cls(k=k).per_user(ragged(shuffled)), values[list(order)], rtol=1e-12)


def test_a_constant_scorer_hits_as_often_as_chance():
    n_users, n_items, k = 4000, 50, 10
    truth = np.random.default_rng(5).integers(0, n_items, n_users)
    scores = np.zeros((n_users, n_items), np.float32)
    columns = Ragged(truth, np.arange(n_users + 1))
    ranks = ranks_of(scores, columns, np.arange(n_users))
    hits = HitRate(k=k).per_user(ranks).mean()
    chance = k / n_items
    assert abs(hits - chance) < 4 * np.sqrt(chance * (1 - chance) / n_users)


def test_coverage():
    lists = np.array([[3, 1, 0], [3, 2, -1], [-1, -1, -1]])
    assert Coverage(k=1).overall(lists, 8) == 1 / 8
    assert Coverage(k=2).overall(lists, 8) == 3 / 8
    assert Coverage(k=9).overall(lists, 4) == 1.0
