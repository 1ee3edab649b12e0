"""What a report says beside the numbers: data, versions, curves, examples; all from the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.files import atomic_path, read_json, write_json
from llmrec.core.types import Dataset
from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.evaluate import Exam
from llmrec.experiment.findings import read_audit
from llmrec.experiment.folder import CONFIG, VERSIONS, slugs
from llmrec.reporting.html import Example, ReportContext
from llmrec.reporting.text import best_of

LENGTHS, EXAMPLES = "history_lengths.npy", "examples.json"
_SHORT, _SHOWN = 0.1, 5


def write_lengths(folder: Path, exam: Exam) -> None:
    """Keep how much was known of each judged user."""
    with atomic_path(folder / LENGTHS) as temporary, temporary.open("wb") as file:
        np.save(file, exam.queries.histories.lengths)


def write_examples(folder: Path, exam: Exam, comparison: Comparison, dataset: Dataset) -> None:
    """Keep what the best of each kind recommended to a user with few, some and many items."""
    best = [best_of(comparison, family) for family in ("language_model", "baseline", "ensemble")]
    shown = [result for result in best if result is not None and result.lists is not None]
    if not shown:
        return
    titles = np.array(item_titles(dataset), object)
    by_length = np.argsort(exam.queries.histories.lengths, kind="stable")
    places = [int(share * (len(by_length) - 1)) for share in (_SHORT, 0.5, 1 - _SHORT)]
    examples = []
    for row in dict.fromkeys(by_length[places].tolist()):
        recommended = {}
        for result in shown:
            assert result.lists is not None
            items = result.lists[row][:_SHOWN]
            recommended[result.label] = titles[items[items >= 0]].tolist()
        examples.append(
            {
                "user": str(exam.user_ids[row]),
                "history": titles[exam.queries.histories[row][-_SHOWN:]].tolist(),
                "truth": titles[exam.targets.items[row]].tolist(),
                "recommended": recommended,
            }
        )
    write_json(folder / EXAMPLES, examples)


def item_titles(dataset: Dataset) -> list[str]:
    """Return what people call the items: their titles, else all texts, else their ids."""
    texts = dataset.item_texts(["title"] if "title" in dataset.item_fields else None)
    return [
        text or f"item {external}" for text, external in zip(texts, dataset.item_ids, strict=True)
    ]


def report_context(folder: Path, data: Mapping[str, Any], labels: list[str]) -> ReportContext:
    """Return what a run folder knows beside its results; what is absent is left out."""
    lengths = folder / LENGTHS
    findings = read_audit(folder)
    examples = read_json(folder / EXAMPLES) if (folder / EXAMPLES).is_file() else []
    return ReportContext(
        data={key: value for key, value in data.items() if key not in ("leaks", "fingerprint")},
        leaks=str(data.get("leaks", "")),
        findings=None if findings is None else [str(finding) for finding in findings],
        versions=_versions(folder / VERSIONS),
        config=(folder / CONFIG).read_text(encoding="utf-8"),
        history_lengths=np.load(lengths) if lengths.is_file() else None,
        curves={
            label: curve
            for label, slug in slugs(labels).items()
            if (curve := read_curve(folder / "curves" / f"{slug}.jsonl"))
        },
        examples=[Example(**example) for example in examples],
    )


def _versions(path: Path) -> dict[str, str]:
    found = read_json(path) if path.is_file() else {}
    packages = found.pop("packages", {})
    if found.pop("resumed", []):
        found["resumed"] = f"with other versions, see {path.name}"
    return {name: str(value) for name, value in {**packages, **found}.items() if value}


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Return the curves of one fit by name: (step, value), of a repeated step the last value.

    A line that was cut by a kill is left out; a resumed fit writes its steps again.
    """
    if not path.is_file():
        return {}
    curves: dict[str, dict[float, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        step = values.pop("step")
        for name, value in values.items():
            curves.setdefault(name, {})[step] = value
    return {name: sorted(points.items()) for name, points in curves.items()}
