"""What every feature shares: the two steps of fitting, saving, rows of groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy import sparse

from llmrec.core.arrays import read_arrays, write_arrays
from llmrec.core.errors import ComponentError
from llmrec.core.files import read_json
from llmrec.core.registry import registry
from llmrec.core.saving import saving, unfitted
from llmrec.core.types import Dataset, Queries, Ragged

HEADER = "feature.json"

Matrix = Any  # (R, D) float32: numpy, or scipy CSR
Pooling = Literal["mean", "max"]


class BaseFeature:
    """Base of the features shipped here; a subclass gives `learn`, `observe` and the rows.

    Every constructor option is kept as an attribute of the same name; arrays whose attribute
    names `state` gives are stored too.
    """

    describes: Literal["item", "query"]
    # whether the cosine of two rows says how alike they are; not so for counts and means
    comparable: ClassVar[bool] = True

    @property
    def state(self) -> tuple[str, ...]:
        """The names of the fitted attributes: arrays, CSR matrices, numbers, lists of words."""
        raise NotImplementedError

    @property
    def columns(self) -> list[str]:
        raise NotImplementedError

    @property
    def details(self) -> Mapping[str, Any]:
        return {"columns": len(self.columns)}

    @property
    def weights(self) -> str:
        return ""

    def fit(self, train: Dataset) -> Self:
        self.learn(train)
        return self.observe(train)

    def learn(self, train: Dataset) -> None:
        """Learn the columns from the training side."""
        raise NotImplementedError

    def observe(self, known: Dataset) -> Self:  # noqa: ARG002  for those who keep rows of users
        return self

    def items(self) -> Matrix:
        raise self._other_side("items")

    def queries(self, queries: Queries) -> Matrix:  # noqa: ARG002
        raise self._other_side("queries")

    def _other_side(self, asked: str) -> ComponentError:
        return ComponentError(
            f"{type(self).__name__} describes {self.describes} rows, but {asked} were asked for; "
            "see its option of"
        )

    def save(self, folder: Path) -> None:
        with saving(self, folder, HEADER) as temporary:
            self.save_state(temporary)

    def save_state(self, folder: Path) -> None:
        """Write what was learned."""
        write_arrays(folder / "state.npz", self, self.state)

    @classmethod
    def load(cls, folder: Path) -> Self:
        feature = unfitted(cls, folder, HEADER)
        feature.load_state(Path(folder))
        return feature

    def load_state(self, folder: Path) -> None:
        """Read what `save_state` wrote."""
        read_arrays(folder / "state.npz", self, self.state)


def load_feature(folder: Path) -> Any:
    """Read any saved feature, its class taken from the folder.

    Raises:
        RunError: if the folder holds none.
    """
    header = read_json(Path(folder) / HEADER)
    return registry("feature").get(header["class"]).load(Path(folder))


def training_queries(train: Dataset, rows: np.ndarray) -> Queries:
    """Ask at each of some training interactions, with the user's history before it.

    Args:
        train: the training side.
        rows: (B,) numbers of interactions.

    Returns:
        B queries; their time is that of the interaction.
    """
    by_user, log = train.rows_by_user, train.interactions
    before = np.empty(len(log), np.int64)
    before[by_user.values] = by_user.place_of
    places = Ragged.spans(by_user.offsets[log.user[rows]], before[rows])
    seen = places.with_values(by_user.values[places.values])

    def column(values: np.ndarray | None) -> Ragged | None:
        return None if values is None else seen.with_values(values[seen.values])

    return Queries(
        log.user[rows].astype(np.int64),
        seen.with_values(log.item[seen.values]),
        column(log.rating),
        column(log.timestamp),
        None if log.timestamp is None else log.timestamp[rows],
    )


def some_rows(n: int, most: int = 20_000) -> np.ndarray:
    """Return at most `most` row numbers, evenly spread over all."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)) if n else np.arange(0)


def sums(groups: Ragged, rows: Matrix, weights: np.ndarray | None = None) -> Matrix:
    """Return (R, D): the (weighted) sum of the listed rows of each group, dense or CSR as given.

    A row of the result does not depend on the other groups, bit for bit.
    """
    values = np.ones(len(groups.values), np.float32) if weights is None else weights
    parts = (values.astype(np.float32), groups.values, groups.offsets)
    chosen = sparse.csr_matrix(parts, shape=(len(groups), rows.shape[0]))
    return chosen @ rows


def pooled(groups: Ragged, rows: np.ndarray, how: Pooling) -> np.ndarray:
    """Return (R, D) float32: mean or largest value of the listed rows of each group, 0 for none."""
    if how == "mean":
        lengths = np.repeat(np.maximum(groups.lengths, 1), groups.lengths)
        return np.asarray(sums(groups, rows, 1 / lengths), np.float32)
    out = np.zeros((len(groups), rows.shape[1]), np.float32)
    full = groups.lengths > 0
    if full.any():
        out[full] = np.maximum.reduceat(rows[groups.values], groups.offsets[:-1][full], axis=0)
    return out


def unit_rows(matrix: Matrix) -> Matrix:
    """Return the rows at length 1; a zero row stays."""
    if sparse.issparse(matrix):
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        squares = np.bincount(row, matrix.data.astype(np.float64) ** 2, matrix.shape[0])
    else:
        squares = (matrix.astype(np.float64) ** 2).sum(axis=1)
    scale = 1 / np.sqrt(np.where(squares > 0, squares, 1))
    return scaled_rows(matrix, scale)


def scaled_rows(matrix: Matrix, scale: np.ndarray) -> Matrix:
    """Return each row times a number, float32."""
    if sparse.issparse(matrix):
        data = matrix.data * np.repeat(scale, np.diff(matrix.indptr))
        parts = (data.astype(np.float32), matrix.indices, matrix.indptr)
        return sparse.csr_matrix(parts, shape=matrix.shape)
    return (matrix * scale[:, None]).astype(np.float32)
