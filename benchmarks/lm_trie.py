"""What constrained generation costs: beams on the trie of arrays, and transformers' own way.

A nano GPT-2 and a nano T5 write 20 beams after the same prompts, under a trie of titles (9 tokens
on average) or of semantic ids (4 codes): once with ``generate`` and a ``prefix_allowed_tokens_fn``
over nested dicts, once with `llmrec.heads.beams`. The sequences are compared; each ratio is theirs
to ours, measured in this run: whole searches, and the constraint alone (from the logits of 160
beams to those of the allowed tokens).

    python benchmarks/lm_trie.py [--rows 8] [--beams 20] [--sizes 1000,10000,100000]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PrefixConstrainedLogitsProcessor

from llmrec.backbones.base import quiet_loading
from llmrec.backbones.writers import WRITERS
from llmrec.core.config import build
from llmrec.core.memory import tune_allocator
from llmrec.core.types import Ragged
from llmrec.heads.beams import TrieArrays, beam_search
from llmrec.heads.trie import IdentifierTrie

VOCABULARY, CODES, PAD, END, PROMPT = 4096, 4 + 4 * 256, 0, 3, 96


class Tokens:
    """Stands for a tokenizer: sizes and special tokens."""

    pad_token_id, eos_token_id, bos_token_id = PAD, END, 2

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return VOCABULARY if self.kind == "titles" else CODES


def titles(n_items: int, rng: np.random.Generator) -> list[list[int]]:
    """Return token rows with the lengths and shared beginnings of titles (Zipf's law)."""
    weights = 1 / np.arange(1, VOCABULARY - 3)
    lengths = np.clip(rng.poisson(9, n_items), 2, 24)
    tokens = rng.choice(np.arange(4, VOCABULARY), int(lengths.sum()), p=weights / weights.sum())
    return [row.tolist() for row in np.split(tokens, np.cumsum(lengths)[:-1])]


def semantic(n_items: int, rng: np.random.Generator) -> list[list[int]]:
    """Return four codes for each item, of 256 a level, as those of TIGER."""
    codes = rng.integers(256, size=(n_items, 4)) + 4 + 256 * np.arange(4)
    return codes.tolist()


KINDS = {"titles": titles, "semantic": semantic}


def found(node: dict[int, Any], written: list[int]) -> dict[int, Any]:
    """Return the node that tokens lead to, an empty one off the trie."""
    for token in written:
        node = node.get(token, {})
    return node


def nested(identifiers: list[list[int]]) -> dict[int, Any]:
    """Return the trie as nested dicts."""
    root: dict[int, Any] = {}
    for tokens in identifiers:
        node = root
        for token in [*tokens, END]:
            node = node.setdefault(token, {})
    return root


def plain(
    model: Any, causal: bool, ids: torch.Tensor, root: dict[int, Any], n_beams: int
) -> list[list[int]]:
    """Return the sequences that transformers writes under nested dicts."""
    skip = ids.shape[1] if causal else 1

    def allowed(_: int, written: torch.Tensor) -> list[int]:
        return list(found(root, written.tolist()[skip:])) or [END]

    config = GenerationConfig(
        max_new_tokens=25,
        num_beams=n_beams,
        num_return_sequences=n_beams,
        length_penalty=0.0,
        early_stopping=False,
        do_sample=False,
        use_cache=True,
        pad_token_id=PAD,
        eos_token_id=END,
    )
    written = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        prefix_allowed_tokens_fn=allowed,
    )
    rows = written[:, skip:].tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in rows]


def timed(function: Callable[[], Any], rounds: int) -> tuple[Any, float, float]:
    """Return the result, and the best clock and CPU seconds of several times."""
    clock, work = [], []
    for _ in range(rounds):
        start, busy = time.perf_counter(), time.process_time()
        result = function()
        clock.append(time.perf_counter() - start)
        work.append(time.process_time() - busy)
    return result, min(clock), min(work)


def constraint(
    identifiers: list[list[int]], root: dict[int, Any], arrays: TrieArrays, n: int, rounds: int
) -> float:
    """Return how many times faster the allowed tokens of n beams are found, three tokens deep."""
    rows = [row[:3] for row in identifiers if len(row) > 3][:n]
    logits = torch.zeros(len(rows), VOCABULARY)
    written = torch.tensor(rows)
    processor = PrefixConstrainedLogitsProcessor(
        lambda _, row: list(found(root, row.tolist())) or [END], num_beams=len(rows)
    )
    nodes = torch.tensor([[arrays.trie.node(row) for row in rows]])

    def look_up() -> torch.Tensor:
        tokens, _, real = arrays.follow(nodes)
        return logits.unsqueeze(0).gather(2, tokens).masked_fill(~real, -torch.inf)

    _, _, slow = timed(lambda: [processor(written, logits) for _ in range(10)], rounds)
    _, _, fast = timed(lambda: [look_up() for _ in range(10)], rounds)
    return slow / fast


def measure(kind: str, name: str, size: int, options: argparse.Namespace) -> str:
    """Return one line of the table."""
    rng = np.random.default_rng(size)
    identifiers = KINDS[kind](size, rng)
    backbone = build("backbone", {"name": name, "size": "nano", "initializer_range": 0.2})
    torch.manual_seed(0)
    with quiet_loading():
        model = backbone.load("generate", tokenizer=Tokens(kind)).eval()
    vocabulary = model.config.vocab_size
    ids = torch.from_numpy(rng.integers(4, vocabulary, (options.rows, PROMPT)))
    mask = torch.ones_like(ids, dtype=torch.bool)
    root = nested(identifiers)
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    arrays = TrieArrays(trie, ids.device)

    def ours() -> tuple[torch.Tensor, torch.Tensor]:
        writer = WRITERS[backbone.direction](backbone, model, ids, mask)
        return beam_search(writer, arrays, options.beams)

    def theirs() -> list[list[int]]:
        return plain(model, backbone.direction == "causal", ids, root, options.beams)

    with torch.inference_mode():
        (leaves, _), fast, fast_work = timed(ours, options.rounds)
        written, slow, slow_work = timed(theirs, options.rounds)
        apart = constraint(identifiers, root, arrays, options.rows * options.beams, options.rounds)
    same = [trie.identifier(leaf).tolist() for leaf in leaves.flatten().tolist()] == written
    return (
        f"{kind:>8} {name} {size:>7} items: clock {slow:6.2f} / {fast:6.3f} s = {slow / fast:5.1f}"
        f", CPU {slow_work:6.2f} / {fast_work:6.3f} s = {slow_work / fast_work:5.1f}, "
        f"constraint alone {apart:6.1f}; ours per row {1000 * fast_work / options.rows:5.1f} ms; "
        f"{'same' if same else 'OTHER'} sequences"
    )


def main() -> None:
    """Print one line for each kind of identifier, model and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--beams", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sizes", default="1000,10000,100000")
    options = parser.parse_args()
    tune_allocator()
    print(f"load {os.getloadavg()[0]:.1f}, threads {torch.get_num_threads()}")
    for kind in KINDS:
        for name in ("gpt2", "t5"):
            for size in map(int, options.sizes.split(",")):
                print(measure(kind, name, size, options), flush=True)


if __name__ == "__main__":
    main()
