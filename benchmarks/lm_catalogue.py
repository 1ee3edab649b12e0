"""What a step of the next-item head costs against the size of the catalogue, by loss.

Each cell is a process of its own: forward and backward pass of the head alone, on 512 states of
width 64, and the most memory that the process held beyond the item embeddings and their gradient.

    python benchmarks/lm_catalogue.py
    python benchmarks/lm_catalogue.py --sizes 1000 10000 --steps 3
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import psutil
import torch
from side_by_side import machine, table

from llmrec.core.config import build
from llmrec.core.memory import PeakMemory, tune_allocator
from llmrec.heads import next_item  # noqa: F401  (imported once for all forks)

LOSSES: dict[str, dict[str, Any]] = {
    "full": {},
    "blocked": {"block_size": 4096},
    "sampled softmax": {"loss": "sampled_softmax", "n_negatives": 256},
    "gBCE": {"loss": "gbce", "n_negatives": 256},
}
N_STATES, WIDTH = 512, 64
FULL_COPIES = 7  # of all logits that a step over the whole catalogue holds, at most
SIZES = (1000, 10_000, 100_000, 1_000_000)


def measure(loss: str, n_items: int, steps: int) -> tuple[float, float]:
    """Return the median CPU milliseconds of a step and the megabytes that the steps needed."""
    torch.set_num_threads(1)
    tune_allocator()
    head = build("head", {"name": "classification", **LOSSES[loss]})
    module = head.build(WIDTH, n_items, True, {"item_counts": np.ones(n_items)})
    items = torch.randn(n_items, WIDTH, requires_grad=True)
    states = torch.randn(N_STATES, WIDTH, requires_grad=True)
    targets = torch.randint(n_items, (N_STATES,))
    items.grad = torch.zeros_like(items)
    taken = []
    with PeakMemory() as peak:
        # The first step maps memory and plans; at a million items that is nothing beside the rest.
        for number in range(steps + (n_items < max(SIZES))):
            began = time.process_time()
            module.loss(states, targets, items).backward()
            if number or n_items >= max(SIZES):
                taken.append(time.process_time() - began)
    return 1000 * statistics.median(taken), peak.bytes / 1e6


def cell(loss: str, n_items: int, steps: int) -> str:
    """Return one cell, from a fork of this process."""
    needed = FULL_COPIES * 4 * N_STATES * n_items
    if loss == "full" and 1.2 * needed > psutil.virtual_memory().available:
        return f"not run: about {needed / 1e9:.0f} GB"
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            milliseconds, megabytes = pool.submit(measure, loss, n_items, steps).result()
        except BrokenProcessPool:
            return "out of memory"
    return f"{milliseconds:,.0f} ms, {megabytes:,.0f} MB"


def costs(sizes: list[int], steps: int) -> list[list[str]]:
    """Return a row for each size; call it before this process computes a gradient."""
    return [
        [f"{size:,}", *(cell(loss, size, 1 if size >= max(SIZES) else steps) for loss in LOSSES)]
        for size in sizes
    ]


HEADER = ["items", *LOSSES]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print(table(HEADER, costs(options.sizes, options.steps)))


if __name__ == "__main__":
    main()
