"""Scoring in 8 bits on a CPU: time, memory and what it does to a ranking.

    python benchmarks/lm_int8.py [--rounds 3] [--data synthetic | ml-100k]

*Time*: forward passes of 8 × 64 tokens through a BERT and a GPT-2 of base size (12 × 768, random
weights): 32 bits, ``inference=int8`` of llmrec, and bitsandbytes' 8-bit weights (``adapter=int8``).

*Ranking*: a small BERT that reads histories as text learns the next item; the same weights are
examined over the full catalogue in 32 bits and in 8.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import HEADER, Row, alternated, machine, table

from llmrec.adapters.fast_int8 import Int8Linear, fast_int8
from llmrec.backbones.base import quiet_loading
from llmrec.core.config import build
from llmrec.core.memory import tune_allocator
from llmrec.evaluation.evaluate import evaluate, make_exam
from llmrec.evaluation.options import EvaluationOptions
from llmrec.recommenders.assembly import for_inference


class Sizes:
    """Stands for a tokenizer: sizes and special tokens."""

    pad_token_id, eos_token_id, bos_token_id, cls_token_id, sep_token_id, mask_token_id = range(6)

    def __len__(self) -> int:
        return 8000


def megabytes(model: Any) -> float:
    """Return the size of the weights, those of 8-bit layers with their scales."""
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    for module in model.modules():
        if isinstance(module, Int8Linear):
            total += module.out_features * (module.in_features + 8)
        state = getattr(getattr(module, "weight", None), "SCB", None)
        total += 0 if state is None else state.numel() * state.element_size()
    return total / 1e6


def times(name: str, rounds: int) -> list[Row]:
    """Time forward passes of one architecture."""
    backbone = build("backbone", {"name": name, "size": "base"})
    torch.manual_seed(0)
    ids = torch.randint(6, 8000, (8, 64))
    mask = torch.ones_like(ids, dtype=torch.bool)

    def forward(model: Any) -> Callable[[], torch.Tensor]:
        @torch.inference_mode()
        def run() -> torch.Tensor:
            states: torch.Tensor = backbone.encode(model, mask, ids=ids).pooled
            return states

        return run

    with tempfile.TemporaryDirectory() as folder, quiet_loading():
        exact = backbone.load("pooled", tokenizer=Sizes()).eval()
        exact.save_pretrained(folder)
        options = build("adapter", {"name": "int8"}).load_options()
        small = backbone.load("pooled", folder=Path(folder), load_options=options).eval()
        fast = fast_int8(exact, name)
        models = {"fp32": exact, "int8": fast, "bitsandbytes": small}
        ways = {key: forward(model) for key, model in models.items()}
        timings, found = alternated(ways, rounds)
    size = {key: f"{megabytes(model):.0f} MB" for key, model in models.items()}
    scale = found["fp32"].abs().mean()
    error = {key: float((found[key] - found["fp32"]).abs().mean() / scale) for key in models}
    what = f"{name} 12×768, 8×64 tokens, fp32 ({size['fp32']})"
    return [
        Row(
            f"{what} / inference=int8 ({size['int8']})",
            timings["fp32"],
            timings["int8"],
            "1.5",
            f"states off by {error['int8']:.1%}",
        ),
        Row(
            f"{what} / adapter=int8, bitsandbytes ({size['bitsandbytes']})",
            timings["fp32"],
            timings["bitsandbytes"],
            "for memory",
            f"states off by {error['bitsandbytes']:.1%}",
        ),
    ]


def ranking(name: str, epochs: int) -> list[str]:
    """Return the metrics of a trained text model in 32 bits and in 8, and how they differ."""
    source = {"name": name}
    if name == "synthetic":
        source |= {"n_users": 1500, "n_items": 200, "n_interactions_per_user": 12, "taste": 0.1}
    data = build("source", source).load()
    split = build("split", {"name": "leave_one_out"}).split(data)
    spec = {
        "name": "language_model",
        "backbone": {"name": "bert", "size": "tiny"},
        "adapter": {"name": "full"},
        "head": {"name": "classification", "item_weights": "own"},
        "prompt": {"name": "text", "history_length": 5, "max_length": 64},
        "epochs": epochs,
        "examples_per_user": 4,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "early_stopping_patience": None,
    }
    made = build("recommender", spec, seed=0).fit(split.train)
    exam = make_exam(split, EvaluationOptions(task="ranking", metrics=["ndcg@10", "hr@10"]))
    found = {}
    for arithmetic in ("fp32", "int8"):
        made._scorer = for_inference(made._model, arithmetic)
        found[arithmetic] = evaluate(made, exam, label=arithmetic)
    exact, fast = (found[key].per_user["ndcg@10"] for key in ("fp32", "int8"))
    change = fast.mean() / exact.mean() - 1
    deviation = (fast - exact).std(ddof=1) / np.sqrt(len(exact)) / exact.mean()
    return [
        f"{name}, {len(exact)} users, tiny BERT on text",
        f"{exact.mean():.4f} / {fast.mean():.4f}",
        f"{change:+.2%} ± {1.96 * deviation:.2%}",
        f"{np.mean(exact != fast):.1%}",
        "-0.5%",
    ]


RANKING = ["ranking", "NDCG@10, fp32 / int8", "change (95 %)", "users with another value", "target"]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="synthetic", help="synthetic or ml-100k")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    print(machine())
    print(table(RANKING, [ranking(options.data, options.epochs)]))
    rows = [row for name in ("bert", "gpt2") for row in times(name, options.rounds)]
    print(table(HEADER, [row.cells() for row in rows]))


if __name__ == "__main__":
    main()
