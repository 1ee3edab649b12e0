"""Examples are places in histories: complete, without repeats, within one user, never ahead."""

from __future__ import annotations

import itertools
from collections import Counter

import lm_cases
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.types import Dataset
from llmrec.training.examples import positions, windows


def numbered(lengths: list[int]) -> Dataset:
    """Return histories in which every interaction has an item of its own."""
    ends = np.cumsum([0, *lengths])
    rows = [list(range(a, b)) for a, b in itertools.pairwise(ends)]
    return lm_cases.dataset(rows, n_items=max(1, int(ends[-1])))


LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any)


@given(lengths=LENGTHS, width=st.integers(2, 6))
@settings(max_examples=100, deadline=None)
def test_every_transition_is_in_exactly_one_window(lengths: list[int], width: int) -> None:
    train = numbered(lengths)
    examples = windows(train, width)
    found: Counter[tuple[int, int]] = Counter()
    for row in range(len(examples)):
        histories, ratings = examples.histories(np.array([row]))
        window = histories[0].tolist()
        assert ratings is None
        assert 2 <= len(window) <= width
        found.update(itertools.pairwise(window))
    expected = {(a, b) for row in train.histories for a, b in itertools.pairwise(row)}
    assert set(found) == expected
    assert set(found.values()) <= {1}


def test_the_newest_window_is_full() -> None:
    examples = windows(numbered([6]), 4)
    rows, _ = examples.histories(np.arange(len(examples)))
    assert [row.tolist() for row in rows] == [[2, 3, 4, 5], [0, 1, 2]]


@given(
    lengths=LENGTHS,
    length=st.integers(1, 5),
    per_user=st.one_of(st.none(), st.integers(1, 4)),
    with_history=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_history_ends_where_its_target_begins(
    lengths: list[int], length: int, per_user: int | None, with_history: bool
) -> None:
    train = numbered(lengths)
    examples = positions(train, length=length, per_user=per_user, with_history=with_history, seed=3)
    rows, _ = examples.histories(np.arange(len(examples)))
    user_of = np.repeat(np.arange(len(lengths)), lengths)
    asked: Counter[int] = Counter()
    for history, target in zip(rows, examples.targets, strict=True):
        before = train.histories[int(user_of[target])].tolist()
        before = before[: before.index(int(target))]  # items are numbered by place
        assert history.tolist() == before[-length:]
        assert history.tolist() or not with_history
        asked[int(target)] += 1
    assert set(asked.values()) <= {1}
    per_user_counts = Counter(int(user_of[target]) for target in asked)
    for user, n in enumerate(lengths):
        possible = max(0, n - 1) if with_history and (per_user or n) >= n else n
        if per_user is not None and per_user < n:
            possible = per_user
        assert per_user_counts[user] == possible


def test_examples_carry_the_ratings_of_their_histories() -> None:
    train = lm_cases.split().train
    examples = positions(train, length=4, per_user=None, with_history=True, seed=0)
    rows, ratings = examples.histories(np.arange(len(examples)))
    assert ratings is not None
    stars = train.interactions.rating[train.rows_by_user.values]
    for row, (start, end) in enumerate(zip(examples.starts, examples.ends, strict=True)):
        assert ratings[row].tolist() == stars[start:end].tolist()
        assert rows[row].tolist() == train.histories.values[start:end].tolist()
    assert examples.ratings[examples.targets].tolist() == stars[examples.targets].tolist()


def test_the_order_of_examples_follows_the_seed() -> None:
    train = numbered([9, 9, 9])

    def targets(seed: int) -> list[int]:
        kept = positions(train, length=3, per_user=None, with_history=True, seed=seed)
        return kept.targets.tolist()

    assert targets(1) == targets(1)
    assert targets(1) != targets(2)
    assert sorted(targets(1)) == sorted(targets(2))
