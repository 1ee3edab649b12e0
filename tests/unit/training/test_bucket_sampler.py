"""Batches of like lengths in an order that seed and epoch decide alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.training.trainer import BucketSampler


def order(lengths: np.ndarray, size: int, seed: int, epoch: int) -> list[int]:
    sampler = BucketSampler(lengths, size, seed)
    sampler.set_epoch(epoch)
    assert len(sampler) == len(lengths)
    return list(sampler)


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=80),
    size=st.integers(1, 9),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_is_a_permutation_that_repeats(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    array = np.array(lengths)
    first = order(array, size, seed, epoch)
    assert sorted(first) == list(range(len(lengths)))
    assert order(array, size, seed, epoch) == first


def test_seeds_and_epochs_differ() -> None:
    lengths = np.arange(100) % 7 + 1
    orders = {tuple(order(lengths, 8, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


def test_batches_hold_like_lengths() -> None:
    rng = np.random.default_rng(0)
    lengths, size = rng.integers(1, 100, 16 * 8 * 4), 16
    batches = lengths[order(lengths, size, 0, 0)].reshape(-1, size)
    padded = (batches.max(1)[:, None] - batches).sum() / lengths.sum()
    shuffled = rng.permutation(lengths).reshape(-1, size)
    at_random = (shuffled.max(1)[:, None] - shuffled).sum() / lengths.sum()
    assert padded < at_random / 4
    # The longest batches do not come first or last: their order is random.
    assert (np.diff(batches.mean(1)) < 0).any()
    assert (np.diff(batches.mean(1)) > 0).any()
