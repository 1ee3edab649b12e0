"""What constrained generation costs: beams on the trie of arrays, and transformers' own way.

A nano GPT-2 and a nano T5 write 20 beams after the same prompts, under a trie of titles (9 tokens
on average) or of semantic ids (4 codes): once with ``generate`` and a ``prefix_allowed_tokens_fn``
over nested dicts, once with `llmrec.heads.beams`. The sequences are compared; each ratio is theirs
to ours, measured in this run: whole searches, and the constraint alone (from the logits of 160
beams to those of the allowed tokens).

    python benchmarks/lm_trie.py [--rounds 2] [--sizes 1000 10000 100000]
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
import torch
from side_by_side import HEADER, Row, alternated, machine, table
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
KINDS_NAMED = {"titles": "titles", "semantic": "semantic ids"}


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

    ways = {
        "theirs": lambda: [processor(written, logits) for _ in range(10)],
        "ours": lambda: [look_up() for _ in range(10)],
    }
    timings, _ = alternated(ways, rounds)
    return timings["theirs"].cpu / timings["ours"].cpu


def measure(kind: str, name: str, size: int, n_rows: int, n_beams: int, rounds: int) -> Row:
    """Search with both ways, and compare what they write."""
    rng = np.random.default_rng(size)
    identifiers = KINDS[kind](size, rng)
    backbone = build("backbone", {"name": name, "size": "nano", "initializer_range": 0.2})
    torch.manual_seed(0)
    with quiet_loading():
        model = backbone.load("generate", tokenizer=Tokens(kind)).eval()
    vocabulary = model.config.vocab_size
    ids = torch.from_numpy(rng.integers(4, vocabulary, (n_rows, PROMPT)))
    mask = torch.ones_like(ids, dtype=torch.bool)
    root = nested(identifiers)
    trie = IdentifierTrie(Ragged.from_rows(identifiers, np.int64), END)
    arrays = TrieArrays(trie, ids.device)

    def ours() -> tuple[torch.Tensor, torch.Tensor]:
        writer = WRITERS[backbone.direction](backbone, model, ids, mask)
        return beam_search(writer, arrays, n_beams)

    def theirs() -> list[list[int]]:
        return plain(model, backbone.direction == "causal", ids, root, n_beams)

    with torch.inference_mode():
        timings, given = alternated({"theirs": theirs, "ours": ours}, rounds, warm=False)
        apart = constraint(identifiers, root, arrays, n_rows * n_beams, rounds)
    leaves = given["ours"][0].flatten().tolist()
    same = [trie.identifier(leaf).tolist() for leaf in leaves] == given["theirs"]
    own = 1000 * timings["ours"].cpu / n_rows
    check = f"{'same' if same else 'OTHER'} sequences; the constraint alone {apart:.0f}×; "
    return Row(
        f"{n_beams} beams under a trie of {size:,} {KINDS_NAMED[kind]}, {name} nano",
        timings["theirs"],
        timings["ours"],
        "10" if size == 10_000 else "",
        f"{check}{own:.0f} ms a user",
    )


def beams(cases: list[tuple[str, str, int]], rounds: int) -> list[Row]:
    """Return a row for each case of kind, architecture and size."""
    return [measure(*case, 8, 20, rounds) for case in cases]


# One size where the target is, and others to see what the catalogue adds.
CASES = [("titles", "gpt2", size) for size in (1000, 10_000, 100_000)]
CASES += [("titles", "t5", 10_000), ("semantic", "t5", 10_000)]


def main() -> None:
    """Print one line for each kind of identifier, model and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", help="all kinds and models at these sizes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    cases = CASES
    if options.sizes:
        cases = list(itertools.product(KINDS, ("gpt2", "t5"), options.sizes))
    print(machine())
    print(table(HEADER, [row.cells() for row in beams(cases, options.rounds)]))


if __name__ == "__main__":
    main()
