"""The ensemble: what it takes, what it learns from, what it keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, ConfigError, DataError, RunError
from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Queries, Ragged, Targets, make_queries
from llmrec.ensembles.ensemble import Ensemble
from llmrec.recommenders.base import BaseRecommender, load_recommender
from llmrec.testing import checkerboard, rated_checkerboard


class Table(BaseRecommender):
    """Scores that a test chose, the same for every query."""

    def __init__(self, *, scores: list[float], weights: str = "") -> None:
        self.scores = scores
        self.weights = weights

    def score_all(self, queries: Queries) -> np.ndarray:
        return np.tile(np.array(self.scores, np.float32), (len(queries), 1))

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(parameters=3, trainable=2, weights=self.weights)


def test_history_does_not_squeeze_the_rest() -> None:
    loud = Table(scores=[1000.0, 1.0, 2.0, 3.0])
    flat = Table(scores=[0.0, 0.3, 0.2, 0.1])
    ensemble = Ensemble.of({"loud": loud, "flat": flat})
    scores = ensemble.score(Queries.from_histories([[0]]))[0]
    np.testing.assert_allclose(scores[1:], 0, atol=1e-6)  # opposite orders cancel exactly


def test_candidates_set_the_scale() -> None:
    member = Table(scores=[0.0, 1.0, 2.0, 30.0])
    queries = Queries.from_histories([[0]])
    scores = Ensemble.of({"one": member}).score(queries, np.array([[1, 2, 0, -1]]))
    np.testing.assert_allclose(scores[0, :2], [-1, 1])


def test_rating_is_a_plain_mean() -> None:
    split = rated_checkerboard()
    members = {
        "bias": build("recommender", {"name": "bias"}).fit(split.train),
        "mf": build("recommender", {"name": "biased_mf", "embedding_size": 2}).fit(split.train),
    }
    queries, _ = make_queries(split.train, split.test)
    expected = sum(member.score(queries) for member in members.values()) / 2
    mean = Ensemble.of(members, task="rating")
    np.testing.assert_allclose(mean.score(queries), expected, rtol=1e-6)
    assert mean.tasks == {"rating"}


def test_fitting_and_taking_fitted_members_agree() -> None:
    split = checkerboard()
    specs = {"knn": {"name": "item_knn"}, "random": {"name": "random", "seed": 5}}
    whole = Ensemble(members=specs, combiner={"name": "weighted"}).fit(split.train, split.valid)
    fitted = {label: build("recommender", spec).fit(split.train) for label, spec in specs.items()}
    taken = Ensemble.of(fitted, {"name": "weighted"})
    taken.fit_combiner(*make_queries(split.train, split.valid))
    queries, _ = make_queries(split.train, split.test)
    np.testing.assert_array_equal(whole.score(queries), taken.score(queries))
    assert whole.info.details["weights"] == taken.info.details["weights"]
    assert whole.info.details["weights"]["knn"] > 0.5


def test_members_get_different_seeds_unless_they_name_one() -> None:
    train = checkerboard().train
    members = {"a": {"name": "random"}, "b": {"name": "random"}, "c": {"name": "random", "seed": 9}}
    fitted = Ensemble(members=members).fit(train).fitted
    seeds = {label: member.seed for label, member in fitted.items()}  # type: ignore[attr-defined]
    assert len(set(seeds.values())) == 3
    assert seeds["c"] == 9


def test_the_info_adds_up_and_names_random_weights() -> None:
    members = {
        "a": Table(scores=[1.0], weights="random init"),
        "b": Table(scores=[2.0]),
        "c": Table(scores=[2.0], weights="random init"),
    }
    info = Ensemble.of(members).info
    assert (info.family, info.parameters, info.trainable) == ("ensemble", 9, 6)
    assert info.weights == "random init"
    assert info.details["members"] == ["a", "b", "c"]


def test_a_member_that_does_not_serve_the_task_is_named() -> None:
    knn = build("recommender", {"name": "item_knn"}).fit(checkerboard().train)
    with pytest.raises(ComponentError, match='member "knn" of the ensemble serves ranking, not ra'):
        Ensemble.of({"knn": knn}, task="rating")


def test_a_learning_combiner_needs_validation() -> None:
    split = checkerboard()
    ensemble = Ensemble(members={"a": {"name": "popularity"}}, combiner={"name": "weighted"})
    with pytest.raises(DataError, match='"weighted" learns on validation data'):
        ensemble.fit(split.train)
    fitted = build("recommender", {"name": "popularity"}).fit(split.train)
    waiting = Ensemble.of({"a": fitted}, {"name": "weighted"})
    with pytest.raises(RunError, match="call fit_combiner first"):
        waiting.score(Queries.from_histories([[0]]))
    assert Ensemble(members={"a": {"name": "popularity"}}).fit(split.train).score(
        Queries.from_histories([[0]])
    ).shape == (1, split.train.n_items)


def test_rating_weights_need_ratings() -> None:
    train = rated_checkerboard().train
    bias = build("recommender", {"name": "bias"}).fit(train)
    ensemble = Ensemble.of({"bias": bias}, {"name": "weighted"}, task="rating")
    queries = Queries.from_histories([[0]])
    with pytest.raises(DataError, match="learns from ratings"):
        ensemble.fit_combiner(queries, Targets(Ragged.from_rows([[1]])))


def test_a_few_validation_queries_can_be_enough() -> None:
    split = checkerboard()
    knn = build("recommender", {"name": "item_knn"}).fit(split.train)
    random = build("recommender", {"name": "random"}).fit(split.train)
    queries, targets = make_queries(split.train, split.valid)
    members = {"knn": knn, "random": random}
    small = Ensemble.of(members, {"name": "weighted"}, max_queries=3).fit_combiner(queries, targets)
    again = Ensemble.of(members, {"name": "weighted"}, max_queries=3).fit_combiner(queries, targets)
    assert small.info.details == again.info.details
    assert small.info.details["weights"]["knn"] >= 0.5


def test_problems_of_members_are_told_with_their_place() -> None:
    spec = {"name": "ensemble", "members": {"a": {"name": "eas"}, "b": {"name": "ease", "reg": 1}}}
    with pytest.raises(ConfigError) as caught:
        build("recommender", spec)
    assert [p.where for p in caught.value.problems] == ["members.a.name", "members.b.reg"]
    with pytest.raises(ConfigError, match="at least one member"):
        build("recommender", {"name": "ensemble", "members": {}})


def test_the_saved_members_are_checked(tmp_path: Path) -> None:
    train = checkerboard().train
    Ensemble(members={"a b/c": {"name": "popularity"}}).fit(train).save(tmp_path / "e")
    assert list(load_recommender(tmp_path / "e").fitted) == ["a b/c"]
    (tmp_path / "e" / "members.json").write_text('["somebody else"]')
    with pytest.raises(ConfigError, match="other members"):
        load_recommender(tmp_path / "e")
