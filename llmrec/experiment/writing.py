"""``llmrec write``: writers fitted on one side of a split and judged on the other."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.config import build, check
from llmrec.core.errors import ConfigError, Problem, RunError, UnknownNameError, unknown
from llmrec.core.files import write_json, write_text
from llmrec.core.registry import registry
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Split
from llmrec.experiment.compose import (
    compose_config,
    config_files,
    config_folder,
    options_of_group,
    read_yaml,
)
from llmrec.experiment.datasets import load_dataset
from llmrec.experiment.schema import check_config
from llmrec.metrics.text import Features, Titles, text_report
from llmrec.recommenders.passages import Kind, Passages, descriptions, explanations, pairs
from llmrec.reporting.text import endpoint_line

SHOWN = (
    "bleu-1",
    "bleu-4",
    "rouge-1",
    "rouge-L",
    "distinct-2",
    "usr",
    "fcr",
    "fmr",
    "div",
    "grounded",
    "recommends",
    "recommends_true",
    "empty",
)
USAGE = ("requests", "cached_requests", "input_tokens", "output_tokens", "spent")


def write_text_report(
    words: Sequence[str],
    folder: Path,
    *,
    kind: Kind = "explanation",
    max_words: int | None = None,
    limit: int | None = 1000,
    source: Path | None = None,
    field: str = "description",
) -> str:
    """Fit writers, judge them on the test side, write table and samples; return the table.

    Args:
        words: names of writers (files of the group ``writer`` or registered names), options of
            one as ``NAME.key=value``, and overrides of data and split as for ``llmrec run``.
        folder: where ``texts.csv``, ``samples.jsonl``, the config and the fitted writers go.
        kind: what is written.
        max_words: texts are cut after so many words, in training and truth.
        limit: at most so many test texts, drawn with the seed; None for all.
        source: JSON lines of given texts and answers, for replies and conversations.
        field: the item field that is a description.

    Raises:
        ConfigError: for names, options or overrides that are wrong.
        DataError: if the data lacks such texts.
        RunError: if the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty; choose another folder")
    specs, overrides = writer_specs(words)
    config = compose_config(["experiment=none", "model=popularity", *overrides])
    check_config(config)
    sides, facts = _passages(config, kind, max_words, source, field)
    seed = int(config.get("seed") or 0)
    test = sides["test"]
    if limit is not None and len(test) > limit:
        rng = np.random.default_rng(derive_seed(seed, "test texts"))
        test = test.take(np.sort(rng.choice(len(test), limit, replace=False)))
    train = sides["train"]
    features = Features.frequent(train.texts)
    titles = Titles([str(record.get("title", "")) for record in train.records])
    rows, written = [], {}
    writers: dict[str, Any] = {}
    before = test.given if kind == "conversation" else None
    built = {label: build("writer", spec, seed=seed) for label, spec in specs.items()}
    for writer in built.values():
        writer.warm_up()
    for label, writer in built.items():
        started = time.perf_counter()
        writer.fit(train, sides["valid"])
        fitted = time.perf_counter()
        texts = writer.write(test.without_texts())
        done = time.perf_counter()
        writer.save(folder / "writers" / label)
        writers[label] = {"weights": writer.info.weights, **writer.info.details}
        if hasattr(writer, "decoding"):
            writers[label]["decoding"] = writer.decoding()
        usage = writer.endpoint_usage() if hasattr(writer, "endpoint_usage") else {}
        if usage:
            writers[label]["usage"] = usage
        written[label] = texts
        report = text_report(texts, test.texts, features, titles, before)
        seconds = {"fit_seconds": fitted - started, "write_seconds": done - fitted}
        rows.append({"writer": label, **report, **seconds, **{k: usage.get(k) for k in USAGE}})
    truth = text_report(test.texts, test.texts, features, titles, before)
    rows.append({"writer": "(truth)", **truth, "fit_seconds": 0.0, "write_seconds": 0.0})
    write_json(
        folder / "writing.json",
        {
            "kind": kind,
            "max_words": max_words,
            "writers": specs,
            "fitted": writers,
            "data": facts,
            "n": {side: len(each) for side, each in sides.items()} | {"judged": len(test)},
            "features": sorted(features.names),
        },
    )
    _save(folder, rows, written, test)
    head = f"{facts['name']}, {facts['protocol']}; {kind}; {len(test)} texts judged"
    head += f", cut to {max_words} words" if max_words else ""
    lines = [head, _table(rows, {k: v["weights"] for k, v in writers.items()})]
    lines += [endpoint_line(label, v["usage"]) for label, v in writers.items() if "usage" in v]
    return "\n".join(lines)


def writer_specs(words: Sequence[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the spec of each writer named, and the overrides that are not about writers.

    Raises:
        ConfigError: if no writer is named, or an option is wrong.
        UnknownNameError: for a writer that does not exist.
    """
    names = [word for word in words if "=" not in word]
    if not names:
        raise ConfigError("name at least one writer: llmrec list writer shows them")
    specs: dict[str, dict[str, Any]] = {}
    for name in names:
        file = config_files().get(f"writer/{name}")
        if file is None:
            try:
                registry("writer").get(name)
            except UnknownNameError as error:
                known = {*options_of_group(config_folder(), "writer"), *registry("writer").names()}
                raise UnknownNameError(unknown("writer", name, known)) from error
        specs[name] = read_yaml(file) if file is not None else {"name": name}
    others = []
    for word in (each for each in words if "=" in each):
        key, _, value = word.partition("=")
        label, _, path = key.partition(".")
        if label not in specs or not path:
            others.append(word)
            continue
        *above, last = path.split(".")
        place = specs[label]
        for part in above:
            place = place.setdefault(part, {})
        place[last] = _value(value)
    problems = [
        Problem(f"{label}.{problem.where}".rstrip("."), problem.what)
        for label, spec in specs.items()
        for problem in check("writer", spec)
    ]
    if problems:
        raise ConfigError(problems)
    return specs, others


def _value(text: str) -> Any:
    """Return an option as YAML reads it, or the text as it is where it is no YAML: a template."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _passages(
    config: Mapping[str, Any], kind: Kind, max_words: int | None, source: Path | None, field: str
) -> tuple[dict[str, Passages], dict[str, Any]]:
    """Return the passages by side, and what a table says of where they come from."""
    if kind in ("reply", "conversation"):
        if source is None:
            raise ConfigError(
                f"--kind {kind} reads JSON lines of texts and answers: give --source FILE"
            )
        facts = {"name": Path(source).name, "protocol": "8:1:1 by group, by hash"}
        return pairs(Path(source), kind, max_words), facts
    if source is not None:
        raise ConfigError(f"--source is for replies and conversations, not for --kind {kind}")
    dataset = load_dataset(config)
    split: Split = build("split", config["split"]).split(dataset)
    facts = {"name": dataset.name, "fingerprint": dataset.fingerprint, "protocol": split.protocol}
    if kind == "description":
        found = descriptions(split, max_words, field)
        return found, {**facts, "protocol": "items 8:1:1 by hash of id"}
    return explanations(split, max_words), facts


def _save(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    written: Mapping[str, Sequence[str]],
    test: Passages,
) -> None:
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / "texts.csv", buffer.getvalue())
    lines = []
    for row in range(len(test)):
        item = int(test.items[row])
        sample = {
            "user": int(test.users[row]),
            "item": item,
            "title": test.records[item].get("title", "") if item >= 0 else "",
            "given": test.given[row],
            "truth": test.texts[row],
            **{label: texts[row] for label, texts in written.items()},
        }
        lines.append(json.dumps(sample, ensure_ascii=False))
    write_text(folder / "samples.jsonl", "\n".join(lines) + "\n")


def _table(rows: Sequence[Mapping[str, Any]], weights: Mapping[str, str]) -> str:
    shown = [name for name in SHOWN if name in rows[0]]
    width = max(len(str(row["writer"])) for row in rows)
    lines = ["  ".join([f"{'writer':<{width}}", *(f"{name:>10}" for name in shown), "  weights"])]
    for row in rows:
        values = [f"{row[name]:>{max(10, len(name))}.4f}" for name in shown]
        origin = weights.get(str(row["writer"]), "")
        lines.append("  ".join([f"{row['writer']:<{width}}", *values, f"  {origin}"]).rstrip())
    return "\n".join(lines)
