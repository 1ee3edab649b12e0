"""What a step of the next-item head costs against the size of the catalogue, by loss.

Each cell is a process of its own: forward and backward pass of the head alone, on 512 states of
width 64, and the most memory that the process held beyond what it had before the first step.

    python benchmarks/lm_catalogue.py
    python benchmarks/lm_catalogue.py --sizes 1000 10000 --steps 3
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

LOSSES: dict[str, dict[str, Any]] = {
    "full": {},
    "blocked": {"block_size": 4096},
    "sampled": {"loss": "sampled_softmax", "n_negatives": 256},
    "gbce": {"loss": "gbce", "n_negatives": 256},
}
N_STATES, WIDTH = 512, 64


def measure(loss: str, n_items: int, steps: int) -> dict[str, float]:
    """Return the best milliseconds of a step and the megabytes that the steps needed."""
    import resource

    import numpy as np
    import torch

    from llmrec.core.config import build

    torch.set_num_threads(1)
    head = build("head", {"name": "classification", **LOSSES[loss]})
    module = head.build(WIDTH, n_items, True, {"item_counts": np.ones(n_items)})
    items = torch.randn(n_items, WIDTH, requires_grad=True)
    states = torch.randn(N_STATES, WIDTH, requires_grad=True)
    targets = torch.randint(n_items, (N_STATES,))
    items.grad = torch.zeros_like(items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = float("inf")
    for _ in range(steps):
        began = time.perf_counter()
        module.loss(states, targets, items).backward()
        best = min(best, time.perf_counter() - began)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"ms": 1000 * best, "mb": (after - before) / 1024}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        loss, n_items = options.cell
        print(json.dumps(measure(loss, int(n_items), options.steps)))
        return
    print(f"{'items':>9}  " + "  ".join(f"{name:>20}" for name in LOSSES))
    for n_items in options.sizes:
        cells = []
        for loss in LOSSES:
            command = [sys.executable, __file__, "--steps", str(options.steps)]
            done = subprocess.run(
                [*command, "--cell", loss, str(n_items)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                cells.append(f"{'out of memory':>20}" if done.returncode < 0 else f"{'failed':>20}")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            cells.append(f"{found['ms']:9.1f} ms {found['mb']:5.0f} MB")
        print(f"{n_items:>9}  " + "  ".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
