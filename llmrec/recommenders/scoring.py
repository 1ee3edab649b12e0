"""Scores of an assembled language model: over the catalogue, per candidate, or by decoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from llmrec.core.types import Queries, Ragged
from llmrec.recommenders.decoding import decoded, rows_at_once
from llmrec.recommenders.judging import beside, judge_packed
from llmrec.recommenders.listwise import lists_candidates, score_lists
from llmrec.recommenders.reviews import asked_reviews, reading
from llmrec.recommenders.shared_history import SHARE_FROM, can_share, item_states, prompt_states
from llmrec.training.batches import (
    Batch,
    IdentifierBatches,
    ItemBatches,
    TextBatches,
    pad_tokens,
)
from llmrec.training.net import Net

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled

# Batches prepared at once: enough for sorting by length to put like lengths together.
BLOCK = 32


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
    listed = lists_candidates(assembled.head)
    if listed or assembled.head.judges_candidates:
        if isinstance(assembled.batches, TextBatches) and reading([assembled.batches.prompt]):
            return _judge_reviews(assembled, queries, items, batch_size)
        if items is None:
            items = np.broadcast_to(np.arange(assembled.n_items), (len(queries), assembled.n_items))
        if listed:
            return score_lists(assembled, queries, items, batch_size)
        if assembled.net.packs:
            return judge_packed(assembled, queries, items)
        return _judge(assembled, queries, items, batch_size)
    width = assembled.n_items if items is None else items.shape[1]
    scores = np.empty((len(queries), width), np.float32)
    # Rows of like length together: less padding. The order is undone by writing to `rows`.
    order = np.argsort(queries.histories.lengths, kind="stable")
    if assembled.net.needs == "generate":
        batch_size = rows_at_once(assembled, batch_size)
    known = None
    if assembled.frozen is not None:  # asked once for all: what is new is written to disk at once
        known = assembled.frozen.of(queries.histories, queries.ratings, None)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        if known is None:
            block = _catalogue(assembled, queries.take(rows))
        else:
            block = _values(assembled.net, known[torch.from_numpy(rows)])
        if items is not None:  # at once, so that only one block is as wide as the catalogue
            block = np.take_along_axis(block, np.maximum(items[rows], 0), axis=1)
        scores[rows] = block
    return scores


def _catalogue(assembled: Assembled, queries: Queries) -> np.ndarray:
    if assembled.net.needs == "generate":
        return decoded(assembled, queries)
    assert not isinstance(assembled.batches, IdentifierBatches)
    batch = assembled.batches.make(queries.histories, queries.ratings, None)
    net = assembled.net
    states = net.states(**_moved(batch, net.device))
    return _values(net, states)


def _judge(
    assembled: Assembled, queries: Queries, items: np.ndarray, batch_size: int
) -> np.ndarray:
    """Score each (query, candidate) pair, with what pairs of a query share computed once."""
    judge = _judge_items if isinstance(assembled.batches, ItemBatches) else _judge_prompts
    scores = np.zeros(items.shape, np.float32)
    for rows in _blocks((items >= 0).sum(1), batch_size):
        asked = items[rows]
        real = asked >= 0
        candidates = Ragged.from_groups(np.nonzero(real)[0], asked[real], len(asked))
        values = judge(assembled, queries.take(rows), candidates, batch_size)
        scores[rows][real] = values
    return scores


def _blocks(counts: np.ndarray, batch_size: int) -> Iterator[slice]:
    """Yield runs of queries with few enough pairs to be prepared, and sorted by length, at once."""
    start, pairs = 0, 0
    for row, count in enumerate(counts.tolist()):
        if row > start and pairs + count > BLOCK * batch_size:
            yield slice(start, row)
            start, pairs = row, 0
        pairs += count
    if start < len(counts):
        yield slice(start, len(counts))


def _judge_prompts(
    assembled: Assembled, queries: Queries, candidates: Ragged, batch_size: int
) -> np.ndarray:
    """Return the (N,) scores of text prompts about each query's candidates."""
    net, batches = assembled.net, assembled.batches
    assert isinstance(batches, TextBatches)
    values = np.zeros(len(candidates.values), np.float32)
    given = beside(assembled, queries, candidates)
    if assembled.frozen is not None and candidates.lengths.max(initial=0) < SHARE_FROM:
        asked = queries.take(candidates.row_of)
        states = assembled.frozen.of(asked.histories, asked.ratings, candidates.values)
        return _values(net, states, given, np.arange(len(values)))
    sharing = can_share(net)
    places: list[np.ndarray] = []
    alone: list[list[int]] = []
    for group in batches.groups(queries.histories, queries.ratings, candidates):
        if sharing and group.head and len(group.tails) >= SHARE_FROM and all(group.tails):
            for part, states in prompt_states(net, group.head, group.tails, batch_size):
                values[group.places[part]] = _values(net, states, given, group.places[part])
        else:
            places.append(group.places)
            alone += group.rows()
    if alone:
        rows, numbers = Ragged.from_rows(alone, np.int64), np.concatenate(places)
        for chosen, states in _read(assembled, rows, batch_size):
            values[numbers[chosen]] = _values(net, states, given, numbers[chosen])
    return values


def _read(
    assembled: Assembled, rows: Ragged, batch_size: int
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield numbers of token rows, those of like lengths together, with their states."""
    net, padding = assembled.net, assembled.tokenizer.pad_token_id
    order = np.argsort(rows.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = pad_tokens(rows.take(chosen), padding)
        yield chosen, net.states(**_moved(batch, net.device))


def _judge_reviews(
    assembled: Assembled, queries: Queries, items: np.ndarray | None, batch_size: int
) -> np.ndarray:
    """Score pairs by prompts of their own: each reads the review of its item.

    Raises:
        ComponentError: if the queries carry no reviews.
    """
    reviews = asked_reviews(queries, items)
    assert items is not None
    scores = np.zeros(items.shape, np.float32)
    row, place = np.nonzero(items >= 0)
    plain = replace(queries, reviews=None, candidates=None)
    for start in range(0, len(row), BLOCK * batch_size):
        part = slice(start, start + BLOCK * batch_size)
        asked = plain.take(row[part])
        candidates = items[row[part], place[part]]
        found = _reviewed(assembled, asked, candidates, reviews[part], batch_size)
        scores[row[part], place[part]] = found
    return scores


def _reviewed(
    assembled: Assembled,
    queries: Queries,
    candidates: np.ndarray,
    reviews: Sequence[str],
    batch_size: int,
) -> np.ndarray:
    """Return the (N,) scores of N queries about a candidate each, whose review is read."""
    net, batches = assembled.net, assembled.batches
    assert isinstance(batches, TextBatches)
    shown = (queries.histories, queries.ratings, candidates)
    if assembled.frozen is not None:
        return _values(net, assembled.frozen.of(*shown, reviews=reviews))
    values = np.zeros(len(candidates), np.float32)
    for chosen, states in _read(assembled, batches.tokens(*shown, reviews), batch_size):
        values[chosen] = _values(net, states)
    return values


def _judge_items(
    assembled: Assembled, queries: Queries, candidates: Ragged, batch_size: int
) -> np.ndarray:
    """Return the (N,) scores of item tokens that follow each query's history."""
    net, batches = assembled.net, assembled.batches
    assert isinstance(batches, ItemBatches)
    values = np.zeros(len(candidates.values), np.float32)
    given = beside(assembled, queries, candidates)
    together = (candidates.lengths >= SHARE_FROM) & (queries.histories.lengths > 0)
    if not can_share(net) or batches.max_length < 2:
        together[:] = False
    for row in np.flatnonzero(together).tolist():
        history = queries.take(np.array([row]))
        batch = batches.make(history.histories, history.ratings, None, room=batches.max_length - 1)
        first = candidates.offsets[row]
        states = item_states(net, _moved(batch, net.device), candidates[row], batch_size)
        for part, some in states:
            numbers = np.arange(first + part.start, first + part.stop)
            values[numbers] = _values(net, some, given, numbers)
    numbers = np.flatnonzero(~together[candidates.row_of])
    owner = candidates.row_of[numbers]
    order = np.argsort(queries.histories.lengths[owner], kind="stable")
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        asked = queries.take(owner[chosen])
        batch = batches.make(asked.histories, asked.ratings, candidates.values[numbers[chosen]])
        found = net.states(**_moved(batch, net.device))
        values[numbers[chosen]] = _values(net, found, given, numbers[chosen])
    return values


def _values(
    net: Net, states: torch.Tensor, given: Batch | None = None, numbers: np.ndarray | None = None
) -> np.ndarray:
    """Return scores of states; `numbers` are the places in what the head is `given` beside them."""
    own = {name: tensor[torch.from_numpy(numbers)] for name, tensor in (given or {}).items()}
    values: np.ndarray = net.head.scores(states, net.item_weights, **own).float().cpu().numpy()
    return values


def _moved(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
