"""Tiny data and tiny language models for the tests of the language-model stack."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.config import build
from llmrec.core.types import Dataset, Interactions, Queries, Split, make_queries

TITLES = (
    "Red Fox",
    "Blue Owl",
    "The Old River",
    "Red River",
    "Night Train",
    "Night Owl",
    "Golden Fox",
    "The Silent Train",
    "Blue River",
    "Xylophone Quiz",
)
N_USERS, UNSEEN_ITEM = 12, 9

BACKBONES = ("gpt2", "bert", "t5")
ADAPTERS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "frozen": {"name": "frozen"},
    "lora": {"name": "lora", "rank": 2},
    "last_k": {"name": "last_k", "k": 1},
    "rslora": {"name": "lora", "rank": 2, "rank_stabilized": True},
    "dora": {"name": "lora", "rank": 2, "decomposed": True},
    "ia3": {"name": "ia3"},
    "prefix": {"name": "prefix", "n_tokens": 3},
    "prompt_tuning": {"name": "prompt_tuning", "n_tokens": 3},
    "int8": {"name": "int8"},
    "nf4": {"name": "nf4"},
    "int8+lora": {
        "name": "chain",
        "steps": {"quantize": {"name": "int8"}, "lora": {"name": "lora", "rank": 2}},
    },
    "nf4+lora": {
        "name": "chain",
        "steps": {"quantize": {"name": "nf4"}, "lora": {"name": "lora", "rank": 2}},
    },
}
HEADS: dict[str, dict[str, Any]] = {
    "next": {"name": "classification"},
    "like": {"name": "classification", "target": "like"},
    "rating": {"name": "regression"},
    "title": {"name": "generative", "n_beams": 4, "max_identifier_length": 8},
    "yes_no": {"name": "generative", "mode": "yes_no"},
    "rating_tokens": {"name": "generative", "mode": "rating"},
}
PROMPTS: dict[str, dict[str, Any]] = {
    "items": {"name": "items", "init": "random", "max_length": 8},
    "text": {"name": "text", "max_length": 48, "history_length": 3},
}


def backbone(name: str, **options: Any) -> dict[str, Any]:
    """Return the spec of a backbone of one layer and width 16."""
    return {
        "name": name,
        "hidden_size": 16,
        "n_heads": 2,
        "n_layers": 1,
        "vocabulary_size": 300,
        "max_positions": 128,
        **options,
    }


def spec(
    name: str = "gpt2",
    adapter: str = "full",
    head: str = "next",
    prompt: str = "items",
    *,
    parts: dict[str, dict[str, Any]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return the spec of a tiny language model; `parts` overrides options of its parts."""
    parts = parts or {}
    return {
        "name": "language_model",
        "backbone": {**backbone(name), **parts.get("backbone", {})},
        "adapter": {**ADAPTERS[adapter], **parts.get("adapter", {})},
        "head": {**HEADS[head], **parts.get("head", {})},
        "prompt": {**PROMPTS[prompt], **parts.get("prompt", {})},
        "epochs": 1,
        "batch_size": 256,
        "examples_per_user": 2,
        **options,
    }


def model(*args: Any, **options: Any) -> Any:
    """Return an unfitted tiny language model; the arguments are those of `spec`."""
    return build("recommender", spec(*args, **options), seed=1)


@cache
def split() -> Split:
    """Return twelve users with four to seven items each; the last item is in no training row."""
    users, items, ratings, times = [], [], [], []
    for user in range(N_USERS):
        for step in range(4 + user % 4):
            users.append(user)
            items.append((user + step * (1 + user % 2 * 2)) % UNSEEN_ITEM)
            ratings.append(1.0 + (user * 3 + step * 2) % 5)
            times.append(1000 * step + user)
    log = Interactions(
        np.array(users, np.int32),
        np.array(items, np.int32),
        np.array(ratings, np.float32),
        np.array(times, np.int64),
    ).sorted()
    whole = Dataset(
        "tiny",
        log,
        np.array([f"u{user}" for user in range(N_USERS)]),
        np.array([f"i{item}" for item in range(len(TITLES))]),
        {"title": np.array(TITLES, object)},
    )
    sides = np.zeros(len(log), int)
    for rows in whole.rows_by_user:
        sides[rows[-2]], sides[rows[-1]] = 1, 2
    return Split(*(whole.select(sides == side) for side in range(3)), protocol="last two out")


def queries() -> Queries:
    """Return the test queries."""
    sides = split()
    return make_queries(sides.train.union(sides.valid), sides.test)[0]


def dataset(histories: Sequence[Sequence[int]], n_items: int | None = None) -> Dataset:
    """Return a data set without ratings of the given histories."""
    users = np.array([u for u, row in enumerate(histories) for _ in row], np.int32)
    items = np.array([i for row in histories for i in row], np.int32)
    n_items = n_items or int(items.max(initial=-1)) + 1
    return Dataset(
        "histories",
        Interactions(users, items),
        np.array([f"u{u}" for u in range(len(histories))]),
        np.array([f"i{i}" for i in range(n_items)]),
        {"title": np.array([f"Piece {i}" for i in range(n_items)], object)},
    )


def checkpoint(name: str, needs: str, folder: Path, seed: int = 5) -> Path:
    """Save a tiny random model with its tokenizer as a checkpoint that transformers reads."""
    import torch

    part = build("backbone", backbone(name))
    tokenizer = part.tokenizer([*TITLES, "The user liked, oldest first: Will Yes No"])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        part.load(needs, tokenizer=tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
