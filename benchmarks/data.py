"""Loading, filtering and splitting of generated Parquet logs of 1 to 25 million interactions.

    python benchmarks/data.py [--sizes 1 5 10 25] [--csv] [--rectools PYTHON] [--recbole PYTHON]

The logs have 160,000 users and 60,000 items with skewed activity and popularity, and stand user by
user, as MovieLens' files do. Each run is a process of its own: load, 5-core, leave-one-out,
histories of the test; then once more from the cache. ``--csv`` also loads the same log as CSV, and
audits its leave-one-out split. The other options name Pythons that have the
peers; they load and split the smallest log in the same run: ids mapped, the last two interactions
of each user held out. RecTools reads the Parquet file, RecBole its own text file (and llmrec that
one too, beside it).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N_USERS, N_ITEMS, CORE = 160_000, 60_000, 5

RECTOOLS = """
import json, resource, sys, time
import pandas as pd
from rectools.dataset import Dataset
from rectools.model_selection import LastNSplitter
begin = time.perf_counter()
frame = pd.read_parquet(sys.argv[1])
frame = frame.rename(columns={"user": "user_id", "item": "item_id", "rating": "weight",
                              "time": "datetime"})
frame["datetime"] = pd.to_datetime(frame["datetime"], unit="s")
frame = frame.drop_duplicates(["user_id", "item_id"])
data = Dataset.construct(frame)
loaded = time.perf_counter() - begin
splitter = LastNSplitter(n=1, n_splits=2, filter_cold_users=False, filter_cold_items=False,
                         filter_already_seen=False)
parts = [(len(train), len(test)) for train, test, _ in splitter.split(data.interactions)]
total = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"load": loaded, "split": total - loaded, "total": total, "peak": peak}))
"""


RECBOLE = """
import json, pathlib, resource, sys, time, types
sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=object)
from recbole.config import Config
from recbole.data import create_dataset
folder = pathlib.Path(sys.argv[1]).parent
begin = time.perf_counter()
config = Config(model="BPR", dataset=folder.name, config_dict={
    "data_path": str(folder.parent), "show_progress": False, "state": "ERROR",
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user",
                  "mode": "full"}})
data = create_dataset(config)
loaded = time.perf_counter() - begin
data.build()
total = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"load": loaded, "split": total - loaded, "total": total, "peak": peak}))
"""


def generate(path: Path, n: int) -> None:
    """Write a log of `n` interactions."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    activity = rng.lognormal(0, 1, N_USERS)
    lengths = rng.multinomial(n, activity / activity.sum())
    user = np.repeat(rng.permutation(N_USERS), lengths)
    popularity = 1 / np.arange(10, N_ITEMS + 10) ** 0.8
    item = np.searchsorted(np.cumsum(popularity / popularity.sum()), rng.random(n))
    frame = pl.DataFrame(
        {
            "user": user + 1,
            "item": np.minimum(item, N_ITEMS - 1) + 1,
            "rating": rng.integers(1, 11, n).astype(np.float32) / 2,
            "time": rng.integers(800_000_000, 1_700_000_000, n),
        }
    )
    frame.write_parquet(path)


def measure(path: Path) -> dict[str, float]:
    """Time every stage; meant for a process of its own."""
    from llmrec.core.memory import tune_allocator
    from llmrec.core.types import make_queries
    from llmrec.data.filters import KCore, apply_filters
    from llmrec.data.splits import LeaveOneOut
    from llmrec.data.typed import Parquet

    tune_allocator()  # as every run does
    seconds: dict[str, float] = {}
    begin = last = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[name], last = now - last, now

    source = Parquet(
        interactions=str(path), rating="rating", timestamp="time", duplicates="first", cache=True
    )
    data = source.load()
    stage("load")
    data = apply_filters(data, {"core": KCore(k=CORE)})
    stage("filter")
    split = LeaveOneOut().split(data)
    stage("split")
    queries, targets = make_queries(split.train.union(split.valid), split.test)
    stage("histories")
    assert len(queries) == len(targets.items)
    seconds["total"] = time.perf_counter() - begin
    seconds["rows"] = len(data)
    seconds["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", nargs="+", type=float, default=[1, 5, 10, 25], metavar="MILLIONS"
    )
    parser.add_argument("--csv", action="store_true", help="also load the log as CSV, and audit it")
    parser.add_argument("--rectools", metavar="PYTHON", help="a Python that has rectools")
    parser.add_argument("--recbole", metavar="PYTHON", help="a Python that has recbole and torch")
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.log is not None:
        how = {".inter": measure_text, ".csv": measure_csv}.get(options.log.suffix, measure)
        print(json.dumps(how(options.log)))
        return
    print(f"load before: {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")
    stages = ["load", "filter", "split", "histories", "total"]
    own = [*stages, "peak GB", "from cache", *["csv load", "csv GB", "audit"] * options.csv]
    print(f"{'rows':>12}" + "".join(f"{name:>11}" for name in own))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LLMREC_CACHE": folder}
        for millions in options.sizes:
            path = Path(folder) / f"{millions:g}.parquet"
            n = round(millions * 1e6)
            generate(path, n)
            command = [sys.executable, __file__, "--log", str(path)]
            runs = []
            for _ in range(2):
                done = subprocess.run(
                    command, env=environment, check=True, capture_output=True, text=True
                )
                runs.append(json.loads(done.stdout))
            first, second = runs
            row = [first[name] for name in stages] + [first["peak"], second["load"]]
            if options.csv:
                done = subprocess.run(
                    [*command[:-1], str(as_csv(path))],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                text = json.loads(done.stdout)
                row += [text["load"], text["peak"], text["audit"]]
            print(f"{n:>12,}" + "".join(f"{value:>11.2f}" for value in row), flush=True)
            if options.rectools and millions == options.sizes[0]:
                compare("rectools", options.rectools, RECTOOLS, path, first)
            if options.recbole and millions == options.sizes[0]:
                text = as_text(path)
                command[-1] = str(text)
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                compare("recbole", options.recbole, RECBOLE, text, json.loads(done.stdout))
            path.unlink()


def as_csv(path: Path) -> Path:
    """Write a log as CSV; it replaces the one before."""
    import polars as pl

    text = path.parent / "log.csv"
    pl.scan_parquet(path).sink_csv(text)
    return text


def measure_csv(path: Path) -> dict[str, float]:
    """Time loading a CSV file, and the leak audit of its leave-one-out split."""
    from llmrec.core.memory import tune_allocator
    from llmrec.data.audit import audit
    from llmrec.data.delimited import DelimitedFiles
    from llmrec.data.splits import LeaveOneOut

    tune_allocator()
    begin = time.perf_counter()
    source = DelimitedFiles(
        interactions=str(path), rating="rating", timestamp="time", duplicates="first"
    )
    data = source.load()
    loaded = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    split = LeaveOneOut().split(data)
    begin = time.perf_counter()
    audit(split)
    return {"load": loaded, "peak": peak, "audit": time.perf_counter() - begin}


def as_text(path: Path) -> Path:
    """Write a log in RecBole's form, without duplicates."""
    import polars as pl

    text = path.parent / "log" / "log.inter"
    text.parent.mkdir()
    names = {"user": "user_id:token", "item": "item_id:token"}
    names |= {"rating": "rating:float", "time": "timestamp:float"}
    frame = pl.read_parquet(path).unique(["user", "item"], keep="first", maintain_order=True)
    frame.rename(names).write_csv(text, separator="\t")
    return text


def measure_text(path: Path) -> dict[str, float]:
    """Time loading and splitting of RecBole's text file."""
    from llmrec.data.recbole import RecBole
    from llmrec.data.splits import LeaveOneOut

    begin = time.perf_counter()
    data = RecBole(interactions=str(path)).load()
    loaded = time.perf_counter() - begin
    LeaveOneOut().split(data)
    return {"load": loaded, "split": time.perf_counter() - begin - loaded}


def compare(name: str, python: str, code: str, path: Path, ours: dict[str, float]) -> None:
    """Print what a peer needs for loading and splitting, beside ours."""
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=path.parent,
    )
    peer = json.loads(done.stdout.splitlines()[-1])
    mine = ours["load"] + ours["split"]
    print(
        f"    {name}: load {peer['load']:.2f} s, split {peer['split']:.2f} s, "
        f"{peer['peak']:.2f} GB; llmrec on the same file: {mine:.2f} s, "
        f"{peer['total'] / mine:.1f} times as fast"
    )


if __name__ == "__main__":
    main()
