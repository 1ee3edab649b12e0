"""From example numbers to a training batch: plain picklable objects, for workers that need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llmrec.core.types import Ragged
from llmrec.training.batches import Batch, IdentifierBatches, ItemBatches, pad_tokens
from llmrec.training.examples import Examples

IGNORED = -100


@dataclass(frozen=True, eq=False)
class WindowCollator:
    """Windows of item tokens that predict themselves."""

    examples: Examples
    batches: ItemBatches

    def __call__(self, numbers: Sequence[int]) -> Batch:
        histories, _ = self.examples.histories(np.asarray(numbers))
        return self.batches.make(histories, None, None)


@dataclass(frozen=True, eq=False)
class JudgedCollator:
    """Histories of item tokens, a candidate at the end if there is one, and what to predict."""

    examples: Examples
    batches: ItemBatches
    candidates: np.ndarray | None
    targets: np.ndarray
    offsets: np.ndarray | None = None

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        histories, ratings = self.examples.histories(rows)
        asked = None if self.candidates is None else self.candidates[rows]
        batch = self.batches.make(histories, ratings, asked)
        return {**batch, **_answers(rows, self.targets, self.offsets)}


@dataclass(frozen=True, eq=False)
class PromptCollator:
    """Tokenised prompts and what to predict."""

    tokens: Ragged
    targets: np.ndarray
    padding: int
    offsets: np.ndarray | None = None

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        batch = pad_tokens(self.tokens.take(rows), self.padding)
        return {**batch, **_answers(rows, self.targets, self.offsets)}


@dataclass(frozen=True, eq=False)
class IdentifierCollator:
    """Windows of identifiers; what is predicted of them is the objective's choice.

    Attributes:
        examples: histories, or histories with a target.
        batches: makes tensors of histories.
        owners: (T,) user of each place in the training histories.
        apart: the tokens of the target go to a decoder (T5 that writes the next item).
    """

    examples: Examples
    batches: IdentifierBatches
    owners: np.ndarray
    apart: bool

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        histories, _ = self.examples.histories(rows)
        batch = self.batches.make(histories, self.owners[self.examples.ends[rows] - 1])
        if not self.apart:
            return batch
        assert self.examples.targets is not None
        written = self.batches.table[self.examples.items[self.examples.targets[rows]]]
        return {**batch, "labels": torch.from_numpy(written)}


@dataclass(frozen=True, eq=False)
class StateCollator:
    """States of prompts under a frozen backbone, and what to predict."""

    states: torch.Tensor
    targets: np.ndarray
    offsets: np.ndarray | None = None

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        states = self.states[torch.from_numpy(rows)]
        return {"states": states, **_answers(rows, self.targets, self.offsets)}


@dataclass(frozen=True, eq=False)
class WrittenCollator:
    """Tokenised prompts and the replies to write, which alone count in the loss.

    Attributes:
        tokens: N rows of prompt tokens.
        replies: N rows of reply tokens.
        padding: token id.
        apart: the reply goes to a decoder of its own (T5) instead of following the prompt.
    """

    tokens: Ragged
    replies: Ragged
    padding: int
    apart: bool

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        prompts, replies = self.tokens.take(rows), self.replies.take(rows)
        if self.apart:
            labels = replies.padded(fill=IGNORED)
            return {**pad_tokens(prompts, self.padding), "labels": torch.from_numpy(labels)}
        silent = prompts.with_values(np.full(len(prompts.values), IGNORED))
        batch = pad_tokens(prompts.concat(replies), self.padding)
        labels = silent.concat(replies).padded(batch["ids"].shape[1], IGNORED)
        return {**batch, "labels": torch.from_numpy(labels)}


def _answers(rows: np.ndarray, targets: np.ndarray, offsets: np.ndarray | None) -> Batch:
    """Return what the chosen examples should predict, and what the averages say, if asked for."""
    answers = {"targets": torch.from_numpy(targets[rows])}
    if offsets is not None:
        answers["offsets"] = torch.from_numpy(offsets[rows])
    return answers
