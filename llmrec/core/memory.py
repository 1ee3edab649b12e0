"""glibc's allocator set up for training, and the peak memory of a block of code."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from types import TracebackType
from typing import Self

import psutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE = 1 << 30


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


class PeakMemory:
    """Context manager that records how far the process grew above its size at the start.

    Attributes:
        bytes: peak resident size minus that at the start, sampled every 10 ms (GPU memory of
            torch is added by the caller, who knows whether torch is loaded).
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._process = psutil.Process()
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        start = self._process.memory_info().rss

        def sample() -> None:
            while not self._stop.wait(0.01):
                self.bytes = max(self.bytes, self._process.memory_info().rss - start)

        self._thread = threading.Thread(target=sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
