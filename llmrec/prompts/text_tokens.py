"""The torch module behind item_texts prompts: tokens that are a learned map of frozen texts."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from llmrec.prompts.items import SPECIAL_TOKENS


class TextTokens(nn.Module):
    """Tokens of items that are computed from their texts by a mixture of experts.

    Expert g maps a text embedding x to (x − b_g) W_g, which can whiten it; the gate, a softmax of a
    linear map of x with learned noise while training, weighs the experts (UniSRec, Hou et al., KDD
    2022, equations 3 to 5). No weight belongs to one item, so the module fits any catalogue.

    Args:
        texts: (n_items, D) embeddings; they are kept, not learned.
        width: H of the tokens.
        n_experts: maps that are mixed.
        dropout: of the text embeddings, while training.
    """

    texts: torch.Tensor
    ratings: None = None  # as in ItemTokens: histories come without their ratings

    def __init__(self, texts: np.ndarray, width: int, n_experts: int, dropout: float) -> None:
        super().__init__()
        self.n_items, size = texts.shape
        self.padding, self.mask, self.start = range(
            self.n_items, self.n_items + len(SPECIAL_TOKENS)
        )
        self.register_buffer("texts", torch.from_numpy(texts.astype(np.float32)))
        self.dropout = nn.Dropout(dropout)
        self.centres = nn.Parameter(torch.zeros(n_experts, size))
        self.experts = nn.Parameter(torch.randn(n_experts, size, width) * 0.02)
        self.gate = nn.Parameter(torch.zeros(size, n_experts))
        self.noise = nn.Parameter(torch.zeros(size, n_experts))
        self.special = nn.Parameter(torch.randn(len(SPECIAL_TOKENS), width) * 0.02)

    def tokens_of(self, texts: torch.Tensor) -> torch.Tensor:
        """Return (N, H) tokens of (N, D) text embeddings."""
        logits = texts @ self.gate
        if self.training and self.gate.shape[1] > 1:
            spread = functional.softplus(texts @ self.noise) + 1e-2
            logits = logits + torch.randn_like(logits) * spread
        shares = logits.softmax(-1)
        mixed = texts.new_zeros(len(texts), self.experts.shape[2])
        for expert in range(len(self.experts)):
            moved = self.dropout(texts) - self.centres[expert]
            mixed = mixed + shares[:, expert : expert + 1] * (moved @ self.experts[expert])
        return mixed

    @property
    def items(self) -> torch.Tensor:
        """(n_items, H) tokens of the catalogue, without the special tokens."""
        return self.tokens_of(self.texts)

    def vectors(self, items: torch.Tensor) -> torch.Tensor:
        """Return (..., H) tokens of ids of any shape; each distinct one is computed once."""
        distinct, places = torch.unique(items, return_inverse=True)
        named = distinct[distinct < self.n_items]
        others = self.special[distinct[len(named) :] - self.n_items]
        return functional.embedding(places, torch.cat([self.tokens_of(self.texts[named]), others]))

    def forward(self, items: torch.Tensor, ratings: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Return (B, L, H) for (B, L) ids."""
        return self.vectors(items)
