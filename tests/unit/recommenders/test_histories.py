"""Histories as matrices, and products that do not depend on the batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.types import Ragged
from llmrec.recommenders.histories import batch_free_product, binary_matrix, recency_matrix


def test_a_repeated_item_counts_once() -> None:
    matrix = binary_matrix(Ragged.from_rows([[2, 0, 2], []]), 3)
    assert matrix.toarray().tolist() == [[1, 0, 1], [0, 0, 0]]


def test_recency_halves_at_each_step_back() -> None:
    matrix = recency_matrix(Ragged.from_rows([[1, 0, 3], [2]]), 4, 0.5)
    assert matrix.toarray().tolist() == [[0.5, 0.25, 0, 1], [0, 0, 1, 0]]


def test_a_repeated_item_has_its_newest_weight() -> None:
    assert recency_matrix(Ragged.from_rows([[0, 1, 0]]), 2, 0.5).toarray().tolist() == [[1, 0.5]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 150), st.integers(1, 40), st.integers(1, 70), st.data())
def test_a_row_has_the_same_bits_in_any_batch(n: int, width: int, n_items: int, data) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(n * width)
    left = generator.normal(size=(n, width)).astype(np.float32)
    right = generator.normal(size=(n_items, width)).astype(np.float32)
    whole = batch_free_product(left, right)
    np.testing.assert_allclose(whole, left @ right.T, rtol=1e-4, atol=1e-4)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    np.testing.assert_array_equal(batch_free_product(left[start:stop], right), whole[start:stop])
