"""glibc's allocator set up for training, and the peak memory of a block of code."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from types import TracebackType
from typing import Self

import psutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 1 << 30
# What torch says on a GPU, and its allocator on a CPU: a RuntimeError like many others.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|DefaultCPUAllocator|can('t|not) allocate memory", re.IGNORECASE
)


def out_of_memory(error: BaseException) -> str | None:
    """Return what to do about an error if it says that memory is used up; else None."""
    text = " ".join(str(error).split()) or "no message"
    if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(text):
        return None
    return (
        "out of memory; of a language model lower batch_size (gradient_accumulation_steps "
        "makes up for it) or score_batch_size, take head=blocked or sampled_softmax for a "
        f"large catalogue, or a smaller backbone ({text})"
    )


def tune_allocator() -> bool:
    """Keep freed memory in the process instead of giving it back after every big tensor.

    Logits over a catalogue are big and short-lived: glibc maps and unmaps them at every step, and
    on a virtual machine the page faults cost more than the arithmetic
    (``benchmarks/allocator.py``). The numbers computed are the same. Nothing happens outside
    glibc, when ``LLMREC_MALLOC=0``, or when the user has set glibc's own ``MALLOC_…`` variables.

    Returns:
        whether the thresholds are set.
    """
    if not sys.platform.startswith("linux") or os.environ.get("LLMREC_MALLOC") == "0":
        return False
    if any(name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl and other libraries have no mallopt
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def passive_waiting() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has set ``OMP_WAIT_POLICY``.

    By default they spin. With other processes on the cores, a spinning thread keeps the one that
    it waits for from running: training small models took 4 to 6 times as long (145 s against 36 s
    with two threads, 22 s with one; the same numbers). It acts only before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def return_freed_memory() -> bool:
    """Give memory that was freed back to the system; return whether there was any (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl and other libraries have no malloc_trim
        return False
    return bool(trim(0))


class PeakMemory:
    """Context manager that records how far the process grew above its size at the start.

    Freed memory that the process keeps is given back first: what is measured would take it again
    without growing.

    Attributes:
        bytes: peak resident size minus that at the start, sampled every 10 ms (GPU memory of
            torch is added by the caller, who knows whether torch is loaded).
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._process = psutil.Process()
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self.restart()

        def sample() -> None:
            while not self._stop.wait(0.01):
                grown = self._process.memory_info().rss - self._start
                self.bytes = max(self.bytes, grown)

        self._thread = threading.Thread(target=sample, daemon=True)
        self._thread.start()
        return self

    def restart(self) -> None:
        """Measure from here on: what came before is preparation."""
        return_freed_memory()
        self._start = self._process.memory_info().rss
        self.bytes = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
