"""Virtual tokens in front of what a transformer reads, wherever it is called from.

peft puts them in front in the ``forward`` of its wrapper; but states are taken from the model
inside, and beams, caches and heads call it by their own ways. So the model inside is hooked: each
call of its stack of blocks, however it came about, sees the virtual tokens first. A call that
continues a cache only widens its mask: the virtual tokens are in the cache already.

Shapes: B rows, n virtual tokens, L real ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from llmrec.core.errors import ComponentError
from llmrec.core.past import NAMES, past_in, past_name


def is_seq2seq(module: Any) -> bool:
    """Return whether a transformers model has an encoder and a decoder of its own."""
    return bool(module.config.is_encoder_decoder) and hasattr(module, "decoder")


def is_bidirectional(stack: Any) -> bool:
    """Return whether each token of a stack of blocks sees those after it."""
    return not any(getattr(part, "is_causal", False) for part in stack.modules())


def stack_with_past(module: Any) -> Any:
    """Return the stack of blocks whose attention a prefix joins."""
    return module.get_decoder() if is_seq2seq(module) else module.base_model


def prepend_embeddings(module: Any, prompts: Callable[[], Any]) -> None:
    """Make a model read virtual tokens before its input.

    Decoder-only models and encoders give back the states of the real tokens alone. The encoder of
    an encoder-decoder gives back the states of the virtual tokens as well: the decoder attends to
    them (Lester et al., 2021), and its mask is widened.

    Args:
        module: a transformers model.
        prompts: returns the (n, H) embeddings of the virtual tokens.
    """
    if hasattr(module, "encoder") and hasattr(module.get_encoder(), "block"):  # T5
        _before(module.get_encoder(), partial(_embeddings_in_front, prompts))
        if is_seq2seq(module):
            _before(module.get_decoder(), _mask_of_states)
        return
    stack = module.base_model
    _before(stack, partial(_embeddings_in_front, prompts))
    stack.register_forward_hook(partial(_without_virtual, prompts), with_kwargs=True)


def prepend_past(module: Any, past: Callable[[], Any]) -> None:
    """Make the attention of a model see virtual keys and values before its own.

    Those of an encoder-decoder stand in the self-attention of its decoder.

    Args:
        module: a transformers model.
        past: returns them, (layers, 2, heads, n, head size).
    """
    stack = stack_with_past(module)
    stack.learned_past = past  # for who calls the layers one by one
    _before(stack, partial(_past_in_front, past, is_bidirectional(stack)))
    stack.register_forward_hook(_without_unwanted_cache, with_kwargs=True)


def _before(stack: Any, change: Callable[[Any, dict[str, Any]], None]) -> None:
    """Let `change` edit the arguments of each call of a stack, all of them by name."""
    names = [name for name in inspect.signature(stack.forward).parameters if name != "self"]

    def hook(stack: Any, args: Any, kwargs: Any) -> Any:
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        change(stack, named)
        return (), named

    stack.register_forward_pre_hook(hook, with_kwargs=True)


def _embeddings_in_front(prompts: Callable[[], Any], stack: Any, call: dict[str, Any]) -> None:
    import torch

    embeddings = call.get("inputs_embeds")
    if embeddings is None:
        embeddings = stack.get_input_embeddings()(call["input_ids"])
    virtual = prompts().to(embeddings)
    n = len(virtual)
    if _cached(call) == 0:
        virtual = virtual.expand(len(embeddings), -1, -1)
        call["input_ids"] = None
        call["inputs_embeds"] = torch.cat([virtual, embeddings], 1)
        _widen_mask(call, "attention_mask", n, queries=True)
        positions = call.get("position_ids")
        if positions is not None:
            # RoBERTa counts from the place after its padding token's.
            padding = getattr(getattr(stack, "embeddings", None), "padding_idx", None)
            first = torch.arange(n, device=positions.device).expand(len(positions), -1)
            first = first if padding is None else first + padding + 1
            call["position_ids"] = torch.cat([first, positions + n], 1)
        types = call.get("token_type_ids")
        if types is not None:
            call["token_type_ids"] = torch.cat([types[:, :1].expand(-1, n), types], 1)
        return
    _widen_mask(call, "attention_mask", n)
    _shift(call, n)


def _past_in_front(
    past: Callable[[], Any], bidirectional: bool, stack: Any, call: dict[str, Any]
) -> None:
    from transformers import DynamicCache, EncoderDecoderCache

    if stack.training and any(getattr(m, "gradient_checkpointing", False) for m in stack.modules()):
        raise ComponentError(
            "adapter prefix does not work with gradient checkpointing, which drops cached keys and "
            "values; leave it out, or choose adapter=prompt_tuning"
        )
    given = call["input_ids"] if call.get("inputs_embeds") is None else call["inputs_embeds"]
    values = past()
    n = values.shape[3]
    if _cached(call) == 0:
        cache = past_in(call)
        if cache is None:
            cache = DynamicCache(config=stack.config)
            if call.get("encoder_hidden_states") is not None:
                cache = EncoderDecoderCache(cache, DynamicCache(config=stack.config))
        own = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        for layer, (keys, vectors) in enumerate(values):
            own.update(*(t.expand(len(given), -1, -1, -1) for t in (keys, vectors)), layer)
        call[past_name(stack)] = cache
        if bidirectional:
            _square_mask(call, given, n)
    _widen_mask(call, "attention_mask", n)
    _shift(call, n)


def _square_mask(call: dict[str, Any], given: Any, n: int) -> None:
    """Replace a (B, L) mask by (B, 1, L, n + L): an encoder expects no tokens before its own."""
    import torch

    mask = call.get("attention_mask")
    if mask is None:
        mask = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
    if mask.ndim != 2:
        return
    width = mask.shape[1]
    whole = torch.cat([mask.new_ones(len(mask), n), mask], 1).bool()
    call["attention_mask"] = whole[:, None, None, :].expand(-1, 1, width, -1)


def _cached(call: dict[str, Any]) -> int:
    cache = past_in(call)
    return 0 if cache is None else int(cache.get_seq_length())


def _widen_mask(call: dict[str, Any], name: str, n: int, queries: bool = False) -> None:
    """Let every row attend to n more places at the front.

    Args:
        call: arguments of a call.
        name: of the mask: (B, L), or (B, 1, Q, L) bool or additive.
        n: number of places.
        queries: the virtual tokens are part of this call, not of the cache.
    """
    import torch

    mask = call.get(name)
    if mask is None:
        return
    if mask.ndim == 2:
        call[name] = torch.cat([mask.new_ones(len(mask), n), mask], 1)
        return
    if queries:
        raise ComponentError(
            "adapter prompt_tuning needs a mask of one row per input, but this caller gives one "
            "of one row per token; choose adapter=prefix"
        )
    expected = _cached(call) + mask.shape[2]
    if mask.shape[3] < expected:
        seen = mask.new_ones if mask.dtype == torch.bool else mask.new_zeros
        call[name] = torch.cat([seen(*mask.shape[:3], expected - mask.shape[3]), mask], 3)


def _shift(call: dict[str, Any], n: int) -> None:
    if call.get("position_ids") is not None:
        call["position_ids"] = call["position_ids"] + n


def _mask_of_states(_: Any, call: dict[str, Any]) -> None:
    """Widen a decoder's mask over the encoder's states by the virtual tokens among them."""
    states, mask = call.get("encoder_hidden_states"), call.get("encoder_attention_mask")
    if states is not None and mask is not None:
        _widen_mask(call, "encoder_attention_mask", states.shape[1] - mask.shape[1])


def _without_virtual(
    prompts: Callable[[], Any],
    _: Any,
    args: Any,  # noqa: ARG001
    call: dict[str, Any],
    output: Any,
) -> Any:
    """Cut the states of the virtual tokens off, if they were part of this call."""
    states, cached = output["last_hidden_state"], _cached(call)
    if cached in (0, states.shape[1]):  # no cache, or one that this call began
        n = len(prompts())
        output["last_hidden_state"] = states[:, n:]
        if output.get("hidden_states") is not None:
            output["hidden_states"] = tuple(layer[:, n:] for layer in output["hidden_states"])
    return output


def _without_unwanted_cache(_: Any, args: Any, call: dict[str, Any], output: Any) -> Any:  # noqa: ARG001
    """Take the cache that carried the prefix away from a caller that asked for none.

    T5's decoder gives back any cache, and beams without one would read it at the next step.
    """
    if call.get("use_cache") is False and past_in(output) is not None:
        kept = {name: value for name, value in output.items() if name not in NAMES}
        return type(output)(**kept)
    return output
