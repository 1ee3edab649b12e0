"""Each adapter on each backbone: what trains, how much of it, and that it helps and comes back."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError
from llmrec.core.protocols import FitContext
from llmrec.recommenders import fitting
from llmrec.recommenders.base import load_recommender

WIDTH, N_LAYERS, N_TOKENS, RANK = 16, 1, 3, 2
# Attention projections that LoRA adapts: inputs + outputs and outputs of each, by backbone.
ATTENTION = {
    "gpt2": [(16, 48)],
    "bert": [(16, 16)] * 2,
    "t5": [(16, 16)] * 6,  # query and value: encoder, decoder, decoder over encoder
}
LORA = {name: sum(RANK * (i + o) for i, o in sizes) for name, sizes in ATTENTION.items()}
COUNTS = {
    "frozen": dict.fromkeys(ATTENTION, 0),
    "int8": dict.fromkeys(ATTENTION, 0),
    "nf4": dict.fromkeys(ATTENTION, 0),
    "lora": LORA,
    "rslora": LORA,
    "int8+lora": LORA,
    "nf4+lora": LORA,
    # a magnitude for each output beside
    "dora": {name: LORA[name] + sum(o for _, o in sizes) for name, sizes in ATTENTION.items()},
    # keys and values (GPT-2: the outputs of c_attn), and the 64 units of a feed-forward layer
    "ia3": {"gpt2": 48 + 64, "bert": 2 * 16 + 64, "t5": 3 * 2 * 16 + 2 * 64},
    "prefix": dict.fromkeys(ATTENTION, N_TOKENS * N_LAYERS * 2 * WIDTH),
    "prompt_tuning": dict.fromkeys(ATTENTION, N_TOKENS * WIDTH),
}
# What the names of trained weights look like.
NAMES = {
    "full": dict.fromkeys(ATTENTION, r".*"),
    "last_k": {
        "gpt2": r"(h\.1\.|ln_f\.).*",
        "bert": r"encoder\.layer\.1\..*",
        "t5": r"(encoder|decoder)\.(block\.1|final_layer_norm)\..*",
    },
    "frozen": dict.fromkeys(ATTENTION, r"none"),
    "int8": dict.fromkeys(ATTENTION, r"none"),
    "nf4": dict.fromkeys(ATTENTION, r"none"),
    "ia3": dict.fromkeys(ATTENTION, r".*\.ia3_l\..*"),
    "prefix": dict.fromkeys(ATTENTION, r"prompt_encoder\..*"),
    "prompt_tuning": dict.fromkeys(ATTENTION, r"prompt_encoder\..*"),
}
LOW_RANK = dict.fromkeys(ATTENTION, r".*\.lora_.*")
CASES = list(itertools.product(lm_cases.ADAPTERS, lm_cases.BACKBONES))


def needs_bitsandbytes(adapter: str) -> None:
    if adapter.startswith(("int8", "nf4")):
        pytest.importorskip("bitsandbytes", reason="adapters of few bits need the extra llm8bit")


@pytest.mark.parametrize(("adapter", "name"), CASES)
def test_as_many_weights_train_as_the_formula_says(adapter: str, name: str) -> None:
    needs_bitsandbytes(adapter)
    if adapter not in COUNTS:
        assert adapter in ("full", "last_k")
        return
    made, part = (
        build("adapter", lm_cases.ADAPTERS[adapter]),
        build("backbone", lm_cases.backbone(name)),
    )
    model = made.wrap(part.load("sequence", load_options=made.load_options()), name)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == COUNTS[adapter][name]


@pytest.mark.parametrize(("adapter", "name"), CASES)
def test_it_learns_with_its_own_weights_alone(
    adapter: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs_bitsandbytes(adapter)
    before: dict[str, torch.Tensor] = {}
    losses: list[float] = []
    train = fitting.train

    def watched(net, *rest):
        before.update({k: v.detach().clone() for k, v in net.model.named_parameters()})
        return train(net, *rest)

    monkeypatch.setattr(fitting, "train", watched)
    parts = {"backbone": {"n_layers": 2}}
    model = lm_cases.model(name, adapter, parts=parts, epochs=4, batch_size=6, learning_rate=0.03)
    split = lm_cases.split()
    context = FitContext(
        log=lambda values, _: losses.extend(value for key, value in values.items() if key == "loss")
    )
    model.fit(split.train, None, context)
    assert losses[-1] < losses[0]
    after = dict(model._model.net.model.named_parameters())
    changed = {key for key in after if not torch.equal(before[key], after[key])}
    pattern = NAMES.get(adapter, LOW_RANK)[name]
    # The rows of T5's table that no item is, and BERT's pooler, have no part in the loss.
    unused = r".*(pooler|wte|word_embeddings|embed_tokens|shared|relative_attention_bias).*"
    expected = {
        key for key, p in after.items() if p.requires_grad and not re.fullmatch(unused, key)
    }
    assert expected <= changed
    assert bool(changed) == model._adapter.trains
    assert all(re.fullmatch(pattern, key) for key in changed)
    queries = lm_cases.queries()
    scores = model.score(queries)
    model.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(queries), scores)
    again = {k for k, p in loaded._model.net.model.named_parameters() if p.requires_grad}
    assert again == {k for k, p in after.items() if p.requires_grad}


def test_a_trained_adapter_without_effect_is_noticed(tmp_path: Path) -> None:
    split = lm_cases.split()
    options = {"epochs": 2, "batch_size": 4, "learning_rate": 0.05}
    lm_cases.model("gpt2", "lora", **options).fit(split.train).save(tmp_path / "model")
    (path,) = (tmp_path / "model/adapter").rglob("adapter_config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 0}))
    with pytest.raises(ComponentError, match="but the outputs are those of the backbone"):
        load_recommender(tmp_path / "model")


@pytest.mark.parametrize(
    ("spec", "where", "what"),
    [
        ({"name": "last_k", "k": 0}, "k", "at least 1"),
        ({"name": "lora", "alpha": 0.0}, "alpha", "above 0"),
        ({"name": "ia3", "feedforward_targets": ["wo"]}, "feedforward_targets", "among targets"),
        (
            {"name": "chain", "steps": {"a": {"name": "lora"}, "b": {"name": "prefix"}}},
            "steps.b",
            "prefix on top of lora",
        ),
        (
            {"name": "chain", "steps": {"a": {"name": "last_k"}, "b": {"name": "ia3"}}},
            "steps.b",
            "freezes what last_k would train",
        ),
        (
            {"name": "chain", "steps": {"a": {"name": "ia3"}, "b": {"name": "nf4"}}},
            "steps.b",
            "must come first",
        ),
    ],
)
def test_what_cannot_work_is_a_sentence(spec: dict, where: str, what: str) -> None:
    (problem,) = check("adapter", spec)
    assert problem.where == where
    assert what in problem.what


def test_more_blocks_than_there_are_is_a_sentence() -> None:
    model = build("backbone", lm_cases.backbone("gpt2")).load("sequence")
    with pytest.raises(ComponentError, match=r"adapter.k is 2, but this gpt2 backbone has 1"):
        build("adapter", {"name": "last_k", "k": 2}).wrap(model, "gpt2")


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_too_many_blocks_of_a_known_backbone_are_refused_before_it_is_made(name: str) -> None:
    spec = lm_cases.spec(name, "last_k", parts={"adapter": {"k": 2}})
    (problem,) = check("recommender", spec)
    assert problem.where == "adapter.k"
    assert f"is 2, but this {name} backbone has 1 blocks" in problem.what
    spec["backbone"]["n_layers"] = 2
    assert check("recommender", spec) == []
    of_checkpoint = {"name": name, "checkpoint": "somewhere"}  # its size is known when it is read
    assert check("recommender", {**spec, "backbone": of_checkpoint}) == []
    spec["adapter"]["k"] = 9
    assert check("recommender", {**spec, "backbone": of_checkpoint}) == []


def test_own_layers_are_adapted() -> None:
    part = build("backbone", lm_cases.backbone("bert"))
    lora = {"name": "lora", "rank": 2, "targets": ["key"]}
    wrapped = build("adapter", lora).wrap(part.load("sequence"), "bert")
    names = [key for key, p in wrapped.named_parameters() if p.requires_grad]
    assert names
    assert all(".key." in key for key in names)
    ia3 = {"name": "ia3", "targets": ["value", "intermediate.dense"]}
    wrapped = build("adapter", ia3).wrap(part.load("sequence"), "bert")
    assert sum(p.numel() for p in wrapped.parameters() if p.requires_grad) == 16 + 64


ARCHITECTURES = {
    "llama": ("Llama", {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}),
    "qwen2": ("Qwen2", {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16,
                        "num_key_value_heads": 1}),
    "gemma": ("Gemma", {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16,
                        "num_key_value_heads": 1, "head_dim": 8}),
    "distilbert": ("DistilBert", {"n_layers": 2, "n_heads": 2, "dim": 16, "hidden_dim": 32}),
    "roberta": ("Roberta", {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}),
    "modernbert": ("ModernBert", {"num_hidden_layers": 2, "num_attention_heads": 2,
                                  "hidden_size": 16, "pad_token_id": 0}),
}  # fmt: skip


@pytest.mark.parametrize("adapter", ["last_k", "lora", "dora", "ia3", "prefix", "prompt_tuning"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_other_architectures_have_their_defaults(kind: str, adapter: str, tmp_path: Path) -> None:
    import transformers

    name, options = ARCHITECTURES[kind]
    if kind not in ("distilbert",):
        options = {"intermediate_size": 32, **options}
    config = getattr(transformers, f"{name}Config")(vocab_size=30, **options)

    def fresh():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return getattr(transformers, f"{name}Model")(config).eval()

    made = build("adapter", lm_cases.ADAPTERS[adapter])
    if adapter == "prefix" and kind in ("distilbert", "modernbert"):
        with pytest.raises(ComponentError, match="takes past keys and values"):
            made.wrap(fresh(), kind)
        assert made.misfit(kind, "bidirectional", "sequence") is not None
        return
    wrapped = made.wrap(fresh(), kind).eval()
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    ids = torch.arange(5, 15).view(2, 5)

    @torch.inference_mode()
    def states(model, rows=slice(None), length=5):
        return model(
            input_ids=ids[rows, :length], attention_mask=mask[rows, :length]
        ).last_hidden_state

    ours = states(wrapped)
    assert ours.shape == (2, 5, 16)
    assert not torch.allclose(ours, states(fresh()), atol=1e-4)
    torch.testing.assert_close(ours[1, :3], states(wrapped, slice(1, 2), 3)[0])
    if not made.trains_base:
        made.save(wrapped, tmp_path)
        torch.testing.assert_close(states(made.restore(fresh(), tmp_path).eval()), ours)
