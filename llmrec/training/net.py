"""The torch module that is trained: backbone, item tokens and head together."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from llmrec.prompts.item_tokens import ItemTokens
from llmrec.training.objectives import candidate_states, query_states, training_states


class Net(nn.Module):
    """Computes the loss of a batch for the trainer, and states for scoring.

    Args:
        backbone: the backbone component.
        model: its loaded transformers model, wrapped by the adapter.
        head: the head's torch module.
        tokens: item embeddings, None under a text prompt.
        needs: what the head takes from the backbone.
        answers: (2,) token ids of yes and no, None unless the head asks for them.
    """

    answers: torch.Tensor | None
    proven_to_share: bool | None = None  # see recommenders.shared_history

    def __init__(
        self,
        backbone: Any,
        model: Any,
        head: Any,
        tokens: ItemTokens | None,
        needs: str,
        answers: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.model = model
        self.head = head
        self.tokens = tokens
        self.needs = needs
        self.register_buffer("answers", answers, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def item_weights(self) -> torch.Tensor | None:
        """(n_items, H) tied output weights, or None."""
        return None if self.tokens is None else self.tokens.items

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{"loss": scalar}`` of one batch made by the collator."""
        if self.needs == "sequence":
            assert self.tokens is not None
            states, targets = training_states(
                self.backbone, self.model, self.tokens, batch["items"], batch["mask"]
            )
        elif self.needs == "generate":
            states, targets = self._written(batch)
        else:
            states, targets = self.states(**batch), batch["targets"]
        return {"loss": self.head.loss(states, targets, self.item_weights)}

    def states(self, **batch: torch.Tensor) -> torch.Tensor:
        """Return (B, H) states (or (B, 2) answer logits) of queries."""
        mask = batch["mask"]
        if self.needs == "token_logits":
            return self.backbone.answer_logits(self.model, mask, batch["ids"], self.answers)
        if self.tokens is None:
            return self.backbone.encode(self.model, mask, ids=batch["ids"]).pooled
        if self.needs == "sequence":
            return query_states(self.backbone, self.model, self.tokens, batch["items"], mask)
        return candidate_states(
            self.backbone, self.model, self.tokens, batch["items"], mask, batch.get("ratings")
        )

    def _written(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and ids of the tokens to write: (N, V) and (N,)."""
        model, mask, labels = self.model, batch["mask"], batch["labels"]
        if self.backbone.direction == "seq2seq":
            logits = model(
                input_ids=batch["ids"], attention_mask=mask.long(), labels=labels, use_cache=False
            ).logits
            kept = labels != -100
            return logits[kept], labels[kept]
        states = self.backbone.encode(model, mask, ids=batch["ids"]).tokens[:, :-1]
        kept = labels[:, 1:] != -100
        return self.backbone.logits(model, states[kept]), labels[:, 1:][kept]

    def parameter_counts(self) -> tuple[int, int]:
        """Return the number of all and of trainable parameters; 8-bit ones count in full."""
        sizes = [(p.numel(), p.requires_grad) for p in self.parameters()]
        return sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)
