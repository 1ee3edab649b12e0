"""Scoring in 8 bits on a CPU: near the scores in 32 bits, for each backbone, head and adapter."""

from __future__ import annotations

from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch
from transformers.pytorch_utils import Conv1D

from llmrec.adapters.fast_int8 import Int8Linear, fast_int8
from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError
from llmrec.recommenders.base import load_recommender


def test_products_are_those_of_rounded_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(7, 5, generator=generator), torch.randn(7, generator=generator)
    given = torch.randn(4, 3, 5, generator=generator)
    layer = Int8Linear(weight, bias)
    scales = weight.abs().amax(1, keepdim=True) / 127
    rounded = (weight / scales).round() * scales
    torch.testing.assert_close(layer.weight(), rounded)
    sizes = given.abs().amax(-1, keepdim=True)
    levels = (given / sizes * 63).round() / 63 * sizes
    torch.testing.assert_close(layer(given), levels @ rounded.T + bias)
    error = (layer(given) - (given @ weight.T + bias)).norm() / (given @ weight.T).norm()
    assert error < 0.02
    without = Int8Linear(weight, None)(given)
    torch.testing.assert_close(without, levels @ rounded.T)


def test_a_row_does_not_depend_on_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = Int8Linear(torch.randn(7, 5, generator=generator), None)
    given = torch.randn(6, 5, generator=generator) * torch.tensor(
        [[1.0], [100], [0], [3], [7], [2]]
    )
    whole = layer(given)
    assert torch.equal(whole[:1], layer(given[:1]))
    assert torch.equal(whole[2], torch.zeros(7))


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_all_but_output_layers_are_replaced_and_the_model_is_left_alone(name: str) -> None:
    part = build("backbone", lm_cases.backbone(name))
    model = part.load("token_logits", tokenizer=part.tokenizer(list(lm_cases.TITLES)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = fast_int8(model, name)
    kinds = {key: type(m) for key, m in fast.named_modules()}
    plain = [key for key, kind in kinds.items() if kind in (torch.nn.Linear, Conv1D)]
    assert all(key.startswith(("lm_head", "cls")) for key in plain)
    assert sum(kind is Int8Linear for kind in kinds.values()) >= 4
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(isinstance(m, Int8Linear) for m in model.modules())


CASES = [
    *[(name, adapter, "next", "items") for name in lm_cases.BACKBONES
      for adapter in ("full", "lora", "dora", "ia3", "prefix", "prompt_tuning")],
    *[(name, "full", head, "text") for name in lm_cases.BACKBONES for head in ("next", "yes_no")],
    ("gpt2", "prefix", "title", "text"),
    ("t5", "prefix", "title", "text"),
    ("t5", "lora", "title", "text"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_scores_are_near_and_stored(case: tuple[str, ...], tmp_path: Path) -> None:
    split, queries = lm_cases.split(), lm_cases.queries()
    options = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01}
    plain = lm_cases.model(*case, **options).fit(split.train, split.valid).score(queries)
    model = lm_cases.model(*case, inference="int8", **options).fit(split.train, split.valid)
    fast = model.score(queries)
    assert model.info.details["inference"] == "int8"
    assert not np.array_equal(fast, plain)
    if case[2] == "title":
        np.testing.assert_allclose(fast.max(1), plain.max(1), rtol=0.1)
    else:
        assert np.linalg.norm(fast - plain) < 0.05 * np.linalg.norm(plain)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load_recommender(tmp_path / "model").score(queries), fast)


def test_scores_do_not_depend_on_batches() -> None:
    split, queries = lm_cases.split(), lm_cases.queries()
    options = {"epochs": 1, "inference": "int8"}
    model = lm_cases.model("gpt2", **options).fit(split.train)
    together = model.score(queries)
    alone = np.concatenate([model.score(queries.take(np.array([i]))) for i in range(len(queries))])
    np.testing.assert_allclose(together, alone, atol=2e-3)


def test_quantized_weights_are_not_quantized_again() -> None:
    pytest.importorskip("bitsandbytes", reason="adapter int8 needs the extra llm8bit")
    (problem,) = check("recommender", lm_cases.spec("gpt2", "int8+lora", inference="int8"))
    assert problem.where == "inference"
    assert "this adapter loads fewer" in problem.what


def test_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ComponentError, match="inference=int8 is arithmetic of the CPU"):
        lm_cases.model(inference="int8").fit(lm_cases.split().train)


def test_a_backbone_without_linear_layers_is_refused() -> None:
    with pytest.raises(ComponentError, match="finds no linear layer in this odd backbone"):
        fast_int8(torch.nn.LayerNorm(3), "odd")


def test_how_a_history_is_read_stays() -> None:
    """Candidates judged by all other items of a user: the copy in 8 bits reads them so, too."""
    split, queries = lm_cases.split(), lm_cases.queries()
    parts = {"backbone": {"n_layers": 2}}  # one layer alone cannot tell the two ways apart
    options = {"training_history": "others", "inference": "int8", "parts": parts}
    model = lm_cases.model("gpt2", "full", "rating", "items", **options).fit(split.train)
    scores = model.score(queries)
    model._scorer.net.others = False
    assert not np.array_equal(model.score(queries), scores)
