"""A hosted language model as a recommender: what it is asked, and how answers become scores."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import lm_cases
import numpy as np
import pytest
from fake_endpoint import Answer, FakeEndpoint, candidates, opinions, question, serving

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError, ConfigError, DataError, RunError
from llmrec.core.types import PADDING, Dataset, Interactions, Queries, Ragged
from llmrec.experiment.probing import backbones_of
from llmrec.recommenders.base import recommend
from llmrec.recommenders.memorisation import memorisation
from llmrec.recommenders.parts import added_usage
from llmrec.recommenders.worked_examples import draw_examples
from llmrec.testing import RecommenderConformance
from llmrec.testing.boards import checkerboard

TITLES = lm_cases.TITLES


def tiny() -> Dataset:
    """Return twelve users with two to five of nine rated items; nobody had the last one."""
    rows = [
        (user, (user + step * (1 + user % 2 * 2)) % 9, 1.0 + (user * 3 + step * 2) % 5)
        for user in range(12)
        for step in range(2 + user % 4)
    ]
    users, items, ratings = zip(*rows, strict=True)
    log = Interactions(
        np.array(users, np.int32), np.array(items, np.int32), np.array(ratings, np.float32)
    )
    ids = [np.arange(n).astype(str) for n in (12, len(TITLES))]
    return Dataset("tiny", log, *ids, {"title": np.array(TITLES, object)})


TRAIN = tiny()


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serving(opinions) as endpoint:
        yield endpoint


def spec(fake: FakeEndpoint, folder: Path, mode: str, **options: Any) -> dict[str, Any]:
    backbone = fake.backbone(cache_folder=str(folder), **options.pop("backbone", {}))
    prompt = {"name": "text", **options.pop("prompt", {})}
    return {
        "name": "hosted_language_model",
        "backbone": backbone,
        "prompt": prompt,
        "mode": mode,
        **options,
    }


def fitted(fake: FakeEndpoint, folder: Path, mode: str, **options: Any) -> Any:
    return build("recommender", spec(fake, folder, mode, **options)).fit(TRAIN)


def two_queries() -> Queries:
    return Queries(np.array([3, 4]), Ragged.from_rows([[0, 1], [5]]))


# the contract


class Hosted(RecommenderConformance):
    personalised = False  # the fake model knows nothing of other users
    options: ClassVar[dict[str, Any]]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def endpoint(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with serving(opinions) as endpoint:
            folder = tmp_path_factory.mktemp("replies")
            options = {"full_catalogue": True, **cls.options}
            cls.recommender = spec(endpoint, folder, **options)
            yield


class TestScore(Hosted):
    options: ClassVar = {"mode": "score"}


class TestRank(Hosted):
    options: ClassVar = {"mode": "rank", "n_orders": 2}
    candidates_agree = False  # a place in a list depends on who else is in it


class TestGenerate(Hosted):
    options: ClassVar = {"mode": "generate"}


# what is asked


def test_a_score_asks_about_one_candidate_at_a_time(fake: FakeEndpoint, tmp_path: Path) -> None:
    model = fitted(fake, tmp_path, "score")
    items = np.array([[2, 7, PADDING], [0, PADDING, PADDING]])
    scores = model.score(two_queries(), items)
    asked = {question(body) for body in fake.bodies}
    assert len(asked) == 3
    start = "The user's history, oldest first: Red Fox; Blue Owl. Will the user like "
    end = "?\nAnswer with one word, yes or no."
    assert f"{start}The Old River{end}" in asked
    assert f"{start}The Silent Train{end}" in asked
    (body,) = [body for body in fake.bodies if "Old River" in question(body)]
    assert body["max_tokens"] == 1
    assert body["top_logprobs"] == 20
    first = opinions(body)["first"]
    assert scores[0, 0] == pytest.approx(first["yes"] - first[" no"])
    assert scores.shape == items.shape


def test_a_ranking_lists_the_candidates_once_in_an_order_that_says_nothing(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    model = fitted(fake, tmp_path, "rank")
    items = np.array([[0, 2, 4, 6, 8]])
    scores = model.score(two_queries().take(slice(0, 1)), items)
    (body,) = fake.bodies
    assert sorted(candidates(body).values()) == sorted(TITLES[i] for i in items[0])
    mixed = items[:, ::-1]
    again = model.score(two_queries().take(slice(0, 1)), mixed)
    assert len(fake.bodies) == 1, "another order of the same candidates is the same request"
    np.testing.assert_array_equal(again, scores[:, ::-1])
    assert sorted(scores[0].tolist()) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_several_orders_are_averaged(fake: FakeEndpoint, tmp_path: Path) -> None:
    """A model that always prefers what it reads first: its bias averages out."""
    fake.answer = lambda body: {"text": "\n".join(f"[{n}]" for n in candidates(body))}
    items = np.array([[0, 2, 4, 6, 8]])
    one = fitted(fake, tmp_path, "rank").score(two_queries().take(slice(0, 1)), items)
    many = fitted(fake, tmp_path, "rank", n_orders=40).score(two_queries().take(slice(0, 1)), items)
    orders = {tuple(candidates(body).values()) for body in fake.bodies}
    assert len(orders) == len(fake.bodies) > 20, "an order that was asked for is not asked again"
    assert many.mean() == pytest.approx(one.mean())
    assert many.std() < one.std() / 3


def test_generating_needs_no_candidates_and_invents_no_items(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    fake.answer = lambda body: {
        "text": "Sure, here are some titles:\n1. The Old River\n2. Gone with the Wind\n"
        '3. "red river"\n4. Old River, The\n5. Nigth Train'
    }
    model = fitted(fake, tmp_path, "generate")
    lists, values = recommend(model, two_queries(), k=3)
    assert [TITLES[i] for i in lists[0]] == ["The Old River", "Red River", "Night Train"]
    assert values[0].tolist() == [10, 9, 8]
    assert model.take_counts() == {
        "answers": 2,
        "cut_prompts": 0,
        "generated": 10,
        "invalid_rate": 0.2,
        "duplicate_rate": 0.2,
        "cut_answers": 0,
    }
    assert model.take_counts() == {}
    assert "Name up to 10 titles" in question(fake.bodies[0])


def test_no_more_titles_are_read_than_were_asked_for(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.answer = lambda body: {"text": "\n".join(TITLES)}
    model = fitted(fake, tmp_path, "generate", n_titles=2)
    assert model.score(two_queries())[0].tolist() == [2, 1] + [0] * 8


def test_a_prompt_that_is_too_long_loses_its_oldest_items(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    model = fitted(fake, tmp_path, "generate", prompt={"max_length": 15})
    queries = Queries(np.array([0]), Ragged.from_rows([[0, 1, 2, 3, 4]]))
    model.score(queries)
    text = question(fake.bodies[0]).partition("\n")[0]
    assert len(text) <= 60
    assert "Night Train" in text
    assert "Red Fox" not in text
    assert model.take_counts()["cut_prompts"] == 1


def test_the_system_message_and_the_instruction_are_options(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    fitted(fake, tmp_path, "rank", system=None, instruction="Order them.").score(
        two_queries(), np.array([[2, 3], [2, 3]])
    )
    assert [message["role"] for message in fake.bodies[0]["messages"]] == ["user"]
    assert question(fake.bodies[0]).endswith("\n\nOrder them.")


# answers that are not what was asked for


def test_an_endpoint_without_log_probabilities_is_refused_with_the_way_out(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    fake.answer = lambda body: {"text": "yes"}
    model = fitted(fake, tmp_path, "score", backbone={"concurrency": 1})
    for _ in range(2):
        with pytest.raises(ComponentError, match=r"gives no log-probabilities.*answer=number"):
            model.score(two_queries(), np.array([[2, 4, 6], [3, 7, 9]]))
        assert len(fake.bodies) == 1, "the others are not paid for"


def test_neither_yes_nor_no_is_even_odds_and_counted(fake: FakeEndpoint, tmp_path: Path) -> None:
    def shy(body: dict[str, Any]) -> Answer:
        strange = {"text": "I", "first": {"I": -0.1, "Well": -3.0}}
        return strange if "Old River" in question(body) else opinions(body)

    fake.answer = shy
    model = fitted(fake, tmp_path, "score")
    scores = model.score(two_queries(), np.array([[2], [3]]))
    assert scores[0, 0] == 0
    assert scores[1, 0] != 0
    assert model.take_counts()["unanswered_rate"] == 0.5


def test_candidates_that_are_not_named_go_below_and_all_faults_are_counted(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    def sloppy(body: dict[str, Any]) -> Answer:
        number = {title: n for n, title in candidates(body).items()}
        return {"text": f"[{number['Red River']}] > [99] > [{number['Red River']}]\nGolden Fox"}

    fake.answer = sloppy
    model = fitted(fake, tmp_path, "rank")
    items = np.array([[0, 3, 6, 1]])
    scores = model.score(two_queries().take(slice(0, 1)), items)
    assert scores[0].tolist() == [0, 1, 0.75, 0]
    counts = model.take_counts()
    assert counts["named"] == 4
    assert counts["invalid_rate"] == 0.25
    assert counts["duplicate_rate"] == 0.25
    assert counts["missing_rate"] == 0.5


# limits


def test_a_whole_catalogue_is_asked_for_and_its_size_is_said(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    prices = {"input_price": 1.0, "output_price": 1.0}
    model = fitted(fake, tmp_path, "score", backbone=prices)
    with pytest.raises(RunError, match=r"10 items for 2 users takes 20 requests .* to pay"):
        model.score(two_queries())
    assert not fake.bodies
    small = {"max_requests": 19}
    model = fitted(fake, tmp_path, "score", full_catalogue=True, backbone=small)
    with pytest.raises(RunError, match=r"20 requests .*max_requests=19; nothing"):
        model.score(two_queries())
    assert not fake.bodies
    model = fitted(fake, tmp_path, "score", full_catalogue=True, backbone={"max_requests": 20})
    assert model.score(two_queries()).shape == (2, 10)


def test_too_many_candidates_for_one_prompt(fake: FakeEndpoint, tmp_path: Path) -> None:
    model = fitted(fake, tmp_path, "rank", max_candidates=3)
    with pytest.raises(ComponentError, match="4 candidates are too many"):
        model.score(two_queries(), np.array([[0, 2, 4, 6]] * 2))
    assert not fake.bodies


def test_a_row_without_candidates_costs_nothing(fake: FakeEndpoint, tmp_path: Path) -> None:
    items = np.full((2, 3), PADDING)
    for mode in ("score", "rank"):
        assert fitted(fake, tmp_path, mode).score(two_queries(), items).shape == (2, 3)
    assert not fake.bodies


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": {"name": "items", "init": "random"}}, "choose prompt=text"),
        ({"backbone": {"name": "gpt2"}}, "choose backbone=api"),
        ({"prompt": {"name": "text", "question": "{{ review }}"}}, "which no task of a hosted"),
        ({"yes": "no"}, "do not begin alike"),
        ({"n_orders": 0}, "expected 1 or more"),
        ({"likeness": 0.0}, "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], words: str) -> None:
    backbone = {"name": "api", "base_url": "http://localhost:1/v1", "model": "m"}
    base = {"name": "hosted_language_model", "backbone": backbone, "prompt": {"name": "text"}}
    problems = check("recommender", {**base, **options})
    assert any(words in str(problem) for problem in problems)
    with pytest.raises(ConfigError):
        build("recommender", {**base, **options})


def test_a_model_of_this_machine_cannot_be_an_endpoint() -> None:
    backbone = {"name": "api", "base_url": "http://localhost:1/v1", "model": "m"}
    (problem,) = check("recommender", {**lm_cases.spec(prompt="text"), "backbone": backbone})
    assert "model=hosted" in str(problem)


def test_data_without_titles_is_refused(fake: FakeEndpoint, tmp_path: Path, make_data: Any) -> None:
    data = make_data([(0, 1, 5), (1, 0, 4)], 2, 2)
    with pytest.raises(DataError, match="has no item texts"):
        build("recommender", spec(fake, tmp_path, "rank")).fit(data)


# worked examples


@pytest.mark.parametrize("mode", ["score", "rank", "generate"])
def test_worked_examples_come_from_training_alone(
    fake: FakeEndpoint, tmp_path: Path, mode: str
) -> None:
    """An item of validation and test alone is shown by none, nor is a held-out interaction."""
    train = TRAIN
    model = build("recommender", spec(fake, tmp_path, mode, n_examples=6)).fit(train, train)
    other = build("recommender", spec(fake, tmp_path, mode, n_examples=6)).fit(train)
    assert model._examples == other._examples
    assert len(model._examples) == 6
    drawn = draw_examples(train, 6, mode=mode, threshold=4.0, n_candidates=5, n_titles=2, seed=3)
    pairs = [tuple(row.tolist()) for row in train.histories]
    for shown in drawn:
        assert any(
            tuple(shown.history.tolist()) == row[: len(shown.history)] for row in pairs if row
        )
    model.score(two_queries(), np.array([[2, 3], [2, 3]]))
    roles = [message["role"] for message in fake.bodies[0]["messages"]]
    assert roles == ["system", *["user", "assistant"] * 6, "user"]


def test_worked_examples_are_drawn_with_the_seed(fake: FakeEndpoint, tmp_path: Path) -> None:
    def examples(seed: int) -> list[dict[str, str]]:
        made = fitted(fake, tmp_path, "rank", n_examples=3, seed=seed)
        return list(made._examples)

    assert examples(1) == examples(1)
    assert examples(1) != examples(2)


def test_half_of_the_scores_shown_are_likes(fake: FakeEndpoint, tmp_path: Path) -> None:
    train = TRAIN
    drawn = draw_examples(train, 6, mode="score", threshold=4.0, n_candidates=2, n_titles=1, seed=0)
    assert [shown.liked for shown in drawn] == [True, False] * 3
    log = train.interactions
    assert log.rating is not None
    rated = {(u, i): r for u, i, r in zip(log.user, log.item, log.rating, strict=True)}
    for shown in drawn:
        ratings = [r for (_, i), r in rated.items() if i == shown.items[0]]
        assert any((rating >= 4.0) == shown.liked for rating in ratings)
    answers = [e["answer"] for e in fitted(fake, tmp_path, "score", n_examples=4)._examples]
    assert answers == ["yes", "no", "yes", "no"]


def test_without_dislikes_an_item_that_the_user_never_had_is_shown() -> None:
    train = checkerboard().train
    drawn = draw_examples(train, 4, mode="score", threshold=4.0, n_candidates=2, n_titles=1, seed=0)
    assert [shown.liked for shown in drawn] == [True, False, True, False]
    rows = [set(row.tolist()) for row in train.histories if len(row)]
    for shown in drawn[1::2]:
        users = [row for row in rows if set(shown.history.tolist()) <= row]
        assert all(int(shown.items[0]) not in row for row in users)


def test_the_answer_of_a_ranking_names_what_came_next_first(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    train = TRAIN
    for shown in draw_examples(
        train, 5, mode="rank", threshold=4.0, n_candidates=4, n_titles=1, seed=2
    ):
        assert sorted(shown.order) == list(range(4))
        after = [
            row[len(shown.history)]
            for row in train.histories
            if len(row) > len(shown.history)
            and row[: len(shown.history)].tolist() == shown.history.tolist()
        ]
        assert shown.items[shown.order[0]] in after
    example = fitted(fake, tmp_path, "rank", n_examples=1)._examples[0]
    assert example["question"].count("\n[") == 5
    assert example["answer"].count(">") == 4


def test_more_worked_examples_than_users_is_refused(fake: FakeEndpoint, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 12 training users"):
        fitted(fake, tmp_path, "rank", n_examples=13)


# saving


def test_a_saved_model_asks_the_same_and_pays_nothing(fake: FakeEndpoint, tmp_path: Path) -> None:
    model = fitted(fake, tmp_path / "replies", "rank", n_examples=2)
    items = np.array([[0, 2, 4], [1, 3, 9]])
    scores = model.score(two_queries(), items)
    model.save(tmp_path / "saved")
    loaded = type(model).load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.score(two_queries(), items), scores)
    assert len(fake.bodies) == 2
    assert loaded.endpoint_usage()["cached_requests"] == 2
    assert json.loads((tmp_path / "saved" / "state.json").read_text("utf-8"))["examples"]


def test_log_odds_are_those_of_a_hand_made_case(fake: FakeEndpoint, tmp_path: Path) -> None:
    first = {" Yes": math.log(0.4), "yes": math.log(0.2), "no": math.log(0.1), "A": math.log(0.05)}
    fake.answer = lambda body: {"text": "Yes", "first": first}
    scores = fitted(fake, tmp_path, "score").score(two_queries(), np.array([[2], [3]]))
    np.testing.assert_allclose(scores, math.log(0.6 / 0.1), rtol=1e-6)


def test_what_it_costs_is_told_by_what_it_is_a_part_of(fake: FakeEndpoint, tmp_path: Path) -> None:
    ranker = spec(fake, tmp_path, "rank")
    two = {"name": "two_stage", "retriever": {"name": "ease"}, "ranker": ranker, "k": 3}
    model = build("recommender", two).fit(TRAIN)
    assert model.endpoint_usage() == {}
    model.score(two_queries())
    used = model.endpoint_usage()
    assert used == model.ordered_by.endpoint_usage()
    assert (used["requests"], used["spent"]) == (2, None)
    assert used["input_tokens"] > 0
    both = {"name": "ensemble", "members": {"two": two, "ease": {"name": "ease"}}}
    ensemble = build("recommender", both).fit(TRAIN)
    ensemble.score(two_queries())
    used = ensemble.endpoint_usage()
    assert used["requests"] + used["cached_requests"] == 2
    priced = {"input_tokens": 2, "output_tokens": 1, "estimated_tokens": True, "spent": 0.5}
    free = {"input_tokens": 3, "output_tokens": 0, "estimated_tokens": False, "spent": None}
    counts = {"requests": 1, "cached_requests": 4}
    parts = [SimpleNamespace(endpoint_usage=lambda u=u: {**counts, **u}) for u in (priced, free)]
    assert added_usage([*parts, object()]) == {
        "requests": 2,
        "cached_requests": 8,
        "input_tokens": 5,
        "output_tokens": 1,
        "estimated_tokens": True,
        "spent": 0.5,
    }


def test_a_taught_model_says_what_its_teacher_cost(fake: FakeEndpoint, tmp_path: Path) -> None:
    teacher = spec(fake, tmp_path, "rank", full_catalogue=True)
    teaching = {"name": "soft_scores", "teacher": teacher, "weight": 0.5}
    student = build("recommender", {**lm_cases.spec("gpt2"), "distillation": teaching})
    student.fit(TRAIN)
    used = student.endpoint_usage()
    assert used["requests"] == len(fake.bodies) > 0
    student.save(tmp_path / "student")
    assert type(student).load(tmp_path / "student").endpoint_usage() == used


def test_its_words_can_be_changed_wherever_it_stands(fake: FakeEndpoint, tmp_path: Path) -> None:
    ranker = spec(fake, tmp_path, "rank")
    two = {"name": "two_stage", "retriever": {"name": "ease"}, "ranker": ranker, "k": 3}
    ensemble = build("recommender", {"name": "ensemble", "members": {"two": two}}).fit(TRAIN)
    records = ensemble.item_records
    assert [record["title"] for record in records] == list(TITLES)
    with ensemble.other_texts(
        [{**record, "title": f"thing {i}"} for i, record in enumerate(records)]
    ):
        ensemble.score(two_queries())
    assert "thing " in question(fake.bodies[-1])
    ensemble.score(two_queries())
    assert "thing " not in question(fake.bodies[-1])
    with ensemble.other_texts([dict.fromkeys(record, "") for record in records]):
        assert np.isfinite(ensemble.score(two_queries())).all()
    plain = {"name": "two_stage", "retriever": {"name": "ease"}, "ranker": {"name": "popularity"}}
    assert build("recommender", plain).fit(TRAIN).item_records is None


def test_nothing_is_asked_of_it_by_heart(fake: FakeEndpoint, tmp_path: Path) -> None:
    backbone = spec(fake, tmp_path, "rank")["backbone"]
    with pytest.raises(ComponentError, match=r"not asked, because .* is behind an endpoint"):
        memorisation(backbone, lm_cases.split(), TITLES, n=3)
    two = SimpleNamespace(parts={"ranker": SimpleNamespace(backbone=backbone)})
    both = SimpleNamespace(parts={"a": two, "b": SimpleNamespace()})
    assert backbones_of(both) == {"a.ranker": backbone}
