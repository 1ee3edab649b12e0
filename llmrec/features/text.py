"""What the text features share: whose texts, learned on which, gathered how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Queries, Ragged
from llmrec.features.base import BaseFeature, Matrix

Of = Literal["item", "user"]
Source = Literal["item_fields", "written"]


def text_problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is wrong between the options that all text features have."""
    found = []
    if params.get("of", "item") == "user" and params.get("source", "item_fields") != "written":
        found.append(("source", "of a user only what was written is known: source=written"))
    if params.get("source", "item_fields") == "written" and params.get("fields") is not None:
        found.append(("fields", "are those of items, but source is written; leave it null"))
    return found


class TextFeature(BaseFeature):
    """Base of the text features: a subclass learns from texts, encodes them, gathers rows.

    Of an item the texts are its fields or all that was written about it; of a user all that he or
    she wrote before the moment of the query. Only the training side is read: texts of items that
    occur in it, and what was written in it. An item that does not occur gets a row as well.
    """

    of: Of
    source: Source
    fields: Sequence[str] | None

    @property
    def describes(self) -> Literal["item", "query"]:  # type: ignore[override]
        return "item" if self.of == "item" else "query"

    @property
    def learned(self) -> tuple[str, ...]:
        """The names of what `learn_texts` sets."""
        raise NotImplementedError

    @property
    def state(self) -> tuple[str, ...]:
        if self.of == "item":
            return (*self.learned, "matrix")
        return (*self.learned, "rows", "written_rows", "written_offsets", "written_times")

    def learn_texts(self, texts: list[str]) -> None:
        """Learn from the training texts, none of them empty."""
        raise NotImplementedError

    def encode(self, texts: list[str], owners: list[str] | None) -> Matrix:
        """Return one row per text; an empty one gives zeros.

        Args:
            texts: N texts.
            owners: who wrote them, None where nobody did.
        """
        raise NotImplementedError

    def gather(self, groups: Ragged, rows: Matrix) -> Matrix:
        """Return one row per group of texts."""
        raise NotImplementedError

    def learn(self, train: Dataset) -> None:
        if self.source == "item_fields":
            texts = train.item_texts(self.fields)
            chosen = [texts[item] for item in np.flatnonzero(train.item_counts)]
        else:
            chosen = _written(train).tolist()
        chosen = [text for text in chosen if text.strip()]
        if not chosen:
            what = "items have no texts" if self.source == "item_fields" else "rows have no texts"
            raise DataError(
                f"{type(self).__name__} learns from texts, but the training {what} in "
                f"{train.name}; choose other fields, or another feature"
            )
        self.learn_texts(chosen)

    def observe(self, known: Dataset) -> Self:
        if self.source == "item_fields":
            texts = known.item_texts(self.fields)
            each = Ragged(np.arange(len(texts)), np.arange(len(texts) + 1))
            self.matrix = self.gather(each, self.encode(texts, None))
            return self
        log = known.interactions
        owners = known.user_ids[log.user].tolist()
        rows = self.encode(_written(known).tolist(), owners)
        if self.of == "item":
            numbers = np.arange(len(log), dtype=np.int64)
            self.matrix = self.gather(Ragged.from_groups(log.item, numbers, known.n_items), rows)
            return self
        self.rows = rows
        self.written_rows = known.rows_by_user.values
        self.written_offsets = known.rows_by_user.offsets
        times = np.empty(0, np.int64) if log.timestamp is None else log.timestamp
        self.written_times = times
        return self

    def items(self) -> Matrix:
        return self.matrix if self.of == "item" else super().items()

    def queries(self, queries: Queries) -> Matrix:
        if self.of == "item":
            return super().queries(queries)
        by_user = Ragged(self.written_rows, self.written_offsets)
        groups = by_user.take(np.maximum(queries.users, 0))
        allowed = np.repeat(queries.users >= 0, groups.lengths)
        if queries.time is not None and len(self.written_times):
            until = np.repeat(queries.time, groups.lengths)
            allowed &= self.written_times[groups.values] < until
        return self.gather(groups.keep(allowed), self.rows)


def _written(data: Dataset) -> np.ndarray:
    texts = data.interactions.text
    if texts is None:
        raise DataError(
            f"source=written reads what users wrote, and {data.name} has no such column"
        )
    return texts
