"""Scores of an assembled language model: over the catalogue, per candidate, or by decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from llmrec.backbones.base import inner
from llmrec.core.types import Queries, Ragged
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
    if assembled.trie is not None:  # a prompt takes a row for each of its beams
        batch_size = max(1, batch_size // assembled.head.n_beams)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        scores[rows] = _catalogue(assembled, queries.take(rows))
    return scores if items is None else np.take_along_axis(scores, np.maximum(items, 0), axis=1)


def _catalogue(assembled: Assembled, queries: Queries) -> np.ndarray:
    batch = assembled.batches.make(queries.histories, queries.ratings, None)
    if assembled.net.needs == "generate":
        return _decoded(assembled, batch)
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


def _decoded(assembled: Assembled, batch: Batch) -> np.ndarray:
    """Beam search under the trie; an item that no beam wrote scores below all that were written.

    The score is the sum of the token log-probabilities. All decoding options are set here: none is
    inherited from a checkpoint.
    """
    from transformers import GenerationConfig

    net, trie, tokenizer = assembled.net, assembled.trie, assembled.tokenizer
    assert trie is not None
    model = inner(net.model)
    causal = net.backbone.direction == "causal"
    ids, mask = batch["ids"], batch["mask"]
    if causal:
        ids, mask = _left_padded(ids, mask, tokenizer.pad_token_id)
    skip = ids.shape[1] if causal else 1
    n_beams = min(assembled.head.n_beams, trie.n_leaves)
    longest = assembled.head.max_identifier_length + 1
    config = GenerationConfig(
        max_new_tokens=longest,
        num_beams=n_beams,
        num_return_sequences=n_beams,
        do_sample=False,
        length_penalty=0.0,
        early_stopping=False,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        use_cache=True,
        return_dict_in_generate=True,
        output_scores=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=None if causal else model.config.decoder_start_token_id,
    )
    model.generation_config = config
    output = model.generate(
        input_ids=ids.to(net.device),
        attention_mask=mask.long().to(net.device),
        generation_config=config,
        prefix_allowed_tokens_fn=lambda _, written: trie.allowed(written.tolist()[skip:]),
    )
    sequences = output.sequences[:, skip:].cpu().tolist()
    if n_beams > 1:
        values = output.sequences_scores.float().cpu().numpy()
    else:
        values = np.zeros(len(sequences), np.float32)
    return _scores_of(assembled, sequences, values, len(ids), n_beams)


def _scores_of(
    assembled: Assembled,
    sequences: list[list[int]],
    values: np.ndarray,
    n_rows: int,
    n_beams: int,
) -> np.ndarray:
    assert assembled.trie is not None
    scores = np.full((n_rows, assembled.n_items), -np.inf, np.float32)
    for number, (written, value) in enumerate(zip(sequences, values.tolist(), strict=True)):
        row = number // n_beams
        items = assembled.trie.items(written) if value > -1e9 else np.empty(0, np.int64)
        assembled.facts["generated"] += 1
        if not len(items):
            assembled.facts["invalid"] += 1
            continue
        assembled.facts["duplicate"] += int(np.isfinite(scores[row, items[0]]))
        scores[row, items] = np.maximum(scores[row, items], value)
    # Finite floors keep ensembles and softmaxes defined: a miss is one below the worst beam.
    written_any = np.isfinite(scores)
    worst = np.where(written_any, scores, np.inf).min(1, keepdims=True)
    floor = np.where(np.isfinite(worst), worst, 0.0) - 1.0
    return np.where(written_any, scores, floor).astype(np.float32)


def _left_padded(
    ids: torch.Tensor, mask: torch.Tensor, padding: int
) -> tuple[torch.Tensor, torch.Tensor]:
    rows = Ragged.from_rows([row[keep].tolist() for row, keep in zip(ids, mask, strict=True)], int)
    left = rows.padded(ids.shape[1], padding, side="left")
    place = np.arange(ids.shape[1])[None, :] >= (ids.shape[1] - rows.lengths)[:, None]
    return torch.from_numpy(left), torch.from_numpy(place)


def _moved(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
