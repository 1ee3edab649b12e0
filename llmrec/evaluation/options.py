"""The schema of the config group ``evaluation``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from llmrec.core import config
from llmrec.core.errors import ConfigError, Problem
from llmrec.metrics import names

JudgedTask = Literal["ranking", "rating", "preference", "classes"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "ranking": ("ranking", "catalogue"),
    "rating": ("rating",),
    "preference": ("preference",),
    "classes": ("classes",),
}


@dataclass(frozen=True)
class CandidateOptions:
    """What held-out items compete with.

    Attributes:
        name: ``full``, the whole catalogue without the query's history; or ``sampled``.
        n: sampled only: number of other items per user.
        seed: sampled only. It is apart from the run's seed, so that runs with different seeds
            judge on the same candidates.
    """

    name: Literal["full", "sampled"] = "full"
    n: int = 100
    seed: int = 0


@dataclass(frozen=True)
class EvaluationOptions:
    """How the recommenders of a run are judged.

    Attributes:
        task: ranking, rating, preference or classes.
        metrics: names in table order; the first orders the table and is the one tested.
        candidates: ranking only: what held-out items compete with.
        batch_size: users scored at once; the numbers do not depend on it.
        threshold: preference only: a rating at or above it is a like.
        confidence: level of the intervals.
        n_resamples: bootstrap samples, and random swaps of the paired test.
        reads_review: classes only: recommenders may read what the user wrote in the interaction
            that is judged, so that the question is what the review says, not what will come.
        class_bounds: classes only: ratings become classes before the split, below the first bound
            class 0, from it on class 1, and so on; null for the ratings as they are.

    Raises:
        ConfigError: with every option that is wrong.
    """

    task: JudgedTask
    metrics: Sequence[str]
    candidates: CandidateOptions = field(default_factory=CandidateOptions)
    batch_size: int = 1024
    threshold: float | None = None
    confidence: float = 0.95
    n_resamples: int = 10_000
    reads_review: bool = False
    class_bounds: Sequence[float] | None = None

    def __post_init__(self) -> None:
        problems = self.check_options({f.name: getattr(self, f.name) for f in fields(self)})
        if problems:
            raise ConfigError([Problem(key, what) for key, what in problems])

    @classmethod
    def from_config(cls, params: Mapping[str, Any], where: str = "evaluation") -> EvaluationOptions:
        """Build from plain values.

        Raises:
            ConfigError: with every unknown key, wrong type or value out of range.
        """
        problems = cls.problems(params, where)
        if problems:
            raise ConfigError(problems)
        values = dict(params)
        if isinstance(values.get("candidates"), Mapping):
            values["candidates"] = CandidateOptions(**values["candidates"])
        return cls(**values)

    @classmethod
    def problems(cls, params: Mapping[str, Any], where: str = "evaluation") -> list[Problem]:
        """Return everything wrong with plain values: keys, types, ranges, metrics."""
        found = config.check_options(cls, params, where, owner="the evaluation")
        return [*found, *config.broken_rules(cls, params, where, found)]

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the problems of values that have the right types, by key."""
        task, threshold = params["task"], params.get("threshold")
        found = _metric_problems(task, params["metrics"])
        candidates = params.get("candidates", CandidateOptions())
        if isinstance(candidates, Mapping):
            candidates = CandidateOptions(**candidates)
        if candidates.name == "sampled" and task != "ranking":
            found.append(("candidates.name", f"the task {task} has no candidates to sample"))
        if candidates.n < 1:
            found.append(("candidates.n", f"sample at least one item, got {candidates.n}"))
        if task == "preference" and threshold is None:
            found.append(
                ("threshold", "the task preference needs the rating from which it is liked")
            )
        if task != "preference" and threshold is not None:
            found.append(("threshold", f"the task {task} takes no threshold; leave it out"))
        found += _class_problems(task, params)
        if params.get("batch_size", 1) < 1:
            found.append(("batch_size", f"must be at least 1, got {params['batch_size']}"))
        if not 0 < params.get("confidence", 0.95) < 1:
            found.append(("confidence", f"must be between 0 and 1, got {params['confidence']}"))
        if params.get("n_resamples", 100) < 100:
            found.append(("n_resamples", f"must be at least 100, got {params['n_resamples']}"))
        return found


def _class_problems(task: str, params: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    if params.get("reads_review") and task != "classes":
        what = (
            f"the task {task} predicts before anything is written, and a review gives the answer "
            "away; it is for the task classes (evaluation=classes)"
        )
        found.append(("reads_review", what))
    bounds = params.get("class_bounds")
    if bounds is not None and task != "classes":
        found.append(("class_bounds", f"the task {task} has no classes; leave it out"))
    elif bounds is not None and (not bounds or sorted(set(bounds)) != list(bounds)):
        what = f"expected one or more rising ratings, such as [3, 4], got {list(bounds)}"
        found.append(("class_bounds", what))
    return found


def _metric_problems(task: str, metrics: Sequence[str]) -> list[tuple[str, str]]:
    problems = names.check(metrics)
    if problems:
        return [(problem.where, problem.what) for problem in problems]
    found = []
    for place, named in enumerate(names.parse(metrics)):
        if named.family not in FAMILIES[task]:
            what = f'metric "{named.label}" judges {named.family}, but the task is {task}'
            found.append((f"metrics[{place}]", what))
        elif place == 0 and named.family == "catalogue":
            what = (
                f'"{named.label}" has no value per user to test, so it cannot come first; '
                "put a metric such as ndcg@10 before it"
            )
            found.append(("metrics[0]", what))
    return found
