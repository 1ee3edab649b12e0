"""The contract of a recommender as tests that anybody can inherit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

from llmrec.core.config import build, check, options_of
from llmrec.core.errors import ConfigError, LlmrecError
from llmrec.core.extras import require
from llmrec.core.protocols import Family, Recommender, Task
from llmrec.core.saving import spec_of
from llmrec.core.types import (
    PADDING,
    UNKNOWN_USER,
    Dataset,
    Interactions,
    Queries,
    Ragged,
    Split,
    make_queries,
)
from llmrec.recommenders.base import load_recommender, recommend
from llmrec.testing.boards import checkerboard, rated_checkerboard


class RecommenderConformance:
    """Inherit it in a class named ``Test…``, name a spec, and pytest runs the contract.

    Attributes:
        recommender: the spec under test; choose options that fit in a second or two.
        personalised: whether it learns from other users, so that it must solve the checkerboard.
        candidates_agree: whether an item's score is the same whatever other candidates are asked
            about; False for scores that are relative to the candidates.
        tolerance: largest difference that another batch may make, relative and absolute; 0 asks
            for the same bits.
    """

    recommender: ClassVar[Mapping[str, Any]]
    personalised: ClassVar[bool] = True
    candidates_agree: ClassVar[bool] = True
    tolerance: ClassVar[float] = 0.0

    # what tests share

    @classmethod
    def make(cls) -> Recommender:
        """Return a new, unfitted recommender."""
        made: Recommender = build("recommender", cls.recommender)
        return made

    @classmethod
    def board(cls) -> Split:
        """Return the known-answer data set that suits what the recommender serves."""
        return rated_checkerboard() if cls.predicts() else checkerboard()

    @classmethod
    def predicts(cls) -> bool:
        """Return whether scores are ratings, log-odds or classes, not only an order."""
        return bool(cls.make().tasks & {"rating", "preference", "classes"})

    @classmethod
    def fitted(cls) -> Recommender:
        """Return the recommender fitted on the board, fitted once for all tests of the class."""
        if "_fitted" not in cls.__dict__:
            split = cls.board()
            cls._fitted = cls.make().fit(split.train, split.valid)
        return cls._fitted

    _fitted: ClassVar[Recommender]

    @classmethod
    def queries(cls) -> Queries:
        """Return test queries of the board: known users with histories of several lengths."""
        split = cls.board()
        queries, _ = make_queries(split.train.union(split.valid), split.test)
        kept = np.array([1, 2, 5, 100] * len(queries))[: len(queries)]
        shorter = [history[-n:] for history, n in zip(queries.histories, kept, strict=True)]

        def cut(values: Ragged | None) -> Ragged | None:
            if values is None:
                return None
            rows = [row[-n:] for row, n in zip(values, kept, strict=True)]
            return Ragged.from_rows(rows, values.values.dtype)

        histories = Ragged.from_rows(shorter)
        times = cut(queries.timestamps)
        return Queries(queries.users, histories, cut(queries.ratings), times, queries.time)

    @classmethod
    def close(cls, a: np.ndarray, b: np.ndarray) -> None:
        """Assert that scores agree up to the tolerance of the class."""
        np.testing.assert_allclose(a, b, rtol=cls.tolerance, atol=cls.tolerance)

    # the config

    def test_the_spec_is_valid_and_unknown_keys_are_refused(self) -> None:
        assert check("recommender", self.recommender) == []
        pytest = require("pytest", "test", "the conformance suite")
        with pytest.raises(ConfigError, match="no_such_option"):
            build("recommender", {**self.recommender, "no_such_option": 1})

    def test_every_option_is_kept_as_an_attribute(self) -> None:
        made = self.make()
        spec = spec_of(made)
        again = build("recommender", json.loads(json.dumps(spec)))
        assert spec_of(again) == spec
        assert set(spec) == {"name", *options_of(type(made))}

    def test_the_tasks_exist(self) -> None:
        tasks = self.make().tasks
        assert tasks
        assert tasks <= set(get_args(Task))

    # the scores

    def test_scores_are_finite_float32_of_the_whole_catalogue(self) -> None:
        queries, n_items = self.queries(), self.board().train.n_items
        self._check(self.fitted().score(queries), (len(queries), n_items))

    def test_no_queries_get_no_scores(self) -> None:
        scores = self.fitted().score(self.queries().take(slice(0, 0)))
        self._check(scores, (0, self.board().train.n_items))

    def test_an_unfitted_recommender_says_so(self) -> None:
        pytest = require("pytest", "test", "the conformance suite")
        with pytest.raises(LlmrecError):
            self.make().score(self.queries())

    def test_the_caller_may_write_to_the_scores(self) -> None:
        before = np.array(self.fitted().score(self.queries()))
        given = self.fitted().score(self.queries())
        given[:] = -np.inf
        np.testing.assert_array_equal(self.fitted().score(self.queries()), before)

    def test_candidates_get_the_scores_they_have_in_the_catalogue(self) -> None:
        queries = self.queries()
        n_items = self.board().train.n_items
        items = np.array([[i % n_items, (3 * i + 1) % n_items, PADDING] for i in queries.users])
        scores = self.fitted().score(queries, items)
        assert scores.shape == items.shape
        assert scores.dtype == np.float32
        assert not np.isnan(scores[:, :2]).any()
        if self.candidates_agree:
            full = self.fitted().score(queries)
            self.close(scores[:, :2], np.take_along_axis(full, items[:, :2], axis=1))

    def test_an_unknown_user_is_answered(self) -> None:
        known = self.queries()
        unknown = np.full(len(known), UNKNOWN_USER)
        queries = Queries(unknown, known.histories, known.ratings, known.timestamps, known.time)
        self._check(self.fitted().score(queries), (len(queries), self.board().train.n_items))
        bare = Queries(unknown, known.histories)
        self._check(self.fitted().score(bare), (len(queries), self.board().train.n_items))

    def test_an_empty_history_is_answered(self) -> None:
        n_items = self.board().train.n_items
        never_seen = self.board().train.n_users - 1
        for user in (UNKNOWN_USER, 0, never_seen):
            queries = Queries(np.array([user]), Ragged.empty(1))
            self._check(self.fitted().score(queries), (1, n_items))

    def test_an_item_twice_in_a_history_is_answered(self) -> None:
        queries = Queries.from_histories([[0, 2, 0], [1, 1, 1]])
        self._check(self.fitted().score(queries), (2, self.board().train.n_items))

    def test_a_catalogue_of_one_item(self) -> None:
        log = Interactions(
            np.array([0, 1, 2], np.int32),
            np.zeros(3, np.int32),
            np.array([1, 5, 5], np.float32),
            np.arange(3, dtype=np.int64),
        )
        titles = {"title": np.array(["the only one"], object)}
        data = Dataset("one item", log, np.array(["a", "b", "c"]), np.array(["x"]), titles)
        last = np.arange(3) == 2
        fitted = self.make().fit(data.select(~last), data.select(last))
        queries = Queries(np.array([0, UNKNOWN_USER]), Ragged.from_rows([[0], []]))
        self._check(fitted.score(queries), (2, 1))
        lists, _ = recommend(fitted, queries, k=3)
        assert lists.tolist() == [[-1, -1, -1], [0, -1, -1]]

    # the numbers do not depend on …

    def test_batch_size_and_order_change_nothing(self) -> None:
        queries = self.queries()
        whole = np.array(self.fitted().score(queries))
        backwards = np.arange(len(queries))[::-1]
        self.close(self.fitted().score(queries.take(backwards)), whole[backwards])
        for size in (1, 7):
            for place, batch in queries.batches(size):
                self.close(self.fitted().score(batch), whole[place])

    def test_the_same_seed_gives_the_same_numbers(self) -> None:
        split = self.board()
        again = self.make().fit(split.train, split.valid)
        first = self.fitted().score(self.queries())
        np.testing.assert_array_equal(again.score(self.queries()), first)

    def test_saved_and_loaded_it_gives_the_same_numbers(self, tmp_path: Path) -> None:
        fitted = self.fitted()
        folder = tmp_path / "saved"
        fitted.save(folder)
        fitted.save(folder)  # over what is there
        expected = fitted.score(self.queries())
        for loaded in (type(fitted).load(folder), load_recommender(folder)):
            np.testing.assert_array_equal(loaded.score(self.queries()), expected)
            assert spec_of(loaded) == spec_of(fitted)
            assert loaded.info == fitted.info

    # what it says and what it learns

    def test_the_info_is_honest(self) -> None:
        info = self.fitted().info
        assert info.family in get_args(Family)
        assert 0 <= info.trainable <= info.parameters
        assert json.loads(json.dumps(dict(info.details))) is not None

    def test_it_learns_from_others(self) -> None:
        pytest = require("pytest", "test", "the conformance suite")
        if not self.personalised:
            pytest.skip("not personalised: everybody gets the same, so nothing to find out")
        split = self.board()
        queries, targets = make_queries(split.train.union(split.valid), split.test)
        if self.predicts():
            items = targets.items.padded()
            scores = self.fitted().score(queries, items)
            own = items % 2 == queries.users[:, None] % 2
            assert (scores[own] > scores[~own]).all()
        else:
            first, _ = recommend(self.fitted(), queries, k=1)
            np.testing.assert_array_equal(first, targets.items.padded())

    def _check(self, scores: np.ndarray, shape: tuple[int, int]) -> None:
        assert scores.shape == shape
        assert scores.dtype == np.float32
        assert not np.isnan(scores).any()
