"""The data every stage passes on: ragged rows, interactions, data sets, splits, queries.

All ids are dense integers (users ``0..n_users-1``, items ``0..n_items-1``); external ids and
texts live in the `Dataset`. Arrays are read-only by convention: nothing here is ever mutated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from llmrec.core.errors import DataError, unknown
from llmrec.core.order import stable_order

UNKNOWN_USER = -1
PADDING = -1


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths in one array.

    Attributes:
        values: (N,) all rows, one after the other.
        offsets: (R + 1,) int64; row r is ``values[offsets[r]:offsets[r + 1]]``.
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any] | np.ndarray], dtype: Any = np.int32) -> Ragged:
        """Build from a list of rows."""
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        parts = [np.asarray(row, dtype=dtype) for row in rows if len(row)]
        return cls(np.concatenate(parts) if parts else np.empty(0, dtype), offsets)

    @classmethod
    def from_groups(cls, groups: np.ndarray, values: np.ndarray, n_rows: int) -> Ragged:
        """Group `values` by row number, keeping their order within each row.

        Args:
            groups: (N,) row number of each value.
            values: (N,) the values.
            n_rows: number of rows, empty ones included.
        """
        order = stable_order(groups)
        counts = np.bincount(groups, minlength=n_rows)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(np.asarray(values)[order], offsets)

    @classmethod
    def spans(cls, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
        """Return rows of places: row r is ``arange(starts[r], starts[r] + lengths[r])``."""
        offsets = _offsets(lengths)
        return cls(np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets)

    @classmethod
    def empty(cls, n_rows: int, dtype: Any = np.int32) -> Ragged:
        """Return `n_rows` empty rows."""
        return cls(np.empty(0, dtype), np.zeros(n_rows + 1, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        if row < 0:
            row += len(self)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @cached_property
    def lengths(self) -> np.ndarray:
        """(R,) int64 length of each row."""
        return np.diff(self.offsets)

    @cached_property
    def row_of(self) -> np.ndarray:
        """(N,) int64 row number of each value."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    @property
    def place_of(self) -> np.ndarray:
        """(N,) int64 place of each value in its row, from 0."""
        places: np.ndarray = np.arange(len(self.values)) - np.repeat(
            self.offsets[:-1], self.lengths
        )
        return places

    def take(self, rows: np.ndarray | slice) -> Ragged:
        """Return the chosen rows, in the given order."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        return self._at(Ragged.spans(self.offsets[rows], self.lengths[rows]))

    def tail(self, n: int) -> Ragged:
        """Return the last `n` values of each row (all of a shorter row)."""
        lengths = np.minimum(self.lengths, n)
        return self._at(Ragged.spans(self.offsets[1:] - lengths, lengths))

    def _at(self, places: Ragged) -> Ragged:
        return places.with_values(self.values[places.values])

    def keep(self, mask: np.ndarray) -> Ragged:
        """Return the same rows with the values where a (N,) mask is True."""
        lengths = np.bincount(self.row_of[mask], minlength=len(self))
        return Ragged(self.values[mask], _offsets(lengths))

    def with_values(self, values: np.ndarray) -> Ragged:
        """Return other values in the same rows."""
        return Ragged(values, self.offsets)

    def concat(self, other: Ragged) -> Ragged:
        """Return rows joined pairwise: row r is ``self[r] + other[r]``."""
        groups = np.concatenate([self.row_of, other.row_of])
        return Ragged.from_groups(groups, np.concatenate([self.values, other.values]), len(self))

    def padded(
        self, length: int | None = None, fill: Any = PADDING, side: str = "right"
    ) -> np.ndarray:
        """Return a dense (R, length) array; rows longer than `length` keep their last values.

        Args:
            length: width, by default that of the longest row.
            fill: the value in the empty places.
            side: where the padding goes, ``"right"`` or ``"left"``.
        """
        width = int(self.lengths.max(initial=0)) if length is None else length
        rows = self.tail(width)
        dense = np.full((len(self), width), fill, dtype=self.values.dtype)
        column = rows.place_of
        if side == "left":
            column = column + np.repeat(width - rows.lengths, rows.lengths)
        dense[rows.row_of, column] = rows.values
        return dense


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Interactions:
    """A log of who did what, in time order (ties in the order of the file).

    The order of the rows *is* the order of events: a log without timestamps is in file order.

    Attributes:
        user: (N,) int32.
        item: (N,) int32.
        rating: (N,) float32, or None where the source has none.
        timestamp: (N,) int64 seconds since 1970, or None.
        text: (N,) object array of what the user wrote (reviews, …), or None.
    """

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray | None = None
    timestamp: np.ndarray | None = None
    text: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: np.ndarray) -> Interactions:
        """Return the chosen rows (index or boolean mask), keeping their order."""

        def pick(column: np.ndarray | None) -> np.ndarray | None:
            return None if column is None else column[rows]

        return Interactions(
            self.user[rows],
            self.item[rows],
            pick(self.rating),
            pick(self.timestamp),
            pick(self.text),
        )

    def sorted(self) -> Interactions:
        """Return the log in time order; equal times keep their order, no times change nothing."""
        if self.timestamp is None or np.all(self.timestamp[1:] >= self.timestamp[:-1]):
            return self
        return self.take(stable_order(self.timestamp))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Interactions over a fixed set of users and items, with external ids and texts.

    A side of a split is a `Dataset` too: fewer interactions, the same ids and texts.

    Attributes:
        name: for tables and messages.
        interactions: the log, in time order.
        user_ids: (n_users,) external ids, as strings.
        item_ids: (n_items,) external ids, as strings.
        item_fields: texts about items by field name, each (n_items,) strings, "" if missing.
        user_fields: the same about users.
        source: where it came from: url or path, checksum, licence, preprocessing; JSON-able.
    """

    name: str
    interactions: Interactions
    user_ids: np.ndarray
    item_ids: np.ndarray
    item_fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    user_fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def __len__(self) -> int:
        return len(self.interactions)

    def select(self, rows: np.ndarray) -> Dataset:
        """Return the data set with only the chosen interactions (index or mask), same ids."""
        rows = np.asarray(rows)
        if rows.dtype != bool:
            rows = np.sort(rows)
        return self.with_interactions(self.interactions.take(rows))

    def with_interactions(self, interactions: Interactions) -> Dataset:
        """Return the same users and items with another log."""
        return replace(self, interactions=interactions)

    def union(self, other: Dataset) -> Dataset:
        """Return the interactions of both in time order, those of `self` first on a tie."""
        a, b = self.interactions, other.interactions

        def join(x: np.ndarray | None, y: np.ndarray | None) -> np.ndarray | None:
            return None if x is None or y is None else np.concatenate([x, y])

        both = Interactions(
            np.concatenate([a.user, b.user]),
            np.concatenate([a.item, b.item]),
            join(a.rating, b.rating),
            join(a.timestamp, b.timestamp),
            join(a.text, b.text),
        )
        return self.with_interactions(both.sorted())

    @cached_property
    def rows_by_user(self) -> Ragged:
        """Row numbers of each user's interactions, oldest first: (n_users,) ragged int64."""
        user = self.interactions.user
        return Ragged.from_groups(user, np.arange(len(user), dtype=np.int64), self.n_users)

    @cached_property
    def histories(self) -> Ragged:
        """Item ids of each user, oldest first: (n_users,) ragged int32."""
        return self.rows_by_user.with_values(self.interactions.item[self.rows_by_user.values])

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(n_items,) int64 interactions of each item."""
        return np.bincount(self.interactions.item, minlength=self.n_items)

    def item_texts(self, fields: Sequence[str] | None = None) -> list[str]:
        """Return one text per item: its non-empty fields joined by ", ".

        Args:
            fields: which fields and in which order, by default all.

        Raises:
            DataError: for a field that the data set lacks.
        """
        chosen = list(self.item_fields) if fields is None else list(fields)
        for name in chosen:
            if name not in self.item_fields:
                raise DataError(unknown(f"item field of {self.name}", name, self.item_fields))
        columns = [self.item_fields[name] for name in chosen]
        if not columns:
            return [""] * self.n_items
        return [", ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]

    def user_index(self, external_id: str) -> int:
        """Return the dense id of a user.

        Raises:
            DataError: if the user is not in the data set.
        """
        return _index(self.user_ids, external_id, "user", self.name)

    def item_index(self, external_id: str) -> int:
        """Return the dense id of an item.

        Raises:
            DataError: if the item is not in the data set.
        """
        return _index(self.item_ids, external_id, "item", self.name)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, texts and interactions: equal content, equal fingerprint."""
        digest = hashlib.sha256()
        log = self.interactions
        named: list[tuple[str, np.ndarray | None]] = [
            ("user_ids", self.user_ids),
            ("item_ids", self.item_ids),
            *sorted((f"item.{key}", value) for key, value in self.item_fields.items()),
            *sorted((f"user.{key}", value) for key, value in self.user_fields.items()),
            ("user", log.user),
            ("item", log.item),
            ("rating", log.rating),
            ("timestamp", log.timestamp),
            ("text", log.text),
        ]
        for name, column in named:
            digest.update(name.encode() + b"\0")
            if column is None:
                continue
            if column.dtype.kind in "OUS":
                for value in column.tolist():
                    encoded = str(value).encode("utf-8", "surrogatepass")
                    digest.update(len(encoded).to_bytes(8, "little") + encoded)
            else:
                digest.update(str(column.dtype).encode() + np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def _index(ids: np.ndarray, external_id: str, what: str, name: str) -> int:
    found = np.flatnonzero(ids == str(external_id))
    if not len(found):
        examples = ", ".join(str(x) for x in ids[:5])
        raise DataError(
            f'{what} "{external_id}" is not in {name}; it has {len(ids)} {what}s, e.g. {examples}'
        )
    return int(found[0])


@dataclass(frozen=True, eq=False)
class Split:
    """One data set in three parts that share ids.

    Attributes:
        train: what recommenders are fitted on.
        valid: held out for early stopping, selection and combiners.
        test: held out for the final numbers.
        protocol: how it was made, as tables quote it, e.g. ``leave-one-out``.
        leaks: what the protocol may leak by construction, in one sentence ("" if nothing).
        ordered: whether each user's held-out interactions are meant to follow the known ones.
        left_out: how many interactions stand in none of the parts, by the reason in words.
    """

    train: Dataset
    valid: Dataset
    test: Dataset
    protocol: str
    leaks: str = ""
    ordered: bool = True
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Queries:
    """What recommenders answer: B users, each with the history known at that moment.

    Attributes:
        users: (B,) int64 dense user ids, −1 for a user the recommender never saw.
        histories: B rows of item ids, oldest first; may be empty.
        ratings: the ratings of `histories`, same rows, or None.
        timestamps: the times of `histories`, same rows, or None.
        time: (B,) int64 moment of each query, or None.
        candidates: B rows of item ids to choose from, or None for the whole catalogue.
        reviews: B rows of what the user writes of the items asked about, a text for each in their
            order; None unless the evaluation lets recommenders read it (``reads_review``).
    """

    users: np.ndarray
    histories: Ragged
    ratings: Ragged | None = None
    timestamps: Ragged | None = None
    time: np.ndarray | None = None
    candidates: Ragged | None = None
    reviews: Ragged | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray | slice) -> Queries:
        """Return the chosen queries, in the given order."""

        def pick(ragged: Ragged | None) -> Ragged | None:
            return None if ragged is None else ragged.take(rows)

        return Queries(
            self.users[rows],
            self.histories.take(rows),
            pick(self.ratings),
            pick(self.timestamps),
            None if self.time is None else self.time[rows],
            pick(self.candidates),
            pick(self.reviews),
        )

    def batches(self, size: int) -> Iterator[tuple[slice, Queries]]:
        """Yield consecutive blocks of at most `size` queries with their place."""
        for start in range(0, len(self), size):
            place = slice(start, min(start + size, len(self)))
            yield place, self.take(place)

    @classmethod
    def from_histories(cls, histories: Sequence[Sequence[int]]) -> Queries:
        """Build queries of unknown users from lists of item ids, oldest first."""
        users = np.full(len(histories), UNKNOWN_USER, np.int64)
        return cls(users, Ragged.from_rows(histories))


@dataclass(frozen=True, eq=False)
class Targets:
    """The held-out truth of B queries, kept apart so that no recommender sees it.

    Attributes:
        items: B rows of the held-out item ids.
        ratings: their ratings, same rows, or None.
    """

    items: Ragged
    ratings: Ragged | None = None

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: np.ndarray | slice) -> Targets:
        """Return the targets of the chosen queries."""
        return Targets(
            self.items.take(rows), None if self.ratings is None else self.ratings.take(rows)
        )


def make_queries(
    known: Dataset, held_out: Dataset, *, reviews: bool = False
) -> tuple[Queries, Targets]:
    """Ask about every user of `held_out`, with the history that `known` has of them.

    Args:
        known: what may be seen: train for validation, train + valid for test.
        held_out: what is to be predicted.
        reviews: show what was written of each held-out item: the question is then what it says.

    Returns:
        B queries in order of user id, and the B rows of truth.

    Raises:
        DataError: if reviews are asked for and the data has none.
    """
    if reviews and held_out.interactions.text is None:
        raise DataError(
            f"{held_out.name} has no texts that users wrote, which evaluation.reads_review shows; "
            "name their column (data.text=…), choose data with reviews, or set it to false"
        )
    users = np.flatnonzero(held_out.rows_by_user.lengths)
    seen = known.rows_by_user.take(users)
    truth = held_out.rows_by_user.take(users)
    log, future = known.interactions, held_out.interactions

    def column(rows: Ragged, values: np.ndarray | None) -> Ragged | None:
        return None if values is None else rows.with_values(values[rows.values])

    time = None
    if future.timestamp is not None and len(users):
        time = future.timestamp[truth.values[truth.offsets[:-1]]]
    queries = Queries(
        users.astype(np.int64),
        seen.with_values(log.item[seen.values]),
        column(seen, log.rating),
        column(seen, log.timestamp),
        time,
        reviews=column(truth, future.text) if reviews else None,
    )
    return queries, Targets(
        truth.with_values(future.item[truth.values]), column(truth, future.rating)
    )
