"""Sizes that publishers state, beside those of the files at hand."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from llmrec.core.types import Dataset

log = logging.getLogger(__name__)


def compared(dataset: Dataset, counts: tuple[int, int, int]) -> Dataset:
    """Return the data set with its publisher's sizes in ``source``, and whether they are its own.

    A difference is a warning, not an error: a part of a release is data, too.

    Args:
        dataset: as it was loaded.
        counts: users, items with an interaction, and interactions (duplicates included) as the
            publisher counts them.
    """
    read = (
        dataset.n_users,
        int(np.count_nonzero(dataset.item_counts)),
        len(dataset) + dataset.source.get("duplicates_left_out", 0),
    )
    words = "{:,} users, {:,} items, {:,} interactions"
    facts = {"published_size": words.format(*counts), "is_the_published_size": read == counts}
    if read != counts:
        log.warning(
            "%s: the files hold %s, its publisher counts %s; these are other files, or a part",
            dataset.name,
            words.format(*read),
            words.format(*counts),
        )
    return replace(dataset, source={**dataset.source, **facts})
