"""Every planted leak is found; clean splits raise no error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from llmrec.core.types import Dataset, Interactions, Ragged, Split
from llmrec.data.audit import (
    CODES,
    Finding,
    FittedPiece,
    RenderedPrompts,
    audit,
    errors,
    findings_text,
    interactions,
)
from llmrec.data.audit.order import _first_rows, id_ranks
from llmrec.data.audit.statistics import compared
from llmrec.data.splits import GlobalTemporal, LeaveOneOut, RandomKFold
from llmrec.data.synthetic import Synthetic
from llmrec.testing.leaks import (
    AT_ONE_MOMENT,
    LAST,
    NEED_TEXTS,
    PLANTS,
    clean_prompts,
    with_reviews,
)

SPLITTERS = {
    "leave_one_out": LeaveOneOut(),
    "global_temporal": GlobalTemporal(),
    "random_k_fold": RandomKFold(),
}


@pytest.fixture(scope="module")
def splits() -> dict[str, Split]:
    data = Synthetic(n_users=300, n_items=900).load()
    found = {name: splitter.split(data) for name, splitter in SPLITTERS.items()}
    small = with_reviews(Synthetic(n_users=80, n_items=900).load())
    found |= {f"{name} with texts": each.split(small) for name, each in SPLITTERS.items()}
    return found


CASES = [
    (name, split)
    for name, (_, where, _) in PLANTS.items()
    for split in ("leave_one_out", "global_temporal")
    if where not in (LAST, AT_ONE_MOMENT) or where == split
]


@pytest.mark.parametrize(("name", "key"), CASES)
def test_a_planted_leak_is_found_and_the_clean_split_is_not(name: str, key: str, splits) -> None:
    code, _, plant = PLANTS[name]
    assert code in CODES
    split = splits[f"{key} with texts" if name in NEED_TEXTS else key]
    planted = plant(split, np.random.default_rng(0))
    found = audit(
        planted.split,
        prompts=planted.prompts,
        pieces=planted.pieces,
        semantic_ids=planted.semantic_ids,
    )
    new = [each for each in found if each.code == code]
    assert new
    assert all(0 < each.count <= each.total for each in new)
    clean = audit(split, prompts=[clean_prompts(split)] if "title" in PLANTS[name] else [])
    if code in {each.code for each in clean}:
        assert errors(new), "beyond what the protocol says of itself"


@pytest.mark.parametrize("key", ["leave_one_out", "global_temporal", "random_k_fold"])
def test_a_clean_split_has_no_errors_and_warns_of_what_its_protocol_says(key: str, splits) -> None:
    found = audit(splits[key], prompts=[clean_prompts(splits[key])])
    assert errors(found) == []
    expected = {
        "leave_one_out": {"global-future", "item-from-future"},
        "global_temporal": set(),
        "random_k_fold": {
            "global-future",
            "item-from-future",
            "user-from-future",
            "train-after-held-out",
        },
    }[key]
    assert {each.code for each in found} <= expected
    assert bool(found) == bool(expected)
    assert all(splits[key].leaks in each.message for each in found)
    assert errors(audit(splits[f"{key} with texts"])) == []


def log(rows, text=None) -> Dataset:
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    timestamps = None if time[0] is None else time.astype(np.int64)
    words = None if text is None else np.array(text, dtype=object)
    users, items = np.array([f"u{n}" for n in range(5)]), np.array([f"i{n}" for n in range(9)])
    made = Interactions(user.astype(np.int32), item.astype(np.int32), None, timestamps, words)
    return Dataset("toy", made, users, items)


def split_of(train: Dataset, test: Dataset, **about) -> Split:
    return Split(train, train.select(np.zeros(len(train), bool)), test, "toy", **about)


def codes(found: tuple[Finding, ...]) -> dict[str, str]:
    return {each.code: each.severity for each in found}


def test_interactions_by_hand() -> None:
    train = log([(0, 1, 10), (0, 2, 20), (1, 1, 5)])
    found = audit(split_of(train, log([(0, 2, 20), (1, 1, 30)])))
    assert codes(found) == {"same-interaction": "error", "repeated-item": "warning"}
    same, again = found
    assert (same.count, same.total, same.examples) == (1, 2, ("user u0, item i2 at 20",))
    assert (again.count, again.examples) == (1, ("user u1, item i1 at 30",))


def test_without_times_a_copy_cannot_be_told_from_a_return() -> None:
    unique = log([(0, 1, None), (0, 2, None)])
    returning = log([(0, 1, None), (0, 1, None)])
    test = log([(0, 1, None)])
    assert codes(audit(split_of(unique, test))) == {"same-interaction": "error"}
    assert codes(audit(split_of(returning, test))) == {"repeated-item": "warning"}


def test_the_future_by_hand() -> None:
    train = log([(0, 1, 10), (1, 2, 40), (2, 3, 50)])
    split = split_of(train, log([(0, 4, 20), (0, 2, 30), (2, 1, 45)]))
    found = {each.code: each for each in audit(split)}
    assert {code: each.count for code, each in found.items()} == {
        "train-after-held-out": 1,
        "user-from-future": 1,
        "item-from-future": 1,
        "global-future": 3,
    }
    assert all(each.severity == "error" for each in found.values())
    declared = {each.code: each for each in audit(replace(split, leaks="sees the future"))}
    assert declared["global-future"].severity == declared["item-from-future"].severity == "warning"
    assert declared["train-after-held-out"].severity == "error"
    random = audit(replace(split, leaks="ignores time", ordered=False))
    assert errors(random) == []


def test_equal_times_are_no_future() -> None:
    split = split_of(log([(0, 1, 10), (1, 2, 20)]), log([(0, 2, 20), (1, 1, 20)]))
    assert audit(split) == ()


def test_the_validation_side_is_known_to_the_test() -> None:
    train, valid, test = log([(0, 1, 1)]), log([(0, 2, 9)]), log([(0, 3, 5)])
    found = audit(Split(train, valid, test, "toy"))
    assert [(each.code, each.side) for each in found] == [
        ("train-after-held-out", "test"),
        ("global-future", "test"),
    ]


def test_few_copied_texts_are_a_warning_and_short_ones_nothing() -> None:
    rows = [(0, 1, n) for n in range(200)]
    known = [f"an entirely different text about number {n} of all" for n in range(200)]
    train = log(rows, known)
    one = [f"nothing like those others at all {n * n} or {n}" for n in range(200)]
    later = [(1, 2, 300 + n) for n in range(200)]
    one[7] = known[3].upper()
    one[8:12] = ["very good thing"] * 4
    found = audit(split_of(train, log(later, one)))
    assert codes(found) == {"identical-text": "warning", "repeated-item": "warning"} or codes(
        found
    ) == {"identical-text": "warning"}
    text = next(each for each in found if each.code == "identical-text")
    assert (text.count, text.total) == (1, 196)
    assert "AN ENTIRELY" in text.examples[0]


def numbered(split: Split, ranks: np.ndarray) -> Split:
    ids = np.array([str(rank) for rank in ranks])
    parts = (replace(side, item_ids=ids) for side in (split.train, split.valid, split.test))
    return replace(split, **dict(zip(("train", "valid", "test"), parts, strict=True)))


def test_ids_numbered_on_train_only_are_clean(splits) -> None:
    split = splits["leave_one_out"]
    met = np.concatenate([split.train.histories.values, np.arange(split.train.n_items)])
    items, first = np.unique(met, return_index=True)
    ranks = np.argsort(np.argsort(first))
    assert np.array_equal(items, np.arange(split.train.n_items))
    assert "ordered-ids" not in codes(audit(numbered(split, ranks)))


def test_ids_numbered_on_train_only_by_shuffled_users_are_clean() -> None:
    """Ordering users by their numbers must not make neighbours by itself."""
    rng = np.random.default_rng(0)
    n_users, n_items, length = 3000, 2000, 5
    popularity = 1 / (1 + np.arange(n_items))
    popularity /= popularity.sum()
    item = np.concatenate(
        [rng.choice(n_items, length, replace=False, p=popularity) for _ in range(n_users)]
    )
    user = np.repeat(np.arange(n_users), length)
    log = Interactions(user.astype(np.int32), item.astype(np.int32))
    data = Dataset("s", log, np.arange(n_users).astype(str), np.arange(n_items).astype(str))
    split = LeaveOneOut().split(data)
    met = split.train.histories.take(rng.permutation(n_users)).values
    items, first = np.unique(np.concatenate([met, np.arange(n_items)]), return_index=True)
    ranks = np.empty(n_items, np.int64)
    ranks[items[np.argsort(first)]] = np.arange(n_items)
    assert audit(numbered(split, ranks)) == ()


def test_a_catalogue_whose_neighbours_are_used_in_a_row_is_clean() -> None:
    """Albums: track after track, in train as in the test, for everybody."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(300):
        start = int(rng.integers(0, 2980))
        rows += [(user, start + step, 100 * user + step) for step in range(8)]
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    made = Interactions(user.astype(np.int32), item.astype(np.int32), None, time)
    data = Dataset("albums", made, np.arange(300).astype(str), np.arange(3000).astype(str))
    split = LeaveOneOut().split(data)
    found = [each for each in audit(split) if each.code == "ordered-ids"]
    assert found == []


def test_ids_in_the_order_of_the_test_rows(splits) -> None:
    split = splits["leave_one_out"]
    met = np.concatenate([split.test.interactions.item, np.arange(split.test.n_items)])
    ranks = np.argsort(np.argsort(np.unique(met, return_index=True)[1]))
    found = [each for each in audit(numbered(split, ranks)) if each.code == "ordered-ids"]
    assert [(each.side, each.severity) for each in found] == [("test", "warning")]
    read = audit(numbered(split, ranks), ids_are_read=True)
    assert codes(tuple(errors(read))) == {"ordered-ids": "error"}


def test_id_ranks_by_number_or_alphabet() -> None:
    assert id_ranks(np.array(["b10", "b9"])).tolist() == [1, 0]
    assert id_ranks(np.array(["b10", "c9"])).tolist() == [0, 1]
    assert id_ranks(np.array(["10", "9", "x"])).tolist() == [0, 1, 2]


TITLES = np.array([f"Film number {n} of them" for n in range(60)], dtype=object)


def prompts(texts, targets, histories=None) -> RenderedPrompts:
    rows = histories or [[] for _ in texts]
    return RenderedPrompts(
        "mine", "test", texts, Ragged.from_rows(rows), Ragged.from_rows([[t] for t in targets])
    )


def catalogue(titles=TITLES) -> Split:
    n = len(titles)
    empty = Interactions(np.empty(0, np.int32), np.empty(0, np.int32))
    data = Dataset(
        "films", empty, np.array(["u"]), np.array([f"x{i}" for i in range(n)]), {"title": titles}
    )
    return Split(data, data, data, "toy")


def test_a_prompt_with_the_title_or_the_id_of_its_target_is_an_error() -> None:
    targets = list(range(40))
    for text in ([TITLES[t].upper() for t in targets], [f"see x{t}, please" for t in targets]):
        (found,) = audit(catalogue(), prompts=[prompts(text, targets)])
        assert (found.code, found.severity, found.count) == ("target-in-prompt", "error", 40)


def test_titles_of_the_history_and_parts_of_words_are_no_leak() -> None:
    titles = TITLES.copy()
    titles[0], titles[1] = "Alien", "Alien Resurrection"
    history = [[1]] * 40
    named = prompts(["liked: Alien Resurrection."] * 40, [0] * 40, history)
    assert audit(catalogue(titles), prompts=[named]) == ()
    part = prompts(["liked: Aliens, x12."] * 40, [0, 1] * 20)
    assert audit(catalogue(titles), prompts=[part]) == ()


def test_a_short_title_that_stands_in_every_prompt_is_chance() -> None:
    titles = TITLES.copy()
    titles[:30] = "It"
    same = prompts(["The user liked it: a lot"] * 40, [n % 30 for n in range(40)])
    assert audit(catalogue(titles), prompts=[same]) == ()


def test_a_target_of_the_history_is_not_asked_about() -> None:
    known = prompts([TITLES[3]] * 40, [3] * 40, [[3]] * 40)
    assert audit(catalogue(), prompts=[known]) == ()


def test_fitted_pieces(splits) -> None:
    split = splits["global_temporal"]
    whole = split.train.union(split.valid).union(split.test)

    def counts(data):
        return data.item_counts

    assert audit(split, pieces=[FittedPiece("p", counts(split.train), counts)]) == ()
    for value, told in (
        (counts(whole), "train and held-out rows together"),
        (counts(split.train.union(split.valid)), "train and validation together"),
        (counts(whole) * 2, "something else"),
        (counts(whole)[:3], "something else"),
    ):
        (found,) = audit(split, pieces=[FittedPiece("p", value, counts)])
        assert found.severity == "error"
        assert told in found.message
    mapping = {"mean": 1.0}
    (found,) = audit(split, pieces=[FittedPiece("m", mapping, lambda data: {"mean": 1.1})])
    assert (found.count, found.total) == (1, 1)
    assert audit(split, pieces=[FittedPiece("m", mapping, lambda data: {"mean": 1 + 1e-9})]) == ()


def test_numbers_of_others_in_a_field_are_no_leak(splits) -> None:
    split = splits["global_temporal"]
    rng = np.random.default_rng(0)
    for values in (
        split.train.item_counts,
        rng.permutation(split.train.union(split.test).item_counts),
        1900 + rng.integers(0, 100, split.train.n_items),
    ):
        column = np.array([str(value) for value in values], dtype=object)
        train, valid, test = (
            replace(side, item_fields={"number": column})
            for side in (split.train, split.valid, split.test)
        )
        assert audit(replace(split, train=train, valid=valid, test=test)) == ()


def test_mean_ratings_with_held_out_rows_in_a_user_field(splits) -> None:
    split = splits["global_temporal"]
    whole = split.train.union(split.valid).union(split.test)
    rows = whole.rows_by_user
    ratings = whole.interactions.rating
    means = [f"{ratings[rows[user]].mean():.2f}" for user in range(whole.n_users)]
    column = np.array(means, dtype=object)
    parts = [
        replace(side, user_fields={"average": column})
        for side in (split.train, split.valid, split.test)
    ]
    (found,) = audit(replace(split, train=parts[0], valid=parts[1], test=parts[2]))
    assert "mean rating" in found.message
    assert "average" in found.message


def test_findings_as_text_and_json() -> None:
    found = audit(split_of(log([(0, 1, 10)]), log([(0, 1, 10)])))
    assert Finding.from_dict(found[0].as_dict()) == found[0]
    text = findings_text(found)
    assert "error same-interaction (test): 1 of 1" in text
    assert "e.g. user u0, item i1 at 10" in text
    assert text.endswith("1 errors, 0 warnings")
    assert findings_text(()) == "no leak found"


def test_what_is_compared_and_what_is_rounding(splits) -> None:
    data = splits["leave_one_out"].train
    counts = np.array([100_000, 7, 0])
    assert compared(counts + np.array([1, 0, 0]), counts, data)[0] == 1
    assert compared(counts.astype(np.float32), counts, data)[0] == 0
    small = np.array([1e-4, 2e-4, -3e-4])
    assert compared(small, small * (1 + 1e-6), data)[0] == 0
    assert compared(small, small * 1.01, data)[0] == 3
    assert compared(np.array([np.nan, 1.5]), np.array([np.nan, 1.5]), data)[0] == 0
    assert compared(np.array([np.nan, 1.5]), np.array([0.5, 1.5]), data)[0] == 1
    a = sparse.csr_matrix(np.array([[0.5, 0.0], [0.0, 1.25]]))
    b = sparse.csr_matrix(np.array([[0.5, 2.5], [0.0, 1.25]]))
    assert compared(a, a.copy(), data) == (0, [])
    assert compared({"w": a}, {"w": b}, data) == (1, ["w[0, 1]: 0, on train 2.5"])
    words, told = compared(["a", "b", "zz"], ["a", "b", "c"], data)
    assert words == 2
    assert told == ["has zz, which train does not give", "lacks c, which train gives"]
    assert compared(["a", "b"], ["b", "a"], data)[0] == 2
    assert compared({"x": 1, "y": {"z": 2}}, {"y": {"z": 2}}, data) == (
        1,
        ["x: is used, but train does not give it"],
    )
    one = np.zeros(data.n_items)
    one[3] = 1
    _, (told,) = compared(one, np.zeros(data.n_items), data)
    assert told == f"[item {data.item_ids[3]}]: 1, on train 0"


@given(
    few=st.lists(st.integers(-5, 30), max_size=20), many=st.lists(st.integers(-5, 30), max_size=60)
)
def test_what_stands_among_many(few: list[int], many: list[int]) -> None:
    a, b = np.array(few, np.int64), np.array(many, np.int64)
    if few:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(interactions, "BLOCK", 7)
            assert np.array_equal(interactions._among(a, b), np.isin(a, b))
    if len(many):
        items, first = _first_rows(b + 5, 36)
        expected, rows = np.unique(b + 5, return_index=True)
        assert (items.tolist(), first.tolist()) == (expected.tolist(), rows.tolist())
