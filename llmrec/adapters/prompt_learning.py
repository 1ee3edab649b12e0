"""Virtual tokens that are learned: prompt tuning and prefix tuning, stored by peft."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from llmrec.adapters.base import BaseAdapter
from llmrec.adapters.peft_weights import restored, save_weights, without_deprecations
from llmrec.adapters.virtual import (
    is_seq2seq,
    prepend_embeddings,
    prepend_past,
    stack_with_past,
)
from llmrec.core.errors import ComponentError
from llmrec.core.extras import require
from llmrec.core.past import past_name, takes_past

# Encoders of transformers whose attention takes no keys and values from elsewhere.
WITHOUT_PAST = ("distilbert", "modernbert")
NEEDS_PAST = (
    "adapter prefix needs a backbone that takes past keys and values, and {} takes none; choose "
    "adapter=prompt_tuning or lora"
)


class VirtualTokens(BaseAdapter):
    """Base of the adapters that learn virtual tokens; they take room from the context.

    Args:
        n_tokens: number of virtual tokens.
    """

    trains = True

    def __init__(self, *, n_tokens: int = 20) -> None:
        self.n_tokens = n_tokens

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        return [("n_tokens", "must be at least 1")] if params.get("n_tokens", 20) < 1 else []

    @property
    def virtual_tokens(self) -> int:  # type: ignore[override]
        return self.n_tokens

    def save(self, module: Any, folder: Path) -> None:
        save_weights(module, folder)


class PromptTuning(VirtualTokens):
    """Prompt tuning (Lester et al., 2021): learned embeddings before the input train alone.

    They start from the embeddings of random tokens of the vocabulary; under item prompts, where
    there is none, from random numbers of the same spread.

    Args:
        n_tokens: number of virtual tokens.
    """

    def wrap(self, module: Any, architecture: str) -> Any:  # noqa: ARG002
        import torch

        peft = require("peft", "lm", "adapter prompt_tuning")
        table = module.get_input_embeddings().weight
        config = peft.PromptTuningConfig(
            task_type=_task(module),
            num_virtual_tokens=self.n_tokens,
            num_transformer_submodules=1,  # of an encoder-decoder: the encoder
            token_dim=table.shape[1],
            # Not used by prompts, but peft asks, and does not find them in every config.
            num_layers=1,
            num_attention_heads=1,
        )
        start = _some_embeddings(table, self.n_tokens)
        wrapped = _hooked_prompts(_with_config(module, config))
        with torch.no_grad():
            wrapped.prompt_encoder.default.embedding.weight.copy_(start)
        return wrapped

    def restore(self, module: Any, folder: Path) -> Any:
        return restored(module, folder, partial(_read, hook=_hooked_prompts), _always)


class Prefix(VirtualTokens):
    """Prefix tuning (Li & Liang, 2021): learned keys and values in every layer train alone.

    They start from the keys and values that the backbone has for random tokens. In an
    encoder-decoder they stand in the self-attention of the decoder; stored ones of more than one
    layer then load here, but not with peft alone, which gives every other layer a copy.

    Args:
        n_tokens: number of virtual tokens.
    """

    def misfit(self, architecture: str, direction: str, needs: str) -> str | None:
        if architecture in WITHOUT_PAST:
            return NEEDS_PAST.format(architecture)
        if direction == "seq2seq" and needs == "pooled":
            return (
                "adapter prefix works in the decoder of an encoder-decoder, but this head reads "
                "its encoder alone; choose adapter=prompt_tuning or lora, or backbone=gpt2"
            )
        return None

    def wrap(self, module: Any, architecture: str) -> Any:
        import torch

        peft = require("peft", "lm", "adapter prefix")
        stack = stack_with_past(module)
        if not takes_past(stack):
            raise ComponentError(NEEDS_PAST.format(architecture))
        start = _keys_and_values(module, stack, self.n_tokens)
        n_layers, _, n_heads, _, size = start.shape
        config = peft.PrefixTuningConfig(
            task_type=_task(module),
            num_virtual_tokens=self.n_tokens,
            num_layers=n_layers,
            num_attention_heads=n_heads,
            token_dim=n_heads * size,
        )
        wrapped = _hooked_prefix(_with_config(module, config))
        with torch.no_grad():  # peft keeps one row per token: layer, key or value, head, size
            weight = wrapped.prompt_encoder.default.embedding.weight
            weight.copy_(start.permute(3, 0, 1, 2, 4).reshape(self.n_tokens, -1))
        return wrapped

    def restore(self, module: Any, folder: Path) -> Any:
        return restored(module, folder, partial(_read, hook=_hooked_prefix), _always)


def _always(_: Any) -> bool:
    return True


def _with_config(module: Any, config: Any) -> Any:
    """Return the module in peft's plain wrapper, which stores the virtual tokens.

    Its wrappers for tasks would put them in front a second time.
    """
    peft = require("peft", "lm", "an adapter of virtual tokens")
    module.requires_grad_(False)
    with without_deprecations():
        return peft.PeftModel(module, config)


def _read(module: Any, folder: str, hook: Any) -> Any:
    peft = require("peft", "lm", "an adapter of virtual tokens")
    config = peft.PeftConfig.from_pretrained(folder)
    config.inference_mode = False
    wrapped = _with_config(module, config)
    wrapped.load_adapter(folder, "default", is_trainable=True)
    return hook(wrapped)


def _hooked_prompts(wrapped: Any) -> Any:
    embedding = wrapped.prompt_encoder.default.embedding
    prepend_embeddings(wrapped.get_base_model(), partial(getattr, embedding, "weight"))
    return wrapped


def _hooked_prefix(wrapped: Any) -> Any:
    config = wrapped.peft_config["default"]
    shape = (config.num_virtual_tokens, config.num_layers, 2, config.num_attention_heads, -1)
    embedding = wrapped.prompt_encoder.default.embedding

    def past() -> Any:
        return embedding.weight.view(shape).permute(1, 2, 3, 0, 4)

    prepend_past(wrapped.get_base_model(), past)
    return wrapped


def _task(module: Any) -> str:
    if not module.can_generate():
        return "FEATURE_EXTRACTION"
    return "SEQ_2_SEQ_LM" if is_seq2seq(module) else "CAUSAL_LM"


def _some_embeddings(table: Any, n: int) -> Any:
    """Return (n, H): rows of a vocabulary, or random ones if it has a single row."""
    import torch

    if len(table) > 1:
        return table.detach()[torch.randint(len(table), (n,))].clone()
    return torch.randn(n, table.shape[1], dtype=table.dtype) * table.detach().std()


def _keys_and_values(module: Any, stack: Any, n: int) -> Any:
    """Return (layers, 2, heads, n, head size): what a stack has cached after n random tokens."""
    import torch
    from transformers import DynamicCache, EncoderDecoderCache

    cache: Any = DynamicCache(config=stack.config)
    given = _some_embeddings(module.get_input_embeddings().weight, n)[None]
    training = stack.training
    whole = EncoderDecoderCache(cache, DynamicCache(config=stack.config))
    with torch.no_grad():
        past = {past_name(stack): whole if is_seq2seq(module) else cache}
        stack.eval()(inputs_embeds=given, **past)
    stack.train(training)
    return torch.stack([torch.stack([layer.keys[0], layer.values[0]]) for layer in cache.layers])
