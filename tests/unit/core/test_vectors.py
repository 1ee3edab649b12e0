"""Vectors on disk: the first one counts, writers do not collide, people can be forgotten."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from llmrec.core.errors import RunError
from llmrec.core.vectors import Segment, VectorStore, digests


def rows(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None] * np.ones((1, 3), np.float32)


def test_what_was_added_is_found_in_the_order_asked(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "a")
    known, vectors = store.find(digests(["x", "y"]))
    assert not known.any()
    assert vectors.shape == (0, 0)
    store.add(digests(["x", "y"]), rows(1, 2))
    store.add(digests(["z"]), rows(3))
    known, vectors = store.find(digests(["z", "unknown", "x"]))
    assert known.tolist() == [True, False, True]
    np.testing.assert_array_equal(vectors, rows(3, 1))


def test_the_first_vector_of_a_text_counts(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.add(digests(["x"]), rows(1))
    store.add(digests(["y", "x"]), rows(5, 9))
    np.testing.assert_array_equal(store.find(digests(["x", "y"]))[1], rows(1, 5))


def _write(folder: Path, number: int) -> None:
    store = VectorStore(folder)
    for step in range(5):
        store.add(digests(["shared", f"{number} {step}"]), rows(number, 10 * number + step))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write, [tmp_path] * 4, range(4)))
    store = VectorStore(tmp_path)
    assert [path.name for path in store.segments()] == [f"{n:08d}" for n in range(20)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n:08d}" for n in range(20)]
    own = [f"{number} {step}" for number in range(4) for step in range(5)]
    known, vectors = store.find(digests(own))
    assert known.all()
    np.testing.assert_array_equal(
        vectors, rows(*(10 * number + step for number in range(4) for step in range(5)))
    )
    first = Segment.read(store.segments()[0])
    np.testing.assert_array_equal(store.find(digests(["shared"]))[1], first.vectors[:1])


def test_the_texts_of_a_user_are_forgotten_and_no_others(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.add(digests(["hers", "his", "both", "title"]), rows(1, 2, 3, 4))
    store.own(digests(["hers", "both"]), digests(["ann", "ann"]))
    store.own(digests(["his", "both"]), digests(["bob", "bob"]))
    before = len(store.segments())
    store.own(digests(["his"]), digests(["bob"]))
    assert len(store.segments()) == before, "noted already"
    assert store.forget(["ann"]) == 2
    assert store.find(digests(["hers", "his", "both", "title"]))[0].tolist() == [
        *(False, True, False, True),
    ]
    for path in store.segments():
        segment = Segment.read(path)
        assert not np.isin(digests(["ann"]), segment.owners).any()
        assert not np.isin(digests(["hers", "both"]), segment.owned_keys).any()
    assert store.forget(["ann"]) == 0


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.add(digests(["x"]), rows(1))
    (tmp_path / "00000000" / "vectors.npy").write_bytes(b"")
    with pytest.raises(RunError, match="00000000"):
        store.find(digests(["x"]))
