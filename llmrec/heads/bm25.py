"""BM25: which texts answer a query (Robertson & Zaragoza, 2009)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy import sparse

WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the lower-case words of a text."""
    return WORD.findall(text.lower())


class BM25:
    """Scores of texts for queries.

    The weight of a word in a text is ``idf · f (k1 + 1) / (f + k1 (1 − b + b · length / mean))``
    with ``idf = log(1 + (N − n + ½) / (n + ½))``, f its count and n the texts that have it. The
    package bm25s gives the same (Lucene's) scores up to the factor k1 + 1, one query at a time; one
    sparse product of all queries needs no package.

    Args:
        texts: N texts.
        k1: how slowly repeated words saturate.
        b: how much long texts are held back.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        self.vocabulary: dict[str, int] = {}
        rows, columns = [], []
        for number, text in enumerate(texts):
            for word in words(text):
                rows.append(number)
                columns.append(self.vocabulary.setdefault(word, len(self.vocabulary)))
        shape = len(texts), max(len(self.vocabulary), 1)
        counts = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
        counts.sum_duplicates()
        lengths = np.asarray(counts.sum(1)).ravel()
        having = np.bincount(counts.indices, minlength=shape[1])
        idf = np.log1p((len(texts) - having + 0.5) / (having + 0.5))
        own = np.repeat(lengths, np.diff(counts.indptr)) / max(lengths.mean(), 1e-12)
        frequency = counts.data
        weights = idf[counts.indices] * frequency * (k1 + 1)
        counts.data = weights / (frequency + k1 * (1 - b + b * own))
        self.weights = sparse.csr_matrix(counts.T)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """Return (Q, N) float32 scores; a word counts as often as the query has it."""
        rows, columns = [], []
        for number, query in enumerate(queries):
            found = [self.vocabulary[word] for word in words(query) if word in self.vocabulary]
            rows += [number] * len(found)
            columns += found
        shape = len(queries), self.weights.shape[0]
        asked = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
        scores: np.ndarray = (asked @ self.weights).toarray().astype(np.float32)
        return scores


def merged(scores: np.ndarray, n_retrieved: int) -> np.ndarray:
    """Return the (N,) float32 scores of one user from the (Q, N) scores of its queries.

    Query after query, best first, each adds its best items that are not yet taken, an equal share
    of `n_retrieved` (GPT4Rec, Li et al., 2023). They stand above all others, in this order; the
    others follow by their best score.
    """
    n_queries, n_items = scores.shape
    share = -(-n_retrieved // n_queries)
    best = scores.max(0)
    whole = best / (1 + best)
    taken: list[int] = []
    free = np.ones(n_items, bool)
    for row in scores:
        matching = np.flatnonzero(free & (row > 0))
        chosen = matching[np.argsort(-row[matching], kind="stable")][:share]
        free[chosen] = False
        taken += chosen.tolist()
    taken = taken[:n_retrieved]
    whole[taken] = 1 + np.arange(len(taken), 0, -1)
    return whole.astype(np.float32)
