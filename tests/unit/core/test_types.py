from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Interactions, Queries, Ragged, make_queries

rows = st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6)


def _lists(ragged: Ragged) -> list[list[int]]:
    return [row.tolist() for row in ragged]


def _dataset(
    events: list[tuple[int, int, float, int]], n_users: int = 4, n_items: int = 5
) -> Dataset:
    columns = list(zip(*events, strict=True)) or [(), (), (), ()]
    log = Interactions(
        np.array(columns[0], np.int32),
        np.array(columns[1], np.int32),
        np.array(columns[2], np.float32),
        np.array(columns[3], np.int64),
    )
    return Dataset(
        "toy",
        log,
        np.array([f"u{i}" for i in range(n_users)]),
        np.array([f"i{i}" for i in range(n_items)]),
        {"title": np.array([f"Title {i}" if i else "" for i in range(n_items)], object)},
    )


@given(rows)
def test_ragged_holds_rows(values: list[list[int]]) -> None:
    ragged = Ragged.from_rows(values)
    assert _lists(ragged) == values
    assert ragged.lengths.tolist() == [len(row) for row in values]
    assert ragged.values.dtype == np.int32
    if values:
        assert ragged[-1].tolist() == values[-1]


@given(rows, st.data())
def test_ragged_take(values: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.from_rows(values)
    places = st.lists(st.integers(0, len(values) - 1)) if values else st.just([])
    chosen = data.draw(places)
    assert _lists(ragged.take(np.array(chosen, np.int64))) == [values[i] for i in chosen]
    mask = np.array([i % 2 == 0 for i in range(len(values))], bool)
    assert _lists(ragged.take(mask)) == values[::2]
    assert _lists(ragged.take(slice(1, 3))) == values[1:3]


@given(rows, st.integers(0, 6))
def test_ragged_tail_and_padding_keep_the_latest(values: list[list[int]], n: int) -> None:
    ragged = Ragged.from_rows(values)
    latest = [row[max(len(row) - n, 0) :] for row in values]
    assert _lists(ragged.tail(n)) == latest
    right, left = ragged.padded(n), ragged.padded(n, side="left")
    assert right.shape == left.shape == (len(values), n)
    for row, expected in enumerate(latest):
        blanks = [-1] * (n - len(expected))
        assert right[row].tolist() == expected + blanks
        assert left[row].tolist() == blanks + expected


@given(rows)
def test_ragged_concat(values: list[list[int]]) -> None:
    one, two = Ragged.from_rows(values), Ragged.from_rows(values[::-1])
    expected = [a + b for a, b in zip(values, values[::-1], strict=True)]
    assert _lists(one.concat(two)) == expected


@given(rows)
def test_ragged_places_masks_and_spans(values: list[list[int]]) -> None:
    ragged = Ragged.from_rows(values)
    places = ragged.with_values(ragged.place_of)
    assert _lists(places) == [list(range(len(row))) for row in values]
    assert _lists(ragged.keep(ragged.place_of % 2 == 0)) == [row[::2] for row in values]
    counts = ragged.lengths
    assert _lists(Ragged.spans(np.zeros_like(counts), counts)) == _lists(places)


def test_ragged_from_groups_keeps_order_and_empty_rows() -> None:
    ragged = Ragged.from_groups(np.array([2, 0, 2, 0]), np.array([10, 11, 12, 13]), 4)
    assert _lists(ragged) == [[11, 13], [], [10, 12], []]
    assert _lists(Ragged.empty(2)) == [[], []]


def test_the_log_is_sorted_by_time_and_ties_keep_the_order_of_the_file() -> None:
    log = _dataset([(0, 0, 1, 5), (1, 1, 1, 3), (2, 2, 1, 5), (3, 3, 1, 3)]).interactions
    assert log.sorted().item.tolist() == [1, 3, 0, 2]
    many = _dataset([(0, i, 1, 5 - i % 2) for i in range(200)], n_items=200).interactions
    assert many.sorted().item.tolist() == [*range(1, 200, 2), *range(0, 200, 2)]


def test_select_keeps_the_order_of_events_whatever_the_order_of_rows() -> None:
    data = _dataset([(0, 0, 1, 1), (0, 1, 1, 2), (0, 2, 1, 3)])
    assert data.select(np.array([2, 0])).interactions.item.tolist() == [0, 2]
    assert data.select(np.array([True, False, True])).interactions.item.tolist() == [0, 2]


def test_union_is_in_time_order_and_the_first_wins_ties() -> None:
    a = _dataset([(0, 0, 1, 1), (0, 1, 1, 5)])
    b = a.with_interactions(_dataset([(0, 2, 1, 5), (0, 3, 1, 2)]).interactions)
    assert a.union(b).histories[0].tolist() == [0, 3, 1, 2]


def test_fingerprints_tell_content_apart() -> None:
    data = _dataset([(0, 0, 1, 1), (0, 1, 2, 2)])
    same = _dataset([(0, 0, 1, 1), (0, 1, 2, 2)])
    assert data.fingerprint == same.fingerprint
    others: list[Any] = [
        _dataset([(0, 0, 1, 1), (0, 1, 2, 3)]),
        _dataset([(0, 0, 1, 1), (0, 1, 3, 2)]),
        _dataset([(0, 0, 1, 1)]),
        _dataset([(0, 0, 1, 1), (0, 1, 2, 2)], n_items=6),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_item_texts_join_the_known_fields() -> None:
    data = _dataset([(0, 0, 1, 1)])
    assert data.item_texts()[:2] == ["", "Title 1"]
    with pytest.raises(DataError, match='did you mean "title"'):
        data.item_texts(["titel"])


def test_an_unknown_id_is_a_sentence_with_examples() -> None:
    data = _dataset([(0, 0, 1, 1)])
    assert data.user_index("u2") == 2
    with pytest.raises(DataError, match=r'user "u9" is not in toy; it has 4 users, e.g. u0, u1'):
        data.user_index("u9")
    with pytest.raises(DataError, match='item "x" is not in toy'):
        data.item_index("x")


def test_queries_ask_with_what_was_known() -> None:
    known = _dataset([(0, 0, 5, 1), (2, 1, 4, 2), (0, 2, 3, 3)])
    held_out = known.with_interactions(_dataset([(0, 3, 2, 9), (1, 4, 1, 8)]).interactions)
    queries, targets = make_queries(known, held_out)
    assert queries.users.tolist() == [0, 1]
    assert _lists(queries.histories) == [[0, 2], []]
    assert queries.ratings is not None
    assert _lists(queries.ratings) == [[5, 3], []]
    assert queries.time is not None
    assert queries.time.tolist() == [9, 8]
    assert _lists(targets.items) == [[3], [4]]
    assert targets.ratings is not None
    assert _lists(targets.ratings) == [[2], [1]]


def test_batches_cover_all_queries_once() -> None:
    queries = Queries.from_histories([[0], [1, 2], [], [3], [4]])
    places = [(place.start, place.stop, len(batch)) for place, batch in queries.batches(2)]
    assert places == [(0, 2, 2), (2, 4, 2), (4, 5, 1)]
    assert _lists(queries.take(np.array([2, 1])).histories) == [[], [1, 2]]
    assert queries.users.tolist() == [-1] * 5
