"""What adapters train, store and refuse, seen from a fitted language model."""

from __future__ import annotations

import json
from pathlib import Path

import lm_cases
import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError
from llmrec.recommenders.base import load_recommender


def fitted(adapter: str, name: str = "gpt2", head: str = "next", prompt: str = "items", **options):
    if adapter.startswith(("int8", "nf4")):
        pytest.importorskip("bitsandbytes", reason="adapter int8 needs the extra llm8bit")
    split = lm_cases.split()
    options = {"epochs": 2, "batch_size": 4, "learning_rate": 0.05, **options}
    model = lm_cases.model(name, adapter, head, prompt, **options)
    return model.fit(split.train, split.valid)


def base_weights(adapter: str, name: str) -> tuple[dict, dict]:
    """Return the backbone's own weights before and after a fit."""
    model = lm_cases.model(name, adapter, epochs=2, batch_size=4, learning_rate=0.05)
    split = lm_cases.split()
    before: dict = {}
    from llmrec.recommenders import fitting

    whole = fitting.train

    def watched(net, *rest):
        before.update({k: v.clone() for k, v in net.model.state_dict().items()})
        return whole(net, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "train", watched)
        model.fit(split.train, split.valid)
    return before, model._model.net.model.state_dict()


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_lora_trains_its_own_weights_alone(name: str) -> None:
    before, after = base_weights("lora", name)
    changed = {key for key in after if not torch.equal(before[key], after[key])}
    assert changed
    assert all("lora_" in key for key in changed)
    net = fitted("lora", name)._model.net
    trained = {n for n, p in net.model.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in net.model.named_parameters() if "lora_" in n}


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_frozen_backbone_stays_as_it_was_and_a_full_one_does_not(name: str) -> None:
    before, after = base_weights("frozen", name)
    assert all(torch.equal(before[key], after[key]) for key in after)
    before, after = base_weights("full", name)
    assert any(not torch.equal(before[key], after[key]) for key in after)


def test_the_head_and_the_item_tokens_train_beside_a_frozen_backbone() -> None:
    info = fitted("frozen").info
    n_tokens = (len(lm_cases.TITLES) + 3) * 16
    assert info.trainable == n_tokens < info.parameters


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_stored_lora_loads_with_peft_alone(name: str, tmp_path: Path) -> None:
    model = fitted("lora", name)
    model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model/adapter/adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["r"] == 2
    part = build("backbone", lm_cases.backbone(name))
    base = part.load("sequence", folder=tmp_path / "model/backbone")
    wrapped = peft.PeftModel.from_pretrained(base, str(tmp_path / "model/adapter")).eval()
    mask = torch.ones(1, 4, dtype=torch.bool)
    given = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    ours = model._model.net.model.eval()
    with torch.inference_mode():
        theirs = part.encode(wrapped, mask, embeddings=given).tokens
        assert torch.equal(theirs, part.encode(ours, mask, embeddings=given).tokens)
        wrapped.unload()
        bare = part.encode(part.load("sequence", folder=tmp_path / "model/backbone").eval(), mask,
                           embeddings=given).tokens  # fmt: skip
        assert not torch.allclose(theirs, bare)


@pytest.mark.parametrize("adapter", ["lora", "int8+lora"])
@pytest.mark.parametrize("harm", ["file", "key", "name", "config"])
def test_weights_that_are_missing_or_renamed_are_noticed(
    adapter: str, harm: str, tmp_path: Path
) -> None:
    fitted(adapter, epochs=1).save(tmp_path / "model")
    (file,) = (tmp_path / "model/adapter").rglob("adapter_model.safetensors")
    weights = load_file(file)
    some = sorted(weights)[0]
    if harm == "file":
        file.unlink()
    elif harm == "config":
        (file.parent / "adapter_config.json").unlink()
    else:
        value = weights.pop(some)
        if harm == "name":
            weights[some.replace("lora_", "lara_")] = value
        save_file(weights, file)
    with pytest.raises(ComponentError, match="the adapter in "):
        load_recommender(tmp_path / "model")


def test_weights_of_another_shape_are_a_sentence(tmp_path: Path) -> None:
    fitted("lora", epochs=1).save(tmp_path / "model")
    (file,) = (tmp_path / "model/adapter").rglob("adapter_model.safetensors")
    save_file({k: torch.zeros(1, 1) for k in load_file(file)}, file)
    with pytest.raises(ComponentError, match="the adapter in "):
        load_recommender(tmp_path / "model")


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_int8_keeps_output_layers_in_full_precision(name: str) -> None:
    pytest.importorskip("bitsandbytes", reason="adapter int8 needs the extra llm8bit")
    adapter = build("adapter", lm_cases.ADAPTERS["int8"])
    part = build("backbone", lm_cases.backbone(name))
    tokenizer = part.tokenizer(list(lm_cases.TITLES))
    model = part.load("token_logits", tokenizer=tokenizer, load_options=adapter.load_options())
    kinds = {n: p.dtype for n, p in adapter.wrap(model, name).named_parameters()}
    assert torch.int8 in kinds.values()
    output = model.get_output_embeddings()
    assert output.weight.dtype == torch.float32
    assert not any(
        dtype == torch.int8 and any(part in n for part in ("lm_head", "cls", "classifier"))
        for n, dtype in kinds.items()
    )
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_int8_scores_are_near_those_of_full_precision(name: str) -> None:
    eight = fitted("int8", name, epochs=1, learning_rate=1e-6).score(lm_cases.queries())
    full = fitted("frozen", name, epochs=1, learning_rate=1e-6).score(lm_cases.queries())
    assert not np.array_equal(eight, full)
    assert np.corrcoef(eight.ravel(), full.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        ({}, "steps"),
        ({"a": {"name": "lora"}, "b": {"name": "int8"}}, "steps.b"),
        ({"a": {"name": "int8"}, "b": {"name": "full"}}, "steps.b"),
        ({"a": {"name": "lora"}, "b": {"name": "frozen"}}, "steps.b"),
    ],
)
def test_chains_that_undo_themselves_are_refused(steps: dict, where: str) -> None:
    (problem,) = check("adapter", {"name": "chain", "steps": steps})
    assert problem.where == where


def test_the_order_of_a_sensible_chain_is_free() -> None:
    steps = {"base": {"name": "full"}, "low rank": {"name": "lora"}}
    assert check("adapter", {"name": "chain", "steps": steps}) == []


@pytest.mark.parametrize("options", [{"rank": 0}, {"dropout": 1.0}, {"rank": "8"}])
def test_ranges_are_checked(options: dict) -> None:
    assert len(check("adapter", {"name": "lora", **options})) == 1


def test_layers_that_do_not_exist_are_a_sentence() -> None:
    adapter = {"targets": ["no_such_layer"]}
    with pytest.raises(ComponentError, match=r"cannot adapt \['no_such_layer'\] of a gpt2"):
        lm_cases.model(adapter="lora", parts={"adapter": adapter}).fit(lm_cases.split().train)
