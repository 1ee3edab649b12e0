"""What a recommender that is made of others says of them: costs, and the words they read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Records = Sequence[Mapping[str, str]]


def added_usage(parts: Iterable[Any]) -> dict[str, Any]:
    """Return requests, tokens and money of all parts together; empty if none asks an endpoint.

    Args:
        parts: recommenders; one without ``endpoint_usage`` asks none.
    """
    each: list[dict[str, Any]] = [getattr(part, "endpoint_usage", dict)() for part in parts]
    usages = [usage for usage in each if usage]
    if not usages:
        return {}
    counts = ("requests", "cached_requests", "input_tokens", "output_tokens")
    spent = [usage["spent"] for usage in usages if usage["spent"] is not None]
    return {
        **{name: sum(usage[name] for usage in usages) for name in counts},
        "estimated_tokens": any(usage["estimated_tokens"] for usage in usages),
        "spent": sum(spent) if spent else None,
    }


def readers(parts: Iterable[Any]) -> list[Any]:
    """Return the parts that read words when they score."""
    return [part for part in parts if getattr(part, "item_records", None) is not None]


def all_records(parts: Iterable[Any]) -> Records | None:
    """Return the fields of the items that any part reads when it scores; None if none reads."""
    found: list[Records] = [part.item_records for part in readers(parts)]
    if not found:
        return None
    merged = []
    for fields in zip(*found, strict=True):
        record: dict[str, str] = {}
        for own in fields:
            record.update(own)
        merged.append(record)
    return merged


@contextlib.contextmanager
def other_texts_for(parts: Iterable[Any], records: Records) -> Iterator[None]:
    """Score with other words for the items within the block, in every part that reads words."""
    with contextlib.ExitStack() as stack:
        for part in readers(parts):
            stack.enter_context(part.other_texts(records))
        yield
