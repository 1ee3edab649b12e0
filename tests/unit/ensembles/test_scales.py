"""Scores on one scale: known values, and what must never change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llmrec.ensembles.scales import SCALES, on_one_scale

SCORES = arrays(np.float32, (3, 6), elements=st.integers(-50, 50).map(float))
PLACES = arrays(np.bool_, (3, 6))


def test_known_values() -> None:
    scores = np.array([[1, 2, 3, 100]], np.float32)
    allowed = np.array([[True, True, True, False]])
    root = np.sqrt(1.5)
    np.testing.assert_allclose(
        on_one_scale(scores, allowed, "zscore")[0], [-root, 0, root, 98 * root], rtol=1e-6
    )
    ranks = on_one_scale(scores, allowed, "rank")[0]
    np.testing.assert_allclose(ranks, [1 / 6, 0.5, 5 / 6, 1], rtol=1e-6)
    powers = np.exp([-root, 0, root])
    shares = on_one_scale(scores, allowed, "softmax")[0]
    np.testing.assert_allclose(shares[:3], powers / powers.sum(), rtol=1e-6)


def test_ties_share_a_rank() -> None:
    ranks = on_one_scale(np.array([[7, 7, 9, 7]], np.float32), np.ones((1, 4), bool), "rank")
    np.testing.assert_allclose(ranks, [[3 / 8, 3 / 8, 7 / 8, 3 / 8]])


@pytest.mark.parametrize("scale", SCALES)
def test_an_excluded_item_is_the_lowest_not_a_nan(scale: str) -> None:
    scores = np.array([[-np.inf, 1, 2, 3], [-np.inf] * 4], np.float32)
    scaled = on_one_scale(scores, np.ones((2, 4), bool), scale)  # type: ignore[arg-type]
    assert np.isfinite(scaled).all()
    assert scaled[0, 0] <= scaled[0, 1] < scaled[0, 2] < scaled[0, 3]
    assert np.ptp(scaled[1]) == 0


@settings(max_examples=60, deadline=None)
@given(SCORES, PLACES, st.sampled_from(sorted(SCALES)), st.integers(1, 9), st.integers(-9, 9))
def test_order_is_kept_and_units_do_not_matter(scores, allowed, scale, unit, shift) -> None:  # type: ignore[no-untyped-def]
    scaled = on_one_scale(scores, allowed, scale)
    assert np.isfinite(scaled).all()
    for row in range(3):
        mine, raw = scaled[row][allowed[row]], scores[row][allowed[row]]
        order = np.argsort(raw, kind="stable")
        assert (np.diff(mine[order]) >= 0).all()
    again = on_one_scale(scores * unit + shift, allowed, scale)
    np.testing.assert_allclose(again[allowed], scaled[allowed], rtol=1e-3, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(SCORES, PLACES, st.sampled_from(sorted(SCALES)))
def test_what_is_left_out_moves_nothing_and_rows_stand_alone(scores, allowed, scale) -> None:  # type: ignore[no-untyped-def]
    scaled = on_one_scale(scores, allowed, scale)
    loud = np.where(allowed, scores, np.float32(1e6))
    np.testing.assert_array_equal(on_one_scale(loud, allowed, scale)[allowed], scaled[allowed])
    for row in range(3):
        one = slice(row, row + 1)
        np.testing.assert_array_equal(on_one_scale(scores[one], allowed[one], scale), scaled[one])
