"""What training costs: a head on a frozen text encoder, and the framework beside a bare loop.

    python benchmarks/lm_training.py [--epochs 20] [--prompts 256]

*Frozen*: a next-item head learns for 20 epochs on a frozen BERT that reads prompts of about 60
tokens. The plain way encodes every prompt in every epoch (llmrec with its cache of states taken
away); llmrec's first run encodes each once, its second none. Batches and dropout (none) are equal.

*Framework*: the steps of a next-item GPT-2 over item tokens, once through llmrec's trainer, once in
a bare PyTorch loop with the same batches, model, AdamW, learning rate and clipping. The weights
after the last step are compared.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from side_by_side import HEADER, Row, alternated, machine, table

from llmrec.backbones.base import quiet_loading
from llmrec.core.config import build
from llmrec.core.memory import tune_allocator
from llmrec.core.protocols import NO_CONTEXT
from llmrec.core.types import Dataset, Interactions, make_queries
from llmrec.recommenders import assembly
from llmrec.recommenders.assembly import assemble
from llmrec.recommenders.fitting import training_batches
from llmrec.training.trainer import BucketSampler, TrainingOptions, train

WORDS = ("red", "old", "night", "river", "fox", "owl", "train", "golden", "silent", "blue", "last")


def histories(n_users: int, n_items: int, length: int) -> Dataset:
    """Return random histories of items with titles of three words."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(n_users, dtype=np.int32), length)
    items = np.concatenate([rng.choice(n_items, length, replace=False) for _ in range(n_users)])
    titles = np.array([" ".join(rng.choice(WORDS, 3)) for _ in range(n_items)], object)
    times = np.arange(len(items), dtype=np.int64)
    return Dataset(
        "random",
        Interactions(users, items.astype(np.int32), None, times),
        np.arange(n_users).astype(str),
        np.arange(n_items).astype(str),
        {"title": titles},
    )


def frozen(n_prompts: int, epochs: int, rounds: int) -> list[Row]:
    """Fit a head on a frozen encoder with and without the cache of states."""
    data = histories(n_prompts // 4, 500, 15)
    with tempfile.TemporaryDirectory() as holder:
        folder = Path(holder)
        sizes = {"n_layers": 6, "hidden_size": 384, "n_heads": 12}  # MiniLM's
        encoder = {"name": "bert", **sizes, "dropout": 0, "attention_dropout": 0}
        part = build("backbone", encoder)
        tokenizer = part.tokenizer([*data.item_fields["title"], "The user's history, oldest first"])
        torch.manual_seed(0)
        with quiet_loading():
            part.load("pooled", tokenizer=tokenizer).save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        spec = {
            "name": "language_model",
            "backbone": {"name": "bert", "checkpoint": str(folder / "model")},
            "adapter": {"name": "frozen"},
            "head": {"name": "classification"},
            "prompt": {"name": "text"},
            "epochs": epochs,
            "examples_per_user": 4,
            "learning_rate": 1e-2,
        }
        spec["backbone"] |= {"dropout": 0, "attention_dropout": 0}
        fresh = iter(range(1000))

        def fit(cache: Path) -> Any:
            with mock.patch.dict("os.environ", {"LLMREC_CACHE": str(cache)}):
                return build("recommender", spec, seed=0).fit(data)

        def every_epoch() -> Any:
            with mock.patch.object(assembly, "frozen_states", return_value=None):
                return fit(folder / "none")

        def first() -> Any:
            return fit(folder / f"cache{next(fresh)}")

        fit(folder / "second")
        ways = {"plain": every_epoch, "first": first, "second": lambda: fit(folder / "second")}
        timings, found = alternated(ways, rounds, warm=False)
        queries = make_queries(data, data)[0].take(np.arange(8))
        with mock.patch.dict("os.environ", {"LLMREC_CACHE": str(folder / "scores")}):
            scores = {name: made.score(queries) for name, made in found.items()}
        read = {name: found[name]._model.frozen.n_encoded for name in ("first", "second")}
    encoded = {name: count - len(queries) for name, count in read.items()}
    difference = np.abs(scores["plain"] - scores["first"]).max()
    same = np.array_equal(scores["first"], scores["second"])
    shape = f"head on a frozen BERT 6×384, {n_prompts} prompts, {epochs} epochs"
    check = f"scores within {difference:.0e} (they spread {scores['plain'].std():.1f})"
    return [
        Row(
            f"{shape}: first run",
            timings["plain"],
            timings["first"],
            "10",
            f"{check}; {encoded['first']} prompts encoded",
        ),
        Row(
            f"{shape}: second run",
            timings["plain"],
            timings["second"],
            "10",
            f"{'bits of the first run' if same else 'OTHER'}; {encoded['second']} encoded",
        ),
    ]


def bare(
    net: Any, lengths: np.ndarray, collate: Callable[..., Any], options: TrainingOptions
) -> Any:
    """Train in a plain PyTorch loop."""
    net.train()
    groups: dict[float, list[torch.nn.Parameter]] = {options.weight_decay: [], 0.0: []}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or name.split(".")[-2:-1] == ["tokens"]
            groups[0.0 if plain else options.weight_decay].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": each, "weight_decay": decay} for decay, each in groups.items()],
        lr=options.learning_rate,
        fused=True,
    )
    sampler = BucketSampler(lengths, options.batch_size, options.seed)
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for start in range(0, len(order), options.batch_size):
            batch = collate(order[start : start + options.batch_size])
            net(**batch)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), options.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
    return net


def framework(name: str, size: dict[str, Any], n_items: int, n_steps: int, rounds: int) -> Row:
    """Train the same steps with llmrec's trainer and in a bare loop."""
    data = histories(16 * n_steps, n_items, 50)
    spec = {
        "name": "language_model",
        "backbone": {"name": "gpt2", "dropout": 0, "attention_dropout": 0, **size},
        "adapter": {"name": "full"},
        "head": {"name": "classification"},
        "prompt": {"name": "items", "init": "random", "max_length": 50},
    }
    owner = build("recommender", spec, seed=0)
    owner._model = assemble(owner, data)
    lengths, collate = training_batches(owner, owner._model, data)
    options = TrainingOptions(
        epochs=2,
        batch_size=16,
        learning_rate=1e-3,
        weight_decay=0.01,
        warmup_share=0.0,
        schedule="constant_with_warmup",
        gradient_accumulation_steps=1,
        max_gradient_norm=1.0,
        early_stopping_patience=None,
        precision="fp32",
        metric="ndcg@10",
        higher_is_better=True,
        seed=1,
    )
    start = owner._model.net

    def ours() -> Any:
        net = copy.deepcopy(start)
        train(net, lengths, collate, options, None, NO_CONTEXT)
        return net

    timings, found = alternated(
        {"ours": ours, "bare": lambda: bare(copy.deepcopy(start), lengths, collate, options)},
        rounds,
        warm=False,
    )
    ours_state, bare_state = found["ours"].state_dict(), found["bare"].state_dict()
    same = all(torch.equal(ours_state[key], bare_state[key]) for key in bare_state)
    difference = max(float((ours_state[k] - bare_state[k]).abs().max()) for k in bare_state)
    steps = options.epochs * -(-len(lengths) // options.batch_size)
    step = 1000 * timings["bare"].cpu / steps
    check = "the same bits" if same else f"weights within {difference:.0e}"
    what = f"framework, {name}, {steps} steps of {step:.0f} ms: bare loop / llmrec"
    return Row(what, timings["bare"], timings["ours"], "0.91", check)


def frameworks(rounds: int) -> list[Row]:
    """Compare the smallest model that anybody trains, and one of the published size."""
    nano = {"size": "nano", "feedforward_size": 128}
    return [
        framework("GPT-2 2×64 over 1,682 items", nano, 1682, 100, rounds),
        framework("GPT-2 2×128 over 12,101 items", {"size": "tiny"}, 12_101, 20, rounds),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    print(machine())
    rows = frameworks(options.rounds)
    rows += frozen(options.prompts, options.epochs, 1)
    print(table(HEADER, [row.cells() for row in rows]))


if __name__ == "__main__":
    main()
