"""What every recommender shares: candidates, top-k, saving by constructor options."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

import llmrec
from llmrec.core.config import options_of
from llmrec.core.errors import RunError
from llmrec.core.files import atomic_path, read_json, write_json
from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo, Task
from llmrec.core.ranking import mask_items, top_k
from llmrec.core.registry import registry
from llmrec.core.types import PADDING, Dataset, Queries, Ragged


class BaseRecommender:
    """Base of the recommenders shipped here; a subclass gives `fit` and `score_all`.

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
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Self:
        raise NotImplementedError

    def score_all(self, queries: Queries) -> np.ndarray:
        """Return (B, n_items) float32 scores of the whole catalogue."""
        raise NotImplementedError

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        scores = self.score_all(queries)
        if items is None:
            return scores
        return np.take_along_axis(scores, np.maximum(items, 0), axis=1)

    def save(self, folder: Path) -> None:
        params = {name: _plain(getattr(self, name)) for name in options_of(type(self))}
        cls = type(self)
        header = {
            "class": f"{cls.__module__}:{cls.__qualname__}",
            "params": params,
            "llmrec": llmrec.__version__,
        }
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            write_json(temporary / "recommender.json", header)
            self.save_state(temporary)

    def save_state(self, folder: Path) -> None:
        """Write what was learned; the default stores the arrays named in `state`."""
        arrays: dict[str, np.ndarray] = {}
        for name in self.state:
            value = getattr(self, name)
            if hasattr(value, "indptr"):
                arrays |= {
                    f"{name}.data": value.data,
                    f"{name}.indices": value.indices,
                    f"{name}.indptr": value.indptr,
                    f"{name}.shape": np.array(value.shape),
                }
            else:
                arrays[name] = np.asarray(value)
        np.savez(folder / "state.npz", **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Self:
        header = read_json(folder / "recommender.json")
        recommender = cls(**header["params"])
        recommender.load_state(folder)
        return recommender

    def load_state(self, folder: Path) -> None:
        """Read what `save_state` wrote."""
        with np.load(folder / "state.npz", allow_pickle=False) as arrays:
            for name in self.state:
                if f"{name}.indptr" in arrays:
                    from scipy.sparse import csr_matrix

                    parts = tuple(
                        arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr")
                    )
                    shape = tuple(int(n) for n in arrays[f"{name}.shape"])
                    setattr(self, name, csr_matrix(parts, shape=shape))
                else:
                    value = arrays[name]
                    setattr(self, name, value if value.ndim else value.item())


def _plain(value: Any) -> Any:
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value) if isinstance(value, Path) else value


def load_recommender(folder: Path) -> Any:
    """Read any saved recommender, its class taken from the folder.

    Raises:
        RunError: if the folder holds none.
    """
    header = read_json(Path(folder) / "recommender.json")
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
