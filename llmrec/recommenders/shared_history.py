"""Judging many candidates after one history: a causal model reads the history once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicLayer

from llmrec.backbones.base import inner, virtual_tokens
from llmrec.core.errors import ComponentError
from llmrec.core.past import past_in, past_name
from llmrec.training.net import Net

# Reading a history apart takes two calls of the model; below this it does not pay.
SHARE_FROM = 4
# Candidates are read side by side in one row up to this many tokens.
PACKED_TOKENS = 512


def can_share(net: Net) -> bool:
    """Return whether candidates can share what the model computed of the history.

    Only where later tokens do not change the states of earlier ones: in a causal decoder. BERT and
    the encoder of T5 read history and question together, in both directions. Virtual tokens of an
    adapter (prefix or prompt tuning) and sliding windows count positions in their own way. As a
    decoder may do so, too, it has to give the same states both ways on a few tokens, once.
    """
    config = inner(net.model).config
    window = getattr(config, "sliding_window", None)
    if net.backbone.direction != "causal" or virtual_tokens(net.model) or window is not None:
        return False
    if net.proven_to_share is None:
        net.proven_to_share = _proven(net)
    return net.proven_to_share


@torch.inference_mode()
def _proven(net: Net) -> bool:
    """Return whether some tokens get the same states in two parts and as whole rows."""
    table = inner(net.model).get_input_embeddings()
    size = net.tokens.n_items if net.tokens is not None else table.num_embeddings
    ids = torch.arange(3, 14, device=net.device) * 7 % size
    embedded = ids[None] if net.tokens is None else net.tokens(ids[None])
    key = "input_ids" if net.tokens is None else "inputs_embeds"
    names = {"input_ids": "ids", "inputs_embeds": "embeddings"}
    lengths, head, start = [3, 1, 2], 5, 5
    try:
        history = SharedHistory(net, **{key: embedded[:, :head]})
        if not all(type(layer) is DynamicLayer for layer in history.cache.layers):
            return False
        states = history.after(lengths, "last", **{key: embedded[:, head:]})
    except (AttributeError, TypeError, ValueError, RuntimeError, ComponentError):
        return False  # a decoder without such a cache, or with other masks
    whole = []
    for length in lengths:
        row = torch.cat([embedded[:, :head], embedded[:, start : start + length]], 1)
        mask = torch.ones(row.shape[:2], dtype=torch.bool, device=net.device)
        whole.append(net.backbone.encode(net.model, mask, **{names[key]: row}).tokens[0, -1])
        start += length
    expected = torch.stack(whole)
    # Products of 8-bit weights depend a little on what else is in the batch.
    tolerance = 5e-2 if getattr(inner(net.model), "is_quantized", False) else 1e-3
    error, scale = (states - expected).abs().max(), expected.abs().max()
    return bool(error <= tolerance * scale)


class SharedHistory:
    """The states and the key-value cache of one history; questions are read on top of it.

    Args:
        net: a net for which `can_share` holds.
        inputs: ``input_ids`` (1, P) or ``inputs_embeds`` (1, P, H) of the history, P at least 1.
    """

    def __init__(self, net: Net, **inputs: torch.Tensor) -> None:
        self.net = net
        self.model = inner(net.model).base_model
        output = self.model(**inputs, use_cache=True)
        self.cache = past_in(output)
        self.states: torch.Tensor = output.last_hidden_state[0]

    def after(self, lengths: list[int], pooling: str, **inputs: torch.Tensor) -> torch.Tensor:
        """Return (n, H): a state for each of n questions, as if each followed the history alone.

        All questions are one row of the model. A token sees the history and what comes before it
        in its own question; positions go on from the history in each.

        Args:
            lengths: tokens of each question, at least 1.
            pooling: ``last``, ``mean``, ``max`` or ``first``, over history and question.
            inputs: ``input_ids`` (1, T) or ``inputs_embeds`` (1, T, H) of all questions.
        """
        device, n_read = self.net.device, len(self.states)
        sizes = torch.tensor(lengths, device=device)
        ends = sizes.cumsum(0)
        total = int(ends[-1])
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=device), sizes)
        place = torch.arange(total, device=device)
        own = (owner[:, None] == owner[None, :]) & (place[:, None] >= place[None, :])
        seen = torch.cat([own.new_ones(total, n_read), own], 1)
        blocked = torch.zeros(seen.shape, dtype=self.states.dtype, device=device)
        blocked.masked_fill_(~seen, torch.finfo(blocked.dtype).min)
        output = self.model(
            **inputs,
            **{past_name(self.model): self.cache},
            attention_mask=blocked[None, None],
            position_ids=(n_read + place - (ends - sizes)[owner])[None],
            use_cache=True,
        )
        self.cache.crop(-total)
        states = output.last_hidden_state[0]
        if pooling == "last":
            return states[ends - 1]
        if pooling == "first":
            return self.states[:1].expand(len(lengths), -1)
        if pooling == "max":
            most = self.states.amax(0).repeat(len(lengths), 1)
            return most.scatter_reduce_(0, owner[:, None].expand_as(states), states, "amax")
        sums = self.states.sum(0) + states.new_zeros(len(lengths), states.shape[1]).index_add_(
            0, owner, states
        )
        return sums / (n_read + sizes)[:, None]


def packs(lengths: list[int], batch_size: int) -> Iterator[slice]:
    """Yield slices of questions that are read together: few enough rows and tokens."""
    start, tokens = 0, 0
    for place, length in enumerate(lengths):
        full = place - start >= batch_size or tokens + length > PACKED_TOKENS
        if place > start and full:
            yield slice(start, place)
            start, tokens = place, 0
        tokens += length
    yield slice(start, len(lengths))


def prompt_states(
    net: Net, head: list[int], tails: list[list[int]], batch_size: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield what `Net.states` gives for the prompts head + tail, some at a time.

    Args:
        net: a net for which `can_share` holds.
        head: tokens of the history, at least one.
        tails: tokens of each question, at least one in each.
        batch_size: questions in the model at once.
    """
    backbone = net.backbone
    answered = net.needs == "token_logits"
    pooling = "last" if answered else backbone.pooling or backbone.pooling_default
    history = SharedHistory(net, input_ids=torch.tensor([head], device=net.device))
    lengths = [len(tail) for tail in tails]
    for part in packs(lengths, batch_size):
        row = [token for tail in tails[part] for token in tail]
        ids = torch.tensor([row], device=net.device)
        states = history.after(lengths[part], pooling, input_ids=ids)
        if answered:
            states = backbone.answers_of(net.model, states, net.answers)
        yield part, states


def item_states(
    net: Net,
    batch: dict[str, Any],
    candidates: np.ndarray,
    batch_size: int,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the states at candidates that each follow one history of item tokens.

    Args:
        net: a net for which `can_share` holds, with item tokens.
        batch: ``items`` (1, P) and perhaps ``ratings`` of the history, P at least 1.
        candidates: (n,) item ids.
        batch_size: candidates in the model at once.
    """
    tokens = net.tokens
    assert tokens is not None
    stars = batch.get("ratings")
    history = SharedHistory(net, inputs_embeds=tokens(batch["items"], stars))
    for part in packs([1] * len(candidates), batch_size):
        ids = torch.from_numpy(candidates[part]).to(net.device)[None]
        unrated = None if stars is None else stars.new_full(ids.shape, float("nan"))
        embedded = tokens(ids, unrated)
        yield part, history.after([1] * ids.shape[1], "last", inputs_embeds=embedded)
