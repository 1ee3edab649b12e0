from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Interactions, Queries, Split
from llmrec.evaluation.options import EvaluationOptions

N_USERS, N_ITEMS = 60, 40


class Table:
    """A recommender that looks its scores up: the same for a user in whatever batch."""

    def __init__(self, scores, tasks=("ranking", "rating", "preference"), family="baseline"):
        self.scores = np.asarray(scores, np.float32)
        self.tasks = frozenset(tasks)
        self.info = ModelInfo(family=family, parameters=self.scores.size, trainable=3)
        self.asked: list[Queries] = []

    def score(self, queries, items=None):
        self.asked.append(queries)
        rows = self.scores[queries.users]
        return rows if items is None else np.take_along_axis(rows, np.maximum(items, 0), axis=1)


def make_part(pairs: list[tuple[int, int, float]], n_users: int, n_items: int) -> Dataset:
    user, item, rating = zip(*pairs, strict=True) if pairs else ((), (), ())
    log = Interactions(
        np.array(user, np.int32), np.array(item, np.int32), np.array(rating, np.float32)
    )
    users = np.array([f"user {u}" for u in range(n_users)])
    items = np.array([f"item {i}" for i in range(n_items)])
    return Dataset("toy", log, users, items)


@pytest.fixture
def part() -> Callable[..., Dataset]:
    return make_part


@pytest.fixture
def table() -> type[Table]:
    return Table


@pytest.fixture
def split() -> Split:
    """60 users, 8 train, 1 validation and 2 test interactions each, no item twice."""
    rng = np.random.default_rng(0)
    train, valid, test = [], [], []
    for user in range(N_USERS):
        items = rng.permutation(N_ITEMS)[:11]
        ratings = rng.integers(1, 6, 11)
        rows = [(user, int(i), float(r)) for i, r in zip(items, ratings, strict=True)]
        train += rows[:8]
        valid += rows[8:9]
        test += rows[9:]
    return Split(*(make_part(rows, N_USERS, N_ITEMS) for rows in (train, valid, test)), "toy split")


@pytest.fixture
def options() -> Callable[..., EvaluationOptions]:
    def build(task="ranking", **changes):
        names = {
            "ranking": ["ndcg@5", "hr@5", "coverage@5"],
            "rating": ["rmse", "mae"],
            "preference": ["roc_auc", "f1", "log_loss"],
        }
        plain = {"task": task, "metrics": names[task], "n_resamples": 500} | changes
        if task == "preference":
            plain.setdefault("threshold", 4.0)
        return EvaluationOptions.from_config(plain)

    return build


@pytest.fixture
def scores() -> Callable[[int], np.ndarray]:
    def make(seed):
        return np.random.default_rng(seed).standard_normal((N_USERS, N_ITEMS)).astype(np.float32)

    return make
