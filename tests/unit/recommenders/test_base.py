"""What recommenders share: ranges of options, saving, the one top-k."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, RunError
from llmrec.core.types import Queries, Ragged
from llmrec.recommenders.base import load_recommender, recommend
from llmrec.recommenders.biased_mf import BiasedMF
from llmrec.recommenders.ease import EASE
from llmrec.recommenders.knn import ItemKNN, UserKNN
from llmrec.recommenders.simple import Popularity
from llmrec.testing import checkerboard


class Fixed:
    """Scores that a test chose, the same for every query."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = np.array(scores, np.float32)

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        rows = np.tile(self.scores, (len(queries), 1))
        return rows if items is None else self.scores[np.maximum(items, 0)]


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"name": "item_knn", "n_neighbors": 0}, "n_neighbors"),
        ({"name": "user_knn", "shrinkage": -1.0}, "shrinkage"),
        ({"name": "markov_knn", "decay": 0.0}, "decay"),
        ({"name": "ease", "decay": 1.5}, "decay"),
        ({"name": "ease", "regularization": -1}, "regularization"),
        ({"name": "implicit_als", "embedding_size": 0}, "embedding_size"),
        ({"name": "bias", "epochs": 0}, "epochs"),
        ({"name": "biased_mf", "learning_rate": 0.0}, "learning_rate"),
        ({"name": "biased_mf", "loss": "hinge"}, "loss"),
    ],
)
def test_options_out_of_range_are_refused_by_name(spec: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=key) as caught:
        build("recommender", spec)
    assert [problem.where for problem in caught.value.problems] == [key]


def test_a_script_gets_every_problem_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        BiasedMF(epochs=0, batch_size=0, learning_rate=-1.0)
    where = [problem.where for problem in caught.value.problems]
    assert where == ["epochs", "batch_size", "learning_rate"]


def test_nothing_is_scored_or_saved_before_the_fit(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="ItemKNN is not fitted yet"):
        ItemKNN().score(Queries.from_histories([[0]]))
    with pytest.raises(RunError, match="not fitted"):
        EASE().save(tmp_path / "ease")
    assert not (tmp_path / "ease").exists()


def test_a_folder_of_another_class_is_refused(tmp_path: Path) -> None:
    Popularity().fit(checkerboard().train).save(tmp_path / "saved")
    with pytest.raises(RunError, match=r"Popularity, not a .*UserKNN"):
        UserKNN.load(tmp_path / "saved")
    assert isinstance(load_recommender(tmp_path / "saved"), Popularity)


def test_a_folder_without_a_recommender_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no"):
        load_recommender(tmp_path)
    (tmp_path / "recommender.json").write_text(json.dumps(["something else"]))
    with pytest.raises(RunError, match="holds no saved recommender"):
        load_recommender(tmp_path)


def test_recommend_leaves_the_history_out_unless_asked() -> None:
    fixed = Fixed([0.1, 0.9, 0.5, 0.3])
    queries = Queries.from_histories([[1], []])
    lists, values = recommend(fixed, queries, k=3)
    assert lists.tolist() == [[2, 3, 0], [1, 2, 3]]
    np.testing.assert_allclose(values, [[0.5, 0.3, 0.1], [0.9, 0.5, 0.3]])
    assert recommend(fixed, queries, 1, exclude_seen=False)[0].tolist() == [[1], [1]]


def test_recommend_keeps_to_the_candidates() -> None:
    candidates = Ragged.from_rows([[3, 1, 0], [2]])
    queries = Queries(np.array([-1, -1]), Ragged.from_rows([[1], []]), candidates=candidates)
    lists, values = recommend(Fixed([0.1, 0.9, 0.5, 0.3]), queries, k=3, batch_size=1)
    assert lists.tolist() == [[3, 0, -1], [2, -1, -1]]
    assert values[1, 1] == -np.inf
