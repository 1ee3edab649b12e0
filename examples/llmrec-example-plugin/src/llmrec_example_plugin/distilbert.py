"""A backbone: DistilBERT (Sanh et al., 2019), two fifths smaller than BERT-base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmrec.backbones.base import Needs, TransformerBackbone


class DistilBERT(TransformerBackbone):
    """DistilBERT: reads in both directions, cannot generate.

    A hub checkpoint is `distilbert-base-uncased`; without one it starts at random, as every
    backbone of llmrec.
    """

    architecture = "distilbert"
    model_types = frozenset({"distilbert"})
    direction = "bidirectional"
    provides = frozenset({"pooled", "sequence"})
    tokenizer_kind = "wordpiece"
    auto_classes: ClassVar[Mapping[str, str]] = {"pooled": "AutoModel", "sequence": "AutoModel"}

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
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            initializer_range=self.initializer_range,
            pad_token_id=special.get("pad_token_id") or 0,
        )

    def frame(self, tokenizer: Any, needs: Needs) -> tuple[list[int], list[int]]:  # noqa: ARG002
        return [tokenizer.cls_token_id], [tokenizer.sep_token_id]
