"""Many candidates judged over one history in a single pass, with item tokens.

The history's items come first, the candidates behind them: each candidate sees the history and
itself, and the history never sees a candidate, so that its answer is the same alone or among
others. In training the candidates are the history's own items. With ``past`` each sees the earlier
items alone, and an item of the history those before it. With ``others`` a candidate sees all items
but its own, and so each item of the history is read by itself: else a neighbour would carry the
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from llmrec.backbones.base import inner
from llmrec.core.types import Dataset, Ragged
from llmrec.prompts.item_tokens import ItemTokens
from llmrec.training.batches import Batch, ItemBatches
from llmrec.training.examples import Examples, ratings_by_user

# Architectures that take positions and a mask for each pair of tokens.
PACKED = frozenset({"gpt2", "bert"})


@dataclass(frozen=True, eq=False)
class PackedCollator:
    """Windows of rated items, each of which is also a candidate.

    Attributes:
        windows: where the windows are.
        batches: makes tensors of them.
        targets: (T,) what each interaction's answer is, user after user.
        asked: (T,) bool, the interactions to learn from.
        offsets: (T,) what the averages say of each, or None.
    """

    windows: Examples
    batches: ItemBatches
    targets: np.ndarray
    asked: np.ndarray
    offsets: np.ndarray | None

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        items, ratings = self.windows.histories(rows)
        batch = self.batches.make(items, ratings, None)
        places = self.windows.places(rows)
        chosen = self.asked[places.values]
        asked = places.with_values(chosen).padded(batch["items"].shape[1], False)
        batch |= {"candidates": batch["items"], "asked": torch.from_numpy(asked)}
        batch["targets"] = torch.from_numpy(self.targets[places.values[chosen]])
        if self.offsets is not None:
            batch["offsets"] = torch.from_numpy(self.offsets[places.values[chosen]])
        return batch


def chunks(train: Dataset, length: int) -> Examples:
    """Cut each history into pieces of at most `length` items, counted from its end."""
    histories = train.histories
    counts = -(-histories.lengths // length)
    cuts = Ragged.spans(np.zeros_like(counts), counts)
    user = cuts.row_of
    ends = histories.offsets[1:][user] - cuts.values * length
    starts = np.maximum(ends - length, histories.offsets[:-1][user])
    return Examples(histories.values, ratings_by_user(train), starts, ends)


def packed_states(
    model: Any,
    tokens: ItemTokens,
    batch: Batch,
    *,
    others: bool,
    own: bool,
) -> torch.Tensor:
    """Return the (N, H) states of the asked candidates, row after row.

    Args:
        model: the loaded transformers model.
        tokens: item embeddings.
        batch: (B, L) ``items``, ``mask`` and perhaps ``ratings`` of the histories; (B, C)
            ``candidates`` and ``asked`` (bool).
        others: the history is read item by item; see the module.
        own: the candidates are the items of the history (training).
    """
    items, mask, asked = batch["items"], batch["mask"], batch["asked"]
    ratings = batch.get("ratings")
    embedded = torch.cat([tokens(items, ratings), tokens(batch["candidates"], _none(batch))], 1)
    length, n_asked = items.shape[1], asked.shape[1]
    place = torch.arange(length, device=items.device)
    counts = mask.sum(1, keepdim=True)
    if own and not others:
        after = place.expand(len(items), -1)
    else:
        after = (counts - int(own)).clamp(min=0).expand(-1, n_asked)
    positions = torch.cat([place.expand(len(items), -1), after], 1)
    same = torch.eye(length, dtype=torch.bool, device=items.device)
    earlier = place[:, None] > place[None, :]
    seen = mask.new_zeros(len(items), length + n_asked, length + n_asked)
    seen[:, :length, :length] = same if others else earlier | same
    if own:
        seen[:, length:, :length] = ~same if others else earlier
    else:
        seen[:, length:, :length] = True
    seen[:, :, :length] &= mask[:, None, :]
    seen |= torch.eye(length + n_asked, dtype=torch.bool, device=items.device)
    bias = embedded.new_zeros(seen.shape).masked_fill_(~seen, torch.finfo(embedded.dtype).min)
    output = inner(model).base_model(
        inputs_embeds=embedded, attention_mask=bias[:, None], position_ids=positions
    )
    states: torch.Tensor = output.last_hidden_state[:, length:][asked]
    return states


def _none(batch: Batch) -> torch.Tensor | None:
    """Return the candidates' ratings: none is known."""
    if "ratings" not in batch:
        return None
    return torch.full_like(batch["candidates"], torch.nan, dtype=batch["ratings"].dtype)
