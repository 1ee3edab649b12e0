"""What each adapter trains, weighs and costs, on each architecture.

    python benchmarks/adapters.py [--rounds 5] [--layers 4] [--width 256]

A step is forward, backward and AdamW on 8 prompts of 64 tokens, for a head over 1,000 items on the
pooled state. For each architecture the adapters take turns, one step each, so that neighbours on
the machine hit all of them. Weights are those of the backbone without its token embeddings, which
no adapter makes smaller; memory is what a process of its own grew at most while it loaded the model
and took two such steps.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from side_by_side import machine, table

from llmrec.backbones.base import inner, quiet_loading
from llmrec.core.config import build
from llmrec.core.errors import ComponentError
from llmrec.core.memory import PeakMemory, tune_allocator

LORA = {"name": "lora", "rank": 8}
ADAPTERS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "frozen": {"name": "frozen"},
    "last_k": {"name": "last_k", "k": 1},
    "lora": LORA,
    "rslora": {**LORA, "rank_stabilized": True},
    "dora": {**LORA, "decomposed": True},
    "ia3": {"name": "ia3"},
    "prefix": {"name": "prefix", "n_tokens": 20},
    "prompt_tuning": {"name": "prompt_tuning", "n_tokens": 20},
    "int8": {"name": "int8"},
    "nf4": {"name": "nf4"},
    "int8+lora": {"name": "chain", "steps": {"quantize": {"name": "int8"}, "lora": LORA}},
    "nf4+lora": {"name": "chain", "steps": {"quantize": {"name": "nf4"}, "lora": LORA}},
}
ARCHITECTURES = ("gpt2", "bert", "t5")
BATCH, LENGTH, N_ITEMS = 8, 64, 1000


class Sizes:
    """Stands for a tokenizer: sizes and special tokens."""

    pad_token_id, eos_token_id, bos_token_id, cls_token_id, sep_token_id, mask_token_id = range(6)

    def __len__(self) -> int:
        return 4096


def backbone_of(name: str, layers: int, width: int) -> Any:
    """Return the backbone of an architecture."""
    sizes = {"n_layers": layers, "hidden_size": width, "n_heads": max(1, width // 64)}
    return build("backbone", {"name": name, **sizes})


def save(backbone: Any, folder: str) -> int:
    """Save random base weights; return how many there are."""
    torch.manual_seed(0)
    with quiet_loading():
        base = backbone.load("pooled", tokenizer=Sizes())
        base.save_pretrained(folder)
    return sum(p.numel() for p in base.parameters())


def adapted(backbone: Any, adapter: str, base: Path) -> Any:
    """Return the loaded and wrapped model; the base weights are those of `base`."""
    part = build("adapter", ADAPTERS[adapter])
    with quiet_loading():
        model = backbone.load("pooled", folder=base, load_options=part.load_options())
    return part.wrap(model, backbone.adapted_as(model)).train()


def stepper(backbone: Any, model: Any, batch: int) -> Callable[[], None]:
    """Return a function that does one training step of a model with a head."""
    torch.manual_seed(0)
    head = torch.nn.Linear(backbone.width(model), N_ITEMS)
    ids = torch.randint(6, 4096, (batch, LENGTH))
    mask = torch.ones_like(ids, dtype=torch.bool)
    targets = torch.randint(N_ITEMS, (batch,))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([*trained, *head.parameters()], lr=1e-4)

    def step() -> None:
        pooled = backbone.encode(model, mask, ids=ids).pooled
        torch.nn.functional.cross_entropy(head(pooled), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def weights(model: Any) -> tuple[float, int]:
    """Return megabytes of the weights below the embeddings, and the number that trains."""
    table = inner(model).get_input_embeddings()
    embeddings = {id(parameter) for parameter in table.parameters()}
    total, trains = 0, 0
    for parameter in model.parameters():
        trains += parameter.numel() if parameter.requires_grad else 0
        if id(parameter) not in embeddings:
            total += parameter.numel() * parameter.element_size()
    for module in model.modules():
        weight = getattr(module, "weight", None)
        for state in (getattr(weight, "SCB", None), getattr(weight, "quant_state", None)):
            if state is None:
                continue
            parts = [state] if hasattr(state, "numel") else [state.absmax]
            total += sum(part.numel() * part.element_size() for part in parts)
    return total / 1e6, trains


def cell(name: str, adapter: str, layers: int, width: int) -> float:
    """Return the megabytes that training needs beyond the loaded libraries, in this process."""
    backbone = backbone_of(name, layers, width)
    with tempfile.TemporaryDirectory() as holder:
        save(backbone, holder)
        stepper(backbone, adapted(backbone, adapter, Path(holder)), 1)()  # imports, plans
        with PeakMemory() as peak:
            step = stepper(backbone, adapted(backbone, adapter, Path(holder)), BATCH)
            step()
            step()
    return peak.bytes / 1e6


def memories(options: argparse.Namespace) -> dict[tuple[str, str], float]:
    """Return what `cell` measures, each in a fork of its own of this process."""
    for library in ("peft", "bitsandbytes", "torch", "transformers", "llmrec.training.trainer"):
        importlib.import_module(library)  # once for all forks
    found = {}
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        for name, adapter in itertools.product(ARCHITECTURES, ADAPTERS):
            given = (name, adapter, options.layers, options.width)
            try:
                found[name, adapter] = pool.apply(cell, given)
            except ComponentError:
                continue  # said where the steps are timed
    return found


def measure(
    name: str, options: argparse.Namespace, needed: dict[tuple[str, str], float]
) -> list[list[str]]:
    """Return the rows of one architecture."""
    backbone = backbone_of(name, options.layers, options.width)
    steps, sizes = {}, {}
    rows = []
    with tempfile.TemporaryDirectory() as holder:
        n_base = save(backbone, holder)
        for adapter in ADAPTERS:
            try:
                model = adapted(backbone, adapter, Path(holder))
            except ComponentError as error:
                print(f"{name}: {error}")
                continue
            sizes[adapter] = weights(model)
            steps[adapter] = stepper(backbone, model, BATCH)
    clock: dict[str, list[float]] = {adapter: [] for adapter in steps}
    cpu: dict[str, list[float]] = {adapter: [] for adapter in steps}
    for number in range(options.rounds + 2):
        for adapter, step in steps.items():
            start, busy = time.perf_counter(), time.process_time()
            step()
            if number >= 2:  # the first ones plan
                clock[adapter].append(time.perf_counter() - start)
                cpu[adapter].append(time.process_time() - busy)
    for adapter in steps:
        seconds = statistics.median(cpu[adapter])
        megabytes, trains = sizes[adapter]
        relative = seconds / statistics.median(cpu["full"])
        by_clock = statistics.median(clock[adapter]) / statistics.median(clock["full"])
        row = [name, adapter, f"{trains / n_base:.2%}", f"{megabytes:.1f}"]
        row.append(f"{needed[name, adapter]:.0f}" if needed else "")
        rows.append([*row, f"{1000 * seconds:.0f}", f"{relative:.2f}", f"{by_clock:.2f}"])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # First: torch cannot fork after it has computed gradients.
    needed = {} if options.no_memory else memories(options)
    tune_allocator()
    print(machine(), f"\n{options.layers} × {options.width}, {BATCH} × {LENGTH} tokens")
    header = ["backbone", "adapter", "trains", "weights, MB", "training needs, MB"]
    header += ["step, CPU ms", "to full (CPU)", "to full (clock)"]
    rows = [row for name in ARCHITECTURES for row in measure(name, options, needed)]
    print(table(header, rows))


if __name__ == "__main__":
    main()
