"""What a text prompt may say of an item."""

from __future__ import annotations

from collections.abc import Sequence

from llmrec.core.types import Dataset


def item_records(
    dataset: Dataset, identifiers: Sequence[str] | None = None
) -> list[dict[str, str]]:
    """Return the fields of each item, by item id; a missing title falls back on the external id.

    Args:
        dataset: with item fields.
        identifiers: (n_items,) what a generative head writes, as a field of its own name.
    """
    names = list(dataset.item_fields)
    columns = [dataset.item_fields[name].tolist() for name in names]
    records = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    records = records or [{} for _ in range(dataset.n_items)]
    for record, external in zip(records, dataset.item_ids.tolist(), strict=True):
        if not record.get("title"):
            record["title"] = f"item {external}"
    if identifiers is not None:
        for record, identifier in zip(records, identifiers, strict=True):
            record["identifier"] = identifier
    return records
