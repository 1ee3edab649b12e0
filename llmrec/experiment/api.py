"""The stages of a run one by one, for scripts and notebooks (``llmrec.load_data``, …)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmrec.core import config
from llmrec.core.protocols import Recommender
from llmrec.core.types import Dataset, Split
from llmrec.evaluation.evaluate import Side, make_exam
from llmrec.evaluation.evaluate import evaluate as judge
from llmrec.evaluation.options import EvaluationOptions, JudgedTask
from llmrec.evaluation.result import ModelResult
from llmrec.recommenders.base import load_recommender

DEFAULT_METRICS: dict[JudgedTask, tuple[str, ...]] = {
    "ranking": ("ndcg@10", "hr@10", "mrr@10", "recall@20", "coverage@10"),
    "rating": ("rmse", "mae"),
    "preference": ("roc_auc", "log_loss", "accuracy", "f1"),
    "classes": ("macro_f1", "class_accuracy"),
}


def load_data(name: str, **options: Any) -> Dataset:
    """Load a data set: ``ml-100k``, ``csv``, ``synthetic``, or another registered source.

    Raises:
        ConfigError: for wrong options; ``llmrec show source/csv`` lists them.
        DataError: that says what is wrong with its files, or what to do without a network.

    Example:
        >>> data = load_data("synthetic", n_users=50, n_items=80)
        >>> data.n_users, data.n_items
        (50, 80)
    """
    dataset: Dataset = build("source", name, **options).load()
    return dataset


def split(dataset: Dataset, name: str = "leave_one_out", **options: Any) -> Split:
    """Divide a data set into train, validation and test.

    Raises:
        ConfigError: for wrong options.
        DataError: if the data cannot be split this way.

    Example:
        >>> parts = split(load_data("synthetic", n_users=50), "leave_one_out")
        >>> len(parts.test), parts.protocol
        (50, 'leave-one-out')
    """
    parts: Split = build("split", name, **options).split(dataset)
    return parts


def build(kind: str, name: str, **options: Any) -> Any:
    """Construct any registered component; parts of it are mappings with a ``name``.

    Raises:
        ConfigError: with every wrong option.

    Example:
        >>> build("recommender", "ease", regularization=100).regularization
        100.0
    """
    return config.build(kind, {"name": name, **options})


def evaluate(
    recommender: Recommender,
    parts: Split,
    *,
    label: str,
    task: JudgedTask = "ranking",
    metrics: Sequence[str] | None = None,
    side: Side = "test",
    **options: Any,
) -> ModelResult:
    """Judge a fitted recommender on one side of a split.

    Args:
        recommender: who is judged.
        parts: the data, divided.
        label: its name in tables.
        task: ranking, rating or preference.
        metrics: names, the main one first; by default those of the task.
        side: ``test``, or ``valid`` for choosing between recommenders.
        options: others of the evaluation: candidates, threshold, batch_size.

    Raises:
        ConfigError: for wrong options.
        ComponentError: if the recommender does not serve the task.
    """
    chosen = EvaluationOptions.from_config(
        {"task": task, "metrics": list(metrics or DEFAULT_METRICS.get(task, ())), **options}
    )
    return judge(recommender, make_exam(parts, chosen, side), label=label)


def load(folder: str | Path) -> Any:
    """Read a fitted recommender from the folder it was saved in.

    Raises:
        RunError: if the folder holds none.

    Example:
        >>> import tempfile
        >>> parts = split(load_data("synthetic", n_users=50))
        >>> folder = Path(tempfile.mkdtemp()) / "ease"
        >>> build("recommender", "ease").fit(parts.train).save(folder)
        >>> type(load(folder)).__name__
        'EASE'
    """
    return load_recommender(Path(folder))
