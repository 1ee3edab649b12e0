"""Scores of the catalogue by writing identifiers: beam search under the trie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from llmrec.backbones.base import inner
from llmrec.backbones.writers import WRITERS
from llmrec.core.types import Queries
from llmrec.heads.beams import TrieArrays, beam_search, free_beams
from llmrec.heads.bm25 import merged
from llmrec.training.batches import Batch, IdentifierBatches, ItemBatches, TextBatches

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled

LOGITS_AT_ONCE = 2**24  # numbers, 64 MB


def rows_at_once(assembled: Assembled, batch_size: int) -> int:
    """Return how many prompts are decoded at once, so that the logits of all beams have room."""
    size = inner(assembled.net.model).config.vocab_size * assembled.head.n_beams
    return max(1, min(batch_size, LOGITS_AT_ONCE // size))


def decoded(assembled: Assembled, queries: Queries) -> np.ndarray:
    """Return the (B, n_items) float32 scores of queries.

    The score of an item is the sum of the log-probabilities of its identifier's tokens; an item
    that no beam wrote scores below all that were written. Nothing is inherited from a checkpoint's
    generation settings.

    Args:
        assembled: a language model with a generative head.
        queries: B queries.
    """
    batches, histories = assembled.batches, queries.histories
    if assembled.index is not None:
        assert isinstance(batches, TextBatches)
        return _found(assembled, batches.make(histories, queries.ratings, None))
    if not isinstance(batches, IdentifierBatches):
        assert not isinstance(batches, ItemBatches)
        return _searched(assembled, batches.make(histories, queries.ratings, None), None)
    if not batches.context:
        return _searched(assembled, batches.make(histories, queries.users), None)
    # The encoder reads at least one item; rows whose decoder begins with as many go together.
    read = np.minimum(histories.lengths, batches.max_length)
    left_out = np.minimum(np.maximum(read - 1, 0), batches.context)
    scores = np.empty((len(queries), assembled.n_items), np.float32)
    for n in np.unique(left_out).tolist():
        rows = np.flatnonzero(left_out == n)
        part = queries.take(rows)
        batch = batches.make(part.histories, part.users, left_out[rows])
        latest = part.histories.tail(n).padded(n)
        scores[rows] = _searched(assembled, batch, batches.table[latest].reshape(len(rows), -1))
    return scores


def _found(assembled: Assembled, batch: Batch) -> np.ndarray:
    """Return the scores of the items that freely written queries find.

    A query that finds nothing counts as invalid, one that the row has already as a duplicate.
    """
    net, head, facts, index = assembled.net, assembled.head, assembled.facts, assembled.index
    assert index is not None
    ids, mask = batch["ids"].to(net.device), batch["mask"].to(net.device)
    writer = WRITERS[net.backbone.direction](net.backbone, net.model, ids, mask)
    end = assembled.tokenizer.eos_token_id
    written, _ = free_beams(writer, end, head.max_identifier_length, head.n_beams)
    scores = np.empty((len(ids), assembled.n_items), np.float32)
    for row, beams in enumerate(written.tolist()):
        texts = assembled.tokenizer.batch_decode(beams, skip_special_tokens=True)
        queries = list(dict.fromkeys(text.strip() for text in texts))
        answers = index.scores(queries)
        facts["generated"] += len(texts)
        facts["duplicate"] += len(texts) - len(queries)
        facts["invalid"] += int((~answers.any(1)).sum())
        scores[row] = merged(answers, head.n_retrieved)
    return scores


def _searched(assembled: Assembled, batch: Batch, written: np.ndarray | None) -> np.ndarray:
    """Return the scores of right-padded prompts, after what a decoder has (B, W) written."""
    net, trie = assembled.net, assembled.trie
    assert trie is not None
    ids, mask = batch["ids"].to(net.device), batch["mask"].to(net.device)
    more = [] if written is None else [torch.from_numpy(written).to(net.device)]
    writer = WRITERS[net.backbone.direction](net.backbone, net.model, ids, mask, *more)
    n_beams = min(assembled.head.n_beams, trie.n_leaves)
    leaves, values = beam_search(writer, TrieArrays(trie, net.device), n_beams)
    return scores_of(assembled, leaves.cpu().numpy(), values.cpu().numpy())


def scores_of(assembled: Assembled, leaves: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the (B, n_items) float32 scores of written identifiers, and count them.

    Args:
        assembled: keeps the counts: a beam that ended nowhere is invalid, a second beam of a row
            with the same identifier a duplicate.
        leaves: (B, n) leaf that each beam wrote, −1 for none.
        values: (B, n) log-probabilities.
    """
    trie, facts = assembled.trie, assembled.facts
    assert trie is not None
    rows, beams = np.nonzero(leaves >= 0)
    written = leaves[rows, beams]
    facts["generated"] += leaves.size
    facts["invalid"] += leaves.size - len(written)
    facts["duplicate"] += len(written) - len(np.unique(rows * trie.n_leaves + written))
    items = trie.items.take(written)
    scores = np.full((len(leaves), assembled.n_items), -np.inf, np.float32)
    np.maximum.at(scores, (rows[items.row_of], items.values), values[rows, beams][items.row_of])
    # Finite floors keep ensembles and softmaxes defined: a miss is one below the worst beam.
    written_any = np.isfinite(scores)
    worst = np.where(written_any, scores, np.inf).min(1, keepdims=True)
    floor = np.where(np.isfinite(worst), worst, 0.0) - 1.0
    return np.where(written_any, scores, floor).astype(np.float32)
