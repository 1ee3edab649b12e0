"""Scores of an assembled language model: over the catalogue, per candidate, or by decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from llmrec.core.types import Queries
from llmrec.recommenders.decoding import decoded, rows_at_once
from llmrec.training.batches import Batch

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled


@torch.inference_mode()
def score(
    assembled: Assembled, queries: Queries, items: np.ndarray | None, batch_size: int
) -> np.ndarray:
    """Return (B, n_items) or (B, C) float32 scores.

    Args:
        assembled: the language model.
        queries: B queries.
        items: (B, C) item ids, −1 for an empty place, or None for the catalogue.
        batch_size: prompts in the model at once.
    """
    assembled.net.eval()
    if assembled.head.judges_candidates:
        if items is None:
            items = np.broadcast_to(np.arange(assembled.n_items), (len(queries), assembled.n_items))
        return _judge(assembled, queries, items, batch_size)
    scores = np.empty((len(queries), assembled.n_items), np.float32)
    # Rows of like length together: less padding. The order is undone by writing to `rows`.
    order = np.argsort(queries.histories.lengths, kind="stable")
    if assembled.trie is not None:
        batch_size = rows_at_once(assembled, batch_size)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        scores[rows] = _catalogue(assembled, queries.take(rows))
    return scores if items is None else np.take_along_axis(scores, np.maximum(items, 0), axis=1)


def _catalogue(assembled: Assembled, queries: Queries) -> np.ndarray:
    batch = assembled.batches.make(queries.histories, queries.ratings, None)
    if assembled.net.needs == "generate":
        return decoded(assembled, batch)
    net = assembled.net
    states = net.states(**_moved(batch, net.device))
    logits: np.ndarray = net.head.scores(states, net.item_weights).float().cpu().numpy()
    return logits


def _judge(
    assembled: Assembled, queries: Queries, items: np.ndarray, batch_size: int
) -> np.ndarray:
    """Score each (query, candidate) pair as a prompt of its own."""
    scores = np.zeros(items.shape, np.float32)
    rows, columns = np.nonzero(items >= 0)
    net = assembled.net
    order = np.argsort(queries.histories.lengths[rows], kind="stable")
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        asked = queries.take(rows[part])
        candidates = items[rows[part], columns[part]]
        batch = assembled.batches.make(asked.histories, asked.ratings, candidates)
        states = net.states(**_moved(batch, net.device))
        values = net.head.scores(states, net.item_weights).float().cpu().numpy()
        scores[rows[part], columns[part]] = values
    return scores


def _moved(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
