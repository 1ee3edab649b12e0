"""Writing several beams at once after a prompt that is read once, and never copied for a beam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from llmrec.backbones.base import inner, last_states, memory_of
from llmrec.core.past import past_name


class _Tree:
    """Who may see what of the tokens written so far.

    Args:
        n_rows: prompts.
        device: of the model.
    """

    def __init__(self, n_rows: int, device: torch.device) -> None:
        self.seen = torch.ones(n_rows, 1, 0, dtype=torch.bool, device=device)

    def grow(self, parents: torch.Tensor) -> torch.Tensor:
        """Add one token to each beam; return (B, n, S): which of all S tokens it sees."""
        n = parents.shape[1]
        places = parents.unsqueeze(-1).expand(-1, -1, self.seen.shape[2])
        own = torch.eye(n, dtype=torch.bool, device=parents.device).expand(len(parents), n, n)
        self.seen = torch.cat([self.seen.gather(1, places), own], 2)
        return self.seen


class CausalWriter:
    """A left-to-right decoder that has read its prompts.

    The beams of a row are nodes of one tree: each step adds one query per beam to the row, which
    sees the prompt and its own ancestors. No cache is re-ordered; a mask says who descends from
    whom. Layers with a sliding window (Mistral, Gemma) see only what is less far back than that.

    Args:
        backbone: of direction ``causal``.
        model: what the backbone loaded, with a language-model head.
        ids: (B, P) token ids of the prompts, right-padded.
        mask: (B, P) bool.
    """

    def __init__(self, backbone: Any, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
        from transformers import DynamicCache

        self.backbone = backbone
        self.model = inner(model)
        self.mask = mask
        self.lengths = mask.sum(1, keepdim=True)
        # One that keeps everything: a cache by the config would drop what is outside a window,
        # counted in tokens of all beams.
        self.past = {past_name(self.model.base_model): DynamicCache()}
        self.layer_types = set(getattr(self.model.config, "layer_types", None) or ())
        self.window = getattr(self.model.config, "sliding_window", None)
        place = torch.arange(mask.shape[1], device=mask.device)
        self.places = place.unsqueeze(0).expand(len(mask), -1)  # of all keys, (B, P + S)
        # Right-padded prompts never see their padding; the steps mask it. Embeddings, because
        # transformers warns of padding among ids without a mask.
        states = self.model.base_model(
            inputs_embeds=self.model.get_input_embeddings()(ids),
            **self.past,
            use_cache=True,
        ).last_hidden_state
        self.first = last_states(states, mask).unsqueeze(1)
        self.tree = _Tree(len(ids), ids.device)
        self.written = 0

    def start(self) -> torch.Tensor:
        """Return (B, 1, V) logits of the first token to write."""
        return self._logits(self.first)

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Return (B, n, V) logits after the (B, n) tokens."""
        seen = self.tree.grow(parents)
        prompt = self.mask.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        visible = torch.cat([prompt, seen], 2)
        positions = (self.lengths + self.written).expand(-1, tokens.shape[1])
        self.places = torch.cat([self.places, positions], 1)
        self.written += 1
        states = self.model.base_model(
            input_ids=tokens,
            attention_mask=self._biases(visible, positions),
            position_ids=positions,
            **self.past,
            use_cache=True,
        ).last_hidden_state
        return self._logits(states)

    def _biases(self, visible: torch.Tensor, positions: torch.Tensor) -> Any:
        """Return what is added to attention weights, (B, 1, n, P + S), by kind of layer."""
        near = visible
        if self.window is not None:
            near = visible & (positions.unsqueeze(2) - self.places.unsqueeze(1) < self.window)
        if {"full_attention", "sliding_attention"} <= self.layer_types:
            return {"full_attention": self._bias(visible), "sliding_attention": self._bias(near)}
        # Without layer types the window, where there is one, is that of every layer.
        full = self.layer_types == {"full_attention"}
        return self._bias(visible if full else near)

    def _bias(self, visible: torch.Tensor) -> torch.Tensor:
        bias = torch.zeros(visible.shape, dtype=self.first.dtype, device=visible.device)
        return bias.masked_fill_(~visible, torch.finfo(bias.dtype).min).unsqueeze(1)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.backbone.logits(self.model, states)
        return logits


class Seq2SeqWriter:
    """A T5 decoder (T5, mT5, UMT5) over prompts that its encoder has read.

    The decoder's own forward pass needs a row for each beam, and with it a copy of what the encoder
    read; so its layers are called here, and what they compute is the same: the beams of a row share
    the encoder's keys and values, only the few tokens written so far are kept for each.

    Args:
        backbone: of direction ``seq2seq``.
        model: what the backbone loaded, with a language-model head.
        ids: (B, P) token ids of the prompts, right-padded.
        mask: (B, P) bool.
        written: (B, W) tokens that the decoder has written already, None for none.
    """

    def __init__(
        self,
        backbone: Any,
        model: Any,
        ids: torch.Tensor,
        mask: torch.Tensor,
        written: torch.Tensor | None = None,
    ) -> None:
        self.backbone = backbone
        self.model = inner(model)
        self.decoder = self.model.decoder
        start = self.model.config.decoder_start_token_id
        self.first = torch.full((len(ids), 1), start, device=ids.device)
        if written is not None:
            self.first = torch.cat([self.first, written], 1)
        memory, mask = memory_of(backbone.encode(model, mask, ids=ids))
        cross = [block.layer[1].EncDecAttention for block in self.decoder.block]
        self.memory = [(_split(a, a.k(memory)), _split(a, a.v(memory))) for a in cross]
        bias = torch.zeros(len(mask), 1, 1, mask.shape[1], dtype=memory.dtype, device=mask.device)
        self.memory_bias = bias.masked_fill_(~mask[:, None, None], torch.finfo(bias.dtype).min)
        self.cache: list[tuple[torch.Tensor, torch.Tensor]] = []  # (B × n, heads, S, D)
        self.n_before, self.n_written = 1, 0
        if hasattr(self.decoder, "learned_past"):  # a prefix stands before what is written
            past = self.decoder.learned_past()
            self.n_written = past.shape[3]
            self.cache = [tuple(t.expand(len(ids), -1, -1, -1) for t in layer) for layer in past]

    def start(self) -> torch.Tensor:
        """Return (B, 1, V) logits of the first token to write."""
        return self._logits(self._read(self.first.unsqueeze(1), None)[:, :, -1])

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Return (B, n, V) logits after the (B, n) tokens."""
        starts = torch.arange(len(tokens), device=parents.device).unsqueeze(1) * self.n_before
        self.n_before = tokens.shape[1]
        states = self._read(tokens.unsqueeze(2), (starts + parents).flatten())
        return self._logits(states[:, :, 0])

    def _read(self, tokens: torch.Tensor, origin: torch.Tensor | None) -> torch.Tensor:
        """Return (B, n, S, H) states of (B, n, S) tokens, S new ones of each beam."""
        rows, n, new = tokens.shape
        self.n_written += new
        states = self.decoder.embed_tokens(tokens).flatten(1, 2)
        for number, block in enumerate(self.decoder.block):
            beams = states.view(rows * n, new, -1)
            states = states + self._own_attention(number, block.layer[0], beams, origin).view_as(
                states
            )
            layer = block.layer[1]
            attention = layer.EncDecAttention
            query = _split(attention, attention.q(layer.layer_norm(states)))
            mixed = _attend(query, *self.memory[number], self.memory_bias)
            states = states + attention.o(mixed)
            states = block.layer[-1](states)
        states = self.decoder.final_layer_norm(states)
        return states.view(rows, n, new, -1)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.backbone.logits(self.model, states)
        return logits

    def _own_attention(
        self,
        number: int,
        layer: Any,
        states: torch.Tensor,
        origin: torch.Tensor | None,
    ) -> torch.Tensor:
        attention = layer.SelfAttention
        normed = layer.layer_norm(states)
        query, keys, values = (
            _split(attention, project(normed))
            for project in (attention.q, attention.k, attention.v)
        )
        if number < len(self.cache):
            before = self.cache[number]
            if origin is not None:
                before = before[0][origin], before[1][origin]
            keys, values = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
            self.cache[number] = keys, values
        else:
            self.cache.append((keys, values))
        bias = self._distances(number, states.shape[1], states.dtype)
        output: torch.Tensor = attention.o(_attend(query, keys, values, bias))
        return output

    def _distances(self, number: int, new: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the (1, heads, new, S) bias of a layer by how far back the written tokens are."""
        attention = self.decoder.block[number].layer[0].SelfAttention
        if not attention.has_relative_attention_bias:  # in T5 the first layer's serves all
            attention = self.decoder.block[0].layer[0].SelfAttention
        before = self.n_written - new
        bias: torch.Tensor = attention.compute_bias(new, self.n_written, past_seen_tokens=before)
        place = torch.arange(self.n_written, device=bias.device)
        later = place[None, :] > place[before:, None]
        return bias.to(dtype).masked_fill(later, torch.finfo(dtype).min)


def _split(attention: Any, projected: torch.Tensor) -> torch.Tensor:
    """Return (B, heads, L, D) of (B, L, heads × D)."""
    rows, length, _ = projected.shape
    return projected.view(rows, length, attention.n_heads, -1).transpose(1, 2)


def _attend(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Return (B, L, heads × D): T5's attention, which does not scale its products."""
    mixed = functional.scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=1.0)
    rows, _, length, _ = mixed.shape
    return mixed.transpose(1, 2).reshape(rows, length, -1)


WRITERS: dict[str, Callable[..., Any]] = {"causal": CausalWriter, "seq2seq": Seq2SeqWriter}
