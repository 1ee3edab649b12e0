"""Heads: what they ask of a backbone, and losses and scores worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError, DataError
from llmrec.recommenders.fitting import example_targets
from llmrec.recommenders.identifiers import first_token
from llmrec.training.examples import positions
from llmrec.training.statistics import statistics

RATINGS = {"mean": 3.0, "spread": 2.0, "low": 1.0, "high": 5.0}


def head(**spec):
    return build("head", spec)


@pytest.mark.parametrize(
    ("spec", "prompt", "needs"),
    [
        ({"name": "classification"}, "items", "sequence"),
        ({"name": "classification"}, "text", "pooled"),
        ({"name": "classification", "target": "like"}, "items", "pooled"),
        ({"name": "regression"}, "text", "pooled"),
        ({"name": "generative"}, "text", "generate"),
        ({"name": "generative", "mode": "yes_no"}, "text", "token_logits"),
        ({"name": "generative", "mode": "rating"}, "text", "token_logits"),
    ],
)
def test_what_a_head_needs(spec: dict, prompt: str, needs: str) -> None:
    assert head(**spec).needs(prompt) == needs


def test_tasks() -> None:
    assert head(name="classification").tasks == {"ranking"}
    assert head(name="classification", target="like").tasks == {"preference", "ranking"}
    assert head(name="regression").tasks == {"rating"}
    assert head(name="generative").tasks == {"ranking", "generation"}
    assert head(name="generative", mode="yes_no").tasks == {"preference", "ranking"}
    assert head(name="generative", mode="rating").tasks == {"rating"}
    assert head(name="generative", mode="rating", answer="class").tasks == {"classes"}


def test_next_item_is_a_product_with_the_item_embeddings() -> None:
    module = head(name="classification").build(2, 3, True, RATINGS)
    states = torch.tensor([[1.0, 2.0]])
    items = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert module.scores(states, items).tolist() == [[1.0, 2.0, 3.0]]
    expected = -math.log(math.exp(2) / sum(map(math.exp, (1, 2, 3))))
    assert module.loss(states, torch.tensor([1]), items).item() == pytest.approx(expected)
    assert list(module.parameters()) == []


def test_next_item_under_text_has_weights_and_may_have_a_bias() -> None:
    module = head(name="classification", item_bias=True).build(2, 3, False, RATINGS)
    assert module.output.weight.shape == (3, 2)
    with torch.no_grad():
        module.bias += torch.tensor([0.0, 5.0, 0.0])
    plain = torch.nn.functional.linear(torch.ones(1, 2), module.output.weight)
    moved = module.scores(torch.ones(1, 2), None)
    torch.testing.assert_close(moved - plain, torch.tensor([[0.0, 5.0, 0.0]]))


def test_likes_are_log_odds() -> None:
    module = head(name="classification", target="like").build(1, 3, False, RATINGS)
    with torch.no_grad():
        module.readout.output.weight.fill_(1.0)
        module.readout.output.bias.fill_(0.0)
    states = torch.tensor([[2.0], [-1.0]])
    assert module.scores(states).tolist() == [2.0, -1.0]
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert module.loss(states, torch.tensor([1.0, 0.0])).item() == pytest.approx(expected)


def test_ratings_are_scaled_and_clipped_to_what_was_seen() -> None:
    module = head(name="regression").build(1, 3, False, RATINGS)
    with torch.no_grad():
        module.readout.output.weight.fill_(1.0)
    states = torch.tensor([[0.5], [9.0], [-9.0]])
    assert module.scores(states).tolist() == [4.0, 5.0, 1.0]
    # Unclipped while learning, in units of the variance: (4 − 3)² / 4.
    assert module.loss(states[:1], torch.tensor([3.0])).item() == pytest.approx(0.25)


def test_yes_and_no_are_compared() -> None:
    module = head(name="generative", mode="yes_no").build(1, 3, False, RATINGS)
    logits = torch.tensor([[3.0, 1.0]])
    assert module.scores(logits).tolist() == [2.0]
    loss = module.loss(logits, torch.tensor([0.0])).item()
    assert loss == pytest.approx(math.log(1 + math.exp(2)))


def test_a_rating_is_expected_over_its_tokens_or_the_likeliest() -> None:
    values = {**RATINGS, "values": np.array([1.0, 2.5, 5.0], np.float32)}
    part = head(name="generative", mode="rating")
    module = part.build(1, 3, False, values)
    assert part.answers(values["values"].tolist()) == [" 1", " 2.5", " 5"]
    logits = torch.tensor([[0.0, math.log(2), 0.0], [9.0, 9.0, 9.0]])  # 1/4, 1/2, 1/4; thirds
    torch.testing.assert_close(module.scores(logits), torch.tensor([2.75, 8.5 / 3]))
    loss = module.loss(logits[:1], torch.tensor([5.0])).item()
    assert loss == pytest.approx(math.log(4))
    likeliest = head(name="generative", mode="rating", answer="class").build(1, 3, False, values)
    assert likeliest.scores(logits[:1]).tolist() == [2.5]


def test_there_is_a_label_for_each_rating() -> None:
    values = {**RATINGS, "values": np.array([0.5, 4.5, 5.0], np.float32)}
    named = head(name="generative", mode="rating", labels=["bad", "good", "best"])
    named.build(1, 3, False, values)
    assert named.answers(values["values"].tolist()) == ["bad", "good", "best"]
    few = head(name="generative", mode="rating", labels=["bad", "good"])
    with pytest.raises(ComponentError, match=r"2 texts, .* 3 distinct ratings \(0\.5, 4\.5, 5\)"):
        few.build(1, 3, False, values)
    many = {**RATINGS, "values": np.arange(101, dtype=np.float32)}
    with pytest.raises(ComponentError, match="101 distinct values"):
        head(name="generative", mode="rating").build(1, 3, False, many)


@pytest.mark.parametrize("mode", ["item", "query", "yes_no"])
def test_labels_are_for_ratings(mode: str) -> None:
    spec = {"name": "generative", "mode": mode, "labels": ["bad", "good"], "answer": "class"}
    problems = check("head", spec)
    assert [problem.where for problem in problems] == ["labels", "answer"]
    assert all("mode=rating only" in problem.what for problem in problems)


def test_statistics_of_ratings() -> None:
    assert statistics(np.array([1, 5], np.float32)) == RATINGS
    assert statistics(np.array([4, 4], np.float32))["spread"] == 1.0
    assert statistics(None)["spread"] == 1.0


def test_stars_become_likes_at_the_threshold() -> None:
    train = lm_cases.split().train
    examples = positions(train, length=3, per_user=None, with_history=False, seed=0)
    likes = example_targets(head(name="classification", target="like", threshold=3.0), examples)
    assert likes.dtype == np.float32
    assert likes.tolist() == (examples.ratings[examples.targets] >= 3).astype(float).tolist()
    assert 0 < likes.mean() < 1
    ratings = example_targets(head(name="regression"), examples)
    assert ratings.tolist() == examples.ratings[examples.targets].tolist()
    with pytest.raises(DataError, match="on one side of the threshold"):
        example_targets(head(name="generative", mode="yes_no", threshold=9.0), examples)


@pytest.mark.parametrize("name", ["like", "rating"])
def test_a_head_that_learns_from_ratings_says_that_there_are_none(name: str) -> None:
    train = lm_cases.dataset([[0, 1, 2], [1, 2, 0]])
    with pytest.raises(ComponentError, match="learns from ratings"):
        lm_cases.model(head=name).fit(train)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "classification", "label_smoothing": 1.0},
        {"name": "generative", "n_beams": 0},
        {"name": "generative", "max_identifier_length": 0},
        {"name": "generative", "mode": "rating", "labels": ["only"]},
    ],
)
def test_ranges_are_checked(spec: dict) -> None:
    assert len(check("head", spec)) == 1


def test_answers_need_different_first_tokens() -> None:
    train = lm_cases.split().train
    parts = {"head": {"yes": " Yes", "no": " Yes, no"}}
    with pytest.raises(ComponentError, match="begin with the same token"):
        lm_cases.model(head="yes_no", prompt="text", parts=parts).fit(train)


def test_ratings_that_begin_alike_are_refused_unless_they_get_words() -> None:
    train = lm_cases.split().train
    halves = train.with_interactions(
        replace(train.interactions, rating=train.interactions.rating / 2 + 2)
    )  # 2.5, 3, 3.5, 4, 4.5
    with pytest.raises(ComponentError, match=r'" 3" and " 3\.5" begin with .*head\.labels'):
        lm_cases.model(head="rating_tokens", prompt="text").fit(halves)
    parts = {"head": {"labels": ["A", "B", "C", "D", "E"]}}
    model = lm_cases.model(head="rating_tokens", prompt="text", parts=parts).fit(halves)
    compared = [model._model.tokenizer.decode([token]) for token in model._model.net.answers]
    assert compared == ["A", "B", "C", "D", "E"], "lowest first, as the ratings are"
    assert model._model.net.head.values.tolist() == [2.5, 3, 3.5, 4, 4.5]
    scores = model.score(lm_cases.queries())
    assert 2.5 < scores.min() < scores.max() < 4.5


def test_an_answer_that_the_tokenizer_cannot_write_is_refused() -> None:
    tokenizer = build("backbone", lm_cases.backbone("bert")).tokenizer(["plain words"])
    assert tokenizer.decode([first_token(tokenizer, " plain")]).strip()
    with pytest.raises(ComponentError, match='no token for the answer "☃"'):
        first_token(tokenizer, "☃")


def test_an_identifier_must_be_a_field() -> None:
    train = lm_cases.split().train
    with pytest.raises(ComponentError, match='"isbn" is no field of the items; allowed: title'):
        lm_cases.model(head="title", prompt="text", parts={"head": {"identifier": "isbn"}}).fit(
            train
        )
