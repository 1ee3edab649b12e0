"""The plain way to constrain generation, as a reference: nested dicts and transformers' beams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from llmrec.core.types import Ragged


def dict_trie(identifiers: Sequence[Sequence[int]], end: int) -> dict[int, Any]:
    """Return nested dicts of all identifiers, closed by the end token."""
    root: dict[int, Any] = {}
    for tokens in identifiers:
        node = root
        for token in [*tokens, end]:
            node = node.setdefault(int(token), {})
    return root


def allowed(root: dict[int, Any], written: Sequence[int], end: int) -> list[int]:
    """Return the tokens that may follow; only the end token off the trie or after it."""
    node = root
    for token in written:
        node = node.get(token, {})
    return list(node) or [end]


def generate(
    net: Any,
    tokenizer: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    root: dict[int, Any] | None,
    n_beams: int,
    max_new_tokens: int = 64,
) -> tuple[list[list[list[int]]], torch.Tensor]:
    """Return the written sequences of each row, best first, and their (B, n_beams) scores.

    Args:
        net: a llmrec net with a generating backbone.
        tokenizer: of the backbone.
        ids: (B, P) prompts, right-padded.
        mask: (B, P) bool.
        root: what `dict_trie` returned, None to write freely.
        n_beams: beams, all of which are returned.
        max_new_tokens: tokens written, at most.
    """
    model, end, padding = net.model, tokenizer.eos_token_id, tokenizer.pad_token_id
    causal = net.backbone.direction == "causal"
    if causal:
        rows = [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)]
        left = Ragged.from_rows(rows, int)
        ids = torch.from_numpy(left.padded(ids.shape[1], padding, side="left"))
        ones = left.with_values(left.values * 0 + 1)
        mask = torch.from_numpy(ones.padded(ids.shape[1], 0, side="left"))
    skip = ids.shape[1] if causal else 1
    output = model.generate(
        input_ids=ids,
        attention_mask=mask.long(),
        max_new_tokens=max_new_tokens,
        num_beams=n_beams,
        num_return_sequences=n_beams,
        do_sample=False,
        length_penalty=0.0,
        early_stopping=False,
        use_cache=True,
        return_dict_in_generate=True,
        output_scores=True,
        pad_token_id=padding,
        eos_token_id=end,
        prefix_allowed_tokens_fn=None
        if root is None
        else lambda _, row: allowed(root, row.tolist()[skip:], end),
    )
    sequences = output.sequences[:, skip:].tolist()
    cut = [row[: row.index(end) + 1] if end in row else row for row in sequences]
    grouped = [cut[start : start + n_beams] for start in range(0, len(cut), n_beams)]
    return grouped, output.sequences_scores.view(len(ids), n_beams)
