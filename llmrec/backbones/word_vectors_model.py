"""A table of word vectors that loads and stores as transformers' models do."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class WordVectorsConfig(PretrainedConfig):
    """Size of a table of word vectors."""

    model_type = "word_vectors"

    def __init__(
        self, vocab_size: int = 2, hidden_size: int = 64, unknown: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.unknown = unknown


class WordVectorsModel(PreTrainedModel):
    """The vectors of the words, one after another; nothing mixes them."""

    config_class = WordVectorsConfig
    config: WordVectorsConfig

    def __init__(self, config: WordVectorsConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.zeros_(module.weight)  # filled from the vectors

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table."""
        return self.words

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the table."""
        assert isinstance(value, nn.Embedding)
        self.words = value

    def forward(self, input_ids: torch.Tensor) -> BaseModelOutput:
        """Return (B, L, H) vectors of (B, L) ids."""
        return BaseModelOutput(last_hidden_state=self.words(input_ids))
