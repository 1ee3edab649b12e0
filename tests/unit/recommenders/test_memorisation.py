from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import pytest
import torch

from llmrec.backbones.tokenizers import train_tokenizer
from llmrec.core.errors import ComponentError
from llmrec.recommenders.memorisation import memorisation


def _checkpoint(folder: Path, steps: int) -> dict[str, Any]:
    """Save a tiny GPT-2 that was trained for some steps on the titles alone."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = train_tokenizer("bpe", list(lm_cases.TITLES), 300)
    end = tokenizer.eos_token_id
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=1,
        n_head=2,
        n_positions=128,
        bos_token_id=end,
        eos_token_id=end,
    )
    model = GPT2LMHeadModel(config)
    rows = [[*tokenizer(t, add_special_tokens=False)["input_ids"], end] for t in lm_cases.TITLES]
    width = max(map(len, rows))
    ids = torch.tensor([row + [end] * (width - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"name": "gpt2", "checkpoint": str(folder)}


def _share(folder: Path, steps: int) -> float:
    found = memorisation(_checkpoint(folder, steps), lm_cases.split(), list(lm_cases.TITLES), n=20)
    assert [each.name for each in found] == [
        "titles",
        "rows",
        "next items",
        "next items of another user",
    ]
    assert all(each.n > 0 for each in found)
    return found[0].share


def test_titles_learned_by_heart_are_found_and_others_are_not(tmp_path: Path) -> None:
    assert _share(tmp_path / "trained", 150) > 0.5
    assert _share(tmp_path / "fresh", 0) == 0


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"name": "gpt2"}, "random weights"),
        ({"name": "minilm"}, "does not continue a text"),
    ],
)
def test_what_cannot_be_asked_is_said(spec: dict[str, Any], what: str) -> None:
    with pytest.raises(ComponentError, match=what):
        memorisation(spec, lm_cases.split(), list(lm_cases.TITLES), n=3)
