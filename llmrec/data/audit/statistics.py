"""Numbers that were computed with held-out interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmrec.core.types import Dataset, Split
from llmrec.data.audit.findings import Finding

LEAST, SHOWN = 10, 3
# Of the numbers that held-out rows change: how many must fit, and how often others' may.
FITS, BY_CHANCE = 0.5, 0.2
TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class FittedPiece:
    """Something fitted before the run, and how to fit it again.

    Attributes:
        name: for the message, e.g. ``popularity`` or ``vocabulary of the tokenizer``.
        value: what is used: an array, a number, a mapping of numbers, or a list of words.
        refit: makes the same from one side of a split.
    """

    name: str
    value: Any
    refit: Callable[[Dataset], Any]


def piece_finding(split: Split, piece: FittedPiece) -> Finding | None:
    """Return a finding if a fitted piece is not what the training side alone gives."""
    wrong = _different(piece.value, piece.refit(split.train))
    if not wrong:
        return None
    with_valid = split.train.union(split.valid)
    whole = with_valid.union(split.test)
    told = "something else than the training side; fit it again on train"
    for data, what in ((with_valid, "train and validation"), (whole, "train and held-out rows")):
        if len(data) > len(split.train) and not _different(piece.value, piece.refit(data)):
            told = f"{what} together; fit it on train alone"
            break
    return Finding(
        "held-out-statistic",
        "error",
        "",
        wrong,
        _size(piece.value),
        f"values of {piece.name} were fitted on {told}",
    )


def _size(value: Any) -> int:
    return len(value) if isinstance(value, Mapping) else int(np.size(value))


def _different(a: Any, b: Any) -> int:
    """Return how many values differ; if the shapes do, all of them."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        keys = {*a, *b}
        return sum(key not in a or key not in b or _different(a[key], b[key]) > 0 for key in keys)
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape:
        return max(x.size, 1)
    if x.dtype.kind in "fiub" and y.dtype.kind in "fiub":
        near = np.isclose(x.astype(float), y.astype(float), TOLERANCE, TOLERANCE, equal_nan=True)
        return int((~near).sum())
    return int((x != y).sum())


def field_findings(split: Split) -> Iterator[Finding]:
    """Yield item and user fields that hold counts or mean ratings with held-out rows in them.

    Text encoders read all fields, so a number such as "1,203 ratings" must come from train.
    """
    whole = split.train.union(split.valid).union(split.test)
    for owner, fields, ids in (
        ("item", whole.item_fields, whole.item_ids),
        ("user", whole.user_fields, whole.user_ids),
    ):
        numbers = {
            name: found
            for name, column in fields.items()
            if (found := _numbers(column)) is not None
        }
        if not numbers:
            continue
        on_train, on_all = _statistics(split.train, owner), _statistics(whole, owner)
        for name, (values, digits) in numbers.items():
            for statistic, clean in on_train.items():
                leaky = on_all[statistic]
                told = np.isfinite(values) & np.isfinite(leaky) & ~_equal(clean, leaky, digits)
                if told.sum() < LEAST:
                    continue
                fits = told & _equal(values, leaky, digits)
                other = _equal(values[told], np.roll(leaky[told], 1), digits[told]).mean()
                share = fits.sum() / told.sum()
                if share >= FITS and other <= BY_CHANCE + share / 2:
                    rows = np.flatnonzero(fits)[:SHOWN]
                    yield Finding(
                        "held-out-statistic",
                        "error",
                        "",
                        int(fits.sum()),
                        int(told.sum()),
                        f'the {owner} field "{name}" is the {statistic} of each {owner} with '
                        "held-out rows counted in; leave it out, or compute it on train",
                        tuple(
                            f"{owner} {ids[row]}: {fields[name][row]}, on train {clean[row]:.4g}"
                            for row in rows
                        ),
                    )
                    break


def _numbers(column: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the numbers of a field (NaN where empty) and their decimals; None if it has text."""
    values, digits = np.full(len(column), np.nan), np.zeros(len(column), np.int64)
    for row, text in enumerate(column.tolist()):
        word = str(text).strip().replace(",", "")
        if not word:
            continue
        try:
            values[row] = float(word)
        except ValueError:
            return None
        digits[row] = len(word.partition(".")[2])
    return (values, digits) if np.isfinite(values).sum() >= LEAST else None


def _statistics(data: Dataset, owner: str) -> dict[str, np.ndarray]:
    log = data.interactions
    group, n = (log.item, data.n_items) if owner == "item" else (log.user, data.n_users)
    counts = np.bincount(group, minlength=n).astype(float)
    found = {"number of interactions": counts}
    if log.rating is not None:
        sums = np.bincount(group, log.rating.astype(float), minlength=n)
        with np.errstate(invalid="ignore", divide="ignore"):
            found["mean rating"] = np.where(counts > 0, sums / counts, np.nan)
    return found


def _equal(a: np.ndarray, b: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Return where two numbers are the same at the precision they are written with."""
    with np.errstate(invalid="ignore"):
        near: np.ndarray = (
            np.abs(a - b) <= 0.5 * 10.0 ** -np.minimum(digits, 6) * (digits > 0) + 1e-9
        )
    return near
