"""What is kept of one judged recommender: enough to redo every comparison without refitting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.errors import RunError
from llmrec.core.files import atomic_path, read_json, sha256_of, write_json
from llmrec.core.protocols import ModelInfo, Task
from llmrec.core.types import Ragged


@dataclass(frozen=True)
class Costs:
    """What a recommender cost on this machine; never part of a reproducible table.

    Attributes:
        fit_seconds: wall time of `fit`.
        score_milliseconds_per_user: wall time of scoring and ranking, divided by the users.
        peak_memory_bytes: growth of resident (and GPU) memory while fitting and scoring.
        requests: sent to an endpoint, validation and test together.
        cached_requests: answered from disk instead.
        input_tokens: read by the endpoint, those of cached requests included.
        output_tokens: written by it, likewise.
        estimated_tokens: whether some of the tokens are estimated from characters, because the
            endpoint gave no usage.
        spent: what the sent requests cost, in the currency of the prices; None without prices.
    """

    fit_seconds: float = 0.0
    score_milliseconds_per_user: float = 0.0
    peak_memory_bytes: int = 0
    requests: int = 0
    cached_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated_tokens: bool = False
    spent: float | None = None

    def endpoint(self) -> dict[str, int | float | None]:
        """Return what was asked of an endpoint; empty for a recommender that asks none."""
        if not self.requests + self.cached_requests:
            return {}
        tokens = ("input_tokens", "output_tokens", "estimated_tokens")
        names = ("requests", "cached_requests", *tokens, "spent")
        return {name: getattr(self, name) for name in names}


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
        repeats: ranking only: held-out items that the query's history held already.
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

    repeats: int = 0

    def with_costs(self, *, fit_seconds: float, peak_memory_bytes: int) -> ModelResult:
        """Return the result with what fitting cost added; the scoring time stays."""
        costs = replace(
            self.costs, fit_seconds=fit_seconds, peak_memory_bytes=int(peak_memory_bytes)
        )
        return replace(self, costs=costs)

    def save(self, folder: Path) -> None:
        """Write ``per_user.parquet`` and ``result.json`` into a folder, atomically.

        The table has one row per user: ``user``, one column per metric under its full label, and
        lists: ``ranks`` and ``items`` (recommended, best first) or ``truth`` and ``predicted``.
        The JSON file is written last and holds the checksum of the table.
        """
        import polars as pl

        folder = Path(folder)
        columns: dict[str, Any] = {
            "user": pl.Series(self.users.astype(str).tolist(), dtype=pl.Utf8)
        }
        for name, values in self.per_user.items():
            columns[full_label(name, self.protocol)] = pl.Series(np.asarray(values, np.float64))
        for name, rows in _list_columns(self).items():
            columns[name] = pl.Series([row.tolist() for row in rows], dtype=pl.List(_dtype(rows)))
        table = folder / TABLE
        with atomic_path(table) as temporary:
            pl.DataFrame(columns).write_parquet(temporary)
        header = {name: getattr(self, name) for name in _PLAIN}
        header |= {
            "metrics": list(self.metrics),
            "overall": {name: _encode(value) for name, value in self.overall.items()},
            "info": asdict(self.info) | {"details": dict(self.info.details)},
            "costs": asdict(self.costs),
            "sha256": {TABLE: sha256_of(table)},
        }
        write_json(folder / HEADER, header)

    @classmethod
    def load(cls, folder: Path) -> ModelResult:
        """Read what `save` wrote.

        Raises:
            RunError: if the folder holds no result or a broken one.
        """
        import polars as pl

        folder = Path(folder)
        header = read_json(folder / HEADER)
        table = folder / TABLE
        try:
            if sha256_of(table) != header["sha256"][TABLE]:
                raise RunError(f"{table} is not the table that {HEADER} beside it describes")
            frame = pl.read_parquet(table)
            per_user = {
                name: frame[full_label(name, header["protocol"])].to_numpy()
                for name in header["metrics"]
                if full_label(name, header["protocol"]) in frame.columns
            }
            rows = {name: _ragged(frame[name]) for name in _LISTS if name in frame.columns}
            items = rows.get("items")
            return cls(
                **{name: header[name] for name in _PLAIN},
                metrics=tuple(header["metrics"]),
                overall={name: _decode(value) for name, value in header["overall"].items()},
                users=np.array(frame["user"].to_list(), dtype=str),
                per_user=per_user,
                lists=None if items is None else items.values.reshape(len(items), -1),
                info=ModelInfo(**header["info"]),
                ranks=rows.get("ranks"),
                truth=rows.get("truth"),
                predicted=rows.get("predicted"),
                costs=Costs(**header["costs"]),
            )
        except FileNotFoundError as error:
            raise RunError(f"there is no {table}; the result in {folder} is incomplete") from error
        except (KeyError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
            raise RunError(
                f"{folder} holds a broken result ({type(error).__name__}: {error}); run it again"
            ) from error


TABLE, HEADER = "per_user.parquet", "result.json"
_PLAIN = ("label", "task", "data", "fingerprint", "protocol", "higher_is_better", "repeats")
_LISTS = ("ranks", "items", "truth", "predicted")


def _list_columns(result: ModelResult) -> dict[str, Ragged]:
    found = {"ranks": result.ranks, "truth": result.truth, "predicted": result.predicted}
    if result.lists is not None:
        n_users, width = result.lists.shape
        found["items"] = Ragged(result.lists.ravel(), np.arange(n_users + 1) * width)
    return {name: rows for name, rows in found.items() if rows is not None}


def _dtype(rows: Ragged) -> Any:
    import polars as pl

    return pl.Series(rows.values[:0]).dtype


def _ragged(column: Any) -> Ragged:
    lengths = column.list.len().to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(column.filter(column.list.len() > 0).explode().to_numpy(), offsets)


def _encode(value: float) -> float | str:
    """Return a number JSON can hold: it has none for NaN and the infinities."""
    return value if math.isfinite(value) else str(value)


def _decode(value: float | str) -> float:
    return float(value)


def full_label(metric: str, protocol: str) -> str:
    """Return the name a metric has wherever it is quoted: ``ndcg@10 (leave-one-out, full)``."""
    return f"{metric} ({protocol})"
