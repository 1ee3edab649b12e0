"""What a generative head writes for an item besides its title: numbers or semantic ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.config import BackboneSpec
from llmrec.core.extras import require
from llmrec.core.seeding import derive_seed
from llmrec.core.text_encoders import text_encoder_problems
from llmrec.core.types import Dataset, Ragged
from llmrec.data.co_occurrence import co_occurrence_vectors
from llmrec.heads.quantizers import ResidualKMeans

# Vectors of items that stand near each other: their columns, and the largest distance.
NEAR_SIZE, NEAR_WINDOW = 64, 3


@dataclass(frozen=True, eq=False)
class Codes:
    """Identifiers of one length over a small vocabulary of their own.

    Attributes:
        table: (n_items, L) int64 codes, no two rows equal.
        size: codes are below it.
        facts: what a table says of them (collisions, use of the codebooks).
        centres: of the first levels, (K, D) what each code stands for; the codes of a level follow
            those of the level before. Empty if they stand for nothing.
    """

    table: np.ndarray
    size: int
    facts: Mapping[str, float]
    centres: Sequence[np.ndarray] = ()


class Numeric:
    """Numbers, as in P5 and OpenP5 (Geng et al., RecSys 2022; Xu et al., 2023).

    ``random`` numbers say nothing. ``sequential`` ones follow the *training* histories, user by
    user, so that items of one history have numbers near each other (P5 numbered through the test
    items, too: a leak). Items without training interactions come last, in random order.

    Args:
        order: how items are numbered.
        seed: of random orders.
    """

    serves_text: ClassVar[bool] = True
    text_encoder: ClassVar[None] = None

    def __init__(
        self, *, order: Literal["random", "sequential"] = "sequential", seed: int = 0
    ) -> None:
        self.order = order
        self.seed = seed

    def numbers(self, train: Dataset) -> np.ndarray:
        """Return the (n_items,) int64 numbers, from 0."""
        rng = np.random.default_rng(derive_seed(self.seed, "numbers"))
        order = rng.permutation(train.n_items)
        if self.order == "sequential":
            values = train.histories.values.astype(np.int64)
            seen, first = np.unique(values, return_index=True)
            order = np.concatenate([seen[np.argsort(first)], order[~np.isin(order, seen)]])
        numbers = np.empty(train.n_items, np.int64)
        numbers[order] = np.arange(train.n_items)
        return numbers

    def texts(self, train: Dataset) -> list[str]:
        """Return what stands for each item in a text prompt: ``item_7``."""
        return [f"item_{number}" for number in self.numbers(train).tolist()]

    def codes(self, train: Dataset, vectors: np.ndarray | None) -> Codes:  # noqa: ARG002
        """Return the decimal digits of the numbers, all of one length."""
        numbers = self.numbers(train)
        width = len(str(max(train.n_items - 1, 1)))
        digits = numbers[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10
        return Codes(digits, 10, {})


class Semantic:
    """Semantic ids: codes of an item's embedding from coarse to fine (TIGER, Rajput et al. 2023).

    The quantiser is fitted on the items of the training interactions; any other item gets the
    codes of its embedding. One more code tells items apart whose codes are all equal.

    Args:
        quantizer: ``k_means`` (residual k-means) or ``rq_vae``.
        text_encoder: pretrained backbone that embeds the texts; needed if features name text.
        fields: item fields that make up the text, None for all.
        features: what is quantised: ``text``, ``interactions`` (which items follow each other in
            the training histories, by a singular value decomposition), or both side by side.
        codebook_size: codes of each level.
        n_levels: levels, not counting the code that tells equal ones apart.
        iterations: of k-means at each level.
        latent_size: of RQ-VAE, width of what is quantised.
        epochs: of RQ-VAE.
        batch_size: of RQ-VAE.
        learning_rate: of RQ-VAE.
        seed: of all of them.
    """

    serves_text: ClassVar[bool] = False

    def __init__(
        self,
        *,
        quantizer: Literal["k_means", "rq_vae"] = "k_means",
        text_encoder: BackboneSpec | None = None,
        fields: Sequence[str] | None = None,
        features: Sequence[Literal["text", "interactions"]] = ("text",),
        codebook_size: int = 256,
        n_levels: int = 3,
        iterations: int = 20,
        latent_size: int = 32,
        epochs: int = 50,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.quantizer = quantizer
        self.text_encoder = text_encoder
        self.fields = fields
        self.features = features
        self.codebook_size = codebook_size
        self.n_levels = n_levels
        self.iterations = iterations
        self.latent_size = latent_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range or missing."""
        least = dict.fromkeys(
            ("n_levels", "iterations", "latent_size", "epochs", "batch_size"), 1
        ) | {"codebook_size": 2}
        found = [
            (key, f"must be at least {lowest}")
            for key, lowest in least.items()
            if params.get(key, lowest) < lowest
        ]
        if params.get("learning_rate", 1.0) <= 0:
            found.append(("learning_rate", "must be above 0"))
        features = list(params.get("features", ("text",)))
        if not features or len(set(features)) < len(features):
            found.append(("features", "names text, interactions, or both, each once"))
        encoder = params.get("text_encoder")
        if "text" in features or encoder is not None:
            found += text_encoder_problems(encoder, "features=[text]")
        if "text" not in features and encoder is not None:
            found.append(("text_encoder", "is not read without features=[text]; leave it null"))
        return found

    def codes(self, train: Dataset, vectors: np.ndarray | None) -> Codes:
        """Return the semantic ids of all items.

        Args:
            train: the training interactions: their items fit the quantiser.
            vectors: (n_items, D) text embeddings, None without features=[text].
        """
        known = train.item_counts > 0
        if not known.any():
            known = np.ones(train.n_items, bool)
        parts = []
        if vectors is not None:
            parts.append(_scaled(vectors, known))
        if "interactions" in self.features:
            near = co_occurrence_vectors(
                train.histories, train.n_items, NEAR_SIZE, NEAR_WINDOW, self.seed
            )
            parts.append(_scaled(near, known))
        whole = np.concatenate(parts, 1)
        quantizer = self._quantizer().fit(whole[known])
        codes = quantizer.codes(whole)
        nth = repeats(codes, train.item_ids)
        error = np.square(whole - quantizer.decoded(codes)).sum()
        used = [len(np.unique(codes[known, level])) for level in range(self.n_levels)]
        facts = {
            "collision_rate": float((nth > 0).mean()),
            "largest_collision": int(nth.max(initial=0)) + 1,
            "codebook_use": float(np.mean(used) / self.codebook_size),
            "quantization_error": float(error / max(np.square(whole).sum(), 1e-12)),
        }
        table = np.column_stack([codes + self.codebook_size * np.arange(self.n_levels), nth])
        table[:, -1] += self.codebook_size * self.n_levels
        return Codes(table, int(table.max(initial=0)) + 1, facts, quantizer.codebooks)

    def _quantizer(self) -> Any:
        if self.quantizer == "k_means":
            return ResidualKMeans(self.codebook_size, self.n_levels, self.iterations, self.seed)
        require("torch", "lm", "quantizer rq_vae")
        from llmrec.heads.rqvae import RQVAE

        return RQVAE(
            self.codebook_size,
            self.n_levels,
            self.latent_size,
            self.epochs,
            self.batch_size,
            self.learning_rate,
            self.seed,
        )


def repeats(codes: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Return (N,) int64: how many rows with the same codes come before each, by order of names."""
    by_name = np.argsort(names.astype(str), kind="stable")
    _, group = np.unique(codes[by_name], axis=0, return_inverse=True)
    group = group.ravel()
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    nth = np.empty(len(codes), np.int64)
    nth[by_name[order]] = Ragged.spans(np.zeros_like(counts), counts).values
    return nth


def _scaled(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return vectors centred on the known ones, whose mean square length becomes 1."""
    centred = vectors - vectors[known].mean(0)
    length = float(np.sqrt(np.square(centred[known]).sum(1).mean()))
    scaled: np.ndarray = (centred / max(length, 1e-12)).astype(np.float32)
    return scaled
