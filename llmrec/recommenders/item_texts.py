"""The texts of items, and their embeddings, for whatever part of a language model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmrec.backbones.embed import embed_texts
from llmrec.core.config import BackboneSpec
from llmrec.core.errors import DataError
from llmrec.core.types import Dataset


def texts_or_refuse(train: Dataset, fields: Any, purpose: str) -> list[str]:
    """Return the item texts.

    Raises:
        DataError: if the data set has none.
    """
    if not any(train.item_texts()):
        raise DataError(
            f"{purpose} needs item texts, but {train.name} has none; give a file with the items' "
            "titles (data.items=FILE), or choose what reads none, e.g. model/prompt=items_no_text"
        )
    try:
        return train.item_texts(fields)
    except DataError as error:
        raise DataError(f"{error}; prompt.fields=null takes all fields") from error


def embedded_items(
    train: Dataset, encoder: BackboneSpec, fields: Sequence[str] | None, purpose: str
) -> np.ndarray:
    """Return (n_items, H) embeddings; an encoder made here learns from training items' texts."""
    texts = texts_or_refuse(train, fields, purpose)
    seen = [texts[item] for item in np.flatnonzero(train.item_counts)]
    return embed_texts(encoder, texts, training=seen)
