"""T5 (Raffel et al., 2020): an encoder that reads and a decoder that writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmrec.backbones.base import Needs, TransformerBackbone, inner, memory_of
from llmrec.core.protocols import Encoded


class T5(TransformerBackbone):
    """T5, Flan-T5, mT5 and UMT5: encoder and decoder, can generate.

    Without a checkpoint it is a T5.
    """

    architecture = "t5"
    model_types = frozenset({"t5", "mt5", "umt5"})
    direction = "seq2seq"
    provides = frozenset({"pooled", "sequence", "token_logits", "generate"})
    tokenizer_kind = "unigram"
    auto_classes: ClassVar[Mapping[str, str]] = {
        "pooled": "AutoModelForTextEncoding",
        "sequence": "AutoModel",
        "token_logits": "AutoModelForSeq2SeqLM",
        "generate": "AutoModelForSeq2SeqLM",
    }

    dropouts: ClassVar[Mapping[str, str]] = {"dropout_rate": "dropout"}

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import T5Config

        n_layers, width, heads = self.dimensions
        pad = special.get("pad_token_id") or 0
        config = T5Config(
            vocab_size=vocabulary_size,
            d_model=width,
            d_kv=width // heads,
            d_ff=self.feedforward,
            num_layers=n_layers,
            num_decoder_layers=n_layers,
            num_heads=heads,
            initializer_factor=self.initializer_range / 0.02,
            pad_token_id=pad,
            eos_token_id=special.get("eos_token_id"),
        )
        config.decoder_start_token_id = pad
        return config

    def config_overrides(self, needs: Needs, config: Any) -> dict[str, Any]:
        # A generating T5 keeps its cache: one encoder pass serves all steps of the decoder.
        return {**super().config_overrides(needs, config), "use_cache": needs == "generate"}

    def load(self, needs: Needs, **options: Any) -> Any:
        from transformers.models.mt5.modeling_mt5 import MT5Attention
        from transformers.models.t5.modeling_t5 import T5Attention
        from transformers.models.umt5.modeling_umt5 import UMT5Attention

        model = super().load(needs, **options)
        # T5's config has one dropout for everything; that of the attention is set on its layers.
        for layer in model.modules():
            if isinstance(layer, (T5Attention, MT5Attention, UMT5Attention)):
                layer.dropout = self.attention_dropout
        return model

    def frame(self, tokenizer: Any, needs: Needs) -> tuple[list[int], list[int]]:  # noqa: ARG002
        return [], [tokenizer.eos_token_id]

    def max_tokens(self, model: Any) -> int:  # noqa: ARG002
        return self.max_positions

    def encode(
        self,
        model: Any,
        mask: Any,
        ids: Any = None,
        embeddings: Any = None,
        positions: Any = None,  # noqa: ARG002  (T5 has relative positions only)
    ) -> Encoded:
        encoder = inner(model).encoder
        output = encoder(input_ids=ids, inputs_embeds=embeddings, attention_mask=mask.long())
        # Learned tokens of a prompt come first; the decoder attends to them, too.
        n = output.last_hidden_state.shape[1] - mask.shape[1]
        learned, tokens = output.last_hidden_state[:, :n], output.last_hidden_state[:, n:]
        return Encoded(tokens, self.pool(tokens, mask), mask, learned if n else None)

    def decode(self, model: Any, encoded: Encoded, embeddings: Any) -> Any:
        """Return (B, S, H) states of the decoder over its own input embeddings (B, S, H)."""
        states, mask = memory_of(encoded)
        output = inner(model).decoder(
            inputs_embeds=embeddings,
            encoder_hidden_states=states,
            encoder_attention_mask=mask.long(),
        )
        return output.last_hidden_state

    def logits(self, model: Any, states: Any) -> Any:
        """Return (…, V) logits of the (…, H) states of the decoder."""
        whole = inner(model)
        config = whole.config
        scaled = {
            "t5": getattr(config, "scale_decoder_outputs", False),
            "umt5": getattr(config, "tie_word_embeddings", False),
        }
        if scaled.get(config.model_type):
            states = states * whole.model_dim**-0.5
        return whole.lm_head(states)

    def answer_logits(self, model: Any, mask: Any, ids: Any, answers: Any) -> Any:
        import torch

        whole = inner(model)
        start = torch.full((len(ids), 1), whole.config.decoder_start_token_id, device=ids.device)
        output = whole(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=start)
        return output.logits[:, 0, answers]
