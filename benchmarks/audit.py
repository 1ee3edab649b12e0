"""What the leak auditor finds: every planted leak, and nothing in clean splits.

    python benchmarks/audit.py [--data FOLDER]

A leak is planted into clean splits of generated data (with reviews) and of MovieLens-100K; a row of
the first table says in how many splits it was found, and what else the auditor said beyond what it
says of the clean split (one leak brings others with it). The second table lists clean splits of all
data at hand, with what is found in them: errors would be false alarms, warnings are what the
protocol says of itself.
FOLDER (or $LLMREC_DATA) may hold ml-latest-small, amazon-beauty and amazon-games.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.core.errors import LlmrecError
from llmrec.core.types import Dataset, Interactions, Split
from llmrec.data.audit import Finding, audit, errors
from llmrec.data.movielens import MovieLens100K
from llmrec.data.splits import GlobalTemporal, LeaveOneOut, RandomKFold
from llmrec.data.synthetic import Synthetic
from llmrec.testing.leaks import (
    AT_ONE_MOMENT,
    LAST,
    NEED_TEXTS,
    PLANTS,
    clean_prompts,
    with_reviews,
)

SPLITS = {"leave_one_out": LeaveOneOut(), "global_temporal": GlobalTemporal()}
SEEDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LLMREC_DATA"))
    folder = parser.parse_args().data
    bases = {
        (name, key): splitter.split(data)
        for name, data in own_data().items()
        for key, splitter in SPLITS.items()
    }
    print(f"Planted, on {', '.join(f'{a} {b}' for a, b in bases)}; {SEEDS} seeds\n")
    print("| planted | must be found as | found | severity | also found |\n|---|---|---|---|---|")
    clean = {key: seen(audit(split)) for key, split in bases.items()}
    for name, (code, where, plant) in PLANTS.items():
        n, found, severities, others = 0, 0, set(), set()
        for key, split in bases.items():
            if where in (LAST, AT_ONE_MOMENT) and where != key[1]:
                continue
            if name in NEED_TEXTS and split.train.interactions.text is None:
                continue
            for seed in range(SEEDS):
                planted = plant(split, np.random.default_rng(seed))
                findings = audit(
                    planted.split,
                    prompts=planted.prompts,
                    pieces=planted.pieces,
                    semantic_ids=planted.semantic_ids,
                )
                hits = {f.severity for f in findings if f.code == code}
                n, found, severities = n + 1, found + bool(hits), severities | hits
                others |= {f.code for f in findings} - clean[key] - {code}
        also = ", ".join(sorted(others)) or "nothing"
        print(f"| {name} | {code} | {found} of {n} | {', '.join(sorted(severities))} | {also} |")
    print("\nClean\n\n| data | split | errors | warnings | seconds |\n|---|---|---|---|---|")
    for name, split in clean_splits(folder):
        start = time.perf_counter()
        findings = audit(split, prompts=[clean_prompts(split)] if has_titles(split) else [])
        took = time.perf_counter() - start
        wrong = ", ".join(f"{f.code} ({f.side})" for f in errors(findings)) or "none"
        beware = ", ".join(sorted({f.code for f in findings if f.severity == "warning"})) or "none"
        print(f"| {name} | {split.protocol} | {wrong} | {beware} | {took:.1f} |", flush=True)


def seen(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.code for finding in findings}


def has_titles(split: Split) -> bool:
    return "title" in split.train.item_fields


def own_data() -> dict[str, Dataset]:
    found = {"synthetic": with_reviews(Synthetic(n_users=400, n_items=1000).load())}
    try:
        found["ml-100k"] = MovieLens100K().load()
    except LlmrecError as error:
        print(f"without ml-100k: {error}")
    return found


def clean_splits(folder: Path | None) -> Iterator[tuple[str, Split]]:
    data = own_data()
    data["alphabetic ids"] = alphabetic(data["synthetic"])
    for name, each in (*data.items(), *given_data(folder)):
        splitters = [LeaveOneOut(), RandomKFold()]
        if each.interactions.timestamp is not None:
            splitters.append(GlobalTemporal())
        for splitter in splitters:
            yield name, splitter.split(each)


def alphabetic(data: Dataset) -> Dataset:
    """Ids in the order of titles: an order, but not that of the test."""
    ids = np.argsort(np.argsort(data.item_fields["title"].astype(str))).astype(str)
    return Dataset(
        "alphabetic", data.interactions, data.user_ids, ids, data.item_fields, data.user_fields
    )


def given_data(folder: Path | None) -> Iterator[tuple[str, Dataset]]:
    if folder is None:
        return
    path = Path(folder) / "ml-latest-small" / "ratings.csv"
    if path.is_file():
        frame = pl.read_csv(path)
        yield (
            "ml-latest-small",
            made(
                frame["userId"].to_numpy(),
                frame["movieId"].to_numpy(),
                frame["timestamp"].to_numpy(),
            ),
        )
    path = Path(folder) / "amazon-beauty" / "sequences.txt"
    if path.is_file():
        rows = [line.split("\t")[1].split() for line in path.read_text().splitlines()]
        yield "amazon-beauty (ASINs)", sequences(rows)
    path = Path(folder) / "amazon-games" / "games.test.inter"
    if path.is_file():
        lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
        yield "amazon-games (not clean)", sequences([[*a.split(), b] for _, a, b in lines])


def sequences(rows: list[list[str]]) -> Dataset:
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return made(users, np.array([item for row in rows for item in row]), None)


def made(user: np.ndarray, item: np.ndarray, time_: np.ndarray | None) -> Dataset:
    users, user = np.unique(user, return_inverse=True)
    items, item = np.unique(item, return_inverse=True)
    log = Interactions(user.astype(np.int32), item.astype(np.int32), None, time_)
    return Dataset("given", log.sorted(), users.astype(str), items.astype(str))


if __name__ == "__main__":
    main()
