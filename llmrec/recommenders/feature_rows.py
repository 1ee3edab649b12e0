"""Rows of a feature model: features of the query, of the item, and how well the two match."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import sparse

from llmrec.core.config import build
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Queries
from llmrec.features.base import Matrix, load_feature, sums, unit_rows
from llmrec.features.combined import Combined
from llmrec.recommenders.content_knn import cosines, profiles


class FeatureRows:
    """Named features, fitted, and the matches between a history and the catalogue.

    Args:
        features: spec by label, of items or of queries.
        decay: how much less an item of the history weighs for each step it lies back.
        seed: of features that draw at random and have no seed of their own.
    """

    def __init__(self, features: Mapping[str, Mapping[str, Any]], decay: float, seed: int) -> None:
        self.decay = decay
        sides: dict[str, dict[str, Any]] = {"query": {}, "item": {}}
        for label, spec in features.items():
            sides[build("feature", spec, seed=seed).describes][label] = spec
        self.sides: dict[str, Combined] = {
            side: Combined(features=chosen, standardize="dense", seed=seed)
            for side, chosen in sides.items()
            if chosen
        }
        self.mean_rating: float | None = None

    def fit(self, train: Dataset) -> Self:
        """Fit every feature on one training side, and observe it."""
        rating = train.interactions.rating
        self.mean_rating = None if rating is None else float(rating.astype(np.float64).mean())
        for side in self.sides.values():
            side.fit(train)
        return self._take()

    def observe(self, known: Dataset) -> Self:
        """Take what other rows tell of users and items; the columns stay."""
        for side in self.sides.values():
            side.observe(known)
        return self._take()

    def _take(self) -> Self:
        self.item_rows: Matrix | None = None
        self.spaces: dict[str, Matrix] = {}
        if "item" in self.sides:
            self.item_rows = self.sides["item"].items()
            for label, part in self.sides["item"].parts.items():
                if part.comparable:
                    self.spaces[label] = unit_rows(part.items())
        return self

    @property
    def columns(self) -> list[str]:
        """The names of all columns: of the query, of the item, of the matches."""
        names = [name for side in self.sides.values() for name in side.columns]
        return names + self.match_columns

    @property
    def match_columns(self) -> list[str]:
        """The names of the matches."""
        kinds = ["match"] if self.mean_rating is None else ["match", "match of ratings"]
        return [f"{label}: {kind}" for label in self.spaces for kind in kinds]

    def query_rows(self, queries: Queries) -> Matrix | None:
        """Return (B, Dq), or None without features of queries."""
        return self.sides["query"].queries(queries) if "query" in self.sides else None

    def profiles(self, queries: Queries) -> list[tuple[Matrix, Matrix]]:
        """Return for each match the (B, D) unit profiles and the (n_items, D) unit items."""
        found = []
        for space in self.spaces.values():
            found.append((profiles(queries.histories, space, self.decay), space))
            if self.mean_rating is not None:
                found.append((self._liked(queries, space), space))
        return found

    def _liked(self, queries: Queries, space: Matrix) -> Matrix:
        """Return unit rows: the items of the history weighted by rating above the average."""
        rows = queries.histories
        weights = np.zeros(len(rows.values))
        if queries.ratings is not None:
            weights = queries.ratings.values - float(self.mean_rating or 0)
        return unit_rows(sums(rows, space, weights))

    def matches(self, queries: Queries) -> list[np.ndarray]:
        """Return for each match (B, n_items) cosines."""
        return [cosines(mine, space) for mine, space in self.profiles(queries)]

    def pair_matches(self, queries: Queries, query: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return (N, M) float64 cosines of N pairs (number of the query, item)."""
        found = np.empty((len(query), len(self.match_columns)))
        for number, (mine, space) in enumerate(self.profiles(queries)):
            left, right = mine[query], space[item]
            if sparse.issparse(left):
                found[:, number] = np.asarray(left.multiply(right).sum(axis=1)).ravel()
            else:
                found[:, number] = (left * right).sum(axis=1)
        return found

    def pairs(self, queries: Queries, query: np.ndarray, item: np.ndarray) -> Matrix:
        """Return (N, D) the whole rows of N pairs; CSR if a feature is sparse."""
        blocks: list[Matrix] = []
        mine = self.query_rows(queries)
        if mine is not None:
            blocks.append(mine[query])
        if self.item_rows is not None:
            blocks.append(self.item_rows[item])
        blocks.append(self.pair_matches(queries, query, item))
        if any(sparse.issparse(block) for block in blocks):
            return sparse.hstack(blocks, format="csr", dtype=np.float64)
        return np.concatenate(blocks, axis=1).astype(np.float64)

    def save(self, folder: Path) -> None:
        """Write the fitted features."""
        for side, feature in self.sides.items():
            feature.save(folder / side)

    def load(self, folder: Path, mean_rating: float | None) -> Self:
        """Read what `save` wrote."""
        self.sides = {side: load_feature(folder / side) for side in self.sides}
        self.mean_rating = mean_rating
        return self._take()


def held_back(train: Dataset, share: float, most: int) -> tuple[Dataset, np.ndarray]:
    """Divide a training side into older interactions and the numbers of the newer ones.

    Of each user with two interactions or more the newest share is newer, at least one; if nobody
    has two, the newer half of all is.

    Args:
        train: the training side.
        share: of each user's interactions.
        most: newer ones returned at most, evenly spread; the rest of them are in neither part.

    Raises:
        DataError: if there is only one interaction.
    """
    if len(train) < 2:
        raise DataError(
            f"feature_model needs two training interactions or more, and {train.name} has "
            f"{len(train)}"
        )
    by_user = train.rows_by_user
    newer = np.maximum(np.floor(by_user.lengths * share), 1).astype(np.int64)
    newer = np.where(by_user.lengths >= 2, np.minimum(newer, by_user.lengths - 1), 0)
    if not newer.any():
        rows = np.arange(len(train) - len(train) // 2, len(train))
    else:
        from_end = np.repeat(by_user.offsets[1:], by_user.lengths) - np.arange(len(train))
        rows = np.sort(by_user.values[from_end <= np.repeat(newer, by_user.lengths)])
    older = np.ones(len(train), bool)
    older[rows] = False
    if len(rows) > most:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]
    return train.select(older), rows


def with_negatives(
    train: Dataset, rows: np.ndarray, n_negatives: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Set items that the user never had beside the item of each example.

    Returns:
        (N,) number of the example, (N,) item, (N,) 1.0 for the example's own and 0.0 for a drawn
        one; a user who had nearly everything gets fewer.
    """
    log, n = train.interactions, train.n_items
    rng = np.random.default_rng(seed)
    had = np.unique(log.user.astype(np.int64) * n + log.item)
    example = np.repeat(np.arange(len(rows)), n_negatives)
    user = log.user[rows].astype(np.int64)[example]
    drawn = rng.integers(0, n, len(example))
    for _ in range(20):
        place = np.minimum(np.searchsorted(had, user * n + drawn), len(had) - 1)
        taken = had[place] == user * n + drawn
        if not taken.any():
            break
        drawn[taken] = rng.integers(0, n, int(taken.sum()))
    place = np.minimum(np.searchsorted(had, user * n + drawn), len(had) - 1)
    free = had[place] != user * n + drawn
    numbers = np.concatenate([np.arange(len(rows)), example[free]])
    items = np.concatenate([log.item[rows], drawn[free]])
    return numbers, items, np.concatenate([np.ones(len(rows)), np.zeros(int(free.sum()))])
