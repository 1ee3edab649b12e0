"""Several recommenders answering as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from llmrec.core.arrays import read_arrays, write_arrays
from llmrec.core.config import CombinerSpec, RecommenderSpec, build
from llmrec.core.errors import ComponentError, ConfigError, DataError, Problem, RunError
from llmrec.core.files import read_json, write_json
from llmrec.core.protocols import NO_CONTEXT, Combiner, FitContext, ModelInfo, Recommender, Task
from llmrec.core.saving import spec_of
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset, Queries, Ragged, Targets, make_queries
from llmrec.ensembles.scales import Scale, on_one_scale
from llmrec.recommenders.base import (
    BaseRecommender,
    below,
    load_recommender,
    require_valid,
)
from llmrec.recommenders.parts import OfParts


class Ensemble(OfParts, BaseRecommender):
    """Combines the scores of its members, the combiner learning on validation scores only.

    For ranking, each member's scores of a query are put on one scale first, over the candidates
    that are not in the query's history: so a score depends on the candidates that it is asked
    about. For rating and preference, scores have a unit already and are combined as they are.

    `fit` fits the members on train and then the combiner on valid; `of` takes members that are
    fitted already, and `fit_combiner` learns from validation queries.

    Args:
        members: the spec of each recommender, by label.
        combiner: how scores become one.
        task: what the ensemble answers; every member must serve it.
        normalise: the scale for ranking: ``zscore`` (mean 0, standard deviation 1), ``rank``
            (share of candidates beaten) or ``softmax`` (of z-scores).
        threshold: a rating at or above it is a like (preference only).
        max_queries: validation queries that the combiner learns from at most, drawn by `seed`.
        seed: members' seeds are derived from it and their labels.

    Raises:
        ComponentError: from `fit` or `of`, if a member does not serve the task.
        DataError: from `fit`, if the combiner learns and there is no validation part.
    """

    def __init__(
        self,
        *,
        members: Mapping[str, RecommenderSpec],
        combiner: CombinerSpec = {"name": "mean"},  # noqa: B006  never changed
        task: Literal["ranking", "rating", "preference"] = "ranking",
        normalise: Scale = "zscore",
        threshold: float = 4.0,
        max_queries: int = 5000,
        seed: int = 0,
    ) -> None:
        self.members = members
        self.combiner = combiner
        self.task = task
        self.normalise = normalise
        self.threshold = threshold
        self.max_queries = max_queries
        self.seed = seed
        require_valid(self)
        self.fitted: dict[str, Recommender] = {}
        self.joined: Combiner = build("combiner", combiner, task=task)
        self.ready = not getattr(self.joined, "learns", True)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        problems = below(params, max_queries=1)
        if not params["members"]:
            problems.append(("members", "an ensemble needs at least one member"))
        return problems

    @classmethod
    def of(
        cls,
        members: Mapping[str, Recommender],
        combiner: CombinerSpec = {"name": "mean"},  # noqa: B006  never changed
        **options: Any,
    ) -> Self:
        """Return an ensemble of fitted recommenders; call `fit_combiner` if the combiner learns.

        Args:
            members: fitted on train only, by label.
            combiner: how scores become one.
            options: others of the constructor.
        """
        specs = {label: spec_of(member) for label, member in members.items()}
        ensemble = cls(members=specs, combiner=combiner, **options)
        ensemble._take(dict(members))
        return ensemble

    def _take(self, members: dict[str, Recommender]) -> None:
        for label, member in members.items():
            if self.task not in member.tasks:
                raise ComponentError(
                    f'member "{label}" of the ensemble serves {", ".join(sorted(member.tasks))}, '
                    f"not {self.task}; leave it out, or configure it for {self.task}"
                )
        self.fitted = members

    @property
    def tasks(self) -> frozenset[Task]:
        return frozenset({self.task})

    @property
    def info(self) -> ModelInfo:
        infos = {label: member.info for label, member in self.fitted.items()}
        weights = getattr(self.joined, "weights", None)
        details: dict[str, Any] = {"members": list(self.fitted), "combiner": dict(self.combiner)}
        if weights is not None:
            details["weights"] = dict(zip(self.fitted, map(float, weights), strict=True))
        origins = dict.fromkeys(info.weights for info in infos.values() if info.weights)
        learned = 0 if weights is None else len(weights)
        return ModelInfo(
            family="ensemble",
            parameters=learned + sum(info.parameters for info in infos.values()),
            trainable=learned + sum(info.trainable for info in infos.values()),
            weights=", ".join(origins),
            details=details,
        )

    def fit(
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Self:
        if getattr(self.joined, "learns", True) and (valid is None or not len(valid)):
            raise DataError(
                f'the combiner "{self.combiner["name"]}" learns on validation data and there is '
                "none; choose a split with a validation part, or the combiner mean"
            )
        built = {
            label: build("recommender", spec, seed=derive_seed(self.seed, label))
            for label, spec in self.members.items()
        }
        self._take(built)
        for place, (label, member) in enumerate(built.items()):
            context.progress(place / len(built), label)
            folder = None if context.folder is None else context.folder / f"{place:02d}"
            inner = FitContext(folder=folder, resume=context.resume, log=context.log)
            member.fit(train, valid, inner)
        if valid is not None and len(valid):
            self.fit_combiner(*make_queries(train, valid))
        return self

    def fit_combiner(self, queries: Queries, targets: Targets) -> Self:
        """Let the combiner learn from validation queries and what came true.

        Args:
            queries: B validation queries (their candidates are respected if they have any).
            targets: their held-out items; with ratings where the task needs them.

        Raises:
            DataError: if ratings are needed and there are none.
        """
        if not getattr(self.joined, "learns", True):
            return self
        if len(queries) > self.max_queries:
            drawn = np.random.default_rng(derive_seed(self.seed, "combiner"))
            rows = np.sort(drawn.choice(len(queries), self.max_queries, replace=False))
            queries, targets = queries.take(rows), targets.take(rows)
        if self.task == "ranking":
            items = None if queries.candidates is None else queries.candidates.padded()
            scores, allowed = self._member_scores(queries, items)
            truth = _listed(items, targets.items, scores.shape[1:])
        else:
            if targets.ratings is None:
                raise DataError(f"an ensemble for {self.task} learns from ratings; there are none")
            items, ratings = targets.items.padded(), targets.ratings.padded(fill=0)
            scores, allowed = self._member_scores(queries, items)
            truth = ratings >= self.threshold if self.task == "preference" else ratings
        self.joined.fit(scores, truth, allowed)
        self.ready = True
        return self

    def _member_scores(
        self, queries: Queries, items: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (M, B, C) float32 scores on one scale and (B, C) bool allowed places."""
        raw = [
            np.asarray(member.score(queries, items), np.float32) for member in self.fitted.values()
        ]
        allowed = np.ones(raw[0].shape, bool) if items is None else items >= 0
        if self.task != "ranking":
            return np.stack(raw), allowed
        allowed &= ~_listed(items, queries.histories, allowed.shape)
        scaled = [on_one_scale(scores, allowed, self.normalise) for scores in raw]
        return np.stack(scaled), allowed

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        self.require_fitted()
        scores, allowed = self._member_scores(queries, items)
        return np.asarray(self.joined.combine(scores, allowed), dtype=np.float32)

    def score_all(self, queries: Queries) -> np.ndarray:
        return self.score(queries)

    @property
    def parts(self) -> dict[str, Recommender]:
        """The fitted members by label."""
        return self.fitted

    def require_fitted(self) -> None:
        if not self.fitted:
            raise RunError("the ensemble has no fitted members yet: call fit first, or load")
        if not self.ready:
            raise RunError("the ensemble's combiner is not fitted yet: call fit_combiner first")

    def save_state(self, folder: Path) -> None:
        for place, member in enumerate(self.fitted.values()):
            member.save(folder / "members" / f"{place:02d}")
        write_json(folder / "members.json", list(self.fitted))
        write_arrays(folder / "combiner.npz", self.joined, getattr(self.joined, "state", ()))

    def load_state(self, folder: Path) -> None:
        labels = read_json(folder / "members.json")
        if set(labels) != set(self.members):
            raise ConfigError([Problem("members", f"{folder} holds other members: {labels}")])
        self._take(
            {
                label: load_recommender(folder / "members" / f"{place:02d}")
                for place, label in enumerate(labels)
            }
        )
        read_arrays(folder / "combiner.npz", self.joined, getattr(self.joined, "state", ()))
        self.ready = True


def _listed(items: np.ndarray | None, rows: Ragged, shape: tuple[int, ...]) -> np.ndarray:
    """Return (B, C) bool: which places hold one of the row's listed items."""
    listed = np.zeros(shape, bool)
    if items is None:
        listed[rows.row_of, rows.values] = True
        return listed
    stride = int(max(items.max(initial=0), rows.values.max(initial=0))) + 1
    keys = rows.row_of * stride + rows.values
    places = np.arange(len(items))[:, None] * stride + items
    return (items >= 0) & np.isin(places, keys)
