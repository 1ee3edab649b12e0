"""The contracts between the stages. Anything that satisfies one can be registered and swapped.

numpy at the boundaries, torch inside; so tensors and modules are ``Any`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np

from llmrec.core.types import Dataset, Queries, Ragged, Split

Task = Literal["ranking", "rating", "preference", "classes", "generation"]
Family = Literal["baseline", "language_model", "control", "ensemble"]


def _ignore(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class FitContext:
    """What surrounds a fit: none of it changes the numbers.

    Attributes:
        folder: where checkpoints may be kept, or None to keep none.
        resume: continue from the newest checkpoint in `folder` if there is one.
        log: called with values by name and a step, for training curves.
        progress: called with the share done (0..1) and a short text.
    """

    folder: Path | None = None
    resume: bool = False
    log: Callable[[Mapping[str, float], int], None] = _ignore
    progress: Callable[[float, str], None] = _ignore


NO_CONTEXT = FitContext()


@dataclass(frozen=True)
class ModelInfo:
    """What a table says of a fitted recommender beside its scores.

    Attributes:
        family: baseline, language_model, ensemble, or control: the model of a language-model row
            without its text, which shows what the text contributes and is never *the* answer.
        parameters: number of learned values (weights, factors, similarities kept).
        trainable: how many of them this fit could change.
        weights: where they started: "" for a baseline, ``random init``, or checkpoint@revision.
        details: anything else worth saving (best epoch, ensemble weights, …); JSON-able.
    """

    family: Family = "baseline"
    parameters: int = 0
    trainable: int = 0
    weights: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """Loads a data set: from a local folder, a download, a generator."""

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: that says which file (and line) is wrong, or what to do without a network.
        """
        ...


@runtime_checkable
class Filter(Protocol):
    """Decides which interactions of a data set take part."""

    @property
    def words(self) -> str:
        """What it is called in a protocol, e.g. ``5-core``."""
        ...

    def rows(self, dataset: Dataset) -> np.ndarray:
        """Return (N,) bool: the interactions that stay.

        Raises:
            DataError: if the data lacks what it needs (ratings, times, …).
        """
        ...


@runtime_checkable
class TextStep(Protocol):
    """Cleans the texts of one column."""

    @property
    def fields(self) -> Sequence[str] | None:
        """The columns it cleans: item fields, ``text`` for what users write; None for all."""
        ...

    def apply(self, texts: Sequence[str]) -> list[str]:
        """Return as many texts, in the same order; an emptied one is ""."""
        ...


@runtime_checkable
class Splitter(Protocol):
    """Divides a data set into train, validation and test."""

    def split(self, dataset: Dataset) -> Split:
        """Return the three parts; the result names the protocol.

        Raises:
            DataError: if the data cannot be split this way (no timestamps, too few rows, …).
        """
        ...


@runtime_checkable
class Recommender(Protocol):
    """Anything that scores items for queries."""

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks that the scores serve, as configured.

        For *ranking* any scale will do; for *rating* scores are ratings; for *preference* they
        are the log-odds of a like; for *classes* each is the class, by its number in the data.
        """
        ...

    @property
    def info(self) -> ModelInfo:
        """Family, parameter counts and the origin of the weights."""
        ...

    def fit(
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Self:
        """Learn from `train`; `valid` serves early stopping and selection only."""
        ...

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        """Return scores, higher is better.

        Args:
            queries: B queries. An unknown user (−1) or an empty history is answered, never refused.
            items: (B, C) item ids to score for each query, −1 for an empty place (its score
                means nothing); None for the whole catalogue.

        Returns:
            (B, C) or (B, n_items) float32 without NaN.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs into a folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the scores are the same."""
        ...


@runtime_checkable
class Combiner(Protocol):
    """Turns the scores of an ensemble's members into one."""

    def fit(self, scores: np.ndarray, truth: np.ndarray, allowed: np.ndarray) -> Self:
        """Learn from *validation* scores.

        Args:
            scores: (M, B, C) float32 of M members.
            truth: (B, C) bool, the held-out items (ranking) or likes; or float32 ratings.
            allowed: (B, C) bool, the places that count.
        """
        ...

    def combine(self, scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Return (B, C) float32 from (M, B, C) member scores."""
        ...


@runtime_checkable
class Feature(Protocol):
    """Turns data into numbers about items or about queries (a user, a moment).

    Matrices are float32, dense or scipy CSR, one row per item or query.
    """

    @property
    def describes(self) -> Literal["item", "query"]:
        """Whom a row is about."""
        ...

    @property
    def columns(self) -> list[str]:
        """The names of the columns, known after `fit`."""
        ...

    @property
    def details(self) -> Mapping[str, Any]:
        """What is worth saving beside the numbers (vocabulary, coverage, …); JSON-able."""
        ...

    @property
    def weights(self) -> str:
        """The origin of pretrained weights, "" without such."""
        ...

    def fit(self, train: Dataset) -> Self:
        """Learn the columns (vocabulary, scales, …) from the training side, and observe it."""
        ...

    def observe(self, known: Dataset) -> Self:
        """Take what is known of items and users from other rows; the columns stay."""
        ...

    def items(self) -> Any:
        """Return (n_items, D), if it describes items; an item without training rows has a row."""
        ...

    def queries(self, queries: Queries) -> Any:
        """Return (B, D), if it describes queries; nothing after a query's time counts."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs into a folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


class RankingMetric(Protocol):
    """A value per user from the ranks of the held-out items."""

    family: ClassVar[Literal["ranking"]]
    higher_is_better: ClassVar[bool]
    k: int

    def per_user(self, ranks: Ragged) -> np.ndarray:
        """Return (U,) float64.

        Args:
            ranks: U rows; rank (from 1, int64) of each held-out item of the user among all
                candidates; 0 for an item that was not ranked at all.
        """
        ...


class CatalogueMetric(Protocol):
    """One value from all recommended lists together."""

    family: ClassVar[Literal["catalogue"]]
    higher_is_better: ClassVar[bool]
    k: int

    def overall(self, lists: np.ndarray, n_items: int) -> float:
        """Return the value of (U, K) recommended item ids, best first, −1 for an empty place."""
        ...


class PointwiseMetric(Protocol):
    """Compares a prediction with a number or a like, row by row."""

    family: ClassVar[Literal["rating", "preference", "classes"]]
    higher_is_better: ClassVar[bool]

    def overall(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return the value over all rows: (N,) truth, (N,) predictions."""
        ...

    def per_user(self, truth: Ragged, predicted: Ragged) -> np.ndarray:
        """Return (U,) float64, NaN for a user for whom it is undefined; paired tests use it."""
        ...


class Tracker(Protocol):
    """Where a run's curves, table and files are reported."""

    def start(self, config: Mapping[str, Any], folder: Path) -> None:
        """Open the tracked run."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values of a curve."""
        ...

    def finish(self, rows: list[dict[str, Any]], folder: Path, failed: bool = False) -> None:
        """Log the final table and the files of the run folder, and close."""
        ...


@dataclass(frozen=True)
class Encoded:
    """What a backbone gives to a head.

    Attributes:
        tokens: (B, L, H) hidden states, padding included.
        pooled: (B, H) one vector per row.
        mask: (B, L) bool, True for real tokens.
        learned: (B, n, H) states of the virtual tokens that an adapter learned and that a decoder
            attends to before `tokens`; None if there are none.
    """

    tokens: Any
    pooled: Any
    mask: Any
    learned: Any = None


class Adapter(Protocol):
    """How weights are loaded and which of them train.

    Attributes:
        trains: whether anything inside the backbone trains.
        trains_base: whether its own weights change, so that they must be stored whole.
        quantizes: whether weights are loaded in fewer bits.
        virtual_tokens: how many learned tokens it puts before every input.
    """

    @property
    def trains(self) -> bool: ...

    @property
    def trains_base(self) -> bool: ...

    @property
    def quantizes(self) -> bool: ...

    @property
    def virtual_tokens(self) -> int: ...

    def misfit(self, architecture: str, direction: str, needs: str) -> str | None:
        """Return why it cannot work with a backbone and a head, None if it can.

        Args:
            architecture: of the backbone, by its name in the registry.
            direction: of the backbone: ``causal``, ``bidirectional`` or ``seq2seq``.
            needs: what the head takes from it: ``pooled``, ``sequence``, ``token_logits``, ….
        """
        ...

    def load_options(self) -> dict[str, Any]:
        """Return keyword arguments for ``from_pretrained`` (quantization acts while loading)."""
        ...

    def wrap(self, module: Any, architecture: str) -> Any:
        """Return the module with adapter layers added or weights frozen (acts after loading).

        Args:
            module: a transformers ``PreTrainedModel``.
            architecture: transformers' model type: ``gpt2``, ``bert``, ``t5``, ``llama``, …
        """
        ...

    def save(self, module: Any, folder: Path) -> None:
        """Write what must be stored beside the base weights."""
        ...

    def restore(self, module: Any, folder: Path) -> Any:
        """Return `module` with the stored weights in it, proven present."""
        ...


def serve(recommender: Any, task: str) -> None:
    """Let a recommender that serves several tasks, one at a time, serve this one."""
    getattr(recommender, "answer_for", lambda _: None)(task)
