from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llmrec.core.errors import ComponentError, DataError
from llmrec.core.types import Split
from llmrec.evaluation.evaluate import evaluate, make_exam

TASKS = ["ranking", "rating", "preference"]


def same(a, b):
    """The same result bit for bit, times aside."""
    np.testing.assert_equal(a.overall, b.overall)
    for name in a.per_user:
        np.testing.assert_array_equal(a.per_user[name], b.per_user[name])
    for name in ("ranks", "truth", "predicted"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one.values, other.values)
    if a.lists is not None:
        np.testing.assert_array_equal(a.lists, b.lists)


@pytest.fixture
def tiny(part):
    """Two users, five items; user 1 has item 3 again in test."""
    train = part([(0, 0, 5), (1, 3, 1), (1, 4, 2)], 2, 5)
    valid = part([(0, 1, 3), (1, 0, 4)], 2, 5)
    test = part([(0, 2, 4), (1, 1, 5), (1, 3, 2), (1, 3, 3)], 2, 5)
    return Split(train, valid, test, "tiny")


SCORES = [[9, 8, 1, 3, 2], [9, 1, 2, 0, 8]]


def test_ranking_by_hand(tiny, table, options):
    """User 0 chooses from 2, 3, 4; user 1 from 1, 2 and the repeated 3."""
    exam = make_exam(tiny, options(metrics=["hr@1", "mrr@3", "coverage@1"]))
    result = evaluate(table(SCORES), exam, label="hand")
    assert [row.tolist() for row in result.ranks] == [[3], [2, 3]]
    assert result.lists.tolist() == [[3, 4, 2], [2, 1, 3]]
    assert exam.repeats == result.repeats == 1
    assert result.overall == {"hr@1": 0.0, "mrr@3": (1 / 3 + 1 / 2) / 2, "coverage@1": 2 / 5}
    assert result.users.tolist() == ["user 0", "user 1"]
    assert (result.label, result.protocol, result.data) == ("hand", "tiny, full", "toy")


def test_validation_asks_with_the_training_history_only(tiny, table, options):
    recommender = table(SCORES)
    exam = make_exam(tiny, options(metrics=["hr@1"]), "valid")
    result = evaluate(recommender, exam, label="hand")
    assert [row.tolist() for row in recommender.asked[0].histories] == [[0], [3, 4]]
    assert result.protocol == "tiny, full, validation"
    assert [row.tolist() for row in result.ranks] == [[1], [1]]
    test = evaluate(recommender, make_exam(tiny, options(metrics=["hr@1"])), label="hand")
    assert [row.tolist() for row in recommender.asked[1].histories] == [[0, 1], [3, 4, 0]]
    assert test.fingerprint != result.fingerprint


def test_rating_by_hand(tiny, table, options):
    result = evaluate(table(SCORES), make_exam(tiny, options("rating")), label="hand")
    assert [row.tolist() for row in result.truth] == [[4], [5, 2, 3]]
    assert [row.tolist() for row in result.predicted] == [[1], [1, 0, 0]]
    assert result.overall["mae"] == (3 + 4 + 2 + 3) / 4
    assert result.per_user["rmse"].tolist() == [3.0, np.sqrt((16 + 4 + 9) / 3)]
    assert result.protocol == "tiny"


def test_preference_counts_a_rating_at_the_threshold_as_a_like(tiny, table, options):
    exam = make_exam(tiny, options("preference", metrics=["accuracy"], threshold=4.0))
    result = evaluate(table(SCORES), exam, label="hand")
    assert [row.tolist() for row in result.truth] == [[1], [1, 0, 0]]
    assert result.overall["accuracy"] == 1.0
    assert result.protocol == "tiny, liked from 4"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch_size", [1, 7, 59, 1000])
def test_the_batch_size_changes_nothing(split, table, options, scores, task, batch_size):
    recommender = table(np.round(scores(1)))  # rounded: ties everywhere
    whole = evaluate(recommender, make_exam(split, options(task)), label="x")
    exam = make_exam(split, options(task, batch_size=batch_size))
    same(evaluate(recommender, exam, label="x"), whole)


@pytest.mark.parametrize("n", [5, 500])
def test_the_batch_size_changes_nothing_among_samples(split, table, options, scores, n):
    recommender = table(np.round(scores(1)))
    sampled = {"name": "sampled", "n": n}
    whole = evaluate(recommender, make_exam(split, options(candidates=sampled)), label="x")
    exam = make_exam(split, options(candidates=sampled, batch_size=7))
    same(evaluate(recommender, exam, label="x"), whole)
    assert whole.protocol == f"toy split, sampled {n}"


@pytest.mark.parametrize("task", TASKS)
def test_the_order_of_the_queries_changes_nothing(split, table, options, scores, task):
    exam = make_exam(split, options(task))
    order = np.random.default_rng(2).permutation(len(exam))
    shuffled = replace(
        exam,
        queries=exam.queries.take(order),
        targets=exam.targets.take(order),
        excluded=exam.excluded.take(order),
        user_ids=exam.user_ids[order],
    )
    recommender = table(np.round(scores(1)))
    one = evaluate(recommender, exam, label="x")
    other = evaluate(recommender, shuffled, label="x")
    for name, values in one.per_user.items():
        np.testing.assert_array_equal(values[order], other.per_user[name])
    if one.lists is not None:
        np.testing.assert_array_equal(one.lists[order], other.lists)


def test_sampling_everything_is_the_full_catalogue(split, table, options, scores):
    recommender = table(scores(3))
    full = evaluate(recommender, make_exam(split, options()), label="x")
    exam = make_exam(split, options(candidates={"name": "sampled", "n": 1000}))
    sampled = evaluate(recommender, exam, label="x")
    same(sampled, full)
    assert sampled.protocol != full.protocol
    assert sampled.fingerprint != full.fingerprint


def test_nobody_is_recommended_what_they_had(split, table, options, scores):
    result = evaluate(table(scores(3)), make_exam(split, options()), label="x")
    known = split.train.union(split.valid).histories
    assert not any(set(had) & set(shown) for had, shown in zip(known, result.lists, strict=True))


def test_a_scorer_that_knows_the_truth_is_perfect_and_a_constant_one_is_chance(
    split, table, options
):
    truth = np.zeros((60, 40))
    truth[split.test.interactions.user, split.test.interactions.item] = 1
    exam = make_exam(split, options())
    assert evaluate(table(truth), exam, label="oracle").overall["ndcg@5"] == 1.0
    constant = evaluate(table(np.zeros((60, 40))), exam, label="constant")
    # 31 items compete: both held-out ones are outside the first five with 26·25 / (31·30).
    chance = 1 - 26 * 25 / (31 * 30)
    assert abs(constant.overall["hr@5"] - chance) < 4 * np.sqrt(chance * (1 - chance) / 60)


def test_the_scores_of_the_recommender_are_not_written_to(split, table, options, scores):
    class Cached(table):
        def score(self, queries, items=None):
            return self.scores  # the array itself: every user is asked about, in order

    recommender = Cached(scores(1))
    evaluate(recommender, make_exam(split, options()), label="x")
    np.testing.assert_array_equal(recommender.scores, scores(1))


@pytest.mark.parametrize("task", TASKS)
def test_nan_scores_are_refused_by_name(split, table, options, scores, task):
    broken = scores(1)
    broken[17] = np.nan
    with pytest.raises(ComponentError, match=r'"Broken" \(Table\) gave NaN as a score'):
        evaluate(table(broken), make_exam(split, options(task)), label="Broken")


def test_nan_in_an_empty_place_is_nothing(split, table, options, scores, part):
    class Careless(table):
        def score(self, queries, items=None):
            given = super().score(queries, items)
            return np.where(items < 0, np.nan, given)

    uneven = split.test.with_interactions(split.test.interactions.take(np.arange(1, 119)))
    exam = make_exam(replace(split, test=uneven), options("rating"))
    assert not np.isnan(evaluate(Careless(scores(1)), exam, label="x").overall["rmse"])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "spoil", [lambda s: s[:, :-1], lambda s: s.T, lambda s: s.astype(int), lambda s: s[..., None]]
)
def test_scores_of_a_wrong_shape_or_type_are_refused(split, table, options, scores, task, spoil):
    class Broken(table):
        def score(self, queries, items=None):
            return spoil(super().score(queries, items))

    with pytest.raises(ComponentError, match=r'"Bad" \(Broken\) gave scores of shape'):
        evaluate(Broken(scores(1)), make_exam(split, options(task, batch_size=7)), label="Bad")


def test_a_task_that_is_not_served_is_refused(split, table, options, scores):
    recommender = table(scores(1), tasks=("ranking",))
    with pytest.raises(ComponentError, match=r'"EASE" .* serves ranking, but the task is rating'):
        evaluate(recommender, make_exam(split, options("rating")), label="EASE")


def test_an_empty_side_is_refused(split, options):
    nothing = split.valid.select(np.empty(0, np.int64))
    with pytest.raises(DataError, match='"toy split" of toy has no valid rows'):
        make_exam(replace(split, valid=nothing), options(), "valid")


def test_ratings_are_needed_where_they_are_judged(split, options):
    log = replace(split.test.interactions, rating=None)
    without = replace(split, test=split.test.with_interactions(log))
    with pytest.raises(DataError, match="toy has no ratings; the task rating needs them"):
        make_exam(without, options("rating"))


def test_the_time_is_measured_and_progress_told(split, table, options, scores):
    told = []
    exam = make_exam(split, options(batch_size=20))
    result = evaluate(
        table(scores(1)), exam, label="x", progress=lambda share, text: told.append((share, text))
    )
    assert result.costs.score_milliseconds_per_user > 0
    assert [share for share, _ in told] == pytest.approx([1 / 3, 2 / 3, 1])
    assert told[0][1] == "judging x"
    costs = result.with_costs(fit_seconds=2.5, peak_memory_bytes=7).costs
    assert (costs.fit_seconds, costs.peak_memory_bytes) == (2.5, 7)
    assert costs.score_milliseconds_per_user == result.costs.score_milliseconds_per_user
