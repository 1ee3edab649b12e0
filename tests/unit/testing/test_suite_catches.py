"""The conformance suite fails for recommenders that break the contract, each where it should."""
# ruff: noqa: RUF012  (specs are constants)

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from llmrec.core.protocols import ModelInfo
from llmrec.core.registry import register
from llmrec.core.types import Dataset, Queries, make_queries
from llmrec.recommenders.base import BaseRecommender
from llmrec.testing import RecommenderConformance, checkerboard, rated_checkerboard


class Good(BaseRecommender):
    """Counts how often an item of the history and another one share a user."""

    state: ClassVar[tuple[str, ...]] = ("together",)

    def __init__(self, *, power: float = 1.0) -> None:
        self.power = power

    def learn(self, train: Dataset) -> None:
        seen = np.zeros((train.n_users, train.n_items))
        seen[train.interactions.user, train.interactions.item] = 1
        self.together = (seen.T @ seen) ** self.power

    def score_all(self, queries: Queries) -> np.ndarray:
        scores = np.zeros((len(queries), len(self.together)), np.float32)
        for row, history in enumerate(queries.histories):
            scores[row] = self.together[history].sum(axis=0)
        return scores


@register("recommender", "test-good")
class Registered(Good):
    """The same under a name."""


@register("recommender", "test-nan")
class HasNaN(Good):
    """NaN where a history is empty."""

    def score_all(self, queries: Queries) -> np.ndarray:
        scores = super().score_all(queries)
        scores[queries.histories.lengths == 0] = np.nan
        return scores


@register("recommender", "test-float64")
class Wide(Good):
    """Scores of another type."""

    def score_all(self, queries: Queries) -> np.ndarray:
        return super().score_all(queries).astype(np.float64)


@register("recommender", "test-batch")
class DependsOnBatch(Good):
    """Scores relative to the batch."""

    def score_all(self, queries: Queries) -> np.ndarray:
        scores = super().score_all(queries)
        return scores - scores.max(initial=0.0)


@register("recommender", "test-forgets")
class Forgets(Good):
    """Saves, and loads something else."""

    def load_state(self, folder: Path) -> None:
        super().load_state(folder)
        self.together = self.together + 1


@register("recommender", "test-hides")
class Hides(Good):
    """Keeps its option under another name."""

    def __init__(self, *, power: float = 1.0) -> None:
        super().__init__()
        self.strength, self.power = power, 2 * power


@register("recommender", "test-restless")
class Restless(Good):
    """Other numbers at each fit."""

    count = 0

    def learn(self, train: Dataset) -> None:
        super().learn(train)
        Restless.count += 1
        self.together = self.together * Restless.count


@register("recommender", "test-shared")
class Shared(Good):
    """Gives its own memory away."""

    def score_all(self, queries: Queries) -> np.ndarray:
        if not hasattr(self, "memory") or self.memory.shape[0] != len(queries):
            self.memory = super().score_all(queries)
        return self.memory


@register("recommender", "test-boasts")
class Boasts(Good):
    """Trains more than it has."""

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(parameters=1, trainable=2)


@register("recommender", "test-refuses")
class Refuses(Good):
    """Does not know strangers."""

    def score_all(self, queries: Queries) -> np.ndarray:
        if (queries.users < 0).any():
            raise ValueError("who is that?")
        return super().score_all(queries)


@register("recommender", "test-disagrees")
class Disagrees(Good):
    """Other scores for chosen candidates."""

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        scores = super().score(queries, items)
        return scores if items is None else scores + np.float32(1)


class TestGood(RecommenderConformance):
    recommender = {"name": "test-good", "power": 0.5}


BROKEN = {
    "test-nan": "test_an_empty_history_is_answered",
    "test-float64": "test_scores_are_finite_float32_of_the_whole_catalogue",
    "test-batch": "test_batch_size_and_order_change_nothing",
    "test-forgets": "test_saved_and_loaded_it_gives_the_same_numbers",
    "test-hides": "test_every_option_is_kept_as_an_attribute",
    "test-restless": "test_the_same_seed_gives_the_same_numbers",
    "test-shared": "test_the_caller_may_write_to_the_scores",
    "test-boasts": "test_the_info_is_honest",
    "test-refuses": "test_an_unknown_user_is_answered",
    "test-disagrees": "test_candidates_get_the_scores_they_have_in_the_catalogue",
    "popularity": "test_it_learns_from_others",
}


@pytest.mark.parametrize(("name", "caught_by"), BROKEN.items())
def test_what_is_broken_is_caught(name: str, caught_by: str, tmp_path: Path) -> None:
    suite = type("Suite", (RecommenderConformance,), {"recommender": {"name": name}})()
    test = getattr(suite, caught_by)
    given: dict[str, Any] = (
        {"tmp_path": tmp_path} if "tmp_path" in inspect.signature(test).parameters else {}
    )
    with pytest.raises((AssertionError, ValueError)):
        test(**given)


def test_three_lines_are_enough() -> None:
    names = [name for name in dir(RecommenderConformance) if name.startswith("test_")]
    assert len(names) >= 15
    assert set(BROKEN.values()) <= set(names)


def test_the_boards_have_one_answer() -> None:
    split = checkerboard()
    queries, targets = make_queries(split.train.union(split.valid), split.test)
    for user, history, held_out in zip(
        queries.users, queries.histories, targets.items, strict=True
    ):
        own = {item for item in range(16) if item % 2 == user % 2}
        assert own - set(history.tolist()) == set(held_out.tolist())
        assert set(history.tolist()) <= own
    assert split.train.item_counts[:16].min() > 0
    assert split.train.item_counts[16] == 0


def test_the_rated_board_holds_one_of_either_group_out() -> None:
    split = rated_checkerboard()
    assert [len(part) for part in (split.train, split.valid, split.test)] == [288, 48, 48]
    log = split.test.interactions
    own = log.user % 2 == log.item % 2
    assert set(log.rating[own].tolist()) == {5.0}  # type: ignore[index]
    assert set(log.rating[~own].tolist()) == {1.0}  # type: ignore[index]
    assert np.bincount(log.user).tolist()[:24] == [2] * 24
