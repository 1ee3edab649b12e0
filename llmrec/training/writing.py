"""The net of a writer: soft prompts for user and item, a prompt of words, and the text to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from llmrec.backbones.base import inner
from llmrec.training.batches import Batch
from llmrec.training.collate import IGNORED, WrittenCollator

SPREAD = 0.1  # of the soft prompts at the start, as in PEPLER


@dataclass(frozen=True, eq=False)
class PassageCollator:
    """Prompts of words and the texts to write, with the soft prompts' rows.

    Attributes:
        written: makes ids, mask and labels.
        soft: (N, S) rows of the soft prompts, S = 0 for none.
    """

    written: WrittenCollator
    soft: np.ndarray

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        return {**self.written(rows.tolist()), "soft": torch.from_numpy(self.soft[rows])}


class WritingNet(nn.Module):
    """A language model that writes after soft prompts and words.

    Args:
        backbone: the backbone component, of direction ``causal`` or ``seq2seq``.
        model: its loaded transformers model.
        n_soft: rows of the table of soft prompts, 0 for none.
        width: of the model's embeddings.
    """

    def __init__(self, backbone: Any, model: Any, n_soft: int, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.model = model
        self.tokens: nn.Embedding | None = None
        if n_soft:
            self.tokens = nn.Embedding(n_soft, width)
            nn.init.uniform_(self.tokens.weight, -SPREAD, SPREAD)

    def embedded(
        self, ids: torch.Tensor, mask: torch.Tensor, soft: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (B, S + L, H) input embeddings, soft prompts first, and their mask."""
        states = inner(self.model).get_input_embeddings()(ids)
        if self.tokens is None:
            return states, mask
        return (
            torch.cat([self.tokens(soft), states], 1),
            torch.cat([mask.new_ones(soft.shape), mask], 1),
        )

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{"loss": scalar}``: cross-entropy of the tokens to write."""
        logits, targets = self.predicted(batch)
        return {"loss": cross_entropy(logits.float(), targets)}

    def predicted(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (T, V) logits and (T,) ids of all tokens to write."""
        labels = batch["labels"]
        states, mask = self.embedded(batch["ids"], batch["mask"], batch["soft"])
        if self.backbone.direction == "seq2seq":
            logits = self.model(
                inputs_embeds=states, attention_mask=mask.long(), labels=labels, use_cache=False
            ).logits
            kept = labels != IGNORED
            return logits[kept], labels[kept]
        n = states.shape[1] - labels.shape[1]
        labels = torch.cat([labels.new_full((len(labels), n), IGNORED), labels], 1)
        tokens = self.backbone.encode(self.model, mask, embeddings=states).tokens[:, :-1]
        kept = labels[:, 1:] != IGNORED
        return self.backbone.logits(self.model, tokens[kept]), labels[:, 1:][kept]

    @torch.inference_mode()
    def write(
        self, ids: torch.Tensor, mask: torch.Tensor, soft: torch.Tensor, decoding: Any
    ) -> torch.Tensor:
        """Return (B, T) token ids written after right-padded prompts.

        Args:
            ids: (B, L) token ids of the prompts.
            mask: (B, L) bool.
            soft: (B, S) rows of the soft prompts.
            decoding: a ``GenerationConfig`` with every field that matters set.
        """
        states, mask = self.embedded(ids, mask, soft)
        if self.backbone.direction == "causal":  # a decoder goes on at the right end: pad left
            order = torch.argsort(mask.long(), dim=1, stable=True)
            states = states.gather(1, order.unsqueeze(-1).expand_as(states))
            mask = mask.gather(1, order)
        written: torch.Tensor = inner(self.model).generate(
            inputs_embeds=states, attention_mask=mask.long(), generation_config=decoding
        )
        return written

    def fill_unseen(self, rows: np.ndarray, seen: np.ndarray) -> None:
        """Set the soft prompts of a block that were never trained to the mean of the others.

        Args:
            rows: (N,) rows of one block: users, or items.
            seen: (N,) bool, those with training texts.
        """
        if self.tokens is None or not seen.any():
            return
        with torch.no_grad():
            weight = self.tokens.weight
            mean = weight[torch.from_numpy(rows[seen])].mean(0)
            weight[torch.from_numpy(rows[~seen])] = mean
