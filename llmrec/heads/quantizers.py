"""Residual quantisation by k-means: a vector becomes a few codes, from coarse to fine."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from llmrec.core.seeding import derive_seed


def k_means(
    vectors: np.ndarray, n_clusters: int, iterations: int, rng: np.random.Generator
) -> np.ndarray:
    """Return (n_clusters, D) float32 centres: k-means++ and Lloyd's iterations.

    A centre that no vector chooses moves to the vector that is farthest from its own.

    Args:
        vectors: (N, D) float32.
        n_clusters: how many centres.
        iterations: of Lloyd, at most.
        rng: of the start.
    """
    centres = np.empty((n_clusters, vectors.shape[1]), np.float32)
    lengths = np.square(vectors).sum(1)
    nearest = np.full(len(vectors), np.inf)
    place = int(rng.integers(len(vectors)))
    for number in range(n_clusters):
        centres[number] = vectors[place]
        far = lengths - 2 * (vectors @ centres[number]) + lengths[place]
        nearest = np.minimum(nearest, np.maximum(far, 0))
        nearest[place] = 0
        chances = np.cumsum(nearest)
        if chances[-1] > 0:
            place = int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))
            place = min(place, len(vectors) - 1)
        else:  # fewer distinct vectors than centres
            place = int(rng.integers(len(vectors)))
    codes = nearest_centres(vectors, centres)
    for _ in range(iterations):
        counts = np.bincount(codes, minlength=n_clusters)
        members = sparse.csr_matrix(
            (np.ones(len(codes)), (codes, np.arange(len(codes)))), (n_clusters, len(codes))
        )
        centres = ((members @ vectors) / np.maximum(counts, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            far = np.argsort(-np.square(vectors - centres[codes]).sum(1), kind="stable")
            centres[empty[: len(far)]] = vectors[far[: len(empty)]]
        before, codes = codes, nearest_centres(vectors, centres)
        if not len(empty) and np.array_equal(before, codes):
            break
    return centres


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
            rng = np.random.default_rng(derive_seed(self.seed, "k-means", level))
            centres = k_means(rest, self.codebook_size, self.iterations, rng)
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
