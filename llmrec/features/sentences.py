"""Embeddings of whole texts by a pretrained backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmrec.backbones.embed import TextPooling, embed_texts
from llmrec.core.config import BackboneSpec, build, construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Ragged
from llmrec.features.base import Matrix, pooled
from llmrec.features.text import Of, Source, TextFeature, text_problems

MINILM = {"name": "minilm"}


class SentenceEmbedding(TextFeature):
    """Embeddings of texts by a pretrained, frozen backbone, pooled over tokens and over texts.

    The vector of each text has length 1 and is kept on disk under a hash of weights, options and
    text: nothing is encoded twice, whatever data set or field it is from.

    Args:
        backbone: a pretrained backbone.
        of: whose row it is, an item's or a user's.
        source: texts of items, or what users wrote.
        fields: item fields in order; null for all.
        pooling: over the tokens of a text, and over several texts: mean, or the largest value in
            each dimension.
        max_length: tokens kept of each text.

    Raises:
        DataError: from `fit`, for a backbone without pretrained weights.
    """

    def __init__(
        self,
        *,
        backbone: BackboneSpec = MINILM,
        of: Of = "item",
        source: Source = "item_fields",
        fields: Sequence[str] | None = None,
        pooling: TextPooling = "mean",
        max_length: int = 128,
    ) -> None:
        self.backbone = backbone
        self.of = of
        self.source = source
        self.fields = fields
        self.pooling = pooling
        self.max_length = max_length
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        found = text_problems(params)
        if params.get("max_length", 1) < 1:
            found.append(("max_length", f"expected 1 or more, got {params['max_length']!r}"))
        return found

    @property
    def learned(self) -> tuple[str, ...]:
        return ("width",)

    @property
    def columns(self) -> list[str]:
        return [f"dimension {number}" for number in range(self.width)]

    @property
    def weights(self) -> str:
        return str(build("backbone", self.backbone).weights)

    def learn_texts(self, texts: list[str]) -> None:  # noqa: ARG002  pretrained: nothing to learn
        if build("backbone", self.backbone).location is None:
            raise DataError(
                "sentence_embedding needs pretrained weights, and this backbone starts at random; "
                "give it a checkpoint, or take the backbone minilm"
            )

    def encode(self, texts: list[str], owners: list[str] | None) -> Matrix:
        vectors = embed_texts(
            self.backbone, texts, max_length=self.max_length, pooling=self.pooling, owners=owners
        )
        self.width = vectors.shape[1]
        return vectors

    def gather(self, groups: Ragged, rows: Matrix) -> Matrix:
        told: np.ndarray = np.any(rows, axis=1)
        return pooled(groups.keep(told[groups.values]), rows, self.pooling)
