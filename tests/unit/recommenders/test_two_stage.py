"""Two stages: the ranker's order among what was retrieved, the retriever's below."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import lm_cases
import numpy as np
import pytest
import test_listwise

from llmrec.core.config import build, check
from llmrec.core.errors import RunError
from llmrec.core.ranking import mask_items
from llmrec.core.types import Dataset, Queries, Ragged, make_queries
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.two_stage import TwoStage
from llmrec.testing import RecommenderConformance
from llmrec.testing.boards import checkerboard

MARKOV: dict[str, Any] = {"name": "markov_knn"}
EASE: dict[str, Any] = {"name": "ease"}


def made(**options: Any) -> TwoStage:
    return build(
        "recommender", {"name": "two_stage", "retriever": EASE, "ranker": MARKOV, **options}, seed=1
    )


def board() -> tuple[Queries, Any, Dataset, Dataset]:
    split = checkerboard()
    queries, targets = make_queries(split.train.union(split.valid), split.test)
    return queries, targets, split.train, split.valid


class TestTwoStage(RecommenderConformance):
    recommender: ClassVar[dict[str, Any]] = {
        "name": "two_stage",
        "retriever": EASE,
        "ranker": MARKOV,
        "k": 3,
    }
    candidates_agree = False


class TestListwiseTwoStage(RecommenderConformance):
    recommender: ClassVar[dict[str, Any]] = {
        "name": "two_stage",
        "retriever": MARKOV,
        "ranker": test_listwise.spec(),
        "k": 4,
        "negatives": "retriever",
    }
    candidates_agree = False

    def test_a_catalogue_of_one_item(self) -> None:
        with pytest.raises(RunError, match="no user has two interactions"):
            super().test_a_catalogue_of_one_item()

    def test_it_learns_from_others(self) -> None:
        pytest.skip("the ranker is trained for one epoch, which teaches nothing")


@pytest.mark.parametrize("given", [False, True])
def test_the_order_is_the_rankers_inside_and_the_retrievers_below(given: bool) -> None:
    queries, _, train, valid = board()
    model = made(k=5).fit(train, valid)
    items = None
    if given:
        rng = np.random.default_rng(0)
        items = np.array([rng.permutation(train.n_items)[:12] for _ in range(len(queries))])
        items[:, -1] = -1
    scores = model.score(queries, items)
    first, second = model.found_by, model.ordered_by
    for row in range(len(queries)):
        one = queries.take(np.array([row]))
        listed = np.arange(train.n_items) if items is None else items[row, :-1]
        seen = np.isin(listed, one.histories[0])
        found = first.score(one, listed[None])[0]
        open_ones = np.where(seen, -np.inf, found)
        own = scores[row, : len(listed)]
        top = np.flatnonzero(own > np.sort(own)[::-1][min(5, (~seen).sum()) - 1] - 0.5)
        assert len(top) >= min(5, (~seen).sum())
        # what is re-ranked is the retriever's best, as far as it can tell them apart
        assert open_ones[top].min() >= np.delete(open_ones, top).max(initial=-np.inf)
        order = second.score(one, listed[top][None])[0]
        np.testing.assert_array_equal(stable(own[top]), stable(order))
        rest = np.setdiff1d(np.arange(len(listed)), top)
        if len(rest):
            assert own[rest].max() < own[top].min()
            np.testing.assert_array_equal(
                np.argsort(-own[rest], kind="stable"), stable(found[rest])
            )


def stable(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")


class Fixed:
    """Scores that are given; not a recommender of the registry."""

    tasks = frozenset({"ranking"})

    def __init__(self, scores: list[float]) -> None:
        self.values = np.array(scores, np.float32)

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        every = np.tile(self.values, (len(queries), 1))
        return every if items is None else np.take_along_axis(every, np.maximum(items, 0), axis=1)


def put_together(retriever: list[float], ranker: list[float], **options: Any) -> TwoStage:
    model = made(**options)
    model.found_by, model.ordered_by = Fixed(retriever), Fixed(ranker)  # type: ignore[assignment]
    return model


def test_by_hand() -> None:
    query = Queries.from_histories([[4]])
    retriever, ranker = [5.0, 4.0, 3.0, 2.0, 9.0, 1.0, 1.0], [0.0, 1.0, 2.0, 9.0, 9.0, 9.0, 9.0]
    # 4 is in the history: the three best others are 0, 1, 2; the ranker turns them round.
    model = put_together(retriever, ranker, k=3)
    assert model.score(query).tolist() == [[-3, -2, -1, -5, -4, -6, -6]]
    # With the item of the history allowed it is the retriever's best, and the ranker's, too.
    model = put_together(retriever, ranker, k=3, exclude_seen=False)
    assert model.score(query).tolist() == [[-3, -2, -4, -5, -1, -6, -6]]
    asked = np.array([[5, 3, -1, 0]])
    model = put_together(retriever, ranker, k=2)
    places = model.score(query, asked)[0]
    assert places[1] > places[3] > places[0]


def test_fusion_goes_from_the_ranker_to_the_retriever() -> None:
    query = Queries.from_histories([[]])
    retriever, ranker = [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 9.0]
    orders = {
        weight: stable(put_together(retriever, ranker, k=3, fusion=weight).score(query)[0]).tolist()
        for weight in (0.0, 0.4, 0.6, 1.0)
    }
    assert orders[0.0] == orders[0.4] == [2, 1, 0, 3]
    assert orders[0.6] == orders[1.0] == [0, 1, 2, 3]


def test_what_the_retriever_finds_bounds_the_rest() -> None:
    _, _, train, valid = board()
    known, truth = make_queries(train, valid)
    model = made(k=2).fit(train, valid)
    scores = model.found_by.score(known)
    mask_items(scores, known.histories)
    found = model.candidates(known)
    expected = np.mean([t[0] in row for t, row in zip(truth.items, found, strict=True)])
    assert model.info.details["retriever_recall"] == pytest.approx(expected)
    assert 0 < expected <= 1
    assert made(k=2).fit(train).info.details.get("retriever_recall") is None


def test_info_adds_up_and_keeps_the_rankers_family(tmp_path: Path) -> None:
    split = lm_cases.split()
    model = made(retriever=MARKOV, ranker=test_listwise.spec(), k=4).fit(split.train, split.valid)
    ranker, retriever = model.ordered_by.info, model.found_by.info
    assert model.info.family == "language_model"
    assert model.info.weights == "random init"
    assert model.info.parameters == ranker.parameters + retriever.parameters
    assert model.info.details["ranker"]["validation_list_ndcg@10"] > 0
    with pytest.raises(RunError, match="not fitted"):
        made().save(tmp_path / "none")
    model.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(lm_cases.queries()), model.score(lm_cases.queries()))


def test_the_ranker_can_learn_from_what_is_retrieved(monkeypatch: pytest.MonkeyPatch) -> None:
    split = lm_cases.split()
    asked: list[Queries] = []
    whole = TwoStage.candidates

    def watched(self, queries):
        asked.append(queries)
        return whole(self, queries)

    monkeypatch.setattr(TwoStage, "candidates", watched)
    options = {"retriever": MARKOV, "ranker": test_listwise.spec(), "k": 4}
    made(**options, negatives="retriever").fit(split.train, split.valid)
    n_examples = made(**options).fit(split.train).ordered_by.info.details["n_examples"]
    assert n_examples in [len(queries) for queries in asked]
    training = next(queries for queries in asked if len(queries) == n_examples)
    assert isinstance(training.histories, Ragged)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"k": 0}, "k"),
        ({"fusion": 1.5}, "fusion"),
        ({"negatives": "retriever"}, "negatives"),
        ({"ranker": lm_cases.spec(head="rating")}, "ranker"),
        ({"retriever": {"name": "ease", "nonsense": 1}}, "retriever.nonsense"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], where: str) -> None:
    spec = {"name": "two_stage", "retriever": EASE, "ranker": MARKOV, **options}
    assert [problem.where for problem in check("recommender", spec)] == [where]
