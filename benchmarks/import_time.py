"""What it takes to import llmrec and to start its command line.

python benchmarks/import_time.py [--rounds 10]
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable


def interpreter() -> float:
    """Return the milliseconds of an interpreter that does nothing."""
    return wall([sys.executable, "-c", "pass"])


def import_total() -> float:
    """Return what ``-X importtime`` says of ``import llmrec``, in milliseconds."""
    command = [sys.executable, "-X", "importtime", "-c", "import llmrec"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"\| +(\d+) \| llmrec$", done.stderr, re.MULTILINE)
    assert found is not None, done.stderr
    return int(found[1]) / 1000


def help_wall() -> float:
    """Return the milliseconds of ``llmrec --help``, interpreter included."""
    return wall([sys.executable, "-m", "llmrec.cli", "--help"])


def list_wall() -> float:
    """Return the milliseconds of ``llmrec list``, interpreter included."""
    return wall([sys.executable, "-m", "llmrec.cli", "list"])


def wall(command: list[str]) -> float:
    """Return the milliseconds that a command takes."""
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return 1000 * (time.perf_counter() - start)


MEASURED: dict[str, Callable[[], float]] = {
    "python -c pass": interpreter,
    "import llmrec (-X importtime)": import_total,
    "llmrec --help": help_wall,
    "llmrec list": list_wall,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print("load of the machine at the start:", *(f"{load:.1f}" for load in os.getloadavg()))
    print(f"{'':<30}  {'median':>8}  {'best':>8}")
    for name, measured in MEASURED.items():
        values = [measured() for _ in range(options.rounds)]
        print(f"{name:<30}  {statistics.median(values):5.0f} ms  {min(values):5.0f} ms")


if __name__ == "__main__":
    main()
