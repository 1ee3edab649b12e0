"""Scores of the catalogue by writing identifiers: beam search under the trie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llmrec.backbones.base import inner
from llmrec.backbones.writers import WRITERS
from llmrec.heads.beams import TrieArrays, beam_search
from llmrec.training.batches import Batch

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled

LOGITS_AT_ONCE = 2**24  # numbers, 64 MB


def rows_at_once(assembled: Assembled, batch_size: int) -> int:
    """Return how many prompts are decoded at once, so that the logits of all beams have room."""
    size = inner(assembled.net.model).config.vocab_size * assembled.head.n_beams
    return max(1, min(batch_size, LOGITS_AT_ONCE // size))


def decoded(assembled: Assembled, batch: Batch) -> np.ndarray:
    """Return the (B, n_items) float32 scores of prompts.

    The score of an item is the sum of the log-probabilities of its identifier's tokens; an item
    that no beam wrote scores below all that were written. Nothing is inherited from a checkpoint's
    generation settings.

    Args:
        assembled: a language model with a generative head.
        batch: ``ids`` and ``mask`` of the prompts, right-padded.
    """
    net, trie = assembled.net, assembled.trie
    assert trie is not None
    ids, mask = batch["ids"].to(net.device), batch["mask"].to(net.device)
    writer = WRITERS[net.backbone.direction](net.backbone, net.model, ids, mask)
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
