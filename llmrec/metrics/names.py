"""Metrics by the names that tables use: ``ndcg@10``, ``rmse``, ``package.module:Metric@5``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmrec.core.config import options_of
from llmrec.core.errors import ConfigError, LlmrecError, Problem
from llmrec.core.registry import registry


@dataclass(frozen=True)
class NamedMetric:
    """A metric and the name it was asked for by.

    Attributes:
        label: the name in tables, e.g. ``ndcg@10``.
        metric: a `RankingMetric`, `CatalogueMetric` or `PointwiseMetric`.
    """

    label: str
    metric: Any

    @property
    def family(self) -> str:
        """One of ranking, catalogue, rating and preference."""
        return str(self.metric.family)

    @property
    def higher_is_better(self) -> bool:
        return bool(self.metric.higher_is_better)

    @property
    def k(self) -> int:
        """The list length, 0 for a metric without one."""
        return int(getattr(self.metric, "k", 0))


def parse(names: Sequence[str]) -> list[NamedMetric]:
    """Return the metrics of a list of names.

    Args:
        names: ``name`` or ``name@k``; a name is registered or a dotted path.

    Raises:
        ConfigError: with every name that is unknown, repeated, or lacks its k.

    Example:
        >>> [(m.label, m.k) for m in parse(["ndcg@10", "rmse"])]
        [('ndcg@10', 10), ('rmse', 0)]
    """
    problems = check(names)
    if problems:
        raise ConfigError(problems)
    return [NamedMetric(name, _build(name)) for name in names]


def check(names: Sequence[str], where: str = "metrics") -> list[Problem]:
    """Return every problem of a list of metric names.

    Args:
        names: what `parse` takes.
        where: dotted path of the list in the config, for the messages.
    """
    if not names:
        return [Problem(where, "name at least one metric, e.g. ndcg@10")]
    problems = []
    for place, name in enumerate(names):
        if name in names[:place]:
            problems.append(Problem(f"{where}[{place}]", f'metric "{name}" is listed twice'))
            continue
        try:
            _build(name)
        except LlmrecError as error:
            problems.append(Problem(f"{where}[{place}]", str(error)))
    return problems


def _build(label: str) -> Any:
    name, at, cut = label.partition("@")
    cls = registry("metric").get(name)
    takes_k = "k" in options_of(cls)
    if not takes_k and at:
        raise ConfigError(f'metric "{name}" takes no list length: write {name}, not {label}')
    if not takes_k:
        return cls()
    if not cut.isascii() or not cut.isdigit() or int(cut) < 1:
        got = f"got {label}" if at else "none is given"
        raise ConfigError(
            f'metric "{name}" needs a list length, a whole number from 1: {got}; write {name}@10'
        )
    return cls(k=int(cut))
