"""Learning to write identifiers from whole windows: every item is a target in one pass."""

from __future__ import annotations

from typing import Any

import torch

from llmrec.backbones.base import inner
from llmrec.training.objectives import LATEST_CUT


def draw_share(backbone: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what `window_logits` needs of torch's generator: nothing for a causal model."""
    return {} if backbone.direction == "causal" else {"share": torch.rand(1, device=ids.device)}


def window_logits(
    backbone: Any,
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    numbers: torch.Tensor,
    share: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (N, V) logits and the (N,) tokens that they should predict.

    A causal model predicts every token after the first. A seq2seq model reads a beginning, at
    least one item and at most half of them, and writes the rest; one share of that half is drawn
    for the whole batch: rows of like length are cut alike, with little padding.

    Args:
        backbone: says its direction.
        model: the loaded transformers model.
        ids: (B, L) tokens, right-padded; the first of a row begins it.
        mask: (B, L) bool.
        numbers: (B, L) number in its row of the item that a token belongs to, −1 for none.
        share: (1,) from 0 to 1, as `draw_share` draws it; read by a seq2seq model only.
    """
    if backbone.direction == "causal":
        states = backbone.encode(model, mask[:, :-1], ids=ids[:, :-1]).tokens
        kept = mask[:, 1:]
        return backbone.logits(model, states[kept]), ids[:, 1:][kept]
    n_items = numbers.max(1, keepdim=True).values + 1
    assert share is not None
    cut = 1 + (share * LATEST_CUT * (n_items - 1)).long().clamp(min=0)
    read = mask & (numbers < cut)
    lengths, starts = mask.sum(1, keepdim=True), read.sum(1, keepdim=True)
    places = starts + torch.arange(int((lengths - starts).max()), device=ids.device)
    kept = places < lengths
    written = ids.gather(1, places.clamp(max=ids.shape[1] - 1))
    width, whole = int(starts.max()), inner(model)
    encoded = backbone.encode(model, read[:, :width], ids=ids[:, :width])
    start = ids.new_full((len(ids), 1), whole.config.decoder_start_token_id)
    given = whole.decoder.embed_tokens(torch.cat([start, written[:, :-1]], 1))
    states = backbone.decode(model, encoded, given)
    return backbone.logits(model, states[kept]), written[kept]
