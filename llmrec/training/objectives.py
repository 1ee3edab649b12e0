"""Learning the next item from a sequence of item tokens, by the direction of the backbone.

* causal (GPT-2): every position predicts the item after it, as in SASRec.
* bidirectional (BERT): masked items are predicted from both sides, as in BERT4Rec; a share of the
  rows masks only the last item, which is what a query looks like. Positions count from the end.
* seq2seq (T5): the encoder reads a prefix, the decoder writes the rest item by item, beginning
  with the last item read; the cut is drawn anew for each row and step, from the first half. For a
  query the decoder is given the last few items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from llmrec.backbones.base import last_states
from llmrec.prompts.item_tokens import ItemTokens

MASKED_SHARE = 0.3
LAST_ONLY_SHARE = 0.2
DECODER_CONTEXT = 5
LATEST_CUT = 0.5


def draw(backbone: Any, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what is drawn of what (B, L) rows should predict, for `training_states`.

    Apart from the states, so that several passes over a batch can ask the same.
    """
    if backbone.direction == "bidirectional":
        return {"hidden": _hidden(mask)}
    if backbone.direction == "seq2seq":
        lengths = mask.sum(1, keepdim=True)
        share = torch.rand(len(mask), 1, device=mask.device)
        return {"cut": 1 + (share * LATEST_CUT * (lengths - 1)).long().clamp(min=0)}
    return {}


def training_states(
    backbone: Any, model: Any, tokens: ItemTokens, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N, H) states and the (N,) items that they should predict.

    Args:
        backbone: says its direction.
        model: the loaded transformers model.
        tokens: item embeddings.
        batch: ``items`` (B, L) ids, right-padded with the padding token; ``mask`` (B, L) bool, True
            for items; and what `draw` returned.
    """
    return _TRAINING[backbone.direction](backbone, model, tokens, batch)


def at_targets(
    backbone: Any, batch: Mapping[str, torch.Tensor], values: torch.Tensor
) -> torch.Tensor:
    """Return the (N,) of (B, L) values that belong to what `training_states` predicts.

    −1 for an item that is masked within its row: what it is predicted from comes after it, too.
    """
    mask = batch["mask"]
    if backbone.direction == "causal":
        return values[:, 1:][mask[:, 1:]]
    lengths = mask.sum(1, keepdim=True)
    place = torch.arange(mask.shape[1], device=mask.device)[None, :]
    if backbone.direction == "bidirectional":
        return values.masked_fill(place != lengths - 1, -1)[batch["hidden"]]
    cut = batch["cut"]
    source = cut + place[:, : int((lengths - cut).max().clamp(min=0))]
    return values.gather(1, source.clamp(max=mask.shape[1] - 1))[source < lengths]


def query_states(
    backbone: Any, model: Any, tokens: ItemTokens, items: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Return (B, H): the state that predicts what comes after each (B, L) history.

    An empty history is read as the start token alone.
    """
    if backbone.direction == "bidirectional":
        items, mask = append(items, mask, tokens.mask)
        return last_states(_encode_from_end(backbone, model, tokens, items, mask), mask)
    items, mask = start_empty_rows(items, mask, tokens.start)
    if backbone.direction == "causal":
        return last_states(backbone.encode(model, mask, embeddings=tokens(items)).tokens, mask)
    cut = (mask.sum(1, keepdim=True) - DECODER_CONTEXT).clamp(min=1)
    states, _, kept = _decode_after(backbone, model, tokens, items, mask, cut, whole=True)
    return last_states(states, kept)


def candidate_states(
    backbone: Any,
    model: Any,
    tokens: ItemTokens,
    items: torch.Tensor,
    mask: torch.Tensor,
    ratings: torch.Tensor | None,
) -> torch.Tensor:
    """Return (B, H): the state at the last item of each row, the candidate that is judged.

    Args:
        backbone: says its direction.
        model: the loaded transformers model.
        tokens: item embeddings.
        items: (B, L) item ids, right-padded: a history and, at its end, the candidate.
        mask: (B, L) bool, True for items.
        ratings: (B, L) ratings of the history, NaN for none, or None.
    """
    embedded = tokens(items, ratings)
    positions = _from_end(mask) if backbone.direction == "bidirectional" else None
    encoded = backbone.encode(model, mask, embeddings=embedded, positions=positions)
    return last_states(encoded.tokens, mask)


def append(
    items: torch.Tensor, mask: torch.Tensor, token: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return right-padded rows with one token added after the last real one."""
    lengths = mask.sum(1)
    rows = torch.arange(len(items), device=items.device)
    filler = items.new_full((len(items), 1), token)
    items, mask = torch.cat([items, filler], 1), torch.cat([mask, mask.new_zeros(len(mask), 1)], 1)
    items[rows, lengths] = token
    mask[rows, lengths] = True
    return items, mask


def start_empty_rows(
    items: torch.Tensor, mask: torch.Tensor, token: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give rows without any item the start token."""
    if items.shape[1] == 0:
        items, mask = items.new_full((len(items), 1), token), mask.new_zeros(len(mask), 1)
    empty = ~mask.any(1)
    items, mask = items.clone(), mask.clone()
    items[empty, 0] = token
    mask[empty, 0] = True
    return items, mask


def _causal(
    backbone: Any, model: Any, tokens: ItemTokens, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    items, mask = batch["items"], batch["mask"]
    states = backbone.encode(model, mask[:, :-1], embeddings=tokens(items[:, :-1])).tokens
    kept = mask[:, 1:]
    return states[kept], items[:, 1:][kept]


def _cloze(
    backbone: Any, model: Any, tokens: ItemTokens, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    items, mask, hidden = batch["items"], batch["mask"], batch["hidden"]
    seen = items.masked_fill(hidden, tokens.mask)
    return _encode_from_end(backbone, model, tokens, seen, mask)[hidden], items[hidden]


def _hidden(mask: torch.Tensor) -> torch.Tensor:
    """Return (B, L) bool: the items to mask."""
    drawn = torch.rand(mask.shape, device=mask.device) < MASKED_SHARE
    rows = torch.arange(len(mask), device=mask.device)
    last = torch.zeros_like(mask)
    last[rows, (mask.sum(1) - 1).clamp(min=0)] = True
    only_last = torch.rand(len(mask), 1, device=mask.device) < LAST_ONLY_SHARE
    return torch.where(only_last | ~(drawn & mask).any(1, keepdim=True), last, drawn) & mask


def _encode_from_end(
    backbone: Any, model: Any, tokens: ItemTokens, items: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Return (B, L, H) states with positions that count from the last real token."""
    positions = _from_end(mask)
    return backbone.encode(model, mask, embeddings=tokens(items), positions=positions).tokens


def _from_end(mask: torch.Tensor) -> torch.Tensor:
    """Return (B, L) positions counted from the last real token, which has 0."""
    place = torch.arange(mask.shape[1], device=mask.device)[None, :]
    return (mask.sum(1, keepdim=True) - 1 - place).clamp(min=0)


def _prefix_to_suffix(
    backbone: Any, model: Any, tokens: ItemTokens, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    items, mask, cut = batch["items"], batch["mask"], batch["cut"]
    states, targets, kept = _decode_after(backbone, model, tokens, items, mask, cut, whole=False)
    return states[kept], targets[kept]


def _decode_after(
    backbone: Any,
    model: Any,
    tokens: ItemTokens,
    items: torch.Tensor,
    mask: torch.Tensor,
    cut: torch.Tensor,
    *,
    whole: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Read each row up to its cut and write the items that follow it.

    Args:
        backbone: of direction seq2seq.
        model: the loaded transformers model.
        tokens: item embeddings.
        items: (B, L) item ids, right-padded.
        mask: (B, L) bool, True for items.
        cut: (B, 1) number of items that the encoder reads.
        whole: the decoder is also given the last item, to predict what comes after the row.

    Returns:
        (B, S, H) decoder states, the (B, S) items they predict, and (B, S) which are real.
    """
    lengths = mask.sum(1, keepdim=True)
    place = torch.arange(items.shape[1], device=items.device)[None, :]
    encoded = backbone.encode(model, mask & (place < cut), embeddings=tokens(items))
    width = int((lengths - cut).max().clamp(min=0)) + int(whole)
    source = cut + torch.arange(width, device=items.device)[None, :]
    kept = source < lengths + int(whole)
    targets = items.gather(1, source.clamp(max=items.shape[1] - 1))
    start = items.new_full((len(items), 1), tokens.start)
    written = tokens(torch.cat([start, targets[:, :-1]], 1))
    last_read = tokens(items.gather(1, cut - 1))
    written = torch.cat([written[:, :1] + last_read, written[:, 1:]], 1)
    return backbone.decode(model, encoded, written), targets, kept


_TRAINING = {
    "causal": _causal,
    "bidirectional": _cloze,
    "seq2seq": _prefix_to_suffix,
}
