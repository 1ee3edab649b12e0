from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core.seeding import derive_seed, hash_pairs


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    assert derive_seed(0, "model", "ease") == 532445472


@given(st.integers(0, 100), st.text(max_size=8), st.text(max_size=8))
def test_names_are_not_simply_joined(seed: int, a: str, b: str) -> None:
    if "\0" not in a + b and b:
        assert derive_seed(seed, a, b) != derive_seed(seed, a + b)
    assert 0 <= derive_seed(seed, a, b) < 2**31 - 1


def test_pairs_hash_without_collision_and_evenly() -> None:
    keys = hash_pairs(np.arange(500)[:, None], np.arange(500), seed=1)
    assert len(np.unique(keys)) == keys.size
    assert abs(float(np.mean(keys / 2.0**64)) - 0.5) < 0.01


def test_pairs_hash_negative_ids_and_each_seed_differently() -> None:
    ids = np.array([-1, 0, 1])
    assert not np.array_equal(hash_pairs(ids, ids, 0), hash_pairs(ids, ids, 1))
    assert np.array_equal(hash_pairs(ids.astype(np.int32), ids, 5), hash_pairs(ids, ids, 5))
