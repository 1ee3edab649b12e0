from __future__ import annotations

import json

import numpy as np
import pytest

from llmrec.core.types import Dataset, Interactions
from llmrec.data.summary import core_size, rows_of, summary
from llmrec.data.synthetic import Synthetic

# Three users on four items; the 2-core is users 0 and 1 on items a and b.
USER = np.array([0, 0, 0, 1, 1, 2], np.int32)
ITEM = np.array([0, 1, 2, 0, 1, 0], np.int32)
TITLES = np.array(["one", "two words", "", "two words"], dtype=object)


def toy(*, bare: bool = False) -> Dataset:
    ids = np.array(["x", "y", "z"]), np.array(list("abcd"))
    if bare:
        return Dataset("bare", Interactions(USER, ITEM), *ids)
    text = np.array(["same", "same", "a b c", "", " ", "x"], dtype=object)
    log = Interactions(USER, ITEM, np.arange(6, dtype=np.float32), np.arange(6) * 86_400, text)
    return Dataset("toy", log, *ids, {"title": TITLES})


def test_the_figures_by_hand() -> None:
    facts = summary(toy())
    assert (facts["users"], facts["items"], facts["interactions"]) == (3, 4, 6)
    lengths = facts["history_length"]
    assert (lengths["min"], lengths["median"], lengths["mean"], lengths["max"]) == (1, 2, 2, 3)
    assert lengths["gini"] == pytest.approx(2 / 9)
    assert lengths["share_of_top_10%"] == pytest.approx(3 / 6)
    # Items that nobody used are no part of the popularity.
    assert facts["popularity"]["min"] == 1
    assert facts["k_core"] == {"2": {"users": 2, "items": 2, "interactions": 4}}
    assert facts["texts"]["item.title"] == {
        "coverage": 0.75,
        "words_median": 2,
        "words_95%": 2,
        "words_max": 2,
        "repetitions": 1,
    }
    assert facts["texts"]["interaction"]["coverage"] == pytest.approx(4 / 6)
    assert facts["texts"]["interaction"]["repetitions"] == 1
    assert facts["repeated_pairs"] == 0
    assert facts["time"] == ["1970-01-01", "1970-01-06"]
    assert json.loads(json.dumps(facts)) == facts


def test_what_is_absent_is_left_out() -> None:
    facts = summary(toy(bare=True))
    assert facts["texts"] == {}
    assert (facts["time"], facts["ratings"]) == (None, None)
    assert not any("Time" in what or "Ratings" in what for what, _ in rows_of(facts))
    empty = toy(bare=True).select(np.zeros(6, bool))
    assert summary(empty)["popularity"] is None
    assert dict(rows_of(summary(empty)))["Interactions"] == "0"


def test_a_user_with_an_item_again_is_counted() -> None:
    log = Interactions(np.zeros(3, np.int32), np.array([1, 1, 0], np.int32))
    data = Dataset("again", log, np.array(["x"]), np.array(["a", "b"]))
    assert summary(data)["repeated_pairs"] == 1


def test_rows_are_in_the_words_of_a_paper() -> None:
    rows = dict(rows_of(summary(toy())))
    assert rows["Density"] == "50 %"
    assert rows["Interactions per user (median / mean / max)"] == "2 / 2.0 / 3"
    assert rows["2-core (users / items / interactions)"] == "2 / 2 / 4"
    assert rows["Time"] == "1970-01-01 to 1970-01-06"
    assert rows["Ratings (range, mean)"] == "0 to 5, 2.50"
    field = "Field item.title (coverage, words median / 95 % / max, repetitions)"
    assert rows[field] == "75.0 %, 2 / 2 / 2, 1"


def test_cores_only_shrink() -> None:
    data = Synthetic(n_users=60, n_items=80).load()
    sizes = [core_size(data, k)["interactions"] for k in (2, 3, 5, 10, 20)]
    assert sizes == sorted(sizes, reverse=True)
