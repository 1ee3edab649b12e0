"""How much of a data set a checkpoint knows by heart before it is trained on it.

A language model that can recite titles, rows or next items may owe its test result to its
pretraining corpus (Di Palma et al., SIGIR 2025, found most of MovieLens-1M in some models).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmrec.core.config import BackboneSpec, build
from llmrec.core.errors import ComponentError
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Ragged, Split

SHOTS = 5
HISTORY = 5
LONGEST = 24


@dataclass(frozen=True)
class Recited:
    """One way of asking, and how much came back word for word.

    Attributes:
        name: titles, rows, next items, or next items of another user (the control of the latter).
        share: of the questions that were completed exactly.
        n: questions.
        examples: up to three exact completions: what was given, and what the model wrote.
    """

    name: str
    share: float
    n: int
    examples: tuple[tuple[str, str], ...] = ()


def memorisation(
    backbone: BackboneSpec, split: Split, titles: Sequence[str], *, n: int, seed: int = 0
) -> list[Recited]:
    """Ask an untrained checkpoint to complete a data set, greedily.

    Args:
        backbone: spec of a decoder with a checkpoint; it is read afresh, nothing is trained.
        split: the data; next items are those of the test.
        titles: (n_items,) titles.
        n: questions of each kind.
        seed: which items and users are asked.

    Raises:
        ComponentError: if the backbone has random weights, is hosted, or does not continue a text.
    """
    component = build("backbone", backbone)
    name = component.architecture
    if not component.provides:
        raise ComponentError(
            f"memorisation: not asked, because {component.weights} is behind an endpoint; its "
            "weights are not on this machine"
        )
    if component.location is None:
        raise ComponentError(
            "memorisation: random weights cannot know any data; give a backbone.checkpoint"
        )
    if "generate" not in component.provides or component.direction != "causal":
        raise ComponentError(
            f"memorisation: {name} does not continue a text; only decoders such as gpt2 are asked"
        )
    rng = np.random.default_rng(derive_seed(seed, "memorisation"))
    model = component.load("generate").eval()
    tokenizer = component.tokenizer([])

    def ask(kind: str, questions: list[tuple[str, str]]) -> Recited:
        written = _continue(model, tokenizer, [given for given, _ in questions])
        exact = [
            _plain(text).startswith(_plain(rest)) and bool(_plain(rest))
            for text, (_, rest) in zip(written, questions, strict=True)
        ]
        shown = [
            (given[-120:], rest) for (given, rest), hit in zip(questions, exact, strict=True) if hit
        ]
        share = float(np.mean(exact)) if exact else float("nan")
        return Recited(kind, share, len(questions), tuple(shown[:3]))

    own, others = _next_items(split, titles, n, rng)
    return [
        ask("titles", _titles(titles, n, rng)),
        ask("rows", _rows(split, titles, n, rng)),
        ask("next items", own),
        ask("next items of another user", others),
    ]


def _titles(titles: Sequence[str], n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Return the first half of the words of titles, and the rest."""
    long = [title.split() for title in titles if len(title.split()) >= 2]
    chosen = rng.permutation(len(long))[:n]
    halves = [(long[i], (len(long[i]) + 1) // 2) for i in chosen]
    return [(" ".join(words[:k]), " ".join(words[k:])) for words, k in halves]


def _rows(
    split: Split, titles: Sequence[str], n: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Return some rows of the item file in the form ``id::title``, the last without its title."""
    ids = split.train.item_ids
    known = np.flatnonzero([bool(title) for title in titles])
    questions = []
    for item in rng.permutation(known)[:n]:
        shots = rng.choice(known, min(SHOTS, len(known)), replace=False)
        lines = [f"{ids[i]}::{titles[i]}" for i in shots if i != item]
        questions.append(("\n".join([*lines, f"{ids[item]}::"]), titles[item]))
    return questions


def _next_items(
    split: Split, titles: Sequence[str], n: int, rng: np.random.Generator
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return histories with their next title, and with that of somebody else."""
    known, test = split.train.union(split.valid).histories, split.test.histories
    users = np.flatnonzero((known.lengths > 0) & (test.lengths > 0))
    users = rng.permutation(users)[:n].tolist()
    given = ["\n".join(titles[i] for i in known[u][-HISTORY:]) + "\n" for u in users]
    following = [titles[int(test[u][0])] for u in users]
    return (
        list(zip(given, following, strict=True)),
        list(zip(given, following[1:] + following[:1], strict=True)),
    )


def _continue(model: Any, tokenizer: Any, prompts: list[str], batch_size: int = 16) -> list[str]:
    """Return the greedy continuation of each prompt; the result does not depend on the batch."""
    import torch
    from transformers import GenerationConfig

    end = tokenizer.eos_token_id
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    config = GenerationConfig(
        max_new_tokens=LONGEST,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        eos_token_id=end,
        pad_token_id=padding,
    )
    limit = getattr(model.config, "max_position_embeddings", None) or 1024
    rows = Ragged.from_rows(
        [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts], np.int64
    ).tail(limit - LONGEST)
    written = []
    for start in range(0, len(rows), batch_size):
        part = rows.take(slice(start, start + batch_size))
        ids = torch.from_numpy(part.padded(fill=padding, side="left"))
        real = part.with_values(np.ones_like(part.values))
        mask = torch.from_numpy(real.padded(fill=0, side="left"))
        with torch.inference_mode():
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        written += tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
    return written


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
