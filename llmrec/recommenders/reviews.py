"""The review of the judged interaction, for recommenders that read it (evaluation.reads_review)."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmrec.core.errors import ComponentError, DataError
from llmrec.core.types import Dataset, Queries


def reading(prompts: list[Any]) -> bool:
    """Return whether any of some prompts reads the review of what is asked about."""
    return any(getattr(prompt, "reads_review", False) for prompt in prompts)


def training_reviews(train: Dataset) -> list[str]:
    """Return the (T,) texts of the training interactions, in the order of ``train.histories``.

    Raises:
        DataError: if the data set has none.
    """
    text = train.interactions.text
    if text is None:
        raise DataError(
            f"{train.name} has no texts that users wrote, which this model reads; name their "
            "column (data.text=…), or choose data with reviews"
        )
    return [str(each or "") for each in text[train.rows_by_user.values].tolist()]


def asked_reviews(queries: Queries, items: np.ndarray | None) -> list[str]:
    """Return the (N,) reviews of the items asked about, −1 left out, row after row.

    Args:
        queries: B queries.
        items: (B, C) item ids, −1 for an empty place.

    Raises:
        ComponentError: if the queries carry no reviews, or not one for each item.
    """
    if queries.reviews is None or items is None:
        raise ComponentError(
            "this model reads the review of the interaction that is judged, and no review is "
            "given here; it serves evaluation=classes with evaluation.reads_review=true, and "
            "cannot recommend, which comes before anything is written"
        )
    if not np.array_equal(queries.reviews.lengths, (items >= 0).sum(1)):
        raise ComponentError("there are not as many reviews as items asked about in each query")
    return [str(each or "") for each in queries.reviews.values.tolist()]
