"""EASE, implicit ALS and biased matrix factorization beyond the contract."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.errors import DataError, MissingExtraError
from llmrec.core.types import Queries, make_queries
from llmrec.recommenders.biased_mf import BiasedMF
from llmrec.recommenders.bpr import unseen_items
from llmrec.recommenders.ease import EASE, inverse, require_memory
from llmrec.recommenders.histories import interaction_matrix
from llmrec.recommenders.implicit_als import ImplicitALS, fold_in
from llmrec.recommenders.newton import fit_side, sigmoid
from llmrec.testing import checkerboard, rated_checkerboard


def test_ease_refuses_a_catalogue_that_does_not_fit() -> None:
    with pytest.raises(DataError, match=r"needs 120\.0 GB for 100000 items and 8\.0 GB are free"):
        require_memory(100_000, 8_000_000_000)
    require_memory(10_000, 8_000_000_000)


def test_ease_without_regularization_may_have_no_inverse() -> None:
    with pytest.raises(DataError, match="raise regularization"):
        EASE(regularization=0.0).fit(checkerboard().train)


@pytest.mark.parametrize("n", [1, 5, 1030])
def test_the_inverse_is_whole_across_blocks(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(n, n)) / np.sqrt(n)
    gram = values @ values.T + np.eye(n)
    np.testing.assert_allclose(inverse(gram.copy()) @ gram, np.eye(n), atol=1e-9)


def test_forgetting_weighs_the_history_by_age() -> None:
    model = EASE(regularization=1.0, decay=0.5).fit(checkerboard().train)
    scores = model.score(Queries.from_histories([[0, 2, 4]]))[0]
    expected = model.weights[4] + 0.5 * model.weights[2] + 0.25 * model.weights[0]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-7)


def test_als_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtraError, match=r"llmrec\[cf\]"):
        ImplicitALS().fit(checkerboard().train)


def test_als_answers_an_empty_history_with_zeros() -> None:
    model = ImplicitALS(embedding_size=4).fit(checkerboard().train)
    assert not model.score(Queries.from_histories([[]])).any()
    assert model.score(Queries.from_histories([[0]])).any()


def test_a_seed_changes_the_factors() -> None:
    train = checkerboard().train
    first, second = (ImplicitALS(embedding_size=4, seed=seed).fit(train) for seed in (0, 1))
    assert not np.allclose(first.item_factors, second.item_factors)


def objective(model: BiasedMF, train, penalty: np.ndarray) -> float:  # type: ignore[no-untyped-def]
    log = train.interactions
    vectors = np.einsum("nd,nd->n", model.user_vectors[log.user], model.item_vectors[log.item])
    predicted = model.mean + model.user_bias[log.user] + model.item_bias[log.item] + vectors
    if model.loss == "squared":
        loss = 0.5 * ((predicted - log.rating) ** 2).sum()
    else:
        loss = np.logaddexp(0, np.where(log.rating >= 4, -predicted, predicted)).sum()
    ridge = 0.0
    for bias, rows in (
        (model.user_bias, model.user_vectors),
        (model.item_bias, model.item_vectors),
    ):
        ridge += 0.5 * (penalty[0] * (bias**2).sum() + (penalty[1:] * rows**2).sum())
    return float(loss + ridge)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_every_epoch_lowers_the_objective(loss: str) -> None:
    train = rated_checkerboard().train
    values = []
    for epochs in (1, 2, 4, 8, 16):
        model = BiasedMF(loss=loss, embedding_size=3, regularization=0.7, epochs=epochs).fit(train)
        values.append(objective(model, train, model.penalty))
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.9 * values[0]


def test_one_ridge_step_by_hand() -> None:
    # two ratings of one user, items with vectors 1 and 2, no biases, mean 3
    group, other = np.zeros(2, np.int64), np.array([0, 1])
    others = np.array([[0.0, 1.0], [0.0, 2.0]])
    found = fit_side(
        group, other, np.array([4.0, 6.0]), np.zeros((2, 2)), others, 3.0, np.array([1e9, 1.0]),
        logistic=False,
    )  # fmt: skip
    # the bias is pinned to 0: x = (1·1 + 2·3) / (1 + 4 + 1)
    np.testing.assert_allclose(found, [[0, 7 / 6], [0, 0]], atol=1e-7)


def test_newton_steps_end_where_the_gradient_vanishes() -> None:
    generator = np.random.default_rng(0)
    others = generator.normal(size=(30, 3))
    group, other = np.zeros(30, np.int64), np.arange(30)
    likes, penalty = (generator.random(30) < 0.4).astype(float), np.array([0.5, 1.0, 1.0])
    x = np.zeros((1, 3))
    for _ in range(8):
        x = fit_side(group, other, likes, x, others, 0.2, penalty, logistic=True)
    features = np.c_[np.ones(30), others[:, 1:]]
    chance = sigmoid(0.2 + others[:, 0] + features @ x[0])
    np.testing.assert_allclose(features.T @ (likes - chance), penalty * x[0], atol=1e-8)


@pytest.mark.parametrize(("loss", "accuracy"), [("squared", 0.01), ("logistic", 0.1)])
def test_a_stranger_with_the_same_ratings_gets_nearly_the_same_scores(
    loss: str, accuracy: float
) -> None:
    train = rated_checkerboard().train
    model = BiasedMF(loss=loss, embedding_size=3, regularization=0.5, epochs=100).fit(train)
    known, _ = make_queries(train, train)
    stranger = replace(known, users=np.full(len(known), -1))
    np.testing.assert_allclose(model.score(stranger), model.score(known), atol=accuracy)


def test_a_stranger_without_ratings_is_answered_by_the_items() -> None:
    model = BiasedMF(embedding_size=3).fit(rated_checkerboard().train)
    expected = np.clip(model.mean + model.item_bias, 1, 5)
    for queries in (Queries.from_histories([[]]), Queries.from_histories([[0, 2]])):
        np.testing.assert_allclose(model.score(queries)[0], expected, rtol=1e-6)


def test_ratings_stay_in_the_range_seen_and_log_odds_do_not() -> None:
    split = rated_checkerboard()
    queries, _ = make_queries(split.train, split.test)
    ratings = BiasedMF(embedding_size=8, regularization=0.01).fit(split.train).score(queries)
    assert ratings.min() >= 1
    assert ratings.max() <= 5
    odds = BiasedMF(loss="logistic", embedding_size=4).fit(split.train).score(queries)
    assert odds.min() < 0 < odds.max()


def test_the_loss_decides_what_is_served() -> None:
    tasks = {loss: BiasedMF(loss=loss).tasks for loss in ("squared", "logistic", "bpr")}  # type: ignore[arg-type]
    assert tasks["squared"] == {"rating", "ranking"}
    assert tasks["logistic"] == {"preference", "ranking"}
    assert tasks["bpr"] == {"ranking"}


def test_parameters_are_counted() -> None:
    train = rated_checkerboard().train
    n_users, n_items = train.n_users, train.n_items
    squared = BiasedMF(embedding_size=4, epochs=1).fit(train).info.parameters
    assert squared == 1 + 5 * (n_users + n_items)
    bpr = BiasedMF(loss="bpr", embedding_size=4, epochs=1).fit(train).info.parameters
    assert bpr == 4 * n_users + 5 * n_items
    assert ImplicitALS(embedding_size=4).fit(train).info.parameters == 4 * n_items
    assert EASE().fit(train).info.parameters == n_items * (n_items - 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 60), st.integers(0, 1000))
def test_bpr_never_draws_what_the_user_had(n_items: int, n_seen: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    seen_users = generator.integers(0, 5, n_seen + 1)
    seen_items = generator.integers(0, n_items, n_seen + 1)
    keys = np.unique(seen_users * n_items + seen_items)
    users = np.arange(5).repeat(10)
    items, good = unseen_items(users, keys, n_items, generator)
    assert not np.isin(users[good] * n_items + items[good], keys).any()
    full = np.bincount(keys // n_items, minlength=5) == n_items
    assert not good[full[users]].any()


def test_fold_in_does_not_depend_on_the_batch() -> None:
    train = checkerboard().train
    history = interaction_matrix(train)
    items = np.random.default_rng(0).normal(size=(train.n_items, 6)).astype(np.float32)
    whole = fold_in(history, items, 3.0, 0.1)
    for row in range(history.shape[0]):
        np.testing.assert_array_equal(
            fold_in(history[row : row + 1], items, 3.0, 0.1)[0], whole[row]
        )
