"""Numbers and semantic ids: made from training data, unique, the same every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lm_cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

import llmrec
from llmrec.core.config import build, check
from llmrec.core.seeding import derive_seed
from llmrec.data.audit.audit import audit
from llmrec.heads.identifiers import repeats
from llmrec.heads.quantizers import ResidualKMeans, k_means, nearest_centres
from llmrec.heads.rqvae import RQVAE

HISTORIES = [[4, 2, 0], [2, 5], [1]]


def vectors(n: int = 200, width: int = 8, seed: int = 0) -> np.ndarray:
    """Return points around ten centres, themselves in groups."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((10, width)) * 3
    return (centres[rng.integers(10, size=n)] + rng.standard_normal((n, width))).astype(np.float32)


def quantizer(name: str, seed: int = 1) -> Any:
    if name == "k_means":
        return ResidualKMeans(8, 3, 20, seed)
    return RQVAE(8, 3, 4, 60, 32, 3e-3, seed)


# numbers


def test_sequential_numbers_follow_the_training_histories() -> None:
    train = lm_cases.dataset(HISTORIES, n_items=7)
    numbers = build("identifier", {"name": "numeric"}).numbers(train)
    assert numbers[[4, 2, 0, 5, 1]].tolist() == [0, 1, 2, 3, 4]
    assert sorted(numbers[[3, 6]].tolist()) == [5, 6]  # never seen: last


def test_random_numbers_are_a_permutation_of_the_seed() -> None:
    train = lm_cases.dataset(HISTORIES, n_items=40)
    spec = {"name": "numeric", "order": "random"}
    first = build("identifier", {**spec, "seed": 1}).numbers(train)
    assert sorted(first.tolist()) == list(range(40))
    assert first.tolist() == build("identifier", {**spec, "seed": 1}).numbers(train).tolist()
    assert first.tolist() != build("identifier", {**spec, "seed": 2}).numbers(train).tolist()


def test_numbers_are_spelled_as_digits_or_text() -> None:
    train = lm_cases.dataset(HISTORIES, n_items=120)
    identifier = build("identifier", {"name": "numeric"})
    numbers = identifier.numbers(train)
    codes = identifier.codes(train, None)
    assert codes.table.shape == (120, 3)
    assert (codes.table @ [100, 10, 1]).tolist() == numbers.tolist()
    assert codes.size == 10
    assert identifier.texts(train)[4] == "item_0"


# quantisers


def test_a_level_is_scikit_learns_k_means_of_what_is_left() -> None:
    points = vectors(400)
    fitted = quantizer("k_means").fit(points)
    rest = points
    for level, centres in enumerate(fitted.codebooks):
        seed = derive_seed(1, "k-means", level)
        theirs = KMeans(8, n_init=1, max_iter=20, tol=0, random_state=seed).fit(rest)
        np.testing.assert_allclose(centres, theirs.cluster_centers_, atol=1e-5)
        assert (fitted.codes(points)[:, level] == theirs.labels_).mean() > 0.99
        rest = rest - centres[theirs.labels_]


def test_the_number_of_threads_changes_no_bit() -> None:
    points = vectors(3000, 64)
    with threadpool_limits(1):
        alone = k_means(points, 32, 20, 0)
    with threadpool_limits(2):
        np.testing.assert_array_equal(k_means(points, 32, 20, 0), alone)


def test_fewer_points_than_centres() -> None:
    points = np.repeat(vectors(3), 4, axis=0)
    centres = k_means(points, 8, 5, 0)
    assert centres.shape == (8, 8)
    assert centres.dtype == np.float32
    np.testing.assert_allclose(centres[nearest_centres(points, centres)], points, atol=1e-4)


@pytest.mark.parametrize("name", ["k_means", "rq_vae"])
def test_the_same_seed_gives_the_same_codes(name: str) -> None:
    points = vectors()
    first = quantizer(name).fit(points).codes(points)
    assert first.shape == (200, 3)
    assert (first >= 0).all()
    assert (first < 8).all()
    np.testing.assert_array_equal(first, quantizer(name).fit(points).codes(points))
    assert (first != quantizer(name, seed=2).fit(points).codes(points)).any()


def test_each_level_leaves_less() -> None:
    points = vectors()
    fitted = quantizer("k_means").fit(points)
    codes = fitted.codes(points)
    left = [np.square(points - fitted.decoded(codes[:, :level])).sum() for level in (1, 2, 3)]
    assert left[0] < 0.6 * np.square(points - points.mean(0)).sum()
    assert left[2] < 0.8 * left[1]
    assert left[1] < 0.8 * left[0]


def test_rq_vae_learns_and_uses_its_codes() -> None:
    points = vectors()
    fitted = quantizer("rq_vae").fit(points)
    assert fitted.losses[-1] < 0.5 * fitted.losses[0]
    codes = fitted.codes(points)
    assert min(len(np.unique(codes[:, level])) for level in range(3)) >= 6
    error = np.square(points - fitted.decoded(codes)).sum()
    assert error < 0.5 * np.square(points - points.mean(0)).sum()


@pytest.mark.parametrize("name", ["k_means", "rq_vae"])
def test_new_vectors_get_codes_of_the_fitted_quantiser(name: str) -> None:
    points = vectors()
    fitted = quantizer(name).fit(points[:150])
    whole = fitted.codes(points)
    np.testing.assert_array_equal(whole[:150], fitted.codes(points[:150]))
    near = fitted.codes(points[:20] + 1e-5)
    assert (near == whole[:20]).mean() > 0.95


# semantic ids

KNOWN = {"name": "semantic", "features": ["interactions"], "codebook_size": 3, "n_levels": 2}


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_equal_codes_are_told_apart(rows: list[tuple[int, int]]) -> None:
    codes, names = np.array(rows), np.array([f"n{i}" for i in range(len(rows))])
    nth = repeats(codes, names)
    assert len({(*row, n) for row, n in zip(rows, nth.tolist(), strict=True)}) == len(rows)
    for row in set(rows):
        mine = [n for other, n in zip(rows, nth.tolist(), strict=True) if other == row]
        assert sorted(mine) == list(range(len(mine)))


def semantic(train, vectors_: np.ndarray | None, **options: Any):
    spec = {"name": "semantic", "codebook_size": 4, "n_levels": 2, **options}
    if vectors_ is not None:
        spec["text_encoder"] = {"name": "minilm"}
    return build("identifier", spec).codes(train, vectors_)


def test_every_item_has_its_own_row_of_codes_and_collisions_are_counted() -> None:
    points = vectors(60)
    points[30:] = points[:30]
    train = lm_cases.dataset([list(range(40))], n_items=60)
    codes = semantic(train, points)
    assert codes.table.shape == (60, 3)
    assert len(np.unique(codes.table, axis=0)) == 60
    assert codes.table.max() == codes.size - 1
    for level, (low, high) in enumerate([(0, 4), (4, 8), (8, codes.size)]):
        assert (codes.table[:, level] >= low).all()
        assert (codes.table[:, level] < high).all()
    assert codes.facts["collision_rate"] == pytest.approx((codes.table[:, 2] > 8).mean())
    assert codes.facts["collision_rate"] >= 0.5
    assert codes.facts["largest_collision"] == codes.size - 8
    assert 0 < codes.facts["codebook_use"] <= 1


def test_items_without_training_interactions_change_nothing_but_their_own_codes() -> None:
    train = lm_cases.dataset([list(range(40))], n_items=60)
    points = vectors(60)
    moved = points.copy()
    moved[40:] += 5
    before, after = semantic(train, points).table, semantic(train, moved).table
    np.testing.assert_array_equal(before[:40, :2], after[:40, :2])
    assert (before[40:, :2] != after[40:, :2]).any()


@pytest.mark.parametrize(
    "spec", [KNOWN, {"name": "numeric"}, {**KNOWN, "quantizer": "rq_vae", "epochs": 2}]
)
def test_held_out_rows_change_no_identifier(spec: dict[str, Any]) -> None:
    split = lm_cases.split()
    train = split.train
    identifier = build("identifier", spec)
    other = replace(split.test, interactions=split.valid.interactions)
    assert len(train) < len(train.union(other))
    ours = identifier.codes(train, None).table
    np.testing.assert_array_equal(ours, build("identifier", spec).codes(train, None).table)
    # Whatever came after must matter once it is in the training side, or this tests nothing.
    more = identifier.codes(train.union(split.test), None).table
    assert (ours != more).any()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"features": ["text"]}, "text_encoder"),
        ({"text_encoder": {"name": "gpt2"}}, "text_encoder"),
        ({"features": ["interactions"], "text_encoder": {"name": "minilm"}}, "text_encoder"),
        ({**KNOWN, "features": []}, "features"),
        ({**KNOWN, "codebook_size": 1}, "codebook_size"),
        ({**KNOWN, "n_levels": 0}, "n_levels"),
        ({**KNOWN, "learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], key: str) -> None:
    (problem,) = check("identifier", {"name": "semantic", **options})
    assert problem.where == key


def test_the_leak_audit_passes_our_numbers_and_catches_numbers_through_the_test_rows() -> None:
    split = llmrec.split(llmrec.load_data("synthetic", n_users=400, n_items=600), "leave_one_out")
    whole = split.train.union(split.valid).union(split.test)
    spec = {"name": "numeric", "order": "sequential"}

    def found(seen: Any) -> list[str]:
        codes = build("identifier", spec).codes(seen, None).table
        return [each.code for each in audit(split, semantic_ids={"numbers": codes})]

    assert "ordered-ids" not in found(split.train)
    assert "ordered-ids" in found(whole)
