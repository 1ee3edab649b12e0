"""A recurrent network that loads and stores as transformers' models do."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

CELLS: dict[str, type[Any]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class RecurrentConfig(PretrainedConfig):
    """Sizes of a recurrent network."""

    model_type = "recurrent"

    def __init__(
        self,
        cell: str = "gru",
        vocab_size: int = 1,
        hidden_size: int = 64,
        n_layers: int = 1,
        dropout: float = 0.0,
        initializer_range: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cell = cell
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.dropout = dropout
        self.initializer_range = initializer_range


class RecurrentModel(PreTrainedModel):
    """Token embeddings and a stack of recurrent layers that read left to right."""

    config_class = RecurrentConfig
    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, width)
        self.drop = nn.Dropout(config.dropout)
        between = config.dropout if config.n_layers > 1 else 0.0
        self.recurrent = CELLS[config.cell](
            width, width, config.n_layers, batch_first=True, dropout=between
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        spread = self.config.initializer_range
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02 if spread is None else spread)
        elif isinstance(module, nn.RNNBase):
            for name, parameter in module.named_parameters():
                if name.startswith("bias"):
                    nn.init.zeros_(parameter)
                    if isinstance(module, nn.LSTM) and name.startswith("bias_ih"):
                        # Remember at the start (Jozefowicz et al., 2015).
                        gate = self.config.hidden_size
                        nn.init.ones_(parameter[gate : 2 * gate])
                elif spread is not None:
                    nn.init.normal_(parameter, std=spread)
                elif name.startswith("weight_hh"):
                    for block in parameter.split(self.config.hidden_size):
                        nn.init.orthogonal_(block)
                else:
                    for block in parameter.split(self.config.hidden_size):
                        nn.init.xavier_uniform_(block)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the token embeddings."""
        return self.words

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings."""
        assert isinstance(value, nn.Embedding)
        self.words = value

    def forward(
        self, input_ids: torch.Tensor | None = None, inputs_embeds: torch.Tensor | None = None
    ) -> BaseModelOutput:
        """Return (B, L, H) states of (B, L) ids or (B, L, H) embeddings.

        A state depends on what stands left of it only: right padding changes no real state.
        """
        if inputs_embeds is None:
            assert input_ids is not None
            inputs_embeds = self.words(input_ids)
        states, _ = self.recurrent(self.drop(inputs_embeds))
        return BaseModelOutput(last_hidden_state=self.drop(states))
