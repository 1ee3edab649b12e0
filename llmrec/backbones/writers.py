"""Writing several beams at once after a prompt that is read once, and never copied for a beam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from llmrec.backbones.base import inner, last_states, memory_of


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
        self.cache = DynamicCache()
        self.layer_types = set(getattr(self.model.config, "layer_types", None) or ())
        self.window = getattr(self.model.config, "sliding_window", None)
        place = torch.arange(mask.shape[1], device=mask.device)
        self.places = place.unsqueeze(0).expand(len(mask), -1)  # of all keys, (B, P + S)
        # Right-padded prompts never see their padding; the steps mask it.
        states = self.model.base_model(
            input_ids=ids, past_key_values=self.cache, use_cache=True
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
            past_key_values=self.cache,
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
    """

    def __init__(self, backbone: Any, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
        self.model = inner(model)
        self.decoder = self.model.decoder
        memory, mask = memory_of(backbone.encode(model, mask, ids=ids))
        cross = [block.layer[1].EncDecAttention for block in self.decoder.block]
        self.memory = [(_split(a, a.k(memory)), _split(a, a.v(memory))) for a in cross]
        bias = torch.zeros(len(mask), 1, 1, mask.shape[1], dtype=memory.dtype, device=mask.device)
        self.memory_bias = bias.masked_fill_(~mask[:, None, None], torch.finfo(bias.dtype).min)
        self.cache: list[tuple[torch.Tensor, torch.Tensor]] = []  # (B × n, heads, S, D)
        self.n_before, self.written = 1, 0
        if hasattr(self.decoder, "learned_past"):  # a prefix stands before what is written
            past = self.decoder.learned_past()
            self.written = past.shape[3]
            self.cache = [tuple(t.expand(len(ids), -1, -1, -1) for t in layer) for layer in past]
        config = self.model.config
        self.umt5 = config.model_type == "umt5"
        scales = config.tie_word_embeddings if self.umt5 else False
        self.scales = getattr(config, "scale_decoder_outputs", scales)

    def start(self) -> torch.Tensor:
        """Return (B, 1, V) logits of the first token to write."""
        start = self.model.config.decoder_start_token_id
        shape, device = (len(self.memory_bias), 1), self.memory_bias.device
        return self.step(
            torch.full(shape, start, device=device),
            torch.zeros(shape, dtype=torch.long, device=device),
        )

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Return (B, n, V) logits after the (B, n) tokens."""
        rows, n = tokens.shape
        starts = torch.arange(rows, device=parents.device).unsqueeze(1) * self.n_before
        origin = (starts + parents).flatten()
        self.n_before, self.written = n, self.written + 1
        states = self.decoder.embed_tokens(tokens)
        distances = self._distances(0, states.dtype)
        for number, block in enumerate(self.decoder.block):
            if number and block.layer[0].SelfAttention.has_relative_attention_bias:
                distances = self._distances(number, states.dtype)  # UMT5: each layer its own
            states = states + self._own_attention(number, block.layer[0], states, origin, distances)
            layer = block.layer[1]
            attention = layer.EncDecAttention
            query = _split(attention, attention.q(layer.layer_norm(states)))
            mixed = _attend(query, *self.memory[number], self.memory_bias)
            states = states + attention.o(mixed)
            states = block.layer[-1](states)
        states = self.decoder.final_layer_norm(states)
        if self.scales:
            states = states * self.model.model_dim**-0.5
        logits: torch.Tensor = self.model.lm_head(states)
        return logits

    def _own_attention(
        self,
        number: int,
        layer: Any,
        states: torch.Tensor,
        origin: torch.Tensor,
        distances: torch.Tensor,
    ) -> torch.Tensor:
        attention = layer.SelfAttention
        normed = layer.layer_norm(states).flatten(0, 1).unsqueeze(1)  # (B × n, 1, H)
        query, keys, values = (
            _split(attention, project(normed))
            for project in (attention.q, attention.k, attention.v)
        )
        if number < len(self.cache):
            before = self.cache[number]
            keys = torch.cat([before[0][origin], keys], 2)
            values = torch.cat([before[1][origin], values], 2)
            self.cache[number] = keys, values
        else:
            self.cache.append((keys, values))
        mixed = _attend(query, keys, values, distances)
        output: torch.Tensor = attention.o(mixed).view_as(states)
        return output

    def _distances(self, number: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the (1, heads, 1, S) bias of the written tokens by how far back they are."""
        attention = self.decoder.block[number].layer[0].SelfAttention
        device = attention.relative_attention_bias.weight.device
        far = torch.arange(1 - self.written, 1, device=device).unsqueeze(0)
        if self.umt5:
            buckets = attention._relative_position_bucket(far)
        else:
            buckets = attention._relative_position_bucket(
                far,
                bidirectional=False,
                num_buckets=attention.relative_attention_num_buckets,
                max_distance=attention.relative_attention_max_distance,
            )
        bias: torch.Tensor = attention.relative_attention_bias(buckets).to(dtype)
        return bias.permute(2, 0, 1).unsqueeze(0)


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
