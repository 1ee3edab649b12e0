"""Recommenders and a tracker that misbehave on purpose."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo
from llmrec.core.types import Dataset, Queries
from llmrec.recommenders.base import BaseRecommender


class Counting(BaseRecommender):
    """Prefers items by their number of interactions plus a little noise; remembers its fits."""

    state = ("counts",)
    fits: ClassVar[list[dict[str, Any]]] = []
    trouble: ClassVar[BaseException | None] = None

    def __init__(self, *, noise: float = 0.0, family: str = "baseline", seed: int = 0) -> None:
        self.noise, self.family, self.seed = noise, family, seed

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(family=self.family)  # type: ignore[arg-type]

    def fit(
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Counting:
        context.log({"loss": 1.0}, 1)
        context.progress(0.5, "counting")
        seen = context.folder is not None and context.folder.exists()
        self.fits.append({"seed": self.seed, "resume": context.resume, "checkpoints": seen})
        if context.folder is not None:
            context.folder.mkdir(parents=True, exist_ok=True)
            (context.folder / "checkpoint").touch()
        if type(self).trouble is not None:
            raise type(self).trouble
        noise = np.random.default_rng(self.seed).normal(size=train.n_items) * self.noise
        self.counts = (train.item_counts + noise).astype(np.float32)
        return self

    def score_all(self, queries: Queries) -> np.ndarray:
        return np.tile(self.counts, (len(queries), 1))


class Fragile(Counting):
    """As the other one, with troubles of its own."""

    trouble: ClassVar[BaseException | None] = None
    fits: ClassVar[list[dict[str, Any]]] = []


class Slow(Counting):
    """Takes a while to load its libraries and a while to fit."""

    fits: ClassVar[list[dict[str, Any]]] = []
    trouble: ClassVar[BaseException | None] = None
    clock: ClassVar[list[float]] = [0.0]
    warmed: ClassVar[list[np.ndarray]] = []

    def warm_up(self) -> None:
        self.clock[0] += 1000
        self.warmed[:] = [np.ones(50_000_000 // 8)]
        time.sleep(0.05)

    def fit(
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Counting:
        self.clock[0] += 10
        return super().fit(train, valid, context)


class RatesOnly(Counting):
    """Serves ratings only."""

    serves = frozenset({"rating"})


class Recorder:
    """A tracker that keeps what it is told."""

    events: ClassVar[list[tuple[Any, ...]]] = []

    def start(self, config: Mapping[str, Any], folder: Path) -> None:
        self.events.append(("start", dict(config), folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.events.append(("log", dict(values), step))

    def finish(self, rows: list[dict[str, Any]], folder: Path, failed: bool = False) -> None:
        self.events.append(("finish", len(rows), failed))
