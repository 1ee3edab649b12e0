"""Bayesian personalised ranking: minibatch Adagrad on triples, in numpy."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from llmrec.core.errors import DataError
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset
from llmrec.recommenders.newton import sigmoid

TRIES = 8


class Adagrad:
    """Steps whose size shrinks with the squared gradients that a value has seen."""

    def __init__(self, values: np.ndarray, learning_rate: float) -> None:
        self.values = values
        self.learning_rate = np.float32(learning_rate)
        self.seen = np.full_like(values, 1e-6)

    def climb(self, rows: np.ndarray, gradient: np.ndarray) -> None:
        """Add one step to the listed rows (repeats are summed first), in place."""
        touched, place = np.unique(rows, return_inverse=True)
        ones = np.ones(len(rows), np.float32)
        gather = sparse.csr_matrix((ones, (place, np.arange(len(rows)))))
        total = gather @ gradient
        seen = self.seen[touched] + total * total
        self.seen[touched] = seen
        self.values[touched] += self.learning_rate * total / np.sqrt(seen)


def unseen_items(
    users: np.ndarray, keys: np.ndarray, n_items: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw an item for each user, uniformly among those the user has not had.

    Args:
        users: (N,) user ids.
        keys: sorted ``user × n_items + item`` of everything seen.
        n_items: size of the catalogue.
        generator: source of the draws.

    Returns:
        (N,) items and (N,) bool, False where no unseen item was met in a few draws.
    """
    items = generator.integers(0, n_items, len(users))
    open_rows = np.arange(len(users))
    for _ in range(TRIES):
        wanted = users[open_rows].astype(np.int64) * n_items + items[open_rows]
        found = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
        open_rows = open_rows[found]
        if not len(open_rows):
            break
        items[open_rows] = generator.integers(0, n_items, len(open_rows))
    good = np.ones(len(users), bool)
    good[open_rows] = False
    return items, good


def fit_bpr(
    train: Dataset,
    *,
    embedding_size: int,
    epochs: int,
    regularization: float,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return user vectors, item vectors and item biases, float32.

    Raises:
        DataError: if there is nothing to learn from.
    """
    if not len(train):
        raise DataError("BPR has no interactions to learn from: the training part is empty")
    generator = np.random.default_rng(derive_seed(seed, "bpr"))
    log, n_items = train.interactions, train.n_items
    keys = np.unique(log.user.astype(np.int64) * n_items + log.item)

    def table(n: int) -> Adagrad:
        values = generator.normal(0, 0.1 / np.sqrt(embedding_size), (n, embedding_size))
        return Adagrad(values.astype(np.float32), learning_rate)

    user, item = table(train.n_users), table(n_items)
    bias = Adagrad(np.zeros((n_items, 1), np.float32), learning_rate)
    weight = np.float32(regularization)
    for _ in range(epochs):
        order = generator.permutation(len(train))
        others, good = unseen_items(log.user[order], keys, n_items, generator)
        order, others = order[good], others[good]
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            u, i, j = log.user[rows], log.item[rows], others[first : first + batch_size]
            p, qi, qj = user.values[u], item.values[i], item.values[j]
            bi, bj = bias.values[i], bias.values[j]
            gap = np.einsum("nd,nd->n", p, qi - qj)[:, None] + bi - bj
            pull = sigmoid(-gap)
            user.climb(u, pull * (qi - qj) - weight * p)
            both = np.concatenate([i, j])
            item.climb(both, np.concatenate([pull * p - weight * qi, -pull * p - weight * qj]))
            bias.climb(both, np.concatenate([pull - weight * bi, -pull - weight * bj]))
    return user.values, item.values, bias.values[:, 0].copy()
