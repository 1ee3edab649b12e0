"""Cleaning the texts of a data set, and what is said about it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llmrec.core.errors import DataError, unknown
from llmrec.core.protocols import TextStep
from llmrec.core.types import Dataset
from llmrec.data.duplicates import identical_texts, near_duplicates

WRITTEN = "text"


def clean_dataset(dataset: Dataset, steps: Mapping[str, TextStep]) -> Dataset:
    """Return the data set with cleaned texts; ``source["text"]`` counts what was done.

    Args:
        dataset: any.
        steps: by label, applied in this order.

    Raises:
        DataError: for a step that names a column which the data set lacks.
    """
    if not steps:
        return dataset
    columns = text_columns(dataset)
    before = {name: text_report(texts) for name, texts in columns.items()}
    done: list[dict[str, Any]] = []
    for label, step in steps.items():
        for name in _chosen(dataset, label, step, columns):
            old = columns[name]
            new = step.apply(old)
            columns[name] = new
            changed = sum(a != b for a, b in zip(old, new, strict=True))
            emptied = sum(bool(a) and not b for a, b in zip(old, new, strict=True))
            fact: dict[str, Any] = {
                "step": label,
                "field": name,
                "changed": changed,
                "emptied": emptied,
            }
            if hasattr(step, "facts"):
                fact["facts"] = step.facts(old)
            done.append(fact)
    report = {
        "steps": done,
        "before": before,
        "after": {name: text_report(texts) for name, texts in columns.items()},
    }
    return _with_columns(dataset, columns, report)


def text_columns(dataset: Dataset) -> dict[str, list[str]]:
    """Return every text column by name: item fields, and ``text`` for what users write."""
    columns = {
        f"item.{name}" if name == WRITTEN else name: [str(value) for value in values]
        for name, values in dataset.item_fields.items()
    }
    if dataset.interactions.text is not None:
        columns[WRITTEN] = [str(value) for value in dataset.interactions.text]
    return columns


def text_report(texts: Sequence[str]) -> dict[str, int]:
    """Return counts of one column: texts, missing, invalid, duplicate, near_duplicate.

    *Missing* is empty or blank; *invalid* holds damaged or control characters, or no letter or
    digit at all; *duplicate* has the words of an earlier text, *near_duplicate* nearly so (both
    only of five words or more).
    """
    same = identical_texts(texts, texts)
    copies = same.left[same.right < same.left]
    rest = np.setdiff1d(np.arange(len(texts)), copies)
    near = near_duplicates([texts[place] for place in rest])
    return {
        "texts": len(texts),
        "missing": sum(not text.strip() for text in texts),
        "invalid": sum(bool(text.strip()) and is_invalid(text) for text in texts),
        "duplicate": len(copies),
        "near_duplicate": len(near),
    }


def is_invalid(text: str) -> bool:
    """Whether a text holds damaged or control characters, or nothing that can be read.

    Example:
        >>> is_invalid("caf\\ufffd"), is_invalid("***"), is_invalid("fine\\n"), is_invalid("😀")
        (True, True, False, False)
    """
    readable = False
    for character in text:
        if character.isalnum():
            readable = True
            continue
        kind = unicodedata.category(character)
        if (
            character == "\ufffd"
            or kind in ("Cs", "Cn", "Co")
            or (kind == "Cc" and character not in "\t\n\r")
        ):
            return True
        readable |= kind == "So"
    return not readable


def _chosen(
    dataset: Dataset, label: str, step: TextStep, columns: Mapping[str, list[str]]
) -> list[str]:
    if step.fields is None:
        return list(columns)
    for name in step.fields:
        # A step for what users write is harmless where they write nothing.
        if name not in columns and name != WRITTEN:
            what = f"text column of {dataset.name} in step {label}"
            raise DataError(unknown(what, name, [*columns, WRITTEN]))
    return [name for name in step.fields if name in columns]


def _with_columns(
    dataset: Dataset, columns: Mapping[str, list[str]], report: Mapping[str, Any]
) -> Dataset:
    fields = {
        name: np.array(columns[f"item.{name}" if name == WRITTEN else name], dtype=object)
        for name in dataset.item_fields
    }
    log = dataset.interactions
    if WRITTEN in columns:
        log = replace(log, text=np.array(columns[WRITTEN], dtype=object))
    return replace(
        dataset,
        interactions=log,
        item_fields=fields,
        source={**dataset.source, "text": report},
    )
