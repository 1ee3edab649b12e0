from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from llmrec.core.memory import PeakMemory, tune_allocator

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")


@linux
def test_the_allocator_keeps_freed_memory() -> None:
    """Freeing a big array and taking another costs no page faults once the thresholds are set."""
    code = (
        "import resource, sys, numpy as np\n"
        "from llmrec.core.memory import tune_allocator\n"
        "print(tune_allocator())\n"
        "def faults():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(40_000_000 // 8); before = faults()\n"
        "for _ in range(5): np.ones(40_000_000 // 8)\n"
        "print(faults() - before)"
    )

    def run(**env: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        )
        return done.stdout.split()

    tuned, fewer = run()
    untouched, faults = run(LLMREC_MALLOC="0")
    assert (tuned, untouched) == ("True", "False")
    assert int(fewer) < int(faults) / 10


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"])
def test_the_users_own_settings_win(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1000000")
    assert tune_allocator() is False


@linux
def test_the_same_work_costs_the_same_twice() -> None:
    """Also where freed memory is kept: what a first row has freed is not free for the second."""
    code = (
        "import time, numpy as np\n"
        "from llmrec.core.memory import PeakMemory, tune_allocator\n"
        "tune_allocator()\n"
        "for _ in range(2):\n"
        "    with PeakMemory() as memory:\n"
        "        array = np.ones(100_000_000 // 8); time.sleep(0.1); del array\n"
        "    print(memory.bytes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    assert first > 80_000_000
    assert second > 80_000_000


def test_peak_memory_starts_again() -> None:
    import time

    with PeakMemory() as memory:
        array = np.ones(100_000_000 // 8)
        time.sleep(0.1)
        del array
        memory.restart()
        time.sleep(0.05)
    assert memory.bytes < 50_000_000


def test_peak_memory_sees_an_array_that_is_gone_at_the_end() -> None:
    import time

    with PeakMemory() as memory:
        array = np.ones(100_000_000 // 8)
        time.sleep(0.1)
        del array
    assert memory.bytes > 80_000_000


def test_the_sampling_thread_ends_on_an_error() -> None:
    memory = PeakMemory()
    with pytest.raises(ZeroDivisionError), memory:
        raise ZeroDivisionError
    assert not memory._thread.is_alive()
