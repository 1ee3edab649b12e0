"""A small hand-made log for the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from llmrec.core.types import Dataset, Interactions

MakeData = Callable[..., Dataset]


@pytest.fixture
def make_data() -> MakeData:
    """Return a maker of data sets from (user, item, rating) rows in time order."""

    def make(
        rows: Sequence[tuple[int, ...]], n_users: int, n_items: int, rated: bool = True
    ) -> Dataset:
        table = np.array(rows, np.float64).reshape(len(rows), -1)
        log = Interactions(
            table[:, 0].astype(np.int32),
            table[:, 1].astype(np.int32),
            table[:, 2].astype(np.float32) if rated else None,
            np.arange(len(rows), dtype=np.int64),
        )
        users = np.arange(n_users).astype(str)
        return Dataset("by hand", log, users, np.arange(n_items).astype(str))

    return make
