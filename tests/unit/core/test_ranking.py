from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llmrec.core.ranking import mask_items, ranks_of, tie_keys, top_k
from llmrec.core.types import Ragged

quick = settings(max_examples=60, deadline=None)
# Few distinct values, so that ties are everywhere; −inf excludes.
values = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
matrices = st.tuples(st.integers(1, 5), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=values)
)


def order_of(scores: np.ndarray, user: int) -> list[int]:
    """The finite columns of one row, best first, the slow and plain way."""
    keys = tie_keys(np.array([user]), np.arange(len(scores)))[0]
    finite = [column for column in range(len(scores)) if scores[column] > -np.inf]
    return sorted(finite, key=lambda column: (-scores[column], int(keys[column])))


@quick
@given(scores=matrices, k=st.integers(1, 15), first_user=st.integers(-1, 1000))
def test_top_k_is_the_head_of_the_sorted_row(scores, k, first_user):
    users = np.arange(len(scores)) + first_user
    expected = [
        (order_of(row, user) + [-1] * k)[:k] for row, user in zip(scores, users, strict=True)
    ]
    assert top_k(scores, k, users).tolist() == expected


@quick
@given(scores=matrices, many=st.booleans(), data=st.data())
def test_ranks_agree_with_the_order_of_top_k(scores, many, data):
    # Many columns per row take the path that sorts, few the one that compares.
    size = st.integers(5, 9) if many else st.integers(0, 2)
    column = st.integers(0, scores.shape[1] - 1)
    rows = [
        data.draw(st.lists(column, min_size=n, max_size=n))
        for n in (data.draw(size) for _ in scores)
    ]
    users = np.arange(len(scores)) * 7
    ranks = ranks_of(scores, Ragged.from_rows(rows, np.int64), users)
    for place, (row, asked) in enumerate(zip(scores, rows, strict=True)):
        order = order_of(row, users[place])
        expected = [order.index(c) + 1 if row[c] > -np.inf else 0 for c in asked]
        assert ranks[place].tolist() == expected


def test_wide_rows_with_thousands_of_ties():
    scores = np.zeros((3, 5000), np.float32)
    scores[1, 17] = 1.0
    scores[2, :4990] = -np.inf
    users = np.array([4, 5, 6])
    best = top_k(scores, 20, users)
    assert best[0].tolist() == order_of(scores[0], 4)[:20]
    assert best[1, 0] == 17
    assert sorted(best[2][:10]) == list(range(4990, 5000))
    assert (best[2][10:] == -1).all()
    ranks = ranks_of(scores, Ragged.from_rows([best[0], best[1], best[2][:10]], np.int64), users)
    assert [row.tolist() for row in ranks] == [[*range(1, 21)], [*range(1, 21)], [*range(1, 11)]]


def test_ties_are_broken_differently_for_different_users():
    scores = np.zeros((200, 10), np.float32)
    first = top_k(scores, 1, np.arange(200))[:, 0]
    assert len(np.unique(first)) == 10


@pytest.mark.parametrize("k", [1, 5])
def test_no_columns_and_no_rows(k):
    assert top_k(np.empty((2, 0), np.float32), k, np.arange(2)).tolist() == [[-1] * k] * 2
    assert top_k(np.empty((0, 3), np.float32), k, np.arange(0)).shape == (0, k)
    empty = ranks_of(np.empty((0, 3), np.float32), Ragged.empty(0), np.arange(0))
    assert len(empty) == 0


def test_masked_items_have_no_rank_and_no_place():
    scores = np.array([[3.0, 2.0, 1.0]], np.float32)
    mask_items(scores, Ragged.from_rows([[0]]))
    assert top_k(scores, 3, np.array([0])).tolist() == [[1, 2, -1]]
    assert ranks_of(scores, Ragged.from_rows([[0, 1, 2]]), np.array([0])).values.tolist() == [
        0,
        1,
        2,
    ]
