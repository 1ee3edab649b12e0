"""Several features side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from scipy import sparse

from llmrec.core.config import FeatureSpec, build, construct_check
from llmrec.core.errors import ComponentError
from llmrec.core.types import Dataset, Queries
from llmrec.features.base import (
    BaseFeature,
    Matrix,
    load_feature,
    some_rows,
    training_queries,
)


class Combined(BaseFeature):
    """Named features side by side, all of items or all of queries.

    Standardised, a dense column has mean 0 and standard deviation 1 over the training rows (items
    that occur in training, or training interactions asked about); a sparse one is only divided by
    its standard deviation, so that zeros stay zeros. The result is sparse if one of them is.

    Args:
        features: feature by label; the labels begin the column names.
        standardize: which columns are brought to one scale: all, those of dense features, none.
        seed: of features that draw at random and have no seed of their own.

    Raises:
        ComponentError: from `fit`, if some describe items and others queries.
    """

    def __init__(
        self,
        *,
        features: Mapping[str, FeatureSpec],
        standardize: Literal["all", "dense", "none"] = "all",
        seed: int = 0,
    ) -> None:
        self.features = features
        self.standardize = standardize
        self.seed = seed
        construct_check(self)
        self.parts: dict[str, Any] = {
            label: build("feature", spec, seed=seed) for label, spec in features.items()
        }

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong between options."""
        return [] if params.get("features") else [("features", "name at least one feature")]

    @property
    def describes(self) -> Literal["item", "query"]:  # type: ignore[override]
        said = {part.describes for part in self.parts.values()}
        if len(said) > 1:
            each = ", ".join(f"{label}: {part.describes}" for label, part in self.parts.items())
            raise ComponentError(f"combined features describe different things ({each})")
        return "item" if "item" in said else "query"

    @property
    def state(self) -> tuple[str, ...]:
        return ("centres", "scales", "widths")

    @property
    def columns(self) -> list[str]:
        return [f"{label}: {name}" for label, part in self.parts.items() for name in part.columns]

    @property
    def details(self) -> Mapping[str, Any]:
        return {label: dict(part.details) for label, part in self.parts.items()}

    @property
    def weights(self) -> str:
        return ", ".join(dict.fromkeys(p.weights for p in self.parts.values() if p.weights))

    def learn(self, train: Dataset) -> None:
        describes = self.describes
        blocks = []
        if describes == "query":
            asked = training_queries(train, some_rows(len(train)))
        for part in self.parts.values():
            part.fit(train)
            if describes == "item":
                blocks.append(part.items()[np.flatnonzero(train.item_counts)])
            else:
                blocks.append(part.queries(asked))
        self.widths = np.array([block.shape[1] for block in blocks])
        moments = [_moments(block) for block in blocks]
        self.centres = np.concatenate([centre for centre, _ in moments])
        self.scales = np.concatenate([scale for _, scale in moments])

    def observe(self, known: Dataset) -> Self:
        for part in self.parts.values():
            part.observe(known)
        return self

    def items(self) -> Matrix:
        if self.describes != "item":
            return super().items()
        return self._joined([part.items() for part in self.parts.values()])

    def queries(self, queries: Queries) -> Matrix:
        if self.describes != "query":
            return super().queries(queries)
        return self._joined([part.queries(queries) for part in self.parts.values()])

    def _joined(self, blocks: list[Matrix]) -> Matrix:
        ends = np.cumsum(self.widths)
        if self.standardize != "none":
            blocks = [
                _standardized(
                    block, self.centres[end - width : end], self.scales[end - width : end]
                )
                if self.standardize == "all" or not sparse.issparse(block)
                else block
                for block, width, end in zip(blocks, self.widths, ends, strict=True)
            ]
        if any(sparse.issparse(block) for block in blocks):
            return sparse.hstack(blocks, format="csr", dtype=np.float32)
        return np.concatenate(blocks, axis=1)

    def save_state(self, folder: Path) -> None:
        super().save_state(folder)
        for number, part in enumerate(self.parts.values()):
            part.save(folder / f"part{number}")

    def load_state(self, folder: Path) -> None:
        super().load_state(folder)
        self.parts = {
            label: load_feature(folder / f"part{number}")
            for number, label in enumerate(self.features)
        }


def _moments(block: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column, 1 where there is none."""
    n = max(block.shape[0], 1)
    if sparse.issparse(block):
        exact = block.astype(np.float64)
        mean = np.asarray(exact.sum(axis=0)).ravel() / n
        square = np.asarray(exact.multiply(exact).sum(axis=0)).ravel() / n
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
    else:
        exact = block.astype(np.float64)
        mean, deviation = exact.sum(axis=0) / n, exact.std(axis=0) if len(exact) else 0.0
        deviation = np.broadcast_to(deviation, mean.shape)
    return mean, np.where(deviation > 1e-9, deviation, 1.0)


def _standardized(block: Matrix, centre: np.ndarray, scale: np.ndarray) -> Matrix:
    if sparse.issparse(block):
        parts = (block.data / scale[block.indices], block.indices, block.indptr)
        return sparse.csr_matrix(parts, shape=block.shape, dtype=np.float32)
    return ((block - centre) / scale).astype(np.float32)
