"""From histories to tensors: item ids or token ids, right-padded, with their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from llmrec.backbones.tokenizers import unknown_token
from llmrec.core.types import Ragged
from llmrec.prompts.identifiers import Vocabulary, identifier_rows
from llmrec.prompts.item_tokens import ItemTokens
from llmrec.prompts.pairs import Group, PairPrompts
from llmrec.prompts.reviews import review_tokens
from llmrec.prompts.text import Text

Batch = dict[str, torch.Tensor]


class ItemBatches:
    """Histories as item ids, a candidate as one more item at the end.

    Args:
        tokens: the item embeddings, for their special ids.
        max_length: items read, the candidate included.
    """

    def __init__(self, tokens: ItemTokens, max_length: int) -> None:
        self.padding = tokens.padding
        self.with_ratings = tokens.ratings is not None
        self.max_length = max_length

    def make(
        self,
        histories: Ragged,
        ratings: Ragged | None,
        candidates: np.ndarray | None,
        room: int | None = None,
    ) -> Batch:
        """Return ``items``, ``mask`` and, if the tokens know ratings, ``ratings``.

        `room` is for the history; by default all that candidates leave.
        """
        if room is None:
            room = self.max_length - (candidates is not None)
        rows = histories.tail(room)
        stars = None
        if self.with_ratings:
            nothing = np.full(len(histories.values), np.nan, np.float32)
            stars = (ratings or histories.with_values(nothing)).tail(room)
        if candidates is not None:
            ends = Ragged(candidates, np.arange(len(candidates) + 1))
            rows = rows.concat(ends)
            if stars is not None:
                stars = stars.concat(ends.with_values(np.full(len(candidates), np.nan)))
        # A row without items gets one masked place: no tensor is ever empty.
        width = max(1, int(rows.lengths.max(initial=0)))
        items = rows.with_values(rows.values.astype(np.int64)).padded(width, self.padding)
        batch = {"items": torch.from_numpy(items), "mask": _mask(rows.lengths, width)}
        if stars is not None:
            stars = stars.with_values(stars.values.astype(np.float32))
            batch["ratings"] = torch.from_numpy(stars.padded(width, np.nan))
        return batch


class TextBatches:
    """Histories as the tokens of rendered prompts.

    Args:
        prompt: renders and tokenises.
        tokenizer: of the backbone.
        items: fields of each item of the catalogue, by item id.
        frame: token ids before and after each prompt.
    """

    def __init__(
        self,
        prompt: Text,
        tokenizer: Any,
        items: Sequence[Mapping[str, str]],
        frame: tuple[Sequence[int], Sequence[int]],
    ) -> None:
        self.prompt = prompt
        self.tokenizer = tokenizer
        self.items = items
        self.prefix, self.suffix = frame
        self.n_cut = 0
        self._unknown = unknown_token(tokenizer)
        self._n_tokens, self._n_unknown = 0, 0
        self._pairs: PairPrompts | None = None

    @property
    def unknown_share(self) -> float | None:
        """Share of the tokens counted so far that stand for unknown text; None if none can."""
        if self._unknown is None or not self._n_tokens:
            return None
        return self._n_unknown / self._n_tokens

    def read(self, items: Sequence[Mapping[str, str]]) -> None:
        """Render prompts with other fields from now on."""
        self.items = items
        self._pairs = None

    def tokens(
        self,
        histories: Ragged,
        ratings: Ragged | None,
        candidates: np.ndarray | None,
        reviews: Sequence[str] | None = None,
    ) -> Ragged:
        """Return the token ids of each row's prompt; `n_cut` counts the prompts cut so far."""
        rows, cuts = self.tokens_and_cuts(histories, ratings, candidates, reviews)
        self.count(rows, cuts)
        return rows

    def tokens_and_cuts(
        self,
        histories: Ragged,
        ratings: Ragged | None,
        candidates: np.ndarray | None,
        reviews: Sequence[str] | None = None,
    ) -> tuple[Ragged, np.ndarray]:
        """Return the same, not counted, with (N,) how many tokens each row lost.

        Raises:
            DataError: if a question alone is too long.
        """
        if reviews is not None and candidates is not None:
            asked, frame = (histories, ratings, candidates), (self.prefix, self.suffix)
            return review_tokens(self.prompt, self.tokenizer, self.items, asked, reviews, frame)
        parts = self.prompt.parts(self.items, histories, ratings, candidates)
        return self.prompt.tokenise(self.tokenizer, parts, self.prefix, self.suffix)

    def count(self, rows: Ragged, cuts: np.ndarray) -> None:
        """Count what `tokens_and_cuts` returned: prompts cut, and tokens unknown."""
        self.n_cut += int((cuts > 0).sum())
        if self._unknown is not None:
            framed = len(rows) * (len(self.prefix) + len(self.suffix))
            self._n_tokens += len(rows.values) - framed
            self._n_unknown += int((rows.values == self._unknown).sum())

    def groups(self, histories: Ragged, ratings: Ragged | None, candidates: Ragged) -> list[Group]:
        """Return the tokens of each history's prompts, one for each of its row of candidates."""
        if self._pairs is None:
            frame = (self.prefix, self.suffix)
            self._pairs = PairPrompts(self.prompt, self.tokenizer, self.items, frame)
        groups, n_cut = self._pairs.groups(histories, ratings, candidates)
        self.n_cut += n_cut
        return groups

    def make(
        self, histories: Ragged, ratings: Ragged | None, candidates: np.ndarray | None
    ) -> Batch:
        """Return ``ids`` and ``mask``."""
        tokens = self.tokens(histories, ratings, candidates)
        return pad_tokens(tokens, self.tokenizer.pad_token_id)


class IdentifierBatches:
    """Histories as the tokens of their items' identifiers.

    Args:
        vocabulary: of the tokens.
        table: (n_items, L) token ids of each item.
        max_length: items read.
        context: of them, so many of the latest are what a decoder has written already.
    """

    def __init__(
        self, vocabulary: Vocabulary, table: np.ndarray, max_length: int, context: int = 0
    ) -> None:
        self.vocabulary = vocabulary
        self.table = table
        self.max_length = max_length
        self.context = context

    def make(
        self, histories: Ragged, users: np.ndarray, left_out: np.ndarray | None = None
    ) -> Batch:
        """Return ``ids``, ``mask`` and ``numbers``, the number of each token's item in its row.

        Args:
            histories: B rows of item ids.
            users: (B,) user ids.
            left_out: (B,) how many of the latest items are not read, by default none.
        """
        rows = histories.tail(self.max_length)
        if left_out is not None:
            rows = rows.keep(rows.place_of < (rows.lengths - left_out)[rows.row_of])
        tokens, numbers = identifier_rows(self.table, self.vocabulary.starts(users), rows)
        batch = pad_tokens(tokens, self.vocabulary.pad_token_id)
        return {**batch, "numbers": torch.from_numpy(numbers.padded(fill=-1))}


def pad_tokens(rows: Ragged, padding: int) -> Batch:
    """Return ``ids`` and ``mask`` of token rows."""
    width = max(1, int(rows.lengths.max(initial=0)))
    ids = rows.padded(width, padding)
    return {"ids": torch.from_numpy(ids), "mask": _mask(rows.lengths, width)}


def _mask(lengths: np.ndarray, width: int) -> torch.Tensor:
    return torch.from_numpy(np.arange(width)[None, :] < lengths[:, None])
