"""Residual quantisation by k-means: a vector becomes a few codes, from coarse to fine."""

from __future__ import annotations

import numpy as np

from llmrec.core.extras import require
from llmrec.core.seeding import derive_seed


def k_means(vectors: np.ndarray, n_clusters: int, iterations: int, seed: int) -> np.ndarray:
    """Return (n_clusters, D) float32 centres: scikit-learn's k-means.

    Of fewer distinct vectors each is a centre, and some of them again, which nothing chooses.

    Args:
        vectors: (N, D) float32.
        n_clusters: how many centres.
        iterations: of Lloyd, at most.
        seed: of the start, below 2³².
    """
    cluster = require("sklearn.cluster", "lm", "k-means")
    threads = require("threadpoolctl", "lm", "k-means")
    n_distinct = len(np.unique(vectors, axis=0))
    fitted = cluster.KMeans(
        min(n_clusters, n_distinct), n_init=1, max_iter=iterations, tol=0.0, random_state=seed
    )
    # Each thread sums on its own: several would change the last bits of the centres.
    with threads.threadpool_limits(1):
        centres = fitted.fit(vectors).cluster_centers_
    whole: np.ndarray = centres[np.arange(n_clusters) % len(centres)]
    return whole


def nearest_centres(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return (N,) int64: the nearest centre of each vector, the first of equal ones."""
    distances = np.square(centres).sum(1)[None, :] - 2 * vectors @ centres.T
    nearest: np.ndarray = distances.argmin(1)
    return nearest


class ResidualKMeans:
    """k-means on the vectors, then on what is left of them, level by level.

    Args:
        codebook_size: centres of each level.
        n_levels: codes of a vector.
        iterations: of k-means at each level.
        seed: of the starts.
    """

    def __init__(self, codebook_size: int, n_levels: int, iterations: int, seed: int) -> None:
        self.codebook_size = codebook_size
        self.n_levels = n_levels
        self.iterations = iterations
        self.seed = seed
        self.codebooks: list[np.ndarray] = []

    def fit(self, vectors: np.ndarray) -> ResidualKMeans:
        """Learn the centres of all levels from (N, D) float32 vectors."""
        rest = vectors.astype(np.float32)
        self.codebooks = []
        for level in range(self.n_levels):
            seed = derive_seed(self.seed, "k-means", level)
            centres = k_means(rest, self.codebook_size, self.iterations, seed)
            self.codebooks.append(centres)
            rest = rest - centres[nearest_centres(rest, centres)]
        return self

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Return the (N, n_levels) int64 codes of any (N, D) vectors."""
        rest = vectors.astype(np.float32)
        levels = []
        for centres in self.codebooks:
            levels.append(nearest_centres(rest, centres))
            rest = rest - centres[levels[-1]]
        return np.stack(levels, 1)

    def decoded(self, codes: np.ndarray) -> np.ndarray:
        """Return the (N, D) vectors that (N, L) codes stand for; L may be less than all levels."""
        parts = [self.codebooks[level][codes[:, level]] for level in range(codes.shape[1])]
        return np.sum(parts, axis=0)
