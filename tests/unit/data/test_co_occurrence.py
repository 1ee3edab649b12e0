"""Vectors of items that stand near each other, against counts by hand and a dense solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.types import Ragged
from llmrec.data.co_occurrence import co_occurrence_vectors, positive_pmi

HISTORIES = st.lists(st.lists(st.integers(0, 7), max_size=9), min_size=1, max_size=8)


def by_hand(rows: list[list[int]], n_items: int, window: int) -> np.ndarray:
    counts = np.zeros((n_items, n_items))
    for row in rows:
        for place, item in enumerate(row):
            for other in range(len(row)):
                if 0 < abs(place - other) <= window:
                    counts[item, row[other]] += 1 / abs(place - other)
    totals = counts.sum(1)
    contexts = totals**0.75
    found = np.zeros_like(counts)
    for i, j in zip(*np.nonzero(counts), strict=True):
        share = counts[i, j] / totals[i]
        found[i, j] = max(0.0, math.log(share / (contexts[j] / contexts.sum())))
    return found


@given(rows=HISTORIES, window=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_information_is_that_of_a_loop_over_pairs(rows: list[list[int]], window: int) -> None:
    found = positive_pmi(Ragged.from_rows(rows), 8, window).toarray()
    np.testing.assert_allclose(found, by_hand(rows, 8, window), atol=1e-12)


def test_users_do_not_touch() -> None:
    assert not positive_pmi(Ragged.from_rows([[0], [1], [2]]), 3, 5).nnz


@pytest.mark.parametrize("width", [3, 40])
def test_vectors_rebuild_the_information(width: int) -> None:
    rng = np.random.default_rng(0)
    histories = Ragged.from_rows([rng.integers(0, 30, 12) for _ in range(20)])
    vectors = co_occurrence_vectors(histories, 40, width, 3, seed=0)
    information = positive_pmi(histories, 40, 3).toarray()
    left, strength, _ = np.linalg.svd(information)
    # Of (left √s)(left √s)ᵀ the signs of the solver cancel.
    k = min(width, 40)
    np.testing.assert_allclose(
        vectors @ vectors.T, (left[:, :k] * strength[:k]) @ left[:, :k].T, atol=1e-8
    )
    assert not vectors[30:].any()  # items that nobody had
    again = co_occurrence_vectors(histories, 40, width, 3, seed=0)
    np.testing.assert_array_equal(vectors, again)


def test_nothing_near_anything_gives_zeros() -> None:
    assert not co_occurrence_vectors(Ragged.from_rows([[0], [], [2]]), 4, 2, 5, seed=0).any()
