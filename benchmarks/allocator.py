"""The same training run with glibc's allocator as it is and as llmrec sets it up.

    python benchmarks/allocator.py [--rounds 3] [--items 12101] [--steps 10] [--threads 1]

Each measurement is a process of its own; the two kinds take turns. A step is that of the language
model of the quick start: nano GPT-2, logits over the whole catalogue at every position, AdamW. The
final loss of both kinds has to be the same to the last bit. Amazon Beauty has 12,101 items. With
one thread the CPU seconds are work, not waiting, and mean something on a busy machine, too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

KINDS = {"default": "0", "llmrec": "1"}
BATCH, LENGTH = 16, 100


def train(n_items: int, n_steps: int) -> dict[str, float | str]:
    """Train in this process; return seconds (clock, CPU, kernel), page faults and loss."""
    import numpy as np
    import torch

    from llmrec.backbones.gpt2 import GPT2
    from llmrec.core.memory import tune_allocator
    from llmrec.heads.classification import Classification
    from llmrec.prompts.items import Items
    from llmrec.training.net import Net

    tuned = tune_allocator()
    torch.manual_seed(0)
    backbone = GPT2(size="nano", feedforward_size=128, attention_dropout=0.0)
    prompt, head = Items(init="random"), Classification()
    model = backbone.load("sequence")
    width = backbone.width(model)
    tokens = prompt.build(prompt.table(n_items, width, None, np.ones(n_items, bool)), None)
    module = head.build(width, n_items, True, {"mean": 0.0, "std": 1.0})
    net = Net(backbone, model, module, tokens, "sequence").train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    items = torch.randint(n_items, (n_steps + 1, BATCH, LENGTH))
    mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)

    def step(number: int) -> float:
        loss = net(items=items[number], mask=mask)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    step(n_steps)  # the first step also imports and plans
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for number in range(n_steps):
        loss = step(number)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "system": after.ru_stime - before.ru_stime,
        "faults": after.ru_minflt - before.ru_minflt,
        "loss": loss.hex(),
        "tuned": str(tuned),
    }


def measure(kind: str, words: list[str], threads: str) -> dict[str, float | str]:
    """Train in a child process of one kind."""
    unset = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "THP_MEM_ALLOC_ENABLE")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment["LLMREC_MALLOC"] = KINDS[kind]
    environment |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    command = [sys.executable, __file__, "--child", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    assert found["tuned"] == str(kind == "llmrec"), "the allocator was not set up as asked"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=12_101)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(train(options.items, options.steps)))
        return
    print(
        f"{options.steps} steps of {BATCH} × {LENGTH} items, catalogue of {options.items:,}, "
        f"{options.threads} thread(s)"
    )
    print("load of the machine at the start:", *(f"{load:.1f}" for load in os.getloadavg()))
    words = ["--items", str(options.items), "--steps", str(options.steps)]
    found: dict[str, list[dict[str, float | str]]] = {kind: [] for kind in KINDS}
    head = f"{'round':>5}  {'allocator':<9}  {'seconds':>8}  {'CPU s':>7}"
    print(f"{head}  {'kernel s':>8}  {'faults':>11}")
    for number in range(1, options.rounds + 1):
        for kind in KINDS:
            one = measure(kind, words, str(options.threads))
            found[kind].append(one)
            line = f"{number:>5}  {kind:<9}  {one['seconds']:8.2f}  {one['cpu']:7.2f}"
            print(f"{line}  {one['system']:8.2f}  {one['faults']:11,}", flush=True)
    losses = {one["loss"] for ones in found.values() for one in ones}
    assert len(losses) == 1, f"the losses differ: {losses}"
    for what, column in (("seconds", "seconds"), ("CPU seconds", "cpu"), ("page faults", "faults")):
        before, after = (
            statistics.median(float(one[column]) for one in found[kind]) for kind in KINDS
        )
        print(f"median {what}: {before:,.1f} and {after:,.1f}, {before / after:.2f} times less")
    print(f"final loss of all runs: {float.fromhex(str(losses.pop())):.6f}, the same bits")


if __name__ == "__main__":
    main()
