"""Decoders that read left to right, by transformers' common interface: Llama, Qwen, Gemma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmrec.backbones.base import SIZES, Needs, TransformerBackbone, inner, last_states
from llmrec.core.errors import ComponentError
from llmrec.core.protocols import Encoded

# What architectures call their dropouts.
HIDDEN = ("resid_pdrop", "embd_pdrop", "hidden_dropout", "dropout", "resid_dropout")
ATTENTION = ("attn_pdrop", "attention_dropout", "attn_dropout")
# Kinds of layers under which beams can share what they have read.
LAYERS = {"full_attention", "sliding_attention"}


class Causal(TransformerBackbone):
    """Any decoder of transformers: Llama, Qwen 2 and 3, Gemma, Mistral, SmolLM and their kind.

    Without a checkpoint it is a small Llama: rotary positions, RMS norms, gated feed-forward
    (Touvron et al., 2023). Where an architecture has no dropout of hidden states, `dropout` acts
    on the input and on what each attention and feed-forward block adds.
    """

    architecture = "causal"
    model_types: ClassVar[frozenset[str]] = frozenset()  # all decoders; see _check_model_type
    direction = "causal"
    provides = frozenset({"pooled", "sequence", "token_logits", "generate"})
    tokenizer_kind = "bpe"
    auto_classes: ClassVar[Mapping[str, str]] = {
        "pooled": "AutoModel",
        "sequence": "AutoModel",
        "token_logits": "AutoModelForCausalLM",
        "generate": "AutoModelForCausalLM",
    }
    dropouts: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(HIDDEN, "dropout"),
        **dict.fromkeys(ATTENTION, "attention_dropout"),
    }
    pooling_default = "last"

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        found = super().check_options(params)
        size = SIZES[params.get("size", "tiny")]
        width = params.get("hidden_size") or size.hidden_size
        heads = params.get("n_heads") or size.n_heads
        if not found and cls is Causal and width % (2 * heads):
            what = f"{width} must be an even multiple of n_heads ({heads}): positions rotate pairs"
            found.append(("hidden_size", what))
        return found

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import LlamaConfig

        n_layers, width, heads = self.dimensions
        return LlamaConfig(
            vocab_size=vocabulary_size,
            max_position_embeddings=self.max_positions,
            hidden_size=width,
            intermediate_size=self.feedforward,
            num_hidden_layers=n_layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            initializer_range=self.initializer_range,
            tie_word_embeddings=True,
            bos_token_id=special.get("bos_token_id"),
            eos_token_id=special.get("eos_token_id"),
            pad_token_id=special.get("pad_token_id"),
        )

    def _check_model_type(self, config: Any, place: Any) -> None:
        if self.model_types:
            return super()._check_model_type(config, place)
        from transformers.models.auto import modeling_auto as auto

        writers = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        readers = auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        pairs = auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        kind = config.model_type
        # Encoders and encoder-decoders have a causal class, too, but were not trained as one.
        if kind not in writers or kind in readers or kind in pairs:
            raise ComponentError(
                f'backbone "{self.architecture}" cannot read {place}: it is a "{kind}" model, not '
                "a decoder of transformers (AutoModelForCausalLM); BERT-like encoders are read by "
                "backbone=bert, T5-like models by backbone=t5"
            )
        return None

    def load(self, needs: Needs, **options: Any) -> Any:
        model = super().load(needs, **options)
        width, given = self.width(model), model.get_input_embeddings().embedding_dim
        if needs == "sequence" and given != width:
            raise ComponentError(
                f"this {model.config.model_type} checkpoint reads embeddings of {given} and gives "
                f"states of {width} values; item tokens need them alike: choose prompt=text or "
                "another checkpoint"
            )
        if needs in ("token_logits", "generate"):
            self._prove_logits(model)
        strange = set(getattr(model.config, "layer_types", None) or ()) - LAYERS
        if needs == "generate" and strange:
            raise ComponentError(
                f"this {model.config.model_type} checkpoint has layers of other kinds than full or "
                f"sliding attention ({', '.join(sorted(strange))}), under which beams cannot share "
                "their prompt; choose another checkpoint or head=classification"
            )
        if self.dropout and not any(hasattr(model.config, name) for name in HIDDEN):
            _add_dropout(model.base_model, self.dropout)
        return model

    def _prove_logits(self, model: Any) -> None:
        """Assert that `logits` agrees with the model's own on one token.

        Raises:
            ComponentError: if this architecture scales its logits in a way of its own.
        """
        import torch

        training = model.training
        model.eval()
        with torch.inference_mode():
            one = torch.zeros((1, 1), dtype=torch.long, device=model.device)
            given = {"input_ids": one, "attention_mask": torch.ones_like(one)}
            own = model(**given).logits.float()
            ours = self.logits(model, model.base_model(**given).last_hidden_state).float()
        model.train(training)
        if not torch.allclose(own, ours, rtol=1e-3, atol=1e-3 * float(own.abs().max())):
            raise ComponentError(
                f'backbone "{self.architecture}" does not know how a {model.config.model_type} '
                "model makes its logits; use it with head=classification or head=regression"
            )

    def frame(self, tokenizer: Any, needs: Needs) -> tuple[list[int], list[int]]:  # noqa: ARG002
        """Return the begin token (``<bos>``) where the tokenizer puts one before its texts."""
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a", add_special_tokens=True)["input_ids"]
        begins = bool(whole) and whole[0] == tokenizer.bos_token_id and whole != plain
        return ([tokenizer.bos_token_id] if begins else []), []

    def encode(
        self,
        model: Any,
        mask: Any,
        ids: Any = None,
        embeddings: Any = None,
        positions: Any = None,
    ) -> Encoded:
        # Right-padded rows of a causal model never see their padding: no mask, faster kernel.
        output = inner(model).base_model(
            input_ids=ids, inputs_embeds=embeddings, position_ids=positions
        )
        tokens = output.last_hidden_state
        return Encoded(tokens, self.pool(tokens, mask), mask)

    def answer_logits(self, model: Any, mask: Any, ids: Any, answers: Any) -> Any:
        states = last_states(self.encode(model, mask, ids).tokens, mask)
        return self.answers_of(model, states, answers)

    def answers_of(self, model: Any, states: Any, answers: Any) -> Any:
        """Return (B, A) logits of the answer tokens from the (B, H) states that predict them."""
        return self.logits(model, states)[:, answers]

    def logits(self, model: Any, states: Any) -> Any:
        whole = inner(model)
        config, logits = whole.config, whole.get_output_embeddings()(states)
        if getattr(config, "logits_scaling", None):  # Granite
            logits = logits / config.logits_scaling
        if getattr(config, "logit_scale", None):  # Cohere
            logits = logits * config.logit_scale
        cap = getattr(config, "final_logit_softcapping", None)  # Gemma 2
        return logits if cap is None else cap * (logits / cap).tanh()


def _add_dropout(base: Any, probability: float) -> None:
    """Drop, while training, of the input and of what each block adds, as GPT-2 does.

    Args:
        base: a decoder whose `layers` have blocks `self_attn` and `mlp`.
        probability: of each value.

    Raises:
        ComponentError: if it has none.
    """
    from torch.nn.functional import dropout

    def after(module: Any, _: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (dropout(output[0], probability, module.training), *output[1:])
        return dropout(output, probability, module.training)

    def before(module: Any, given: Any) -> Any:
        return (dropout(given[0], probability, module.training), *given[1:])

    layers = list(getattr(base, "layers", []))
    names = ("self_attn", "mlp")
    blocks: list[Any] = [getattr(layer, name, None) for layer in layers for name in names]
    if not blocks or None in blocks:
        raise ComponentError(
            f"a {base.config.model_type} model has no dropout of hidden states, and its layers "
            "have another form than Llama's: set backbone.dropout=0"
        )
    layers[0].register_forward_pre_hook(before)
    for block in blocks:
        block.register_forward_hook(after)
