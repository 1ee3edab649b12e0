"""The baselines on features: by hand, against scikit-learn, and without their own answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from llmrec.core.errors import ComponentError, DataError
from llmrec.core.types import Dataset, Interactions, Queries
from llmrec.data.synthetic import Synthetic
from llmrec.recommenders.boosted_trees import exported, tree_scores
from llmrec.recommenders.content_knn import ContentKNN
from llmrec.recommenders.feature_model import FeatureModel
from llmrec.recommenders.feature_rows import held_back, with_negatives

COUNTS = {"name": "term_counts"}


def films() -> Dataset:
    titles = ["red fox", "red hen", "blue hen", "red fox hen", "grey"]
    log = Interactions(np.array([0, 0, 1], np.int32), np.array([0, 1, 2], np.int32))
    fields = {"title": np.array(titles, object)}
    return Dataset("films", log, np.array(["a", "b"]), np.array(list("vwxyz")), fields)


def test_content_knn_by_hand_a_new_item_included() -> None:
    model = ContentKNN(feature=COUNTS, decay=0.5).fit(films())
    half = np.sqrt(0.5)
    red, fox, hen, blue = np.eye(4)
    items = [half * (red + fox), half * (red + hen), half * (blue + hen)]
    items += [(red + fox + hen) / np.sqrt(3), np.zeros(4)]
    profile = 0.5 * items[0] + items[1]
    profile /= np.linalg.norm(profile)
    scores = model.score(Queries.from_histories([[0, 1], []]))
    np.testing.assert_allclose(scores[0], [profile @ item for item in items], atol=1e-6)
    np.testing.assert_array_equal(scores[1], 0)


def test_content_knn_refuses_a_feature_of_users() -> None:
    with pytest.raises(ComponentError, match="compares items"):
        ContentKNN(feature={"name": "history"}).fit(films())


@pytest.mark.parametrize("kind", [HistGradientBoostingRegressor, HistGradientBoostingClassifier])
def test_trees_as_arrays_give_what_scikit_learn_gives(kind: type) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 4))
    target = rows[:, 0] * rows[:, 1] + rng.normal(size=500) / 10
    if kind is HistGradientBoostingClassifier:
        target = target > 0
    model = kind(max_iter=15, max_leaf_nodes=7, early_stopping=False).fit(rows, target)
    fresh = rng.normal(size=(200, 4))
    call = getattr(model, "decision_function", model.predict)
    np.testing.assert_allclose(tree_scores(exported(model), fresh), call(fresh), atol=1e-9)


def test_examples_are_the_newest_of_each_user_and_features_see_the_rest() -> None:
    train = Synthetic(n_users=30, n_items=40).load()
    older, rows = held_back(train, 0.3, 10**6)
    assert len(older) + len(rows) == len(train)
    place = np.empty(len(train), np.int64)
    by_user = train.rows_by_user
    place[by_user.values] = np.arange(len(train)) - np.repeat(by_user.offsets[:-1], by_user.lengths)
    lengths = by_user.lengths[train.interactions.user]
    newest = place >= lengths - np.maximum(np.floor(lengths * 0.3), 1)
    np.testing.assert_array_equal(rows, np.flatnonzero(newest))
    with pytest.raises(DataError, match="two training interactions"):
        held_back(train.select(np.array([0])), 0.3, 10)


def test_drawn_items_were_never_had() -> None:
    train = Synthetic(n_users=30, n_items=40).load()
    rows = np.arange(0, len(train), 3)
    number, item, target = with_negatives(train, rows, 3, seed=1)
    log = train.interactions
    had = set(zip(log.user.tolist(), log.item.tolist(), strict=True))
    for user, each, like in zip(log.user[rows][number], item, target, strict=True):
        assert ((int(user), int(each)) in had) == bool(like)
    assert (target == 0).sum() > 0.98 * 3 * len(rows)


def test_a_rating_of_an_example_is_not_in_its_own_features() -> None:
    """With random ratings nothing can be learned: the item's mean must not tell the answer."""
    rng = np.random.default_rng(0)
    n = 4000
    log = Interactions(
        rng.integers(0, 50, n).astype(np.int32),
        rng.integers(0, 1000, n).astype(np.int32),
        rng.choice([1.0, 5.0], n).astype(np.float32),
        np.arange(n, dtype=np.int64) * 3600,
    )
    ids = [np.arange(size).astype(str) for size in (50, 1000)]
    data = Dataset("noise", log, *ids)
    item = {"item": {"name": "history", "of": "item", "windows_days": []}}
    model = FeatureModel(task="preference", features=item, example_share=0.5).fit(data)
    assert np.abs(model.coefficients).max() < 0.2, "about 0.7 if the answer is in the mean"


def test_what_is_held_out_does_not_matter() -> None:
    data = Synthetic(n_users=40, n_items=50).load()
    rows = np.arange(len(data))
    train, test = data.select(rows % 5 > 0), data.select(rows % 5 == 0)
    changed = replace(test.interactions, rating=None, item=test.interactions.item[::-1].copy())
    queries = Queries.from_histories([[1, 2, 3], []])
    features = {"user": {"name": "history"}, "text": {"name": "tfidf"}}
    a = FeatureModel(features=features).fit(train, test).score(queries)
    other = test.with_interactions(changed)
    b = FeatureModel(features=features).fit(train, other).score(queries)
    np.testing.assert_array_equal(a, b)
