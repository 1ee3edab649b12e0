from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Interactions
from llmrec.data.synthetic import Synthetic
from llmrec.data.transforms import (
    binarized,
    classed,
    describe,
    gini,
    rating_scale,
    require_classes,
)


def dataset(ratings=None, time=None) -> Dataset:
    log = Interactions(
        np.array([0, 0, 0, 1], np.int32),
        np.array([0, 1, 2, 0], np.int32),
        None if ratings is None else np.array(ratings, np.float32),
        None if time is None else np.array(time, np.int64),
    )
    fields = {"title": np.array(["A", "", "C", "D"], dtype=object)}
    return Dataset("toy", log, np.array(["x", "y", "z"]), np.array(list("abcd")), fields)


def test_likes_begin_at_the_threshold() -> None:
    data = dataset([1, 3.5, 4, 5])
    likes = binarized(data, 4).interactions.rating
    assert likes.tolist() == [0, 0, 1, 1]
    assert likes.dtype == np.float32
    assert data.interactions.rating.tolist() == [1, 3.5, 4, 5]


def test_likes_need_ratings_on_both_sides() -> None:
    with pytest.raises(DataError, match="toy has no ratings"):
        binarized(dataset(), 4)
    for threshold in (0.5, 6):
        with pytest.raises(DataError, match=r"\(1 to 5\) are on one side of the threshold"):
            binarized(dataset([1, 2, 3, 5]), threshold)


def test_rating_scale() -> None:
    assert rating_scale(dataset([1, 3.5, 4, 5])) == (1.0, 5.0)
    with pytest.raises(DataError, match="no ratings"):
        rating_scale(dataset())


def test_description() -> None:
    described = describe(dataset([1, 3.5, 4, 5], [0, 86_400, 86_400, 200_000]))
    assert described["users"] == 3
    assert described["items"] == 4
    assert described["interactions"] == 4
    assert described["density"] == pytest.approx(4 / 12)
    assert described["history_length"] == {"min": 1, "median": 2.0, "max": 3}
    assert described["ratings"] == [1.0, 5.0]
    assert described["mean_rating"] == pytest.approx(3.375)
    assert described["time"] == ["1970-01-01", "1970-01-03"]
    assert described["items_with_text"] == 0.75
    assert described["popularity_gini"] == pytest.approx(gini(np.array([2, 1, 1, 0])))


def test_description_is_plain_and_copes_with_nothing() -> None:
    json.dumps(describe(Synthetic(n_users=3, n_items=40).load()))
    empty = dataset().select(np.zeros(4, bool))
    described = describe(empty)
    json.dumps(described)
    assert described["history_length"] is None
    assert described["ratings"] is None
    assert described["popularity_gini"] == 0.0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    x = np.array(counts)
    differences = np.abs(x[:, None] - x[None]).sum()
    expected = differences / (2 * len(x) * x.sum()) if x.sum() else 0.0
    assert gini(x) == pytest.approx(expected, abs=1e-12)


def test_classes_begin_at_their_bounds() -> None:
    data = dataset([1, 3, 4, 5])
    classes = classed(data, [3, 4]).interactions.rating
    assert classes.tolist() == [0, 1, 2, 2]
    assert classes.dtype == np.float32
    require_classes(classed(data, [3, 4]), [3, 4])
    assert classed(data, [3.5]).interactions.rating.tolist() == [0, 0, 1, 1]


def test_classes_need_ratings_in_each() -> None:
    with pytest.raises(DataError, match="toy has no ratings"):
        classed(dataset(), [3])
    with pytest.raises(DataError, match=r"class_bounds=\[3, 3.5\] leaves class 1 empty"):
        classed(dataset([1, 2, 4, 5]), [3, 3.5])
    with pytest.raises(DataError, match="not yet classes 0 to 1"):
        require_classes(dataset([1, 2, 4, 5]), [3])
    with pytest.raises(DataError, match="not yet classes 0 to 1"):
        require_classes(dataset(), [3])
