"""Backbones beside GPT-2, BERT and T5 as recommenders: they train, score and are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest

from llmrec.core.config import build, check
from llmrec.core.types import Queries
from llmrec.recommenders.base import load_recommender

TRANSFORMERS = ("causal", "distilbert", "roberta", "modernbert")
RECURRENT = {"name": "recurrent", "hidden_size": 16, "vocabulary_size": 300}
BAG = {"name": "word_vectors", "embedding_size": 8, "min_count": 1, "epochs": 2}


def spec_of(backbone: dict[str, Any], *parts: str, **options: Any) -> dict[str, Any]:
    return {**lm_cases.spec("gpt2", *parts, **options), "backbone": backbone}


def trained_and_stored(spec: dict[str, Any], folder: Path) -> Any:
    assert check("recommender", spec) == []
    split, asked = lm_cases.split(), lm_cases.queries()
    model = build("recommender", spec, seed=1).fit(split.train, split.valid)
    scores = model.score(asked)
    assert np.isfinite(scores).all()
    assert scores.std() > 0
    strangers = Queries.from_histories([[], [1], []])
    answered = model.score(strangers)
    np.testing.assert_allclose(answered[0], answered[2], atol=1e-5)
    one = model.score(strangers.take(np.array([1])))
    np.testing.assert_allclose(one[0], answered[1], rtol=1e-4, atol=1e-5)
    model.save(folder / "model")
    loaded = load_recommender(folder / "model")
    np.testing.assert_array_equal(loaded.score(asked), scores)
    assert loaded.info == model.info
    return model


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize(("head", "prompt"), [("next", "items"), ("yes_no", "text")])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_an_architecture_recommends(
    name: str, head: str, prompt: str, adapter: str, tmp_path: Path
) -> None:
    trained_and_stored(spec_of(lm_cases.backbone(name), adapter, head, prompt), tmp_path)


@pytest.mark.parametrize("adapter", ["full", "frozen"])
@pytest.mark.parametrize("head", ["next", "like", "rating"])
@pytest.mark.parametrize("prompt", ["items", "text"])
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_recurrent_network_recommends(
    cell: str, prompt: str, head: str, adapter: str, tmp_path: Path
) -> None:
    if cell != "gru" and adapter == "frozen":
        return  # nothing depends on both
    spec = spec_of({**RECURRENT, "cell": cell}, adapter, head, prompt)
    trained_and_stored(spec, tmp_path)


@pytest.mark.parametrize("adapter", ["full", "frozen"])
@pytest.mark.parametrize("head", ["next", "like", "rating"])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_bag_of_words_recommends(pooling: str, head: str, adapter: str, tmp_path: Path) -> None:
    pytest.importorskip("gensim", reason="training word vectors needs the extra features")
    spec = spec_of({**BAG, "pooling": pooling}, adapter, head, "text")
    model = trained_and_stored(spec, tmp_path)
    assert model.info.weights == "word2vec of the training texts"
    own = model._model.net.model.num_parameters()
    assert (model.info.trainable > own) == (adapter == "full")


@pytest.mark.parametrize("backbone", [RECURRENT, BAG], ids=["recurrent", "word_vectors"])
@pytest.mark.parametrize("adapter", ["lora", "last_k", "int8", "prefix", "int8+lora"])
def test_adapters_of_attention_blocks_are_refused(backbone: dict[str, Any], adapter: str) -> None:
    (problem,) = check("recommender", spec_of(backbone, adapter, "like", "text"))
    assert f"backbone {backbone['name']} has no attention blocks" in problem.what
    assert "adapter=full or adapter=frozen" in problem.what


@pytest.mark.parametrize(
    ("backbone", "head", "prompt", "reason"),
    [
        (RECURRENT, "title", "text", "but recurrent cannot generate"),
        (RECURRENT, "yes_no", "text", "provides only pooled, sequence"),
        (BAG, "title", "text", "cannot generate"),
        (BAG, "yes_no", "text", "provides only pooled"),
        (BAG, "next", "items", "reads words only"),
        (BAG, "like", "items", "reads words only"),
    ],
)
def test_what_they_cannot_do_is_refused(
    backbone: dict[str, Any], head: str, prompt: str, reason: str
) -> None:
    (problem,) = check("recommender", spec_of(backbone, "full", head, prompt))
    assert reason in problem.what


def test_a_model_of_ids_alone_may_be_a_baseline() -> None:
    split = lm_cases.split()
    model = lm_cases.model(role="baseline").fit(split.train, split.valid)
    assert model.info.family == "baseline"
    assert model.info.weights == ""
    control = lm_cases.model().fit(split.train, split.valid)
    assert control.info.family == "control"
    assert control.info.weights == "random init, no text"
    np.testing.assert_array_equal(
        model.score(lm_cases.queries()), control.score(lm_cases.queries())
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"prompt": lm_cases.PROMPTS["text"]},
        {"prompt": {"name": "items", "text_encoder": {"name": "minilm"}, "max_length": 8}},
        {"prompt": {**lm_cases.PROMPTS["items"]}, "backbone": {"name": "minilm"}},
        {"backbone": {"name": "gpt2", "checkpoint": "distilgpt2"}},
    ],
    ids=["text prompt", "text start", "minilm", "checkpoint"],
)
def test_a_baseline_has_no_language(parts: dict[str, Any]) -> None:
    spec = {**lm_cases.spec(), **parts}
    assert check("recommender", spec) == []
    (problem,) = check("recommender", {**spec, "role": "baseline"})
    assert problem.where == "role"
    assert "a baseline knows item ids alone" in problem.what


def test_item_tokens_start_from_word_vectors_of_training_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("gensim", reason="training word vectors needs the extra features")
    from llmrec.backbones import word_vectors

    seen: list[str] = []

    def spy(sentences: list[list[str]], **options: Any) -> Any:
        seen.extend(word for words in sentences for word in words)
        return lm_trained(sentences, **options)

    lm_trained = word_vectors.train_vectors
    monkeypatch.setattr(word_vectors, "train_vectors", spy)
    prompt = {"name": "items", "init": "text", "text_encoder": BAG, "max_length": 8}
    split = lm_cases.split()
    scores = []
    for _ in range(2):
        model = build("recommender", {**lm_cases.spec(), "prompt": prompt}, seed=1)
        scores.append(model.fit(split.train, split.valid).score(lm_cases.queries()))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert "fox" in seen
    assert "xylophone" not in seen  # the title of an item that nobody trained on
    assert model.info.family == "language_model"
    assert "item text: word2vec of the training texts" in model.info.weights
