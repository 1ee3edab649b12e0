"""Generated reviews whose words depend on the class and on nothing that a history shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lm_cases
import numpy as np

from llmrec.core.config import build
from llmrec.core.types import Dataset, Interactions, Split

WORDS = {
    0.0: ["awful", "broken", "dull", "refund", "never", "slow"],
    1.0: ["okay", "average", "fine", "plain", "usual", "mixed"],
    2.0: ["great", "lovely", "superb", "quick", "happy", "best"],
}
FILLER = ("the", "a", "it", "was", "and", "this", "of", "my", "they", "came", "box", "gift")


def dataset(n_users: int = 60, seed: int = 0, noise: float = 0.1, per_user: int = 6) -> Dataset:
    """Return interactions whose classes 0, 1, 2 are drawn at random, and reviews that say them.

    Args:
        n_users: how many users.
        seed: of all draws.
        noise: share of telling words that are of another class.
        per_user: interactions of each.
    """
    rng = np.random.default_rng(seed)
    n = n_users * per_user
    rating = rng.choice([0.0, 1.0, 2.0], n, p=[0.25, 0.25, 0.5]).astype(np.float32)
    texts = np.empty(n, object)
    for row, value in enumerate(rating.tolist()):
        words = list(rng.choice(FILLER, rng.integers(3, 12)))
        for _ in range(3):
            said = rng.choice([0.0, 1.0, 2.0]) if rng.random() < noise else value
            words.insert(int(rng.integers(0, len(words))), str(rng.choice(WORDS[float(said)])))
        texts[row] = " ".join(words)
    user = np.repeat(np.arange(n_users), per_user).astype(np.int32)
    item = np.concatenate([rng.permutation(9)[:per_user] for _ in range(n_users)])
    # Users take turns, so that the order of the log is not that of users.
    time = np.tile(np.arange(per_user) * n_users, n_users) + user
    log = Interactions(user, item.astype(np.int32), rating, time.astype(np.int64), texts).sorted()
    return Dataset(
        "reviews",
        log,
        np.array([f"u{u}" for u in range(n_users)]),
        np.array([f"i{i}" for i in range(9)]),
        {"title": np.array(lm_cases.TITLES[:9], object)},
    )


def split(**options: Any) -> Split:
    """Return the reviews, each user's last one held out and the one before for choosing."""
    whole = dataset(**options)
    sides = np.zeros(len(whole), int)
    for rows in whole.rows_by_user:
        sides[rows[-2]], sides[rows[-1]] = 1, 2
    return Split(*(whole.select(sides == side) for side in range(3)), protocol="last two out")


def with_texts(data: Dataset, texts: Any) -> Dataset:
    """Return the data with other texts at its interactions."""
    return data.with_interactions(replace(data.interactions, text=np.array(texts, object)))


def spec(name: str = "bert", **options: Any) -> dict[str, Any]:
    """Return the spec of a tiny model of one layer that reads the review alone."""
    prompt = {
        "name": "text",
        "template": "",
        "question": "{{ review or 'nothing' }}",
        "history_length": 0,
        "max_length": 32,
        **options.pop("prompt", {}),
    }
    backbone = options.pop("backbone", None) or lm_cases.backbone(name)
    return {
        "name": "language_model",
        "backbone": backbone,
        "head": {"name": "classification", "target": "classes"},
        "prompt": prompt,
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "examples_per_user": None,
        **options,
    }


def model(name: str = "bert", **options: Any) -> Any:
    """Return an unfitted model; the arguments are those of `spec`."""
    return build("recommender", spec(name, **options), seed=1)
