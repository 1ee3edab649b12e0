"""Checkpoints: really those weights, of the right architecture, or a sentence."""

from __future__ import annotations

from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError, MissingExtraError
from llmrec.core.types import Queries
from llmrec.recommenders.base import load_recommender


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("checkpoints")
    return {n: lm_cases.checkpoint(n, "token_logits", place / n) for n in lm_cases.BACKBONES}


def from_folder(name: str, folder: Path, *args):
    spec = lm_cases.spec(name, *args)
    return build("recommender", {**spec, "backbone": {"name": name, "checkpoint": str(folder)}})


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_the_weights_are_those_of_the_folder(name: str, folders: dict[str, Path]) -> None:
    part = build("backbone", {"name": name, "checkpoint": str(folders[name])})
    stored = build("backbone", lm_cases.backbone(name)).load("token_logits", folder=folders[name])
    for needs in part.provides:
        loaded = part.load(needs)
        ours = dict(loaded.base_model.named_parameters())
        theirs = dict(stored.base_model.named_parameters())
        assert len(set(ours) & set(theirs)) > 5
        assert all(torch.equal(ours[key], theirs[key]) for key in set(ours) & set(theirs))
        assert loaded.dtype == torch.float32
    assert part.width(loaded) == 16
    assert part.weights == str(folders[name])
    assert len(part.identity()) == 64


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_its_tokenizer_is_that_of_the_folder(name: str, folders: dict[str, Path]) -> None:
    part = build("backbone", {"name": name, "checkpoint": str(folders[name])})
    ours = part.tokenizer(["these words teach it nothing"])
    assert ours.get_vocab() == part.tokenizer([]).get_vocab()
    assert ours.pad_token_id is not None


@pytest.mark.parametrize("adapter", ["full", "frozen", "lora"])
@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_it_is_fine_tuned_and_stored(
    name: str, adapter: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    split = lm_cases.split()
    model = from_folder(name, folders[name], adapter, "like", "text").fit(split.train, split.valid)
    scores = model.score(lm_cases.queries())
    assert model.info.weights == str(folders[name])
    model.save(tmp_path / "model")
    # What did not change is not stored again.
    assert (tmp_path / "model/backbone").is_dir() == (adapter == "full")
    loaded = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(lm_cases.queries()), scores)


@pytest.mark.parametrize(("name", "other"), [("gpt2", "bert"), ("bert", "t5"), ("t5", "gpt2")])
def test_another_architecture_is_a_sentence(
    name: str, other: str, folders: dict[str, Path]
) -> None:
    part = build("backbone", {"name": name, "checkpoint": str(folders[other])})
    with pytest.raises(ComponentError, match=f'it is a "{other}" model; allowed: {name}'):
        part.load("pooled")


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_hub_name_without_network_says_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    part = build("backbone", {"name": name, "checkpoint": "nobody/no-such-model"})
    for act in (lambda: part.load("pooled"), lambda: part.tokenizer(["a"])):
        with pytest.raises(ComponentError) as caught:
            act()
        sentence = str(caught.value)
        assert "nobody/no-such-model" in sentence
        assert "backbone.checkpoint=/path/to/folder" in sentence
        assert "backbone.checkpoint=null" in sentence
        assert "\n" not in sentence


def test_a_folder_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    part = build("backbone", {"name": "gpt2", "checkpoint": str(tmp_path)})
    with pytest.raises(ComponentError, match="cannot load the checkpoint"):
        part.load("pooled")


@pytest.mark.parametrize("keep", [0, 100])
def test_damaged_weights_are_a_sentence(
    keep: int, folders: dict[str, Path], tmp_path: Path
) -> None:
    for file in folders["gpt2"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:keep])
    part = build("backbone", {"name": "gpt2", "checkpoint": str(tmp_path)})
    with pytest.raises(ComponentError, match="cannot load the checkpoint"):
        part.load("pooled")


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_zero_shot_answers_without_training(name: str, folders: dict[str, Path]) -> None:
    split = lm_cases.split()
    model = from_folder(name, folders[name], "frozen", "yes_no", "text")
    model.fit(split.train, split.valid)
    assert model.info.trainable == 0
    assert model.info.weights == str(folders[name])
    assert model.info.details["epochs"] == 0
    assert np.isfinite(model.info.details["validation_log_loss"])
    scores = model.score(lm_cases.queries())
    assert np.isfinite(scores).all()
    assert scores.std() > 0


def test_zero_shot_titles(folders: dict[str, Path]) -> None:
    split = lm_cases.split()
    for name in ("gpt2", "t5"):
        model = from_folder(name, folders[name], "frozen", "title", "text")
        model.fit(split.train, split.valid)
        assert model.info.trainable == 0
        assert np.isfinite(model.score(Queries.from_histories([[0, 1], []]))).all()


@pytest.mark.parametrize("head", ["yes_no", "title"])
def test_zero_shot_of_random_weights_is_refused(head: str) -> None:
    (problem,) = check("recommender", lm_cases.spec("gpt2", "frozen", head, "text"))
    assert "nothing would be learned" in problem.what


def test_minilm_has_no_language_model_head() -> None:
    spec = lm_cases.spec("gpt2", "frozen", "yes_no", "text")
    (problem,) = check("recommender", {**spec, "backbone": {"name": "minilm"}})
    assert "provides only pooled, sequence" in problem.what


def test_minilm_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"llmrec\[minilm\]"):
        build("backbone", {"name": "minilm"}).load("pooled")


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_size": 15, "n_heads": 2},
        {"dropout": 1.0},
        {"attention_dropout": -0.1},
        {"size": "huge"},
        {"n_layers": "two"},
    ],
)
def test_sizes_are_checked_before_anything_loads(options: dict) -> None:
    assert len(check("backbone", {"name": "gpt2", **options})) == 1


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_named_sizes(name: str) -> None:
    part = build("backbone", {"name": name, "size": "tiny", "n_layers": 1})
    model = part.load("sequence")
    assert part.width(model) == 128
    assert part.dimensions == (1, 128, 2)


@pytest.mark.parametrize(
    ("name", "head", "prompt", "too_long"),
    [
        ("gpt2", "next", "items", 128),
        ("bert", "next", "items", 128),
        ("gpt2", "title", "text", 120),
    ],
)
def test_a_prompt_longer_than_the_model_is_a_sentence(
    name: str, head: str, prompt: str, too_long: int
) -> None:
    model = lm_cases.model(name, "full", head, prompt, parts={"prompt": {"max_length": too_long}})
    with pytest.raises(ComponentError, match=r"lower it or raise backbone\.max_positions"):
        model.fit(lm_cases.split().train)
