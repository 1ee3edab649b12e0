from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core import order
from llmrec.core.order import stable_order


@pytest.mark.parametrize("dtype", ["i4", "i8", "u4", "i2"])
@given(seed=st.integers(0, 1000), low=st.integers(-(2**14), 2**14), bits=st.integers(0, 31))
def test_it_is_the_stable_order(dtype: str, seed: int, low: int, bits: int) -> None:
    info = np.iinfo(dtype)
    low = max(low, info.min)
    high = min(low + 2**bits, info.max)
    rng = np.random.default_rng(seed)
    values = rng.integers(low, high, 300, endpoint=True).astype(dtype)
    values[:2] = low, high
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "SMALL", 0)
        assert np.array_equal(stable_order(values), np.argsort(values, kind="stable"))


@pytest.mark.parametrize(
    "values",
    [
        np.array([2**63 - 1, -(2**63), 0, 0]),
        np.array([0.5, -1.0, 0.5]),
        np.empty(0, np.int64),
        np.array([-(2**31), 2**31 - 1, 0], np.int32),
    ],
)
def test_wide_ranges_floats_and_nothing(values: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(order, "SMALL", 1)
    assert np.array_equal(stable_order(values), np.argsort(values, kind="stable"))


def test_long_columns_take_the_quick_way() -> None:
    values = np.random.default_rng(0).integers(0, 1000, 3 * order.SMALL)
    assert np.array_equal(stable_order(values), np.argsort(values, kind="stable"))
