"""Numbers that were computed with held-out interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from llmrec.core.types import Dataset, Split
from llmrec.data.audit.findings import Finding

LEAST, SHOWN, WIDTH = 10, 3, 60
# Of the numbers that held-out rows change: how many must fit, and how often others' may.
FITS, BY_CHANCE = 0.5, 0.2
# Relative to each value and to the typical one: products of other machines differ by less.
TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class FittedPiece:
    """Something fitted before the run, and how to fit it again.

    Attributes:
        name: for the message, e.g. ``popularity`` or ``vocabulary of the tokenizer``.
        value: what is used: an array, a number, a text, a list of words, or a mapping of those.
        refit: makes the same from one side of a split.
    """

    name: str
    value: Any
    refit: Callable[[Dataset], Any]


def piece_finding(split: Split, piece: FittedPiece) -> Finding | None:
    """Return a finding if a fitted piece is not what the training side alone gives."""
    clean = piece.refit(split.train)
    wrong, examples = compared(piece.value, clean, split.train)
    if not wrong:
        return None
    with_valid = split.train.union(split.valid)
    whole = with_valid.union(split.test)
    told = "something else than the training side; fit it again on train"
    for data, what in ((with_valid, "train and validation"), (whole, "train and held-out rows")):
        if len(data) > len(split.train) and not compared(piece.value, piece.refit(data), data)[0]:
            told = f"{what} together; fit it on train alone"
            break
    return held_out_statistic(piece.name, told, wrong, max(_size(piece.value), wrong), examples)


def held_out_statistic(
    name: str, told: str, count: int, total: int, examples: Sequence[str] = ()
) -> Finding:
    """Return the finding that some values were fitted on other rows than they should.

    Args:
        name: whose values.
        told: on what they were fitted, and what to do.
        count: how many of them are wrong.
        total: of how many.
        examples: a few.
    """
    said = f"values of {name} were fitted on {told}"
    return Finding("held-out-statistic", "error", "", count, total, said, tuple(examples))


def _size(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return int(value.nnz) if sparse.issparse(value) else int(np.size(value))


def compared(a: Any, b: Any, data: Dataset) -> tuple[int, list[str]]:
    """Return how many values of a differ from b, those that only b has included, and examples.

    Args:
        a: what is used.
        b: the same, fitted again.
        data: names the users and items of an axis that has their number.
    """
    found = list(_differences("", a, b, data))
    return sum(count for count, _ in found), [text for _, each in found for text in each][:SHOWN]


def _differences(name: str, a: Any, b: Any, data: Dataset) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the number of different values of each part, with examples."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            inner = f"{name}.{key}" if name else str(key)
            if key in a and key in b:
                yield from _differences(inner, a[key], b[key], data)
            else:
                yield _size((a if key in a else b)[key]), [f"{inner}: {_only(key in a)}"]
        return
    if sparse.issparse(a) and sparse.issparse(b) and a.shape == b.shape:
        rows, columns = np.nonzero(_strangers(a, b))
        places = np.stack([rows, columns], axis=1)
        x, y = (np.asarray(each[rows, columns]).ravel() for each in (a.tocsr(), b.tocsr()))
    else:
        x, y = np.asarray(a), np.asarray(b)
        if _are_words(x) and _are_words(y) and set(x.tolist()) != set(y.tolist()):
            yield _other_words(name, x.tolist(), y.tolist())
            return
        if x.shape != y.shape:
            shapes = f"{name or 'shape'}: {list(x.shape)}, on train {list(y.shape)}"
            yield max(x.size, y.size, 1), [shapes]
            return
        places = np.argwhere(_unlike(x, y))
        x, y = (np.atleast_1d(each[tuple(places.T)]) for each in (x, y))
    if len(places):
        yield (
            len(places),
            [
                f"{name}{_place(place, a, data)}: {_written(x[n])}, on train {_written(y[n])}"
                for n, place in enumerate(places[:SHOWN])
            ],
        )


def _are_words(values: np.ndarray) -> bool:
    return values.ndim == 1 and (
        values.dtype.kind in "US" or all(isinstance(each, str) for each in values.tolist())
    )


def _only(used: bool) -> str:
    return "is used, but train does not give it" if used else "only train gives it"


def _other_words(name: str, a: list[Any], b: list[Any]) -> tuple[int, list[str]]:
    """Return how many words only one has, and examples of those that train does not give."""
    known, used = set(b), set(a)
    strange = [word for word in a if word not in known]
    absent = [word for word in b if word not in used]
    shown = [f"{name} has {_written(word)}, which train does not give" for word in strange]
    shown += [f"{name} lacks {_written(word)}, which train gives" for word in absent]
    return len(strange) + len(absent), [text.strip() for text in shown[:SHOWN]]


def _unlike(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return where two arrays of one shape differ: counts by 1, other numbers beyond rounding."""
    if x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub":
        return np.asarray(x != y)
    x, y = x.astype(np.float64), y.astype(np.float64)
    finite = y[np.isfinite(y)]
    if len(finite) == y.size and (finite == np.round(finite)).all():
        return np.asarray(np.abs(x - y) > TOLERANCE)
    scale = float(np.sqrt(np.mean(np.square(finite)))) if len(finite) else 1.0
    return ~np.isclose(x, y, TOLERANCE, TOLERANCE * scale, equal_nan=True)


def _strangers(a: Any, b: Any) -> Any:
    """Return the sparse matrix of the places where two of one shape differ beyond rounding."""
    apart = abs(a - b).tocsr()
    scale = max(float(np.sqrt(np.mean(np.square(b.data)))) if b.nnz else 0.0, 1e-12)
    apart.data[apart.data <= TOLERANCE * scale] = 0
    apart.eliminate_zeros()
    return apart


def _place(place: np.ndarray, value: Any, data: Dataset) -> str:
    """Return the index of a value; items and users by their external ids."""
    if not len(place):
        return ""
    words = []
    for index, length in zip(place.tolist(), np.shape(value), strict=True):
        if length == data.n_items and length != data.n_users:
            words.append(f"item {data.item_ids[index]}")
        elif length == data.n_users and length != data.n_items:
            words.append(f"user {data.user_ids[index]}")
        else:
            words.append(str(index))
    return f"[{', '.join(words)}]"


def _written(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def field_findings(split: Split) -> Iterator[Finding]:
    """Yield item and user fields that hold counts or mean ratings with held-out rows in them.

    Text encoders read all fields, so a number such as "1,203 ratings" must come from train.
    """
    train = split.train
    for owner, fields, ids in (
        ("item", train.item_fields, train.item_ids),
        ("user", train.user_fields, train.user_ids),
    ):
        numbers = {
            name: found
            for name, column in fields.items()
            if (found := _numbers(column)) is not None
        }
        if not numbers:
            continue
        whole = train.union(split.valid).union(split.test)
        on_train, on_all = _statistics(train, owner), _statistics(whole, owner)
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
