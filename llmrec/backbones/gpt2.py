"""GPT-2 (Radford et al., 2019): a decoder that reads left to right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmrec.backbones.base import inner
from llmrec.backbones.causal import Causal
from llmrec.core.protocols import Encoded


class GPT2(Causal):
    """GPT-2 and its distilled forms: a left-to-right decoder that can generate."""

    architecture = "gpt2"
    model_types = frozenset({"gpt2"})
    dropouts: ClassVar[Mapping[str, str]] = {
        "resid_pdrop": "dropout",
        "embd_pdrop": "dropout",
        "attn_pdrop": "attention_dropout",
    }

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import GPT2Config

        n_layers, width, heads = self.dimensions
        return GPT2Config(
            vocab_size=vocabulary_size,
            n_positions=self.max_positions,
            n_embd=width,
            # The same function as GPT-2's gelu_new, in one fused kernel.
            activation_function="gelu_pytorch_tanh",
            n_inner=self.feedforward,
            n_layer=n_layers,
            n_head=heads,
            initializer_range=self.initializer_range,
            bos_token_id=special.get("bos_token_id"),
            eos_token_id=special.get("eos_token_id"),
            pad_token_id=special.get("pad_token_id"),
        )

    def encode(
        self,
        model: Any,
        mask: Any,
        ids: Any = None,
        embeddings: Any = None,
        positions: Any = None,
    ) -> Encoded:
        # Embeddings, because transformers warns of padding among GPT-2's ids without a mask.
        if embeddings is None:
            embeddings = inner(model).get_input_embeddings()(ids)
        return super().encode(model, mask, embeddings=embeddings, positions=positions)
