"""Item tokens made of texts: new items, another catalogue, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError, DataError
from llmrec.core.types import Dataset, Queries, Ragged
from llmrec.prompts.text_tokens import TextTokens
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.item_texts import texts_or_refuse

# Foxes follow foxes and owls follow owls; item 4 of each five is in no training row, and is
# written as item 3 is.
WORDS = ("one", "two", "three", "four", "four")


def kinds(first: str, second: str) -> Dataset:
    titles = [f"{kind} {word}" for kind in (first, second) for word in WORDS]
    rows = [[(5 * (user % 2)) + (user + step) % 4 for step in range(4)] for user in range(24)]
    return replace(
        lm_cases.dataset(rows, 10), item_fields={"title": np.array(titles, dtype=object)}
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = lm_cases.checkpoint("bert", "pooled", tmp_path_factory.mktemp("encoder") / "bert")
    return {"name": "bert", "checkpoint": str(folder)}


def spec(encoder: dict[str, Any], prompt: dict[str, Any] | None = None, **options: Any) -> dict:
    made = lm_cases.spec(epochs=20, batch_size=6, learning_rate=1e-2, **options)
    made["prompt"] = {
        "name": "item_texts",
        "text_encoder": encoder,
        "n_experts": 2,
        "scale": 0.3,
        "max_length": 8,
        **(prompt or {}),
    }
    return made


def test_equal_texts_score_alike_whether_or_not_anybody_had_the_item(encoder, tmp_path) -> None:
    model = build("recommender", spec(encoder), seed=1).fit(kinds("Red Fox", "Blue Owl"))
    queries = Queries.from_histories([[0, 1, 2], [5, 6, 7]])
    scores = model.score(queries)
    np.testing.assert_allclose(scores[:, 3], scores[:, 4], rtol=1e-5)
    np.testing.assert_allclose(scores[:, 8], scores[:, 9], rtol=1e-5)
    assert scores[0, 4] > scores[0, 5:].max()
    assert scores[1, 9] > scores[1, :5].max()
    assert model.info.weights.startswith("random init, item text: ")
    assert model.family == "language_model"
    model.save(tmp_path / "model")
    again = load_recommender(tmp_path / "model").score(queries)
    np.testing.assert_allclose(again, scores, rtol=1e-5, atol=1e-6)


def test_a_fitted_model_goes_on_with_another_catalogue(encoder, tmp_path) -> None:
    source = build("recommender", spec(encoder), seed=1).fit(kinds("Red Fox", "Blue Owl"))
    source.save(tmp_path / "model")
    swapped = kinds("Blue Owl", "Red Fox")
    parts = {"backbone": {"checkpoint": str(tmp_path / "model" / "backbone")}}
    carried = spec(encoder, {"start_from": str(tmp_path / "model")}, parts=parts)
    for key in ("hidden_size", "n_heads", "n_layers", "vocabulary_size", "max_positions"):
        del carried["backbone"][key]
    # A step so small that nothing is learned from the second catalogue.
    target = build("recommender", carried | {"epochs": 1, "learning_rate": 1e-12}, seed=1)
    target.fit(swapped)
    here = source.score(Queries.from_histories([[0, 1, 2], [5, 6, 7]]))
    there = target.score(Queries.from_histories([[5, 6, 7], [0, 1, 2]]))
    np.testing.assert_allclose(there[:, np.r_[5:10, 0:5]], here, rtol=1e-3, atol=1e-4)


def test_a_map_of_other_embeddings_is_not_carried_over(encoder, tmp_path) -> None:
    data = kinds("Red Fox", "Blue Owl")
    build("recommender", spec(encoder) | {"epochs": 1}, seed=1).fit(data).save(tmp_path / "texts")
    lm_cases.model().fit(lm_cases.split().train).save(tmp_path / "ids")
    for prompt, said in [
        ({"start_from": str(tmp_path)}, "is no fitted language model"),
        ({"start_from": str(tmp_path / "ids")}, "by another prompt or text encoder"),
        ({"start_from": str(tmp_path / "texts"), "n_experts": 3}, "keep n_experts"),
    ]:
        with pytest.raises(ComponentError, match=said):
            build("recommender", spec(encoder, prompt), seed=1).fit(data)


def test_shuffled_texts_are_a_control_of_the_same_size(encoder) -> None:
    text = build("recommender", spec(encoder), seed=1)
    shuffled = build("recommender", spec(encoder, {"init": "shuffled"}), seed=1)
    assert (text.family, shuffled.family) == ("language_model", "control")
    assert text.twin == shuffled.twin
    made = [
        model._prompt.tokens(Ragged.from_rows([range(6)]), 6, 4, np.eye(6, 5), None).texts
        for model in (text, shuffled)
    ]
    assert not torch.equal(made[0], made[1])
    assert torch.equal(made[0].sort(0).values, made[1].sort(0).values)


def test_options_are_checked(encoder) -> None:
    base = {"name": "item_texts", "text_encoder": {"name": "minilm"}}
    assert check("prompt", base) == []
    for bad in ({"n_experts": 0}, {"dropout": 1.0}, {"scale": 0.0}, {"max_length": 0}):
        (problem,) = check("prompt", {**base, **bad})
        assert problem.where == next(iter(bad))
    (problem,) = check("prompt", {**base, "text_encoder": lm_cases.backbone("bert")})
    assert "knows nothing about the texts" in problem.what


def test_tokens_are_the_mixture_by_hand() -> None:
    torch.manual_seed(0)
    module = TextTokens(np.random.default_rng(0).standard_normal((5, 3)), 4, 2, 0.5).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn_like(weight))
        texts = module.texts
        shares = torch.softmax(texts @ module.gate, 1)
        mapped = [(texts - module.centres[g]) @ module.experts[g] for g in range(2)]
        by_hand = shares[:, :1] * mapped[0] + shares[:, 1:] * mapped[1]
        torch.testing.assert_close(module.items, by_hand)
        ids = torch.tensor([[4, 0, 6, 5], [0, 0, 7, 5]])
        whole = torch.cat([by_hand, module.special])
        torch.testing.assert_close(module(ids), whole[ids])


def test_an_encoder_made_here_reads_no_text_of_an_item_that_is_not_in_training() -> None:
    words = {"name": "word_vectors", "embedding_size": 8, "min_count": 2}
    made = lm_cases.spec(epochs=2, parts={"head": {"item_weights": "text", "text_encoder": words}})
    data = kinds("Red Fox", "Blue Owl")
    planted = data.item_fields["title"].copy()
    planted[4] += " zebra zebra zebra"  # no vector of its own, so that the text says the same
    leaky = replace(data, item_fields={"title": planted})
    queries = Queries.from_histories([[0, 1, 2], [5, 6, 7]])
    before, after = (
        build("recommender", made, seed=1).fit(each).score(queries) for each in (data, leaky)
    )
    np.testing.assert_array_equal(before, after)
    known = data.item_fields["title"].copy()
    known[3] += " zebra zebra zebra"  # of an item in training they are read
    told = replace(data, item_fields={"title": known})
    assert (build("recommender", made, seed=1).fit(told).score(queries) != before).any()


def test_data_without_texts_is_told_where_texts_go_and_what_reads_none() -> None:
    bare = replace(lm_cases.split().train, item_fields={})
    empty = replace(bare, item_fields={"title": np.array([""] * bare.n_items, object)})
    for train in (bare, empty):
        with pytest.raises(DataError, match=r"has none; .*data\.items=FILE.*prompt=items_no_text"):
            texts_or_refuse(train, ["title"], "prompt items")
    with pytest.raises(DataError, match=r"allowed: title; prompt\.fields=null takes all fields"):
        texts_or_refuse(lm_cases.split().train, ["genre"], "prompt items")
