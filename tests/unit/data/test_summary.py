from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from llmrec.core.types import Dataset, Interactions
from llmrec.data.languages import languages
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


def dated(*times: int) -> Dataset:
    n = len(times)
    log = Interactions(np.zeros(n, np.int32), np.arange(n, dtype=np.int32), None, np.array(times))
    return Dataset("dated", log, np.array(["u"]), np.array([f"i{k}" for k in range(n)]))


def test_times_that_cannot_be_right_are_counted_with_an_example() -> None:
    facts = summary(dated(10**9, 2 * 10**9, 10**8, 3 * 10**9), now=1.7e9)
    assert facts["strange_times"]["after_now"] == {
        "interactions": 2,
        "example": "user u, item i1 at 2000000000 (2033-05-18)",
        "perhaps": "a wrong clock, or a unit other than seconds since 1970",
    }
    assert facts["strange_times"]["before_1990"]["interactions"] == 1
    rows = dict(rows_of(facts))
    assert (rows["Times in the future"], rows["Times before 1990"]) == ("2", "1")
    assert summary(dated(10**9, 10**9 + 1))["strange_times"] == {}


@pytest.mark.parametrize(
    ("times", "side", "why"),
    [
        ((1_700_000_000_000, 1_600_000_000_000), "after_now", "milliseconds"),
        ((20240301, 20231231), "before_1990", "20240301"),
        ((0, 0), "before_1990", "0 written"),
        ((19_000, 2024), "before_1990", "days or years"),
    ],
)
def test_the_likely_reason_is_told(times, side, why) -> None:
    assert why in summary(dated(*times))["strange_times"][side]["perhaps"]


GERMAN = "Das ist ein sehr schönes Buch, und ich habe es gern gelesen"
ENGLISH = "This is a very nice book, and I liked reading it with my friends"


def test_languages_are_shares_of_texts_that_are_not_empty() -> None:
    found = languages([GERMAN, ENGLISH, ENGLISH, ENGLISH, "", " "])
    assert found == {"texts": 4, "judged": 4, "shares": {"en": 0.75, "de": 0.25}}
    assert languages(["Xq 7"])["shares"] == {"undecided": 1.0}
    assert languages([]) == {"texts": 0, "judged": 0, "shares": {}}


def test_many_texts_are_sampled_and_the_table_says_so() -> None:
    found = languages([f"{ENGLISH} {n}" for n in range(30)], sample=10)
    assert found == {"texts": 30, "judged": 10, "shares": {"en": 1.0}}
    facts = summary(toy())
    facts["languages"] = {"items": found}
    rows = dict(rows_of(facts))
    assert rows["Languages of items (sample of 10 texts)"] == "en 100.0 %"


def test_without_the_package_languages_are_said_to_be_unknown(monkeypatch) -> None:
    from llmrec.data import languages as module

    module._identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    found = languages([ENGLISH])
    assert found["judged"] == 0
    assert "llmrec[text]" in found["unknown"]


def test_cores_only_shrink() -> None:
    data = Synthetic(n_users=60, n_items=80).load()
    sizes = [core_size(data, k)["interactions"] for k in (2, 3, 5, 10, 20)]
    assert sizes == sorted(sizes, reverse=True)
