"""The torch module behind item prompts."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from llmrec.prompts.items import SPECIAL_TOKENS


class ItemTokens(nn.Module):
    """Embeddings of items and of the tokens padding, mask and start.

    Args:
        table: (n_items + 3, H) starting values.
        rating_values: (R,) sorted ratings that get an embedding of their own, or None.
    """

    rating_values: torch.Tensor

    def __init__(self, table: np.ndarray, rating_values: np.ndarray | None) -> None:
        super().__init__()
        self.n_items = len(table) - len(SPECIAL_TOKENS)
        self.padding, self.mask, self.start = range(self.n_items, len(table))
        self.weight = nn.Parameter(torch.from_numpy(table.copy()))
        self.ratings: nn.Parameter | None = None
        if rating_values is not None:
            # The last row stands for "no rating": the candidate's, or a history without ratings.
            self.register_buffer("rating_values", torch.from_numpy(rating_values.copy()))
            self.ratings = nn.Parameter(torch.zeros(len(rating_values) + 1, table.shape[1]))

    @property
    def items(self) -> torch.Tensor:
        """(n_items, H) embeddings of the catalogue, without the special tokens."""
        return self.weight[: self.n_items]

    def vectors(self, items: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of (N,) items for a head to read: what enters no backbone."""
        return nn.functional.embedding(items, self.weight)

    def forward(self, items: torch.Tensor, ratings: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B, L, H) for (B, L) ids and optional (B, L) ratings (NaN where there is none)."""
        embedded = nn.functional.embedding(items, self.weight)
        if self.ratings is not None and ratings is not None:
            nearest = torch.searchsorted(self.rating_values, ratings.nan_to_num().contiguous())
            nearest = nearest.clamp(max=len(self.rating_values) - 1)
            index = torch.where(ratings.isnan(), len(self.rating_values), nearest)
            embedded = embedded + self.ratings[index]
        return embedded
