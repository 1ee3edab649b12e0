"""Neighbourhood models and transitions, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from llmrec.core.types import Queries, Ragged
from llmrec.recommenders.knn import ItemKNN, UserKNN, cosine_neighbours, keep_largest
from llmrec.recommenders.markov_knn import MarkovKNN

# user 0: items 0 1, user 1: items 0 1 2, user 2: items 2 3
ROWS = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2), (2, 3)]


@pytest.fixture
def data(make_data):  # type: ignore[no-untyped-def]
    return make_data(ROWS, 3, 4, rated=False)


def test_cosine_with_shrinkage_by_hand(data) -> None:  # type: ignore[no-untyped-def]
    scores = ItemKNN(n_neighbors=None, shrinkage=2.0).fit(data)
    row = scores.score(Queries.from_histories([[0]]))[0]
    np.testing.assert_allclose(row, [0, 2 / (2 + 2), 1 / (2 + 2), 0])


def test_only_the_nearest_of_each_candidate_count(data) -> None:  # type: ignore[no-untyped-def]
    model = ItemKNN(n_neighbors=1).fit(data)
    similarity = model.similarity.toarray()
    assert (np.count_nonzero(similarity, axis=0) == 1).all()  # a column is a candidate
    np.testing.assert_allclose(similarity[[1, 0, 2], [0, 1, 3]], [1, 1, np.sqrt(0.5)], rtol=1e-6)
    assert model.info.parameters == 4


def test_blocks_do_not_show() -> None:
    generator = np.random.default_rng(0)
    matrix = sparse.csr_matrix((generator.random((30, 1100)) < 0.1).astype(np.float32))
    whole = cosine_neighbours(matrix, None, 0.0)
    assert abs(whole - whole.T).max() < 1e-6
    assert whole.diagonal().max() == 0


def test_keep_largest_of_each_row() -> None:
    kept = keep_largest(np.array([[1, 3, 2, 0], [0, 0, 0, 5]], np.float32), 2)
    assert kept.toarray().tolist() == [[0, 3, 2, 0], [0, 0, 0, 5]]
    assert kept.nnz == 3


def test_users_vote_by_similarity(data) -> None:  # type: ignore[no-untyped-def]
    scores = UserKNN(n_neighbors=2).fit(data).score(Queries.from_histories([[0, 1]]))[0]
    near, nearer = 2 / np.sqrt(6), 1.0  # users 1 and 0
    np.testing.assert_allclose(scores, [near + nearer, near + nearer, near, 0], rtol=1e-6)


def test_a_known_user_does_not_take_a_neighbours_place(data) -> None:  # type: ignore[no-untyped-def]
    model, history = UserKNN(n_neighbors=1).fit(data), Ragged.from_rows([[0, 1]])
    known = model.score(Queries(np.array([0]), history))[0]
    stranger = model.score(Queries(np.array([-1]), history))[0]
    np.testing.assert_allclose(known, 2 / np.sqrt(6) * np.array([1, 1, 1, 0]), rtol=1e-6)
    np.testing.assert_allclose(stranger, [1, 1, 0, 0])


def test_transitions_and_recent_neighbours_add_up(data) -> None:  # type: ignore[no-untyped-def]
    model = MarkovKNN(knn_weight=0.5, decay=0.5).fit(data)
    scores = model.score(Queries.from_histories([[0, 2]]))[0]
    cos = 1 / np.sqrt(2)  # of items 2 and 3; items 0-2 and 1-2 have 1/2
    expected = [0.5 * 0.5, 0.5 * (0.5 + 0.5 * 1), 0.5 * 0.5 * 0.5, 1 + 0.5 * cos]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_a_transition_is_the_share_of_what_followed(data) -> None:  # type: ignore[no-untyped-def]
    following = MarkovKNN().fit(data).following.toarray()
    assert following.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
