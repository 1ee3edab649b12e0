"""Scores of many candidates over one encoding of a history, with item tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from llmrec.core.types import Queries, Ragged
from llmrec.training.batches import Batch, ItemBatches

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled

# Candidates in a row, and tokens in the model at once.
TOGETHER, TOKENS = 128, 1 << 14


def beside(assembled: Assembled, queries: Queries, candidates: Ragged) -> Batch:
    """Return what a head reads beside the states of all (N,) candidates; see `Net.beside`."""
    net, offsets = assembled.net, None
    if assembled.averages is not None:
        users = assembled.averages.of_users(queries.histories, queries.ratings)
        found = assembled.averages.offsets(users[candidates.row_of], candidates.values)
        offsets = torch.from_numpy(found).to(net.device)
    items = torch.from_numpy(candidates.values.astype(np.int64)).to(net.device)
    return net.beside(items, offsets)


def judge_packed(assembled: Assembled, queries: Queries, items: np.ndarray) -> np.ndarray:
    """Return (B, C) float32 scores of (B, C) candidates, −1 for an empty place."""
    assert isinstance(assembled.batches, ItemBatches)
    net, averages = assembled.net, assembled.averages
    scores = np.zeros(items.shape, np.float32)
    users = None if averages is None else averages.of_users(queries.histories, queries.ratings)
    row, place = np.nonzero(items >= 0)
    # A block is up to TOGETHER candidates of one query.
    nth = np.arange(len(row)) - np.searchsorted(row, row)
    _, sizes = np.unique(row * (items.shape[1] + 1) + nth // TOGETHER, return_counts=True)
    first = np.cumsum(sizes) - sizes
    asked = Ragged(np.arange(len(row)), np.append(first, len(row)))
    known = np.minimum(queries.histories.lengths[row[first]], assembled.batches.max_length)
    order = np.lexsort((sizes, known))
    longest = max(1, int((known + sizes).max(initial=1)))
    step = max(1, TOKENS // longest)
    for start in range(0, len(order), step):
        part = order[start : start + step]
        cells = asked.take(part)
        query = queries.take(row[first[part]])
        room = assembled.batches.max_length - 1  # one is the candidate's, as in a row of its own
        seen, stars = query.histories.tail(room), query.ratings
        batch = assembled.batches.make(seen, None if stars is None else stars.tail(room), None)
        candidates = items[row[cells.values], place[cells.values]].astype(np.int64)
        batch["candidates"] = torch.from_numpy(cells.with_values(candidates).padded(fill=0))
        batch["asked"] = torch.from_numpy(
            cells.with_values(np.ones(len(candidates), bool)).padded(fill=False)
        )
        if averages is not None and users is not None:
            offsets = averages.offsets(users[row[cells.values]], candidates)
            batch["offsets"] = torch.from_numpy(offsets)
        batch = {name: tensor.to(net.device) for name, tensor in batch.items()}
        states = net.judged(batch, own=False)
        values = net.head.scores(states, net.item_weights, **net.given(batch))
        scores[row[cells.values], place[cells.values]] = values.float().cpu().numpy()
    return scores
