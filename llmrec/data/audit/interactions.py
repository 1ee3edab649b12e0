"""Copies across sides, and what is known only from the future."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llmrec.core.types import Dataset, Split
from llmrec.data.audit.findings import Finding, Severity

SHOWN = 3


@dataclass(frozen=True, eq=False)
class Sides:
    """What is known when a side is judged, and that side.

    Attributes:
        name: ``valid`` or ``test``.
        known: train for validation, train and validation for the test.
        held: the held-out rows.
        protocol: of the split.
        declared: what the split says that it leaks ("" if nothing).
        ordered: whether held-out interactions are meant to follow the user's known ones.
    """

    name: str
    known: Dataset
    held: Dataset
    protocol: str
    declared: str
    ordered: bool


def sides_of(split: Split) -> Iterator[Sides]:
    """Yield the validation and the test side, if they have rows."""
    about = (split.protocol, split.leaks, split.ordered)
    if len(split.valid):
        yield Sides("valid", split.train, split.valid, *about)
    if len(split.test):
        known = split.train.union(split.valid) if len(split.valid) else split.train
        yield Sides("test", known, split.test, *about)


def interaction_findings(sides: Sides) -> Iterator[Finding]:
    """Yield copies of interactions, and items of a user's history that are asked for again."""
    known, held = sides.known.interactions, sides.held.interactions
    n_items = sides.held.n_items
    a = known.user.astype(np.int64) * n_items + known.item
    b = held.user.astype(np.int64) * n_items + held.item
    repeated = _among(b, a)
    if not repeated.any():
        return
    copied = repeated.copy()
    rows = np.flatnonzero(repeated)
    if known.timestamp is not None and held.timestamp is not None:
        copied[rows] = _in_rows(np.stack([b[rows], held.timestamp[rows]]), (a, known.timestamp))
    elif len(np.unique(a)) < len(a):
        # People come back to items in this log: without times a copy cannot be told from a return.
        copied[:] = False
    yield from _found(
        sides,
        copied,
        "same-interaction",
        "error",
        "the same user, item and time stand among the known interactions; remove duplicates "
        "before splitting (data.duplicates=first)",
    )
    again = repeated & ~copied
    yield from _found(
        sides,
        again,
        "repeated-item",
        "warning",
        "the user had the item before; full ranking leaves the history out, so it can never "
        "be hit; keep one interaction of each user and item, or judge repetition by itself",
    )


BLOCK = 2**20


def _among(few: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Return which of some numbers stand among many others; only the few are sorted."""
    values, inverse = np.unique(few, return_inverse=True)
    found = np.zeros(len(values), bool)
    for start in range(0, len(many), BLOCK):
        block = many[start : start + BLOCK]
        place = np.minimum(np.searchsorted(values, block), len(values) - 1)
        found[place[values[place] == block]] = True
    among: np.ndarray = found[inverse]
    return among


def _in_rows(wanted: np.ndarray, columns: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return which (2, N) wanted pairs of numbers stand among (M,) pairs."""
    kept = np.isin(columns[0], wanted[0])
    have = np.stack([column[kept] for column in columns])
    both = np.concatenate([wanted, have], axis=1)
    _, code = np.unique(both, axis=1, return_inverse=True)
    code = code.ravel()
    found: np.ndarray = np.isin(code[: wanted.shape[1]], code[wanted.shape[1] :])
    return found


def future_findings(sides: Sides) -> Iterator[Finding]:
    """Yield what is known only from after a held-out interaction; nothing without timestamps."""
    known, held = sides.known.interactions, sides.held.interactions
    if known.timestamp is None or held.timestamp is None or not len(known):
        return
    # A protocol that says what it leaks has warned its readers: see its sentence in every report.
    severity: Severity = "warning" if sides.declared else "error"
    said = (
        f"; the protocol says so: {sides.declared}"
        if sides.declared
        else (f"; {sides.protocol} claims no leak: cut at one moment for everybody")
    )
    own: Severity = "error" if sides.ordered else "warning"
    own_said = "; order each user's interactions before splitting" if sides.ordered else said
    last_own = _extreme(known.user, known.timestamp, sides.known.n_users, latest=True)
    after = last_own[held.user] > held.timestamp
    yield from _found(
        sides,
        after,
        "train-after-held-out",
        own,
        "the same user has known interactions after the held-out one" + own_said,
    )
    first_own = _extreme(known.user, known.timestamp, sides.known.n_users, latest=False)
    only = (first_own[held.user] > held.timestamp) & (first_own[held.user] < LATEST)
    yield from _found(
        sides,
        only,
        "user-from-future",
        own,
        "all that is known of the user is later than the held-out interaction" + own_said,
    )
    first_item = _extreme(known.item, known.timestamp, sides.known.n_items, latest=False)
    future = (first_item[held.item] > held.timestamp) & (first_item[held.item] < LATEST)
    yield from _found(
        sides,
        future,
        "item-from-future",
        severity,
        "the item is known only from later interactions of others: at that moment it was new"
        + said,
    )
    late = int(known.timestamp.max()) > held.timestamp
    if late.any():
        n_later = int((known.timestamp > held.timestamp.min()).sum())
        told = f"{n_later:,} known interactions are later than the first held-out one"
        yield from _found(sides, late, "global-future", severity, told + said)


LATEST = np.iinfo(np.int64).max


def _extreme(group: np.ndarray, time: np.ndarray, n: int, *, latest: bool) -> np.ndarray:
    """Return the last (or first) time of each group; of an empty group an impossible one."""
    found = np.full(n, np.iinfo(np.int64).min if latest else LATEST, np.int64)
    (np.maximum if latest else np.minimum).at(found, group, time)
    return found


def _found(
    sides: Sides, rows: np.ndarray, code: str, severity: Severity, said: str
) -> Iterator[Finding]:
    """Yield a finding about the held-out rows of a mask, if there are any."""
    if rows.any():
        shown = _examples(sides.held, np.flatnonzero(rows))
        yield Finding(code, severity, sides.name, int(rows.sum()), len(rows), said, shown)


def _examples(data: Dataset, rows: np.ndarray) -> tuple[str, ...]:
    log = data.interactions
    told = []
    for row in rows[:SHOWN]:
        when = "" if log.timestamp is None else f" at {log.timestamp[row]}"
        told.append(
            f"user {data.user_ids[log.user[row]]}, item {data.item_ids[log.item[row]]}{when}"
        )
    return tuple(told)
