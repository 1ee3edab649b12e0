"""Writing several beams at once after a prompt that is read once, and never copied for a beam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from llmrec.backbones.base import inner, last_states, memory_of
from llmrec.core.past import past_name


class _Tree:
    """Who may see what: the tokens of a row are nodes of one tree, below what is read first.

    Args:
        first: (B, P) bool, which of the first tokens are real; all beams see those.
    """

    def __init__(self, first: torch.Tensor) -> None:
        self.seen = first.unsqueeze(1)  # (B, n, S) which of all tokens each beam sees
        places = torch.arange(first.shape[1], device=first.device)
        self.places = places.expand(len(first), -1)  # (B, S) of all tokens
        self.next = first.sum(1, keepdim=True)  # (B, 1) place of the next token

    def grow(self, parents: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add tokens; return (B, T, S) what each sees, and (B, T) their places.

        Args:
            parents: (B, T) beams that they go on from.
            own: (B, T, T) bool: which of these tokens come before each, itself included.
        """
        before = self.seen.gather(1, parents.unsqueeze(-1).expand(-1, -1, self.seen.shape[2]))
        self.seen = torch.cat([before, own], 2)
        places = self.next + own.sum(2) - 1
        self.places = torch.cat([self.places, places], 1)
        self.next = self.next + 1
        return self.seen, places


def _apart(tokens: torch.Tensor) -> torch.Tensor:
    """Return (B, n, n): each of the (B, n) tokens sees itself alone."""
    n = tokens.shape[1]
    return torch.eye(n, dtype=torch.bool, device=tokens.device).expand(len(tokens), n, n)


class _TreeWriter:
    """What writes with all beams of a row as nodes of one tree.

    Args:
        backbone: of the model.
        model: what the backbone loaded, with a language-model head.
    """

    first: torch.Tensor  # (B, 1, H) states after the prompts

    def __init__(self, backbone: Any, model: Any) -> None:
        self.backbone = backbone
        self.model = inner(model)
        self.vocabulary_size: int = self.model.config.vocab_size

    def start(self) -> torch.Tensor:
        """Return (B, 1, H) states that the first token to write is predicted from."""
        return self.first

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Return (B, n, H) states after the (B, n) tokens."""
        return self.read(tokens, parents, _apart(tokens))

    def read(self, tokens: torch.Tensor, parents: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return (B, T, H) states after the (B, T) tokens, which see each other as `own` says."""
        raise NotImplementedError

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return (…, V) logits of the (…, H) states."""
        logits: torch.Tensor = self.backbone.logits(self.model, states)
        return logits


class CausalWriter(_TreeWriter):
    """A left-to-right decoder that has read its prompts.

    What the beams of a row write are nodes of one tree: each new token is a query of the row, which
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

        super().__init__(backbone, model)
        # One that keeps everything: a cache by the config would drop what is outside a window,
        # counted in tokens of all beams.
        self.past = {past_name(self.model.base_model): DynamicCache()}
        self.layer_types = set(getattr(self.model.config, "layer_types", None) or ())
        self.window = getattr(self.model.config, "sliding_window", None)
        # Right-padded prompts never see their padding; the steps mask it. Embeddings, because
        # transformers warns of padding among ids without a mask.
        states = self.model.base_model(
            inputs_embeds=self.model.get_input_embeddings()(ids),
            **self.past,
            use_cache=True,
        ).last_hidden_state
        self.first = last_states(states, mask).unsqueeze(1)
        self.tree = _Tree(mask)

    def read(self, tokens: torch.Tensor, parents: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return (B, T, H) states after the (B, T) tokens, which see each other as `own` says."""
        visible, positions = self.tree.grow(parents, own)
        states: torch.Tensor = self.model.base_model(
            input_ids=tokens,
            attention_mask=self._biases(visible, positions),
            position_ids=positions,
            **self.past,
            use_cache=True,
        ).last_hidden_state
        return states

    def _biases(self, visible: torch.Tensor, positions: torch.Tensor) -> Any:
        """Return what is added to attention weights, (B, 1, T, S), by kind of layer."""
        near = visible
        if self.window is not None:
            near = visible & (positions.unsqueeze(2) - self.tree.places.unsqueeze(1) < self.window)
        if {"full_attention", "sliding_attention"} <= self.layer_types:
            return {"full_attention": self._bias(visible), "sliding_attention": self._bias(near)}
        # Without layer types the window, where there is one, is that of every layer.
        full = self.layer_types == {"full_attention"}
        return self._bias(visible if full else near)

    def _bias(self, visible: torch.Tensor) -> torch.Tensor:
        # Several times faster than filling by a mask: 0 where it is visible, the lowest elsewhere.
        bias = visible.to(self.first.dtype).sub_(1).mul_(torch.finfo(self.first.dtype).max)
        return bias.unsqueeze(1)


class Seq2SeqWriter(_TreeWriter):
    """A T5 decoder (T5, mT5, UMT5) over prompts that its encoder has read.

    The decoder's own forward pass needs a row for each beam, and with it a copy of what the encoder
    read; so its layers are called here, and what they compute is the same: the beams of a row share
    the encoder's keys and values, and what they write are nodes of one tree, as in `CausalWriter`.

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
        super().__init__(backbone, model)
        self.decoder = self.model.decoder
        memory, mask = memory_of(backbone.encode(model, mask, ids=ids))
        cross = [block.layer[1].EncDecAttention for block in self.decoder.block]
        self.memory = [(_split(a, a.k(memory)), _split(a, a.v(memory))) for a in cross]
        bias = torch.zeros(len(mask), 1, 1, mask.shape[1], dtype=memory.dtype, device=mask.device)
        self.memory_bias = bias.masked_fill_(~mask[:, None, None], torch.finfo(bias.dtype).min)
        self.cache: list[tuple[torch.Tensor, torch.Tensor]] = []  # (B, heads, S, D)
        n_before = 0
        if hasattr(self.decoder, "learned_past"):  # a prefix stands before what is written
            past = self.decoder.learned_past()
            n_before = past.shape[3]
            self.cache = [tuple(t.expand(len(ids), -1, -1, -1) for t in layer) for layer in past]
        start = self.model.config.decoder_start_token_id
        first = torch.full((len(ids), 1), start, device=ids.device)
        if written is not None:
            first = torch.cat([first, written], 1)
        length = first.shape[1]
        own = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        self.tree = _Tree(own.new_ones(len(ids), n_before))
        states = self.read(first, torch.zeros_like(first), own.expand(len(ids), -1, -1))
        self.first = states[:, -1:]
        self.tree = _Tree(own.new_ones(len(ids), n_before + length))

    def read(self, tokens: torch.Tensor, parents: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return (B, T, H) states after the (B, T) tokens, which see each other as `own` says."""
        visible, places = self.tree.grow(parents, own)
        apart = (places.unsqueeze(2) - self.tree.places.unsqueeze(1)).clamp(min=0)
        states = self.decoder.embed_tokens(tokens)
        bias = torch.empty(0)
        for number, block in enumerate(self.decoder.block):
            layer, attention = block.layer[0], block.layer[0].SelfAttention
            if attention.has_relative_attention_bias:  # in T5 the first layer's serves all
                bias = _distances(attention, apart, visible, states.dtype)
            normed = layer.layer_norm(states)
            keys, values = self._kept(number, attention, normed)
            mixed = _attend(_split(attention, attention.q(normed)), keys, values, bias)
            states = states + attention.o(mixed)
            layer, attention = block.layer[1], block.layer[1].EncDecAttention
            query = _split(attention, attention.q(layer.layer_norm(states)))
            mixed = _attend(query, *self.memory[number], self.memory_bias)
            states = states + attention.o(mixed)
            states = block.layer[-1](states)
        final: torch.Tensor = self.decoder.final_layer_norm(states)
        return final

    def _kept(
        self, number: int, attention: Any, states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of a layer, (B, heads, S, D), those of new states at the end."""
        new = _split(attention, attention.k(states)), _split(attention, attention.v(states))
        if number == len(self.cache):
            self.cache.append(new)
        else:
            before = self.cache[number]
            self.cache[number] = (
                torch.cat([before[0], new[0]], 2),
                torch.cat([before[1], new[1]], 2),
            )
        return self.cache[number]


def _distances(
    attention: Any, apart: torch.Tensor, visible: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Return the (B, heads, T, S) bias by how far back each token is; the lowest of unseen ones.

    Args:
        attention: a layer with a bias.
        apart: (B, T, S) how far back.
        visible: (B, T, S) bool.
        dtype: of the bias.
    """
    length = int(apart.max()) + 1
    # That of the last of so many tokens, from the nearest on; and that of what is not visible.
    table = attention.compute_bias(1, length, past_seen_tokens=length - 1)[0, :, 0].flip(1)
    lowest = table.new_full((len(table), 1), torch.finfo(dtype).min, dtype=dtype)
    table = torch.cat([table.to(dtype), lowest], 1)
    return table[:, torch.where(visible, apart, length)].transpose(0, 1)


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
