"""A frozen backbone reads every prompt once; the numbers are those of reading it every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest

from llmrec.backbones.base import inner
from llmrec.core.types import Ragged
from llmrec.data.forget import forget
from llmrec.recommenders import assembly, frozen_states
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.frozen_states import FrozenStates, states_folder

STILL: dict[str, Any] = {"dropout": 0.0, "attention_dropout": 0.0}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))


def model(name: str = "gpt2", head: str = "rating", **options: Any) -> Any:
    parts = {"backbone": {**STILL, **options.pop("backbone", {})}}
    spec = {"epochs": 3, "learning_rate": 0.05, **options}
    return lm_cases.model(name, "frozen", head, "text", parts=parts, **spec)


def fitted(**options: Any) -> Any:
    split = lm_cases.split()
    return model(**options).fit(split.train, split.valid)


def from_checkpoint(folder: Path, name: str = "gpt2", seed: int = 5) -> dict[str, Any]:
    lm_cases.checkpoint(name, "pooled", folder, seed)
    sizes = ("hidden_size", "n_layers", "n_heads")
    return {"checkpoint": str(folder), **dict.fromkeys(sizes)}


def frozen(made: Any) -> FrozenStates:
    found = made._model.frozen
    assert isinstance(found, FrozenStates)
    return found


@pytest.mark.parametrize("head", ["next", "like", "rating"])
@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_the_numbers_are_those_without_it(
    monkeypatch: pytest.MonkeyPatch, name: str, head: str
) -> None:
    split, queries = lm_cases.split(), lm_cases.queries()
    # Several batches an epoch, so that their order counts, too.
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8}
    validated, kept = fitted(name=name, head=head), model(name, head, **options).fit(split.train)
    scores = kept.score(queries)
    assert frozen(kept).n_encoded
    kept._model.frozen = None  # the same weights, every prompt read again
    np.testing.assert_allclose(kept.score(queries), scores, rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(assembly, "frozen_states", lambda owner, assembled: None)
    start = model(name, head, epochs=1, learning_rate=1e-9).fit(split.train)
    plain = model(name, head, **options).fit(split.train)
    assert plain._model.frozen is None
    np.testing.assert_allclose(scores, plain.score(queries), rtol=1e-4, atol=1e-5)
    assert np.abs(start.score(queries) - scores).max() > 1e-2  # it did learn
    details = fitted(name=name, head=head).info.details
    value = next(key for key in details if key.startswith("validation_"))
    assert validated.info.details[value] == pytest.approx(details[value], rel=1e-4)


def test_each_prompt_is_read_once_in_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    whole = FrozenStates._encoded

    def watched(self, tokens):
        rows.extend(row.tobytes() for row in tokens)
        return whole(self, tokens)

    monkeypatch.setattr(FrozenStates, "_encoded", watched)
    made = fitted(epochs=5, early_stopping_patience=None)
    assert made.info.details["epochs"] == 5
    assert len(rows) == len(set(rows)) > 20
    assert not frozen(made)._states  # nothing is left in memory


def test_a_second_run_encodes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backbone = from_checkpoint(tmp_path / "checkpoint")
    queries = lm_cases.queries()
    asked = np.tile([0, 4], (len(queries), 1))
    monkeypatch.setattr(frozen_states, "FEWEST_KEPT", 1)
    first = fitted(backbone=backbone)
    scores = first.score(queries, asked)
    again = fitted(backbone=backbone)
    np.testing.assert_array_equal(again.score(queries, asked), scores)
    assert frozen(first).n_encoded > 0
    assert frozen(again).n_encoded == 0
    again.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(queries, asked), scores)
    assert frozen(loaded).n_encoded == 0
    # Other weights, or another pooling, are another matter.
    other = fitted(backbone=from_checkpoint(tmp_path / "other", seed=6))
    assert frozen(other).n_encoded > 0
    assert frozen(fitted(backbone={**backbone, "pooling": "mean"})).n_encoded > 0
    assert len(list(states_folder().iterdir())) == 3
    forget(["somebody"])
    assert not states_folder().exists()


def test_a_question_alone_leaves_no_file(tmp_path: Path) -> None:
    queries = lm_cases.queries()
    made = fitted(backbone=from_checkpoint(tmp_path / "checkpoint"))
    store = frozen(made).store
    assert store is not None
    before = store.segments()
    encoded = frozen(made).n_encoded
    made.score(queries.take(np.array([0])), np.array([[0, 4]]))
    assert frozen(made).n_encoded > encoded
    assert store.segments() == before


def test_eight_bits_read_every_prompt() -> None:
    queries = lm_cases.queries()
    asked = np.tile([0, 4], (len(queries), 1))
    exact, fast = fitted(), fitted(inference="int8")
    encoded = frozen(fast).n_encoded
    difference = np.abs(exact.score(queries, asked) - fast.score(queries, asked)).max()
    assert 0 < difference < 0.1
    assert frozen(fast).n_encoded == encoded


def test_the_bits_do_not_depend_on_the_other_prompts() -> None:
    states = frozen(fitted(backbone={"dropout": 0.5}))
    states.net.train()  # as while its head learns; the frozen part drops nothing
    rng = np.random.default_rng(0)
    vocabulary = inner(states.net.model).config.vocab_size
    lengths = [*rng.integers(1, 48, 40).tolist(), 0]
    rows = Ragged.from_rows([rng.integers(0, vocabulary, n) for n in lengths], np.int64)
    whole = states.of_tokens(rows)
    for part in (np.array([3]), np.array([40, 7, 7]), np.arange(20)[::-1]):
        np.testing.assert_array_equal(states.of_tokens(rows.take(part)), whole[part])


def test_what_can_change_is_not_kept(tmp_path: Path) -> None:
    lora = lm_cases.model("gpt2", "lora", "rating", "text").fit(lm_cases.split().train)
    assert lora._model.frozen is None
    items = lm_cases.model("gpt2", "frozen", "rating", "items").fit(lm_cases.split().train)
    assert items._model.frozen is None
    assert frozen(fitted()).store is None  # random weights
    pytest.importorskip("bitsandbytes", reason="adapter int8 needs the extra llm8bit")
    backbone = from_checkpoint(tmp_path / "checkpoint")
    quantized = lm_cases.model("gpt2", "int8", "rating", "text", parts={"backbone": backbone})
    assert frozen(quantized.fit(lm_cases.split().train)).store is None
