from __future__ import annotations

import numpy as np
import pytest

from llmrec.core.errors import DataError
from llmrec.core.types import Queries, Ragged, Targets
from llmrec.evaluation.candidates import attach, distinct, excluded_items, places_of, sampled
from llmrec.evaluation.options import CandidateOptions

N_ITEMS = 300


@pytest.fixture
def asked():
    rng = np.random.default_rng(0)
    rows = [rng.permutation(N_ITEMS)[: rng.integers(3, 30)] for _ in range(700)]
    queries = Queries(np.arange(700, dtype=np.int64), Ragged.from_rows([row[2:] for row in rows]))
    return queries, Targets(Ragged.from_rows([row[:2] for row in rows]))


def test_candidates_are_the_targets_and_n_others_outside_the_history(asked):
    queries, targets = asked
    candidates = sampled(queries, targets, N_ITEMS, n=20, seed=1).candidates
    for row, history, truth in zip(candidates, queries.histories, targets.items, strict=True):
        assert len(row) == 22
        assert set(truth) <= set(row)
        assert not set(history) & set(row)
        assert (np.diff(row) > 0).all()  # in order of id: the place says nothing


def test_a_user_gets_the_same_ones_whoever_else_is_asked_about(asked):
    queries, targets = asked
    whole = sampled(queries, targets, N_ITEMS, n=20, seed=1).candidates
    some = np.random.default_rng(1).permutation(700)[:50]
    part = sampled(queries.take(some), targets.take(some), N_ITEMS, n=20, seed=1).candidates
    assert [row.tolist() for row in part] == [whole[user].tolist() for user in some]


def test_seeds_and_users_differ(asked):
    queries, targets = asked
    one = sampled(queries, targets, N_ITEMS, n=20, seed=1).candidates
    two = sampled(queries, targets, N_ITEMS, n=20, seed=2).candidates
    assert [row.tolist() for row in one] != [row.tolist() for row in two]
    assert len({tuple(row) for row in one}) == 700


def test_every_free_item_is_drawn_equally_often():
    n_users = 5000
    queries = Queries(np.arange(n_users), Ragged.from_rows([[0]] * n_users))
    targets = Targets(Ragged.from_rows([[1]] * n_users))
    candidates = sampled(queries, targets, 50, n=12, seed=3).candidates
    counts = np.bincount(candidates.values, minlength=50)
    assert counts[0] == 0
    assert counts[1] == n_users
    share = 12 / 48
    spread = np.sqrt(n_users * share * (1 - share))
    assert (abs(counts[2:] - n_users * share) < 4.5 * spread).all()


@pytest.mark.parametrize("n", [4, 7, 500])
def test_a_user_with_few_items_left_gets_them_all(n):
    queries = Queries(np.array([0]), Ragged.from_rows([[0, 1, 2]]))
    targets = Targets(Ragged.from_rows([[3]]))
    candidates = sampled(queries, targets, 7, n=n).candidates
    assert candidates[0].tolist() == [3, 4, 5, 6]


def test_the_protocol_says_what_was_done(asked):
    assert attach(CandidateOptions(), *asked, N_ITEMS)[1] == "full"
    queries, said = attach(CandidateOptions("sampled", n=9), *asked, N_ITEMS)
    assert said == "sampled 9"
    assert queries.candidates is not None


def test_history_is_excluded_unless_it_is_held_out():
    queries = Queries(np.arange(3), Ragged.from_rows([[1, 2, 2], [], [4, 0]]))
    targets = Targets(Ragged.from_rows([[2], [1], [3]]))
    excluded, repeats = excluded_items(queries, targets, 5)
    assert [row.tolist() for row in excluded] == [[1], [], [4, 0]]
    assert repeats == 1


def test_distinct_keeps_the_first_of_each():
    rows = distinct(Ragged.from_rows([[3, 1, 3], [], [1, 1]]), 4)
    assert [row.tolist() for row in rows] == [[3, 1], [], [1]]


def test_places_of_unsorted_candidates():
    candidates = Ragged.from_rows([[7, 3, 5], [2], [9, 1]])
    places = places_of(Ragged.from_rows([[5, 7], [], [1]]), candidates)
    assert [row.tolist() for row in places] == [[2, 0], [], [1]]


@pytest.mark.parametrize("candidates", [[[7], [5]], [[], []]])
def test_a_target_that_is_no_candidate_is_refused(candidates):
    with pytest.raises(DataError, match="held-out item is missing from its query's candidates"):
        places_of(Ragged.from_rows([[5], []]), Ragged.from_rows(candidates))
