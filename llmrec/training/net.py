"""The torch module that is trained: backbone, item tokens and head together."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from llmrec.backbones.base import inner, virtual_tokens
from llmrec.prompts.item_tokens import ItemTokens
from llmrec.training.identifier_windows import draw_share, window_logits
from llmrec.training.objectives import candidate_states, draw, query_states, training_states
from llmrec.training.packed import PACKED, packed_states


class Net(nn.Module):
    """Computes the loss of a batch for the trainer, and states for scoring.

    Args:
        backbone: the backbone component.
        model: its loaded transformers model, wrapped by the adapter.
        head: the head's torch module.
        tokens: item embeddings, None under a text prompt.
        needs: what the head takes from the backbone.
        answers: (A,) token ids of the answers that the head compares, or None.
        others: candidates are judged by all other items of their user, not the earlier ones.
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
        others: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.model = model
        self.head = head
        self.tokens = tokens
        self.needs = needs
        self.others = others
        self.register_buffer("answers", answers, persistent=False)

    def with_model(self, model: Any) -> Net:
        """Return a net with another model, and all else shared with this one."""
        return Net(
            self.backbone, model, self.head, self.tokens, self.needs, self.answers, self.others
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def packs(self) -> bool:
        """Whether many candidates can be judged over one history at once."""
        if self.tokens is None or self.needs != "pooled" or virtual_tokens(self.model):
            return False
        return inner(self.model).config.model_type in PACKED

    def judged(self, batch: dict[str, torch.Tensor], *, own: bool) -> torch.Tensor:
        """Return the (N, H) states of packed candidates; see `llmrec.training.packed`."""
        assert self.tokens is not None
        return packed_states(self.model, self.tokens, batch, others=self.others, own=own)

    @property
    def item_weights(self) -> torch.Tensor | None:
        """(n_items, H) tied output weights, or None."""
        return None if self.tokens is None else self.tokens.items

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean ``loss`` of one batch made by the collator, and of how many targets."""
        batch = self.drawn(batch)
        states, targets = self.read(batch)
        loss = self.head.loss(states, targets, self.item_weights, **self.given(batch))
        return {"loss": loss, "n_targets": torch.tensor(len(targets), device=loss.device)}

    def drawn(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a batch with all that is drawn of what to predict, for `read`."""
        if self.needs == "sequence":
            return {**batch, **draw(self.backbone, batch["mask"])}
        if "numbers" in batch:
            return {**batch, **draw_share(self.backbone, batch["ids"])}
        return batch

    def read(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N, …) states of one pass over a drawn batch, and the (N,) targets."""
        if self.needs == "sequence":
            assert self.tokens is not None
            return training_states(self.backbone, self.model, self.tokens, batch)
        if self.needs == "generate":
            return self._written(batch)
        if "asked" in batch:
            return self.judged(batch, own=True), batch["targets"]
        return self.states(**batch), batch["targets"]

    def given(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what a head that judges candidates reads beside the states of a batch."""
        if "asked" in batch:
            candidates = batch["candidates"][batch["asked"]]
        elif "items" in batch and self.needs == "pooled":
            candidates = batch["items"].gather(1, batch["mask"].sum(1, keepdim=True) - 1).squeeze(1)
        else:
            candidates = None
        return self.beside(candidates, batch.get("offsets"))

    def beside(
        self, candidates: torch.Tensor | None, offsets: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Return what the averages say, if anything, and item embeddings under item prompts.

        Args:
            candidates: (N,) item ids, or None where the states are of no candidate.
            offsets: (N,) of the averages of user and item, or None.
        """
        given = {} if offsets is None else {"offsets": offsets}
        if self.tokens is not None and self.needs == "pooled" and candidates is not None:
            given["vectors"] = self.tokens.vectors(candidates)
        return given

    def states(self, **batch: torch.Tensor) -> torch.Tensor:
        """Return (B, H) states (or (B, A) answer logits) of queries."""
        if "states" in batch:  # of a frozen backbone, encoded before
            return batch["states"]
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
        if "labels" not in batch:
            return window_logits(self.backbone, self.model, **batch)
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

    def embedding_modules(self) -> list[nn.Module]:
        """Return the modules whose outputs are input embeddings: of items, or of words."""
        if self.tokens is not None:
            return [self.tokens]
        model = inner(self.model)
        words = model.get_input_embeddings().weight  # T5's stacks share it in modules of their own
        return [
            part
            for part in model.modules()
            if isinstance(part, nn.Embedding) and part.weight is words
        ]

    def parameter_counts(self) -> tuple[int, int]:
        """Return the number of all and of trainable parameters; 8-bit ones count in full."""
        sizes = [(p.numel(), p.requires_grad) for p in self.parameters()]
        return sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)
