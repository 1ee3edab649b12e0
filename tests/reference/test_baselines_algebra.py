"""Baselines against other people's code and against the definition, on small data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from llmrec.core.types import Dataset, Interactions, Queries
from llmrec.recommenders.ease import EASE
from llmrec.recommenders.histories import interaction_matrix
from llmrec.recommenders.implicit_als import ImplicitALS
from llmrec.recommenders.knn import ItemKNN, UserKNN

N_USERS, N_ITEMS = 60, 40


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = np.random.default_rng(3)
    pairs = np.argwhere(generator.random((N_USERS, N_ITEMS)) < np.linspace(0.05, 0.5, N_ITEMS))
    pairs = pairs[generator.permutation(len(pairs))]
    log = Interactions(pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32))
    return Dataset("small", log, np.arange(N_USERS).astype(str), np.arange(N_ITEMS).astype(str))


def queries(data: Dataset) -> Queries:
    return Queries(np.arange(N_USERS), data.histories)


def test_item_knn_is_sklearn_cosine(data: Dataset) -> None:
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    matrix = interaction_matrix(data).toarray()
    expected = pairwise.cosine_similarity(matrix.T)
    np.fill_diagonal(expected, 0)
    model = ItemKNN(n_neighbors=None).fit(data)
    np.testing.assert_allclose(model.similarity.toarray(), expected, atol=1e-6)
    np.testing.assert_allclose(model.score(queries(data)), matrix @ expected, atol=1e-4)


def test_user_knn_is_sklearn_cosine(data: Dataset) -> None:
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    matrix = interaction_matrix(data).toarray()
    similar = pairwise.cosine_similarity(matrix)
    np.fill_diagonal(similar, 0)
    kept = np.zeros_like(similar)
    for user, row in enumerate(similar):
        best = np.argsort(-row, kind="stable")[:7]
        kept[user, best] = row[best]
    scores = UserKNN(n_neighbors=7).fit(data).score(queries(data))
    # with a tie at the border either neighbour is right
    untied = [u for u, row in enumerate(similar) if np.ptp(np.sort(row)[-8:-6]) > 1e-6]
    assert len(untied) > 20
    np.testing.assert_allclose(scores[untied], (kept @ matrix)[untied], atol=1e-5)


def test_ease_solves_each_column_with_the_diagonal_held_at_zero(data: Dataset) -> None:
    matrix, weight = interaction_matrix(data).toarray().astype(np.float64), 7.0
    expected = np.zeros((N_ITEMS, N_ITEMS))
    for item in range(N_ITEMS):
        others = np.delete(np.arange(N_ITEMS), item)
        x = matrix[:, others]
        ridge = x.T @ x + weight * np.eye(len(others))
        expected[others, item] = np.linalg.solve(ridge, x.T @ matrix[:, item])
    model = EASE(regularization=weight).fit(data)
    np.testing.assert_allclose(model.weights, expected, atol=1e-6)
    np.testing.assert_allclose(model.score(queries(data)), matrix @ expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 4.0])
def test_als_answers_as_implicit_recalculates(data: Dataset, alpha: float) -> None:
    als = pytest.importorskip("implicit.cpu.als")
    matrix = interaction_matrix(data)
    other = als.AlternatingLeastSquares(
        factors=8, iterations=10, regularization=0.05, alpha=alpha, random_state=5
    )
    other.fit(matrix, show_progress=False)
    ours = ImplicitALS(embedding_size=8, epochs=10, regularization=0.05, alpha=alpha, seed=5)
    ours.fit(data)
    np.testing.assert_array_equal(ours.item_factors, other.item_factors)
    longer = matrix.copy().tolil()
    longer[:, 0] = 1  # a history that was not there in training
    longer = sparse.csr_matrix(longer, dtype=np.float32)
    ids, values = other.recommend(
        np.arange(N_USERS), longer, N=N_ITEMS, filter_already_liked_items=False,
        recalculate_user=True,
    )  # fmt: skip
    histories = [longer.indices[longer.indptr[u] : longer.indptr[u + 1]] for u in range(N_USERS)]
    scores = ours.score(Queries.from_histories(histories))
    np.testing.assert_allclose(np.take_along_axis(scores, ids, axis=1), values, atol=1e-4)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_als_does_not_depend_on_the_threads(data: Dataset, n_threads: int) -> None:
    als = pytest.importorskip("implicit.cpu.als")
    other = als.AlternatingLeastSquares(
        factors=8, iterations=10, random_state=5, num_threads=n_threads
    )
    other.fit(interaction_matrix(data), show_progress=False)
    ours = ImplicitALS(embedding_size=8, epochs=10, seed=5).fit(data)
    np.testing.assert_array_equal(ours.item_factors, other.item_factors)
