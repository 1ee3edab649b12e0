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


class OfParts:
    """What a recommender that is made of others says of them all."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """The fitted recommenders that it is made of, by name."""
        raise NotImplementedError

    def endpoint_usage(self) -> dict[str, Any]:
        """Return requests, tokens and money of all parts, for the table of costs."""
        return added_usage(self.parts.values())

    @property
    def item_records(self) -> Records | None:
        """The items' fields that any part reads when it scores; None if none reads words."""
        found: list[Records] = [part.item_records for part in self._readers()]
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
    def other_texts(self, records: Records) -> Iterator[None]:
        """Score with other words for the items within the block, in every part that reads words."""
        with contextlib.ExitStack() as stack:
            for part in self._readers():
                stack.enter_context(part.other_texts(records))
            yield

    def _readers(self) -> list[Any]:
        every = self.parts.values()
        return [part for part in every if getattr(part, "item_records", None) is not None]
