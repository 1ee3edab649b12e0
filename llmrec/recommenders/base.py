"""What every recommender shares: candidates, top-k, saving by constructor options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from llmrec.core.arrays import read_arrays, write_arrays
from llmrec.core.config import options_of
from llmrec.core.errors import ConfigError, Problem, RunError
from llmrec.core.files import read_json
from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo, Task
from llmrec.core.ranking import mask_items, top_k
from llmrec.core.registry import registry
from llmrec.core.saving import saving, unfitted
from llmrec.core.types import PADDING, Dataset, Queries, Ragged

HEADER = "recommender.json"


def below(params: Mapping[str, Any], **minimum: float) -> list[tuple[str, str]]:
    """Return a problem for each given number that is smaller than its minimum.

    Example:
        >>> below({"epochs": 0, "seed": 3}, epochs=1, batch_size=1)
        [('epochs', 'expected 1 or more, got 0')]
    """
    return [
        (key, f"expected {least:g} or more, got {params[key]!r}")
        for key, least in minimum.items()
        if params.get(key) is not None and params[key] < least
    ]


def require_valid(component: Any) -> None:
    """Apply a component's own `check_options` to its attributes; call it last in a constructor.

    Raises:
        ConfigError: with every problem, as when the component is built from a config.
    """
    params = {name: getattr(component, name) for name in options_of(type(component))}
    problems: Iterable[tuple[str, str]] = component.check_options(params)
    found = [Problem(key, what) for key, what in problems]
    if found:
        raise ConfigError(found)


class BaseRecommender:
    """Base of the recommenders shipped here; a subclass gives `learn` (or `fit`) and `score_all`.

    Every constructor option is kept as an attribute of the same name: that is what `save` writes.
    Fitted numpy arrays (dense or scipy CSR) whose attribute names are in `state` are stored too.
    """

    state: ClassVar[tuple[str, ...]] = ()
    serves: ClassVar[frozenset[Task]] = frozenset({"ranking"})

    @property
    def tasks(self) -> frozenset[Task]:
        return self.serves

    @property
    def info(self) -> ModelInfo:
        return ModelInfo()

    def fit(
        self,
        train: Dataset,
        valid: Dataset | None = None,  # noqa: ARG002  for those who stop early or select
        context: FitContext = NO_CONTEXT,  # noqa: ARG002  for those who take long
    ) -> Self:
        self.learn(train)
        return self

    def learn(self, train: Dataset) -> None:
        """Learn from the training part alone and set the attributes named in `state`."""
        raise NotImplementedError

    def score_all(self, queries: Queries) -> np.ndarray:
        """Return (B, n_items) float32 scores of the whole catalogue."""
        raise NotImplementedError

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        self.require_fitted()
        scores = self.score_all(queries)
        if items is None:
            return scores
        return np.take_along_axis(scores, np.maximum(items, 0), axis=1)

    def require_fitted(self) -> None:
        """Refuse to answer before `fit` or `load`.

        Raises:
            RunError: if something named in `state` is missing.
        """
        if any(not hasattr(self, name) for name in self.state):
            raise RunError(f"{type(self).__name__} is not fitted yet: call fit first, or load")

    def save(self, folder: Path) -> None:
        self.require_fitted()
        with saving(self, folder, HEADER) as temporary:
            self.save_state(temporary)

    def save_state(self, folder: Path) -> None:
        """Write what was learned; the default stores the arrays named in `state`."""
        write_arrays(folder / "state.npz", self, self.state)

    @classmethod
    def load(cls, folder: Path) -> Self:
        recommender = unfitted(cls, folder, HEADER)
        recommender.load_state(Path(folder))
        return recommender

    def load_state(self, folder: Path) -> None:
        """Read what `save_state` wrote."""
        read_arrays(folder / "state.npz", self, self.state)


def load_recommender(folder: Path) -> Any:
    """Read any saved recommender, its class taken from the folder.

    Raises:
        RunError: if the folder holds none.
    """
    header = read_json(Path(folder) / HEADER)
    if not isinstance(header, dict) or "class" not in header:
        raise RunError(f"{folder} holds no saved recommender")
    return registry("recommender").get(header["class"]).load(Path(folder))


def recommend(
    recommender: Any,
    queries: Queries,
    k: int,
    exclude_seen: bool = True,
    batch_size: int = 1024,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best items of any recommender: the one top-k that everything uses.

    Args:
        recommender: anything with ``score``.
        queries: B queries; their candidates are respected if they have any.
        k: list length.
        exclude_seen: leave the items of the query's own history out.
        batch_size: queries scored at once (the result does not depend on it).

    Returns:
        (B, k) int64 item ids, best first, −1 where nothing is left; (B, k) float32 scores.
    """
    lists = np.full((len(queries), k), PADDING, np.int64)
    values = np.full((len(queries), k), -np.inf, np.float32)
    for place, batch in queries.batches(batch_size):
        items = None if batch.candidates is None else batch.candidates.padded()
        scores = np.array(recommender.score(batch, items), dtype=np.float32)
        if items is not None:
            scores[items < 0] = -np.inf
        if exclude_seen:
            exclude(scores, items, batch.histories)
        best = top_k(scores, k, batch.users)
        chosen = np.maximum(best, 0)
        ids = chosen if items is None else np.take_along_axis(items, chosen, axis=1)
        lists[place] = np.where(best >= 0, ids, PADDING)
        values[place] = np.where(best >= 0, np.take_along_axis(scores, chosen, axis=1), -np.inf)
    return lists, values


def exclude(scores: np.ndarray, items: np.ndarray | None, rows: Ragged) -> None:
    """Set the scores of each row's listed items to −inf, in place.

    Args:
        scores: (B, C) float32.
        items: (B, C) the item of each place, or None where the place is the item.
        rows: B rows of item ids.
    """
    if items is None:
        mask_items(scores, rows)
        return
    stride = int(max(items.max(initial=0), rows.values.max(initial=0))) + 1
    listed = rows.row_of * stride + rows.values
    places = np.arange(len(items))[:, None] * stride + items
    scores[(items >= 0) & np.isin(places, listed)] = -np.inf
