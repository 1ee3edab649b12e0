"""Histories as the tokens of their items' identifiers: a small vocabulary, no text tokenizer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.seeding import hash_pairs
from llmrec.core.types import Ragged

USER_SEED = 20230508
SPECIAL = 3  # padding, end, start


@dataclass(frozen=True)
class Vocabulary:
    """The token ids of an identifiers prompt, in place of a tokenizer.

    Attributes:
        n_user_tokens: users are hashed into so many.
        n_codes: of the identifiers.
    """

    n_user_tokens: int
    n_codes: int
    pad_token_id: ClassVar[int] = 0
    eos_token_id: ClassVar[int] = 1
    bos_token_id: ClassVar[int] = 2

    @property
    def first_code(self) -> int:
        """Token id of the code 0."""
        return SPECIAL + self.n_user_tokens

    def __len__(self) -> int:
        return self.first_code + self.n_codes

    def starts(self, users: np.ndarray) -> np.ndarray:
        """Return the (B,) token that begins each row: of the user, or the start token.

        Args:
            users: (B,) user ids; −1, an unknown user, begins with the start token.
        """
        if not self.n_user_tokens:
            return np.full(len(users), self.bos_token_id, np.int64)
        hashed = hash_pairs(users, np.zeros(1, np.int64), USER_SEED) % np.uint64(self.n_user_tokens)
        return np.where(users < 0, self.bos_token_id, SPECIAL + hashed.astype(np.int64))


class Identifiers:
    """The history as its items' identifiers, e.g. semantic ids (TIGER, Rajput et al. 2023).

    A GPT-2 predicts every token of a window in one pass. A T5 reads the history and writes the
    next item (``targets: next``, as TIGER), or, for each history once an epoch, reads its beginning
    and writes the rest (``rest``: the cut is drawn anew each time; to answer, its decoder is given
    the latest items as what it has written). The second learns from every item with one pass.

    Args:
        max_length: items of the history that are read, the latest ones.
        user_tokens: begin with one of so many tokens, by a hash of the user; 0 for none.
        targets: what a T5 learns to write.
        init: where the tokens of codes start: at the ``centres`` of their quantiser, if they have
            one, so that like codes are alike from the first step; or ``random``.
    """

    kind: ClassVar[Literal["identifiers"]] = "identifiers"
    use_ratings: ClassVar[bool] = False

    def __init__(
        self,
        *,
        max_length: int = 20,
        user_tokens: int = 0,
        targets: Literal["next", "rest"] = "rest",
        init: Literal["centres", "random"] = "centres",
    ) -> None:
        self.max_length = max_length
        self.user_tokens = user_tokens
        self.targets = targets
        self.init = init

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        return [
            (key, f"must be at least {least}")
            for key, least in (("max_length", 1), ("user_tokens", 0))
            if params.get(key, least) < least
        ]


def started(
    weights: np.ndarray, centres: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Return embeddings of codes that start at what the codes stand for.

    Each is half the direction of its centre among all centres (by principal components), half one
    that all codes of its level share; the spread stays that of the random weights. Codes without a
    centre, the last level, keep half of their own weights.

    Args:
        weights: (n_codes, H) random weights.
        centres: of the first levels, (K, D) vectors.
        rng: of the directions of levels.
    """
    spread, half = weights.std(), math.sqrt(0.5)
    ends = np.cumsum([0, *map(len, centres)])
    stacked = np.concatenate(centres).astype(np.float64)
    _, _, axes = np.linalg.svd(stacked - stacked.mean(0), full_matrices=False)
    axes = axes[: weights.shape[1]]
    own = weights.astype(np.float64)
    for level, vectors in enumerate(centres):
        places = (vectors - vectors.mean(0)) @ axes.T
        whole = np.zeros((len(vectors), weights.shape[1]))
        whole[:, : places.shape[1]] = places
        scale = np.sqrt(np.square(whole).mean())
        own[ends[level] : ends[level + 1]] = whole * (spread / max(scale, 1e-12))
    for start, end in pairwise([*ends.tolist(), len(weights)]):
        shared = rng.standard_normal(weights.shape[1]) * spread
        own[start:end] = half * (own[start:end] + shared)
    return own.astype(np.float32)


def identifier_rows(
    table: np.ndarray, starts: np.ndarray, histories: Ragged
) -> tuple[Ragged, Ragged]:
    """Return the tokens of each row, and the number in its row of the item each belongs to.

    Args:
        table: (n_items, L) token ids of each item.
        starts: (B,) first token of each row; it belongs to item −1.
        histories: B rows of item ids.
    """
    length = table.shape[1]
    tokens = Ragged(table[histories.values].reshape(-1), histories.offsets * length)
    numbers = tokens.with_values(np.repeat(histories.place_of, length))
    first = Ragged(starts, np.arange(len(starts) + 1))
    return first.concat(tokens), first.with_values(np.full(len(starts), -1)).concat(numbers)
