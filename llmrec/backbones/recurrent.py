"""LSTM, GRU and the plain recurrent network: the sequence models before transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from llmrec.backbones.base import (
    Needs,
    Pooling,
    TransformerBackbone,
    inner,
    quiet_loading,
)
from llmrec.core.extras import require
from llmrec.core.protocols import Encoded


class Recurrent(TransformerBackbone):
    """A recurrent network that reads left to right: LSTM, GRU or the plain one.

    Over item tokens with tied weights a GRU is GRU4Rec (Hidasi et al., 2016; Hidasi and
    Karatzoglou, 2018); over text it is the classic text classifier. It always starts at random; its
    tokenizer, where it reads text, is trained on the training texts.

    Args:
        cell: ``lstm`` (Hochreiter and Schmidhuber, 1997), ``gru`` (Cho et al., 2014) or ``rnn``
            (Elman, 1990).
        hidden_size: width of the states and of the embeddings.
        n_layers: recurrent layers.
        dropout: of the embeddings, between layers and of the states.
        initializer_range: standard deviation of random weights; null: Xavier, orthogonal between
            steps, and an LSTM that begins by remembering.
        max_positions: longest input, in tokens or items; the network itself has no limit.
        vocabulary_size: of the tokenizer trained here.
        pooling: how token states become one vector; null: the last state.
    """

    architecture = "recurrent"
    model_types = frozenset({"recurrent"})
    direction = "causal"
    provides = frozenset({"pooled", "sequence"})
    tokenizer_kind = "bpe"
    pooling_default = "last"
    adaptable = False
    auto_classes: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        *,
        cell: Literal["lstm", "gru", "rnn"] = "gru",
        hidden_size: int = 64,
        n_layers: int = 1,
        dropout: float = 0.1,
        initializer_range: float | None = None,
        max_positions: int = 512,
        vocabulary_size: int = 4096,
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__(
            hidden_size=hidden_size,
            n_layers=n_layers,
            dropout=dropout,
            attention_dropout=0.0,
            max_positions=max_positions,
            vocabulary_size=vocabulary_size,
            pooling=pooling,
        )
        self.cell = cell
        self.initializer_range = initializer_range  # type: ignore[assignment]

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        found = [
            (key, "must be at least 1")
            for key in ("hidden_size", "n_layers", "max_positions", "vocabulary_size")
            if params.get(key, 1) < 1
        ]
        if not 0 <= params.get("dropout", 0.1) < 1:
            found.append(("dropout", "must be at least 0 and below 1"))
        spread = params.get("initializer_range")
        if spread is not None and spread <= 0:
            found.append(("initializer_range", "must be above 0"))
        return found

    def load(
        self,
        needs: Needs,  # noqa: ARG002  (one network serves all needs)
        *,
        tokenizer: Any | None = None,
        folder: Path | None = None,
        load_options: Mapping[str, Any] | None = None,  # noqa: ARG002  (see adaptable)
    ) -> Any:
        require("transformers", "lm", "backbone recurrent")
        from llmrec.backbones.recurrent_model import RecurrentConfig, RecurrentModel

        if folder is not None:
            with self._readable_errors(folder), quiet_loading():
                return RecurrentModel.from_pretrained(folder)
        config = RecurrentConfig(
            cell=self.cell,
            vocab_size=1 if tokenizer is None else len(tokenizer),
            hidden_size=self.dimensions.hidden_size,
            n_layers=self.dimensions.n_layers,
            dropout=self.dropout,
            initializer_range=self.initializer_range,
        )
        return RecurrentModel(config)

    def encode(
        self,
        model: Any,
        mask: Any,
        ids: Any = None,
        embeddings: Any = None,
        positions: Any = None,  # noqa: ARG002  (a recurrent network counts by itself)
    ) -> Encoded:
        tokens = inner(model)(input_ids=ids, inputs_embeds=embeddings).last_hidden_state
        return Encoded(tokens, self.pool(tokens, mask), mask)
