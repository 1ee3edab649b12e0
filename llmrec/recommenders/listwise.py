"""Lists of candidates in one prompt: how they are drawn for training, scored and validated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmrec.core.ranking import ranks_of
from llmrec.core.seeding import derive_seed, hash_pairs
from llmrec.core.types import PADDING, UNKNOWN_USER, Dataset, Queries, Ragged, Targets
from llmrec.metrics.ranking import NDCG
from llmrec.training.batches import Batch, TextBatches, pad_tokens
from llmrec.training.examples import Examples, positions

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled
    from llmrec.recommenders.language_model import LanguageModel

# NDCG of the true item within one list of others: not of the catalogue, so the name says so.
METRIC = "list_ndcg@10"
ORDER_SEED = 20231102
TRIALS = 256

# Returns (B, K) items for B queries, best first, −1 where there are no more.
Candidates = Callable[[Queries], np.ndarray]


def lists_candidates(head: Any) -> bool:
    """Return whether a head chooses from a list of candidates in one prompt."""
    return bool(getattr(head, "lists_candidates", False))


@dataclass(frozen=True, eq=False)
class Negatives:
    """Draws the other items of a list.

    Attributes:
        pool: (M,) items to draw from.
        shares: (M,) probabilities, or None for equal ones.
    """

    pool: np.ndarray
    shares: np.ndarray | None

    def draw(
        self, rng: np.random.Generator, n: int, shut: set[int], first: np.ndarray
    ) -> list[int]:
        """Return up to `n` distinct items: a random choice of `first`, then of the pool.

        Args:
            rng: the generator.
            n: how many.
            shut: items not to draw.
            first: items to prefer (those of a retriever), −1 for none.
        """
        preferred = [item for item in first.tolist() if item >= 0 and item not in shut]
        chosen = dict.fromkeys(rng.permutation(preferred)[:n].tolist())
        tries = 0
        while len(chosen) < n and tries < 8:
            tries += 1
            for item in rng.choice(self.pool, 2 * n, p=self.shares).tolist():
                if item not in shut and len(chosen) < n:
                    chosen[item] = None
        if len(chosen) < n:  # nearly all of a small catalogue
            for item in rng.permutation(self.pool).tolist():
                if item not in shut and len(chosen) < n:
                    chosen[item] = None
        return [int(item) for item in chosen]


def negatives_of(head: Any, train: Dataset) -> Negatives:
    """Return where the other items of a list come from: items of the training side."""
    pool = np.flatnonzero(train.item_counts)
    counts = train.item_counts[pool]
    return Negatives(pool, counts / counts.sum() if head.negatives == "popularity" else None)


@dataclass(frozen=True, eq=False)
class ListCollator:
    """Prompts with a new list in a new order each time an example is seen.

    The draws come from torch's generator, which the trainer seeds and keeps in its checkpoints.

    Attributes:
        examples: histories and the true next items.
        batches: renders and tokenises.
        negatives: the other items.
        first: (N, K) items of a retriever to prefer, or (N, 0).
        size: candidates of a list.
        cut: numbers of the examples whose history was cut, in one of the lists so far.
    """

    examples: Examples
    batches: TextBatches
    negatives: Negatives
    first: np.ndarray
    size: int
    cut: set[int] = field(default_factory=set)

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows = np.asarray(numbers)
        histories, ratings = self.examples.histories(rows)
        truth = self._truth(rows)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        lists = self._lists(rows, histories, truth, rng)
        tokens, cuts = self.batches.tokens_and_cuts(histories, ratings, lists)
        self.cut.update(rows[cuts > 0].tolist())
        batch = pad_tokens(tokens, self.batches.tokenizer.pad_token_id)
        targets = (lists == truth[:, None]).argmax(1)
        return {**batch, "targets": torch.from_numpy(targets)}

    def _truth(self, rows: np.ndarray) -> np.ndarray:
        """Return the (N,) true items of examples."""
        assert self.examples.targets is not None
        return self.examples.items[self.examples.targets[rows]]

    def _lists(
        self, rows: np.ndarray, histories: Ragged, truth: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return (N, size) lists of the true item of each example and others, −1 for none."""
        lists = np.full((len(rows), self.size), PADDING, np.int64)
        for place, (item, history) in enumerate(zip(truth.tolist(), histories, strict=True)):
            shut = {item, *history.tolist()}
            others = self.negatives.draw(rng, self.size - 1, shut, self.first[rows[place]])
            listed = rng.permutation([item, *others])
            lists[place, : len(listed)] = listed
        return lists

    def require_room(self, seed: int) -> None:
        """Check on some lists, before hours of training, that lists fit into a prompt.

        Raises:
            DataError: if one does not.
        """
        rng = np.random.default_rng(derive_seed(seed, "trial lists"))
        rows = rng.permutation(len(self.examples))[:TRIALS]
        histories, ratings = self.examples.histories(rows)
        lists = self._lists(rows, histories, self._truth(rows), rng)
        self.batches.count(*self.batches.tokens_and_cuts(histories, ratings, lists))


def list_batches(
    owner: LanguageModel, assembled: Assembled, train: Dataset
) -> tuple[np.ndarray, Callable[[Sequence[int]], Batch]]:
    """Return the lengths of the training examples and the function that makes a batch of some."""
    batches = assembled.batches
    assert isinstance(batches, TextBatches)
    examples = positions(
        train,
        length=owner._prompt.history_length,
        per_user=owner.examples_per_user,
        with_history=True,
        seed=derive_seed(owner.seed, "examples"),
    )
    first = np.empty((len(examples), 0), np.int64)
    if owner.candidates is not None and len(examples):
        histories, ratings = examples.histories(np.arange(len(examples)))
        users = np.full(len(examples), UNKNOWN_USER, np.int64)
        first = owner.candidates(Queries(users, histories, ratings))
    collate = ListCollator(
        examples, batches, negatives_of(assembled.head, train), first, list_size(assembled)
    )
    collate.require_room(owner.seed)
    return examples.lengths, collate


def list_size(assembled: Assembled) -> int:
    """Return how many candidates a prompt lists: never more than there are items."""
    return int(min(assembled.head.list_size, assembled.n_items))


def score_lists(
    assembled: Assembled, queries: Queries, items: np.ndarray, batch_size: int
) -> np.ndarray:
    """Return the (B, C) scores of candidates in lists.

    Args:
        assembled: a language model with a list-wise head.
        queries: B queries.
        items: (B, C) item ids, −1 for an empty place.
        batch_size: prompts in the model at once.
    """
    scores = np.zeros(items.shape, np.float32)
    size = list_size(assembled)
    per_query = max(1, -(-items.shape[1] // size)) * assembled.head.permutations
    at_once = max(1, 4 * batch_size // per_query)
    for place, part in queries.batches(at_once):
        scores[place] = _score_block(assembled, part, items[place], batch_size)
    return scores


def _score_block(
    assembled: Assembled, queries: Queries, items: np.ndarray, batch_size: int
) -> np.ndarray:
    batches, net = assembled.batches, assembled.net
    assert isinstance(batches, TextBatches)
    size, n_orders = list_size(assembled), assembled.head.permutations
    owners: list[int] = []
    places: list[np.ndarray] = []  # columns of `items`, −1 for an empty letter
    for row in range(len(items)):
        columns = np.flatnonzero(items[row] >= 0)
        if not len(columns):
            continue
        n_lists = -(-len(columns) // size)
        last = queries.histories[row][-1:].tolist() or [PADDING]
        for number in range(n_orders):
            seed = derive_seed(ORDER_SEED, number)
            keys = hash_pairs(np.array(last), items[row, columns], seed)
            order = columns[np.lexsort((items[row, columns], keys))]
            for listed in np.array_split(order, n_lists):
                owners.append(row)
                places.append(np.pad(listed, (0, size - len(listed)), constant_values=-1))
    sums = np.zeros(items.shape)
    if not owners:
        return sums.astype(np.float32)
    rows, listed_columns = np.array(owners), np.array(places)
    real = listed_columns >= 0
    lists = np.where(real, items[rows[:, None], np.maximum(listed_columns, 0)], PADDING)
    ratings = None if queries.ratings is None else queries.ratings.take(rows)
    tokens = batches.tokens(queries.histories.take(rows), ratings, lists)
    order = np.argsort(tokens.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = pad_tokens(tokens.take(chosen), assembled.tokenizer.pad_token_id)
        moved = {name: tensor.to(net.device) for name, tensor in batch.items()}
        logits = net.head.scores(net.states(**moved)).float()
        empty = torch.from_numpy(~real[chosen]).to(net.device)
        values = logits.masked_fill(empty, -torch.inf).log_softmax(1).cpu().numpy()
        at, letter = np.nonzero(real[chosen])
        np.add.at(sums, (rows[chosen][at], listed_columns[chosen][at, letter]), values[at, letter])
    scores: np.ndarray = (sums / n_orders).astype(np.float32)
    return scores


def validation_lists(
    owner: LanguageModel, assembled: Assembled, queries: Queries, targets: Targets, train: Dataset
) -> np.ndarray:
    """Return (B, C) lists of a held-out item, in the first column, and others."""
    size = list_size(assembled)
    negatives = negatives_of(assembled.head, train)
    rng = np.random.default_rng(derive_seed(owner.seed, "validation lists"))
    first = np.empty((len(queries), 0), np.int64)
    if owner.candidates is not None:
        first = owner.candidates(queries)
    lists = np.full((len(queries), size), PADDING, np.int64)
    for row, truth in enumerate(targets.items):
        shut = {*truth.tolist(), *queries.histories[row].tolist()}
        listed = [int(truth[0]), *negatives.draw(rng, size - 1, shut, first[row])]
        lists[row, : len(listed)] = listed
    return lists


def validated_lists(
    assembled: Assembled, queries: Queries, lists: np.ndarray, batch_size: int
) -> dict[str, float]:
    """Return NDCG@10 of the item in the first column of each list."""
    with torch.inference_mode():
        assembled.net.eval()
        scores = score_lists(assembled, queries, lists, batch_size)
    scores[lists < 0] = -np.inf
    truth = Ragged(np.zeros(len(lists), np.int64), np.arange(len(lists) + 1))
    return {METRIC: float(np.mean(NDCG(k=10).per_user(ranks_of(scores, truth, queries.users))))}
