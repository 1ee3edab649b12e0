"""What is kept of one judged recommender: enough to recompute every comparison without refitting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llmrec.core.protocols import ModelInfo, Task
from llmrec.core.types import Ragged


@dataclass(frozen=True)
class Costs:
    """What a recommender cost on this machine; never part of a reproducible table.

    Attributes:
        fit_seconds: wall time of `fit`.
        score_milliseconds_per_user: wall time of scoring and ranking, divided by the users.
        peak_memory_bytes: growth of resident (and GPU) memory while fitting and scoring.
    """

    fit_seconds: float = 0.0
    score_milliseconds_per_user: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One recommender, judged on one task, under one protocol.

    Attributes:
        label: the row's name in tables, unique within a run.
        task: ranking, rating or preference.
        data: name of the data set.
        fingerprint: of the data set and split: results with different ones are never compared.
        protocol: split and candidates, as every label quotes it: ``leave-one-out, full``.
        metrics: names in table order, e.g. ``ndcg@10``; the first is the main one.
        higher_is_better: by metric name.
        overall: the table's value of each metric.
        users: (U,) external user ids (strings).
        per_user: (U,) float64 by metric name, NaN where undefined; catalogue metrics have none.
        ranks: ranking only: U rows, the rank of each held-out item, 0 if not ranked.
        lists: ranking only: (U, K) recommended dense item ids, best first, −1 for none.
        truth: rating and preference only: U rows of what was held out.
        predicted: the predictions, same rows.
        info: family, parameters and origin of the weights.
        costs: seconds and bytes.
    """

    label: str
    task: Task
    data: str
    fingerprint: str
    protocol: str
    metrics: tuple[str, ...]
    higher_is_better: Mapping[str, bool]
    overall: Mapping[str, float]
    users: np.ndarray
    per_user: Mapping[str, np.ndarray]
    ranks: Ragged | None = None
    lists: np.ndarray | None = None
    truth: Ragged | None = None
    predicted: Ragged | None = None
    info: ModelInfo = field(default_factory=ModelInfo)
    costs: Costs = field(default_factory=Costs)

    def save(self, folder: Path) -> None:
        """Write ``per_user.parquet`` and ``result.json`` into a folder, atomically."""
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> ModelResult:
        """Read what `save` wrote.

        Raises:
            RunError: if the folder holds no result or a broken one.
        """
        raise NotImplementedError


def full_label(metric: str, protocol: str) -> str:
    """Return the name a metric has wherever it is quoted: ``ndcg@10 (leave-one-out, full)``."""
    return f"{metric} ({protocol})"
