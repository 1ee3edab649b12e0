"""The torch module of next-item heads: scores over the catalogue, and the losses behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from llmrec.heads.losses import (
    FOCUSING,
    blocked_cross_entropy,
    bpr,
    focal,
    gbce,
    gbce_power,
    sampled_softmax,
)
from llmrec.heads.predictions import Prediction

# A sample that all examples of a batch share, and one of each example's own.
SHARED = frozenset({"sampled_softmax", "gbce"})
OWN = frozenset({"bce", "bpr"})
N_NEGATIVES = {"sampled_softmax": 256, "gbce": 256, "bce": 1, "bpr": 1}
CALIBRATION, TEMPERATURE = 0.75, 0.07


class NextItem(nn.Module):
    """Logits over the catalogue.

    Args:
        head: the component, for its options.
        width: of the states.
        n_items: size of the catalogue.
        statistics: ``item_counts`` (n_items,) of the training interactions; ``item_vectors``
            (n_items, D) of the texts for ``item_weights=text``.
        tied: use the item embeddings given with each call.
    """

    probabilities: torch.Tensor
    vectors: torch.Tensor

    def __init__(
        self, head: Any, width: int, n_items: int, statistics: Mapping[str, Any], tied: bool
    ) -> None:
        super().__init__()
        self.options = head
        self.loss_name: str = head.loss or "cross_entropy"
        self.n_items = n_items
        self.n_negatives = head.n_negatives or N_NEGATIVES.get(self.loss_name, 0)
        self.calibration = CALIBRATION if head.calibration is None else head.calibration
        self.temperature = head.temperature or TEMPERATURE
        self.focusing = FOCUSING if head.focusing is None else head.focusing
        self.output: nn.Linear | None = None
        self.projection: nn.Linear | None = None
        if head.item_weights == "text":
            vectors = torch.as_tensor(statistics["item_vectors"], dtype=torch.float32)
            self.register_buffer("vectors", vectors)
            self.projection = nn.Linear(vectors.shape[1], width, bias=False)
        elif not tied:
            self.output = nn.Linear(width, n_items, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_items)) if head.item_bias else None
        if self.loss_name in SHARED | OWN:
            counts = torch.ones(n_items, dtype=torch.float64)
            if head.sampling == "popularity":
                # One more for each: an item that is never drawn would never learn to be low.
                counts += torch.as_tensor(statistics["item_counts"], dtype=torch.float64)
            self.register_buffer("probabilities", counts / counts.sum(), persistent=False)

    def weight(self, items: torch.Tensor | None, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Return the output weights of the catalogue, or of the items of `ids` (any shape)."""
        if self.projection is not None:
            vectors = self.vectors if ids is None else self.vectors[ids]
            weight: torch.Tensor = self.projection(vectors)
        else:
            whole = items if self.output is None else self.output.weight
            assert whole is not None
            weight = whole if ids is None else functional.embedding(ids, whole)
        return functional.normalize(weight, dim=-1) if self.loss_name == "contrastive" else weight

    def directed(self, states: torch.Tensor) -> torch.Tensor:
        """Return what is multiplied with the weights: the contrastive loss compares angles."""
        if self.loss_name == "contrastive":
            return functional.normalize(states, dim=-1) / self.temperature
        return states

    def scores(self, states: torch.Tensor, items: torch.Tensor | None) -> torch.Tensor:
        """Return (N, n_items) logits of (N, H) states; `items` are (n_items, H) if tied."""
        return functional.linear(self.directed(states), self.weight(items), self.bias)

    def prediction(self, states: torch.Tensor, items: torch.Tensor | None) -> Prediction:
        """Return the choice among the catalogue."""
        return Prediction("choice", self.scores(states, items))

    def loss(
        self, states: torch.Tensor, targets: torch.Tensor, items: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mean loss of (N,) target items."""
        return self.losses(states, targets, items).mean()

    def losses(
        self, states: torch.Tensor, targets: torch.Tensor, items: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the (N,) losses."""
        if self.loss_name in SHARED | OWN:
            return self._sampled(states, targets, items)
        if self.loss_name == "contrastive":
            return self._contrastive(states, targets, items)
        head = self.options
        if head.block_size is None:
            logits = self.scores(states, items)
            losses = functional.cross_entropy(
                logits, targets, reduction="none", label_smoothing=head.label_smoothing
            )
        else:
            losses = blocked_cross_entropy(
                states,
                self.weight(items),
                self.bias,
                targets,
                head.block_size,
                head.label_smoothing,
            )
        return focal(losses, self.focusing) if self.loss_name == "focal" else losses

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return item ids drawn with replacement."""
        if self.options.sampling != "popularity":
            return torch.randint(self.n_items, shape, device=self.probabilities.device)
        edges = self.probabilities.cumsum(0)
        drawn = torch.rand(shape, dtype=torch.float64, device=edges.device) * edges[-1]
        return torch.searchsorted(edges, drawn, right=True).clamp(max=self.n_items - 1)

    def _at(
        self, states: torch.Tensor, ids: torch.Tensor, items: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the scores of each state's own (N, ...) items."""
        weight = self.weight(items, ids)
        shape = (len(states),) + (1,) * (ids.ndim - 1) + (states.shape[1],)
        scores = (states.view(shape) * weight).sum(-1)
        return scores if self.bias is None else scores + self.bias[ids]

    def _shared(
        self, states: torch.Tensor, ids: torch.Tensor, items: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the (N, S) scores of S items that all states share."""
        bias = None if self.bias is None else self.bias[ids]
        return functional.linear(states, self.weight(items, ids), bias)

    def _sampled(
        self, states: torch.Tensor, targets: torch.Tensor, items: torch.Tensor | None
    ) -> torch.Tensor:
        n_negatives = self.n_negatives
        positive = self._at(states, targets, items)
        if self.loss_name in OWN:
            drawn = self.draw((len(states), n_negatives))
            negatives = self._at(states, drawn, items)
        else:
            drawn = self.draw((n_negatives,))
            negatives = self._shared(states, drawn, items)
        hits = drawn == targets[:, None]
        if self.loss_name == "sampled_softmax":
            expected = (n_negatives * self.probabilities[drawn]).float()
            return sampled_softmax(positive, negatives, expected, hits)
        if self.loss_name == "bpr":
            return bpr(positive, negatives, hits)
        power = 1.0
        if self.loss_name == "gbce":
            power = gbce_power(self.n_items, n_negatives, self.calibration)
        return gbce(positive, negatives, hits, power)

    def _contrastive(
        self, states: torch.Tensor, targets: torch.Tensor, items: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the (N,) InfoNCE losses against the distinct targets of the batch."""
        distinct, places = torch.unique(targets, return_inverse=True)
        logits = self._shared(self.directed(states), distinct, items)
        return functional.cross_entropy(logits, places, reduction="none")
