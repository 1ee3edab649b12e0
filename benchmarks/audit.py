"""What the leak auditor finds: every planted leak, and nothing in clean splits.

    python benchmarks/audit.py [--data FOLDER]

A leak is planted into clean splits of generated data (with reviews) and of MovieLens-100K; a row of
the first table says in how many splits it was found, and what else the auditor said beyond what it
says of the clean split (one leak brings others with it). The second table is about saved
recommenders: fitted on train, or on held-out rows as well. The third lists clean splits of all data
at hand, with what is found in them: errors would be false alarms, warnings are what the
protocol says of itself.
FOLDER (or $LLMREC_DATA) may hold ml-latest-small, amazon-beauty and amazon-games.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llmrec.core.config import build
from llmrec.core.errors import LlmrecError
from llmrec.core.types import Dataset, Interactions, Split
from llmrec.data.audit import Finding, audit, errors
from llmrec.data.audit.statistics import piece_finding
from llmrec.data.movielens import MovieLens100K
from llmrec.data.splits import GlobalTemporal, LeaveOneOut, RandomKFold
from llmrec.data.synthetic import Synthetic
from llmrec.recommenders.refits import refits_of
from llmrec.testing.leaks import (
    AT_ONE_MOMENT,
    LAST,
    NEED_TEXTS,
    PLANTS,
    SHARE,
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
    print_saved(bases)
    print("\nClean\n\n| data | split | errors | warnings | seconds |\n|---|---|---|---|---|")
    for name, split in clean_splits(folder):
        start = time.perf_counter()
        findings = audit(split, prompts=[clean_prompts(split)] if has_titles(split) else [])
        took = time.perf_counter() - start
        wrong = ", ".join(f"{f.code} ({f.side})" for f in errors(findings)) or "none"
        beware = ", ".join(sorted({f.code for f in findings if f.severity == "warning"})) or "none"
        print(f"| {name} | {split.protocol} | {wrong} | {beware} | {took:.1f} |", flush=True)


# Fitted and stored as a run does it. A language model is small: of it only counts are compared.
SAVED: dict[str, dict[str, Any]] = {
    "popularity": {"name": "popularity"},
    "bias": {"name": "bias"},
    "item_knn": {"name": "item_knn"},
    "user_knn": {"name": "user_knn"},
    "markov_knn": {"name": "markov_knn"},
    "ease": {"name": "ease"},
    "implicit_als": {"name": "implicit_als"},
    "biased_mf": {"name": "biased_mf"},
    "feature_model": {
        "name": "feature_model",
        "features": {
            "item": {"name": "history", "of": "item"},
            "words": {"name": "tfidf"},
        },
        "max_examples": 2000,
    },
    "language model, text prompt": {
        "name": "language_model",
        "backbone": {"name": "gpt2", "hidden_size": 16, "n_layers": 1},
        "prompt": {"name": "text"},
        "head": {"name": "classification", "item_weights": "own"},
        "epochs": 1,
        "examples_per_user": 1,
    },
}


def print_saved(bases: dict[tuple[str, str], Split]) -> None:
    """Print in how many splits a leak in a saved recommender was found, and false alarms."""
    print(
        "\nSaved recommenders, fitted on train, or also on 5 % of the test rows, or on all rows\n"
    )
    print("| saved | clean: alarms | some test rows: found | all rows: found |\n|---|---|---|---|")
    for name, spec in SAVED.items():
        counts = {how: [0, 0] for how in ("clean", "some", "all")}
        for (data, _), split in bases.items():
            if spec["name"] == "language_model" and data != "synthetic":
                continue
            some = np.random.default_rng(0).random(len(split.test)) < SHARE
            whole = split.train.union(split.valid).union(split.test)
            rows = {"some": split.train.union(split.test.select(some)), "all": whole}
            for how, given in {"clean": split.train, **rows}.items():
                counts[how][0] += alarm(spec, given, split)
                counts[how][1] += 1
        told = " | ".join(f"{found} of {n}" for found, n in counts.values())
        print(f"| {name} | {told} |", flush=True)


def alarm(spec: dict[str, Any], rows: Dataset, split: Split) -> bool:
    """Whether the auditor complains of a recommender that was fitted on some rows and saved."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        build("recommender", spec, seed=0).fit(rows, split.valid).save(folder)
        refits = list(refits_of("model", folder, split.valid))
        return any(piece_finding(split, refit.piece) is not None for refit in refits)


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
