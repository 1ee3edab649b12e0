"""Two ways of doing the same, timed in turns, so that what else the machine does hits both."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds: seconds by the clock, and CPU seconds of this process."""

    clock: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what is done.
        slow: how others do it, with its time.
        fast: how llmrec does it.
        target: the ratio to reach, "" for none.
        check: proof that both give the same.
    """

    what: str
    slow: Timing
    fast: Timing
    target: str
    check: str

    @property
    def ratio(self) -> float:
        """CPU seconds of the slow way to those of the fast one."""
        return self.slow.cpu / self.fast.cpu

    def cells(self) -> list[str]:
        """Return the cells as text."""
        clock = self.slow.clock / self.fast.clock
        seconds = f"{self.slow.cpu:.3g} / {self.fast.cpu:.3g}"
        return [self.what, seconds, f"{self.ratio:.2f}", f"{clock:.2f}", self.target, self.check]


def alternated(
    ways: Mapping[str, Callable[[], Any]], rounds: int, *, warm: bool = True
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Return timings and last results of several ways, taking turns; one warm-up each before."""
    found: dict[str, Any] = {}
    clock: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    if warm:
        for way in ways.values():
            way()
    for _ in range(rounds):
        for name, way in ways.items():
            start, busy = time.perf_counter(), time.process_time()
            found[name] = way()
            clock[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - busy)
    timings = {
        name: Timing(statistics.median(clock[name]), statistics.median(cpu[name])) for name in ways
    }
    return timings, found


HEADER = ["what", "CPU s, plain / llmrec", "ratio (CPU)", "ratio (clock)", "target", "same result?"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def machine() -> str:
    """Return what a reader has to know of the machine."""
    import torch

    name = "unknown CPU"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    capability = torch.backends.cpu.get_cpu_capability()
    return (
        f"{name}, {os.cpu_count()} cores, {capability}; torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s); load {load}"
    )
