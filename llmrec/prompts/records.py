"""What a text prompt may say of an item."""

from __future__ import annotations

from llmrec.core.types import Dataset


def item_records(dataset: Dataset) -> list[dict[str, str]]:
    """Return the fields of each item, by item id; a missing title falls back on the external id."""
    names = list(dataset.item_fields)
    columns = [dataset.item_fields[name].tolist() for name in names]
    records = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    records = records or [{} for _ in range(dataset.n_items)]
    for record, external in zip(records, dataset.item_ids.tolist(), strict=True):
        if not record.get("title"):
            record["title"] = f"item {external}"
    return records
