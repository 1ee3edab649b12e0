from __future__ import annotations

from typing import Any

import lm_cases
import numpy as np
import pytest

from llmrec.core.types import Queries, Ragged
from llmrec.evaluation.evaluate import make_exam
from llmrec.evaluation.options import EvaluationOptions
from llmrec.evaluation.probes import (
    Probed,
    history_changes,
    probe,
    sample_exam,
    text_changes,
)

RECORDS = [{"title": "Red Fox", "genres": "x y"}, {"title": "Owl", "genres": ""}]


def _exam() -> Any:
    options = EvaluationOptions.from_config(
        {"task": "ranking", "metrics": ["ndcg@10"], "n_resamples": 100}
    )
    return make_exam(lm_cases.split(), options)


class Scorer:
    """Scores by what a function makes of each query."""

    tasks = frozenset({"ranking"})
    info = lm_cases.model("gpt2").info

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        self.n_items = len(lm_cases.TITLES)

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        if items is None:
            items = np.broadcast_to(np.arange(self.n_items), (len(queries), self.n_items))
        return np.asarray(self.rule(queries, items), np.float32)


def _probe(rule: Any) -> Probed:
    return probe(Scorer(rule), _exam(), label="scorer")


def _by_name(found: Probed) -> dict[str, Any]:
    return {each.name: each for each in found.probes}


def test_what_ignores_history_and_company_is_moved_by_nothing() -> None:
    found = _probe(lambda _, items: items)
    for each in found.probes:
        assert each.changed == 0
        assert not each.difference > 0
        assert not each.drift > 0
    assert any(note.startswith("text") for note in found.notes)


def test_a_model_that_reads_the_latest_item_only_is_found_out() -> None:
    def rule(queries: Queries, items: np.ndarray) -> np.ndarray:
        last = [row[-1] if len(row) else -1 for row in queries.histories]
        return -np.abs(items - np.asarray(last)[:, None] - 1)

    found = _by_name(_probe(rule))
    assert found["only the latest 1"].changed == 0
    assert found["without the newest item"].changed > 0
    assert found["reversed order"].changed > 0
    assert found["users one by one"].changed == 0


def test_dependence_on_the_company_in_a_batch_is_found() -> None:
    found = _by_name(_probe(lambda queries, items: items * (1 if len(queries) > 1 else -1)))
    assert found["users one by one"].changed == 1
    assert found["users one by one"].drift > 1


def test_dependence_on_the_order_of_candidates_is_found() -> None:
    def rule(_: Queries, items: np.ndarray) -> np.ndarray:
        return np.broadcast_to(-np.arange(items.shape[1]), items.shape)

    found = _by_name(_probe(rule))
    assert found["candidates in another order"].changed > 0.5
    assert found["candidates in another order"].drift > 1


def test_changed_histories_by_hand() -> None:
    queries = Queries(
        np.array([0, 1, 2]),
        Ragged.from_rows([[1, 2, 3, 4], [], [5]]),
        Ragged.from_rows([[10.0, 20.0, 30.0, 40.0], [], [50.0]]),
    )
    changed = history_changes(queries, seed=0)

    def rows(name: str) -> list[list[int]]:
        return [row.tolist() for row in changed[name].histories]

    assert rows("only the latest 1") == [[4], [], [5]]
    assert rows("only the latest 3") == [[2, 3, 4], [], [5]]
    assert rows("without the newest item") == [[1, 2, 3], [], []]
    assert rows("reversed order") == [[4, 3, 2, 1], [], [5]]
    assert rows("no history") == [[], [], []]
    assert sorted(rows("shuffled order")[0]) == [1, 2, 3, 4]
    stars = changed["reversed order"].ratings
    assert stars is not None
    assert stars[0].tolist() == [40, 30, 20, 10]


def test_changed_texts_keep_fields_and_items() -> None:
    changed = text_changes(RECORDS, seed=1)
    assert all(len(records) == 2 for records in changed.values())
    assert all(set(record) == {"title", "genres"} for r in changed.values() for record in r)
    titles = [record["title"] for record in changed["permuted texts"]]
    assert sorted(titles) == ["Owl", "Red Fox"]
    assert changed["removed texts"] == [{"title": "", "genres": ""}] * 2
    assert changed["anonymised titles"][1] == {"title": "item 1", "genres": ""}
    known = {"Red", "Fox", "Owl", "x", "y"}
    words = [w for record in changed["random words"] for w in record["title"].split()]
    assert len(words) == 3
    assert set(words) <= known


def test_a_sample_of_users_keeps_rows_together() -> None:
    exam = _exam()
    small = sample_exam(exam, 5, seed=3)
    assert len(small) == 5
    places = {user: place for place, user in enumerate(exam.user_ids.tolist())}
    for row, user in enumerate(small.user_ids.tolist()):
        assert small.targets.items[row].tolist() == exam.targets.items[places[user]].tolist()
    assert sample_exam(exam, 10_000, seed=3) is exam


@pytest.mark.parametrize("prompt", ["items", "text"])
def test_texts_are_changed_where_a_model_reads_words(prompt: str) -> None:
    head = {"items": "next", "text": "yes_no"}[prompt]
    split = lm_cases.split()
    model = lm_cases.model("gpt2", prompt=prompt, head=head).fit(split.train, None)
    options = EvaluationOptions.from_config({"task": "ranking", "metrics": ["ndcg@10"]})
    exam = sample_exam(make_exam(split, options), 4, seed=0)
    found = probe(model, exam, label=prompt)
    texts = [each for each in found.probes if each.group == "text"]
    assert len(texts) == (4 if prompt == "text" else 0)
    assert _by_name(found)["users one by one"].drift < 1e-4
    if prompt == "text":
        assert any(each.changed > 0 for each in texts)
        assert model.item_records[0]["title"] == lm_cases.TITLES[0]


def test_eight_bits_are_held_against_the_same_weights_in_32() -> None:
    split = lm_cases.split()
    parts = {"backbone": {"initializer_range": 0.3}}
    model = lm_cases.model("gpt2", parts=parts, inference="int8").fit(split.train)
    own = _by_name(probe(model, _exam(), label="int8"))["fp32 instead of int8"]
    assert own.group == "inference"
    quick = model.score(lm_cases.queries())
    with model.in_fp32():
        exact = model.score(lm_cases.queries())
    assert np.abs(quick - exact).max() > 0
    np.testing.assert_array_equal(model.score(lm_cases.queries()), quick)
    plain = lm_cases.model("gpt2", parts=parts).fit(split.train)
    np.testing.assert_array_equal(plain.score(lm_cases.queries()), exact)
    before = probe(model, _exam(), label="int8").value
    assert own.difference == pytest.approx(probe(plain, _exam(), label="fp32").value - before)
    assert "fp32 instead of int8" not in _by_name(probe(plain, _exam(), label="fp32"))
