"""How fast the language models are: one table of ratios, measured in one run.

    python benchmarks/language_models.py [--only candidates padding …] [--rounds 3]

Each line compares llmrec with the plain way of doing the same; the two take turns, and medians are
compared. The ratio of CPU seconds of one thread is what to read on a machine that others use; the
ratio by the clock is beside it. What each part does, and how to run it alone:

- ``catalogue``: lm_catalogue.py, the next-item head against the size of the catalogue
- ``candidates``, ``padding``: lm_scoring.py
- ``framework``, ``frozen``: lm_training.py
- ``trie``: lm_trie.py, beams that write items of the catalogue
- ``int8``, ``ranking``: lm_int8.py, 8 bits: time, memory, and what they do to a ranking
"""

from __future__ import annotations

import argparse
import time

import lm_catalogue
import lm_int8
import lm_scoring
import lm_training
import lm_trie
import torch
from side_by_side import HEADER, machine, table

from llmrec.core.memory import tune_allocator

RATIOS = {
    "candidates": lambda rounds: lm_scoring.candidates(rounds, "mini"),
    "padding": lm_scoring.padding,
    "frozen": lambda rounds: lm_training.frozen(160, 20, 1),  # noqa: ARG005
    "trie": lambda rounds: lm_trie.beams(lm_trie.CASES, min(rounds, 2)),
    "framework": lm_training.frameworks,
    "int8": lambda rounds: [
        row for name in ("bert", "gpt2") for row in lm_int8.times(name, rounds)
    ],
}
PARTS = ["catalogue", *RATIOS, "ranking"]


def main() -> None:
    """Print what was measured, part by part, and the table of ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    print(machine(), flush=True)
    if "catalogue" in options.only:  # first: torch cannot fork after it has computed gradients
        sizes = list(lm_catalogue.SIZES)
        print(table(lm_catalogue.HEADER, lm_catalogue.costs(sizes, options.rounds)), flush=True)
    tune_allocator()
    rows = []
    for name, part in RATIOS.items():
        if name in options.only:
            rows += part(options.rounds)
            print(f"{name} done after {time.perf_counter() - began:.0f} s", flush=True)
    if rows:
        print(table(HEADER, [row.cells() for row in rows]), flush=True)
    if "ranking" in options.only:
        print(table(lm_int8.RANKING, [lm_int8.ranking("synthetic", 4)]))
    print(f"{time.perf_counter() - began:.0f} s; {machine()}")


if __name__ == "__main__":
    main()
