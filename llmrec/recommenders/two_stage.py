"""Two stages as one: a quick recommender retrieves, a slow one re-ranks what it found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from llmrec.core.config import RecommenderSpec, build
from llmrec.core.errors import ComponentError, LlmrecError, RunError
from llmrec.core.files import read_json, write_json
from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo, Recommender, Task
from llmrec.core.ranking import top_k, zscore
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset, Queries, make_queries
from llmrec.recommenders.base import (
    BaseRecommender,
    below,
    exclude,
    load_recommender,
    recommend,
    require_valid,
)
from llmrec.recommenders.parts import OfParts


class TwoStage(OfParts, BaseRecommender):
    """The retriever's best items in the ranker's order, the others below in the retriever's.

    Both are fitted on the same training side. The ranker is asked about the retriever's best `k`
    items of each query alone, so its cost does not depend on the catalogue, and no item that the
    retriever missed can come up: `retriever_recall` in the info is the share of held-out
    validation items among the `k`, which bounds what re-ranking can reach. Scores are places,
    negated (1 is the best), with equal places for equal scores; they depend on the candidates
    that are asked about.

    Args:
        retriever: spec of the recommender that finds candidates.
        ranker: spec of the recommender that orders them.
        k: how many are re-ranked.
        fusion: weight of the retriever's scores within the `k`, both as z-scores; 0 is the
            ranker alone, 1 the retriever alone.
        exclude_seen: leave items of the history out of the `k`.
        negatives: what a ranker that reads lists learns to tell from the true item: its ``own``
            draws, or what the ``retriever`` finds for each training example. The retriever has
            seen those examples.
        seed: the seeds of both are derived from it.
    """

    def __init__(
        self,
        *,
        retriever: RecommenderSpec,
        ranker: RecommenderSpec,
        k: int = 20,
        fusion: float = 0.0,
        exclude_seen: bool = True,
        negatives: Literal["own", "retriever"] = "own",
        seed: int = 0,
    ) -> None:
        self.retriever = retriever
        self.ranker = ranker
        self.k = k
        self.fusion = fusion
        self.exclude_seen = exclude_seen
        self.negatives = negatives
        self.seed = seed
        require_valid(self)
        self.found_by: Recommender | None = None
        self.ordered_by: Recommender | None = None
        self.recall: float | None = None

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range, and what a stage does not serve."""
        found = below(params, k=1)
        if not 0 <= params.get("fusion", 0.0) <= 1:
            found.append(("fusion", f"expected 0 to 1, got {params['fusion']!r}"))
        for key in ("retriever", "ranker"):
            try:
                stage = build("recommender", params[key])
            except LlmrecError:
                continue  # reported with its own place by the check of the nested spec
            if "ranking" not in stage.tasks:
                served = ", ".join(sorted(stage.tasks))
                found.append((key, f"must serve ranking, but this one serves {served}"))
            lists = getattr(stage, "lists_candidates", False)
            if key == "ranker" and params.get("negatives") == "retriever" and not lists:
                what = "retriever is for a ranker that reads lists (head=listwise)"
                found.append(("negatives", what))
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({"ranking"})

    @property
    def info(self) -> ModelInfo:
        if self.found_by is None or self.ordered_by is None:
            return ModelInfo()
        stages = {"retriever": self.found_by.info, "ranker": self.ordered_by.info}
        details: dict[str, Any] = {name: dict(info.details) for name, info in stages.items()}
        if self.recall is not None:
            details["retriever_recall"] = self.recall
        return ModelInfo(
            family=stages["ranker"].family,
            parameters=sum(info.parameters for info in stages.values()),
            trainable=sum(info.trainable for info in stages.values()),
            weights=", ".join(dict.fromkeys(i.weights for i in stages.values() if i.weights)),
            details=details,
        )

    def warm_up(self) -> None:
        """Import what the fits need, so that the first is not charged for it."""
        for spec in (self.retriever, self.ranker):
            getattr(build("recommender", spec), "warm_up", lambda: None)()

    def fit(
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Self:
        stages = {
            name: build("recommender", spec, seed=derive_seed(self.seed, name))
            for name, spec in (("retriever", self.retriever), ("ranker", self.ranker))
        }
        self.found_by = stages["retriever"].fit(train, valid, _part(context, "retriever"))
        if valid is not None and len(valid):
            self.recall = self._recall(*make_queries(train, valid))
        if self.negatives == "retriever":
            stages["ranker"].learn_from(self.candidates)
        self.ordered_by = stages["ranker"].fit(train, valid, _part(context, "ranker"))
        return self

    def candidates(self, queries: Queries) -> np.ndarray:
        """Return (B, k) items that the retriever finds for queries, best first, −1 for none."""
        if self.found_by is None:
            raise RunError("the retriever is not fitted yet: call fit first, or load")
        return recommend(self.found_by, queries, self.k, self.exclude_seen)[0]

    def _recall(self, queries: Queries, targets: Any) -> float:
        found = self.candidates(queries)
        truth = targets.items
        hits = (found[truth.row_of] == truth.values[:, None]).any(1)
        return float(hits.mean())

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        self.require_fitted()
        assert self.found_by is not None
        assert self.ordered_by is not None
        found = np.array(self.found_by.score(queries, items), np.float32)
        open_places = found.copy()
        if items is not None:
            open_places[items < 0] = -np.inf
        if self.exclude_seen:
            exclude(open_places, items, queries.histories)
        columns = top_k(open_places, min(self.k, found.shape[1]), queries.users)
        real = columns >= 0
        safe = np.maximum(columns, 0)
        asked = safe if items is None else np.take_along_axis(items, safe, axis=1)
        asked = np.where(real, asked, -1)
        order = np.asarray(self.ordered_by.score(queries, asked), np.float64)
        if self.fusion:
            retrieved = np.take_along_axis(found, safe, axis=1).astype(np.float64)
            own, theirs = zscore(order, real), zscore(retrieved, real)
            order = (1 - self.fusion) * own + self.fusion * theirs
        row, nth = np.nonzero(real)
        top = columns[row, nth]
        rest = np.ones(found.shape, bool)
        rest[row, top] = False
        first = _places(order, real)
        places = first.max(axis=1, where=real, initial=0)[:, None] + _places(found, rest)
        places[row, top] = first[row, nth]
        return -places.astype(np.float32)

    def score_all(self, queries: Queries) -> np.ndarray:
        return self.score(queries)

    def take_counts(self) -> dict[str, float]:
        """Return the ranker's counts of generated identifiers, if it has any."""
        counts: dict[str, float] = getattr(self.ordered_by, "take_counts", dict)()
        return counts

    @property
    def parts(self) -> dict[str, Recommender]:
        """The two fitted recommenders by name."""
        self.require_fitted()
        assert self.found_by is not None
        assert self.ordered_by is not None
        return {"retriever": self.found_by, "ranker": self.ordered_by}

    def require_fitted(self) -> None:
        if self.ordered_by is None:
            raise RunError("this two-stage recommender is not fitted yet: call fit first, or load")

    def save_state(self, folder: Path) -> None:
        assert self.found_by is not None
        assert self.ordered_by is not None
        self.found_by.save(folder / "retriever")
        self.ordered_by.save(folder / "ranker")
        write_json(folder / "stages.json", {"retriever_recall": self.recall})

    def load_state(self, folder: Path) -> None:
        self.found_by = load_recommender(folder / "retriever")
        self.ordered_by = load_recommender(folder / "ranker")
        for stage in (self.found_by, self.ordered_by):
            if stage is None or "ranking" not in stage.tasks:
                raise ComponentError(f"{folder} holds a stage that does not serve ranking")
        self.recall = read_json(folder / "stages.json")["retriever_recall"]


def _part(context: FitContext, name: str) -> FitContext:
    folder = None if context.folder is None else context.folder / name
    share, width = {"retriever": (0.0, 0.1), "ranker": (0.1, 0.9)}[name]
    return FitContext(
        folder=folder,
        resume=context.resume,
        log=context.log if name == "ranker" else NO_CONTEXT.log,
        progress=lambda done, text: context.progress(share + width * done, f"{name}: {text}"),
    )


def _places(scores: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return (B, C) places from 1 among the counted scores of a row, the highest first.

    Equal scores share one; what is not counted gets a place that means nothing.
    """
    keys = np.where(counted, -scores, np.inf)
    order = np.argsort(keys, axis=1)
    ordered = np.take_along_axis(keys, order, axis=1)
    new = np.ones(keys.shape, np.int64)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.empty(keys.shape, np.int64)
    np.put_along_axis(places, order, new.cumsum(axis=1), axis=1)
    return places
