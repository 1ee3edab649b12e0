"""Item tokens: what they start from, and that nothing outside training shapes them."""

from __future__ import annotations

import lm_cases
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.config import build, check
from llmrec.core.types import Ragged
from llmrec.prompts.item_tokens import ItemTokens
from llmrec.prompts.items import Items, principal_components

VECTORS = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
KNOWN = np.arange(20) < 15
SEEN = Ragged.from_rows([range(15), range(5)])  # the items of KNOWN


def prompt(init: str, **options) -> Items:
    made = Items(init="random", **options)
    made.init = init
    return made


@given(seed=st.integers(0, 5), width=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_an_unknown_item_changes_its_own_row_alone(seed: int, width: int) -> None:
    before = principal_components(VECTORS, KNOWN, width)
    changed = VECTORS.copy()
    changed[17] += np.random.default_rng(seed).standard_normal(8) * 3
    after = principal_components(changed, KNOWN, width)
    others = np.arange(20) != 17
    np.testing.assert_array_equal(after[others], before[others])
    assert not np.allclose(after[17], before[17])


def test_components_have_unit_spread_over_known_items() -> None:
    components = principal_components(VECTORS, KNOWN, 4)
    assert components.shape == (20, 4)
    assert components[KNOWN].std() == pytest.approx(1.0)
    np.testing.assert_allclose(components[KNOWN].mean(0), 0, atol=1e-6)


def test_directions_without_spread_are_left_out() -> None:
    flat = VECTORS.copy()
    flat[:, 3:] = 1.0
    assert principal_components(flat, KNOWN, 6).shape == (20, 3)
    same = np.ones((4, 8), np.float32)
    assert principal_components(same, np.ones(4, bool), 6).shape == (4, 0)


def test_without_known_items_all_count() -> None:
    nobody = np.zeros(20, bool)
    np.testing.assert_allclose(
        principal_components(VECTORS, nobody, 3), principal_components(VECTORS, ~nobody, 3)
    )


def test_the_table_holds_components_first_and_noise_after() -> None:
    table = prompt("text", scale=0.5).table(SEEN, 20, 12, VECTORS)
    assert table.shape == (23, 12)
    assert table.dtype == np.float32
    np.testing.assert_allclose(
        table[:20, :8], principal_components(VECTORS, KNOWN, 12) * 0.5, rtol=1e-5
    )
    assert (table[:, 8:].std(0) > 0).all()  # no dead columns
    assert table[20:].std() == pytest.approx(0.5, rel=0.5)


def test_shuffled_gives_each_item_the_text_of_another_once() -> None:
    text = prompt("text", seed=3).table(SEEN, 20, 8, VECTORS)[:20]
    shuffled = prompt("shuffled", seed=3).table(SEEN, 20, 8, VECTORS)[:20]
    other = prompt("shuffled", seed=4).table(SEEN, 20, 8, VECTORS)[:20]
    sources = [np.flatnonzero((text == row).all(1)).item() for row in shuffled]
    assert sorted(sources) == list(range(20))
    assert sources != list(range(20))
    assert not np.array_equal(shuffled, other)


def test_random_follows_scale_and_seed_and_ignores_text() -> None:
    first = prompt("random", scale=0.02, seed=1).table(SEEN, 500, 16, None)
    again = prompt("random", scale=0.02, seed=1).table(SEEN, 500, 16, None)
    other = prompt("random", scale=0.02, seed=2).table(SEEN, 500, 16, None)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.std() == pytest.approx(0.02, rel=0.05)


def test_co_occurrence_puts_items_that_stand_together_close() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.permutation(8) + start for start in [0, 8] for _ in range(10)]
    histories = Ragged.from_rows(rows)
    table = prompt("co_occurrence", scale=0.1).table(histories, 18, 8, None)
    alike = table[:16] @ table[:16].T
    group = np.arange(16) < 8
    same = group[:, None] == group
    assert alike[same].mean() > 0.02
    assert alike[~same].mean() < -0.02
    # Nothing is known of the last two: they start at random, as without co-occurrence.
    noise = prompt("random", scale=0.1).table(histories, 18, 8, None)
    np.testing.assert_array_equal(table[16:], noise[16:])
    assert not np.isclose(table[:16], noise[:16]).all(1).any()


def test_the_window_is_read_where_items_stand_together() -> None:
    assert check("prompt", {"name": "items", "init": "co_occurrence", "window": 2}) == []
    (problem,) = check("prompt", {"name": "items", "init": "random", "window": 2})
    assert (problem.where, problem.what) == (
        "window",
        "is not read with init=random; leave it null",
    )
    (problem,) = check("prompt", {"name": "items", "init": "co_occurrence", "window": 0})
    assert problem.where == "window"


@pytest.mark.parametrize("init", ["text", "shuffled"])
def test_text_needs_an_encoder_that_knows_words(init: str) -> None:
    (problem,) = check("prompt", {"name": "items", "init": init})
    assert problem.where == "text_encoder"
    untrained = {"name": "items", "init": init, "text_encoder": lm_cases.backbone("bert")}
    (problem,) = check("prompt", untrained)
    assert "knows nothing about the texts" in problem.what
    assert check("prompt", {"name": "items", "init": "random"}) == []
    (problem,) = check("prompt", {**untrained, "init": "random"})
    assert "is not read with init=random" in problem.what
    assert check("prompt", {**untrained, "text_encoder": {"name": "minilm"}}) == []


def test_ratings_have_embeddings_of_their_own() -> None:
    table = np.zeros((6, 4), np.float32)
    module = ItemTokens(table, np.array([1.0, 3.0, 5.0], np.float32))
    with torch.no_grad():
        module.ratings += torch.arange(4.0)[:, None]
    stars = torch.tensor([[1.0, 3.0, 5.0, 2.0, 9.0, float("nan")]])
    with torch.no_grad():
        shown = module(torch.zeros(1, 6, dtype=torch.long), stars)[0, :, 0]
    assert shown.tolist() == [0.0, 1.0, 2.0, 1.0, 2.0, 3.0]


def test_ratings_have_embeddings_where_they_are_given() -> None:
    stars = np.array([1.0, 5.0], np.float32)
    made = Items(init="random", use_ratings=True)
    assert made.tokens(SEEN, 20, 4, None, None).ratings is None
    module = made.tokens(SEEN, 20, 4, None, stars)
    assert module.ratings.shape == (3, 4)
    again = made.restored(module.state_dict())
    torch.testing.assert_close(again.weight, module.weight)
    torch.testing.assert_close(again.rating_values, module.rating_values)


def test_a_rating_of_the_history_changes_the_prediction() -> None:
    split = lm_cases.split()
    spec = lm_cases.spec(head="rating", parts={"prompt": {"use_ratings": True}}, epochs=4)
    model = build("recommender", {**spec, "learning_rate": 0.05}, seed=0)
    model.fit(split.train, split.valid)
    queries = lm_cases.queries()
    before = model.score(queries)
    other = queries.ratings.with_values(6 - queries.ratings.values)
    changed = model.score(type(queries)(queries.users, queries.histories, other))
    assert not np.allclose(before, changed)


def test_the_history_is_read_from_its_end() -> None:
    split = lm_cases.split()
    model = lm_cases.model(parts={"prompt": {"max_length": 2}}).fit(split.train, split.valid)
    queries = type(lm_cases.queries()).from_histories([[5, 6, 1, 2], [1, 2], [6, 1, 2], [2, 1]])
    scores = model.score(queries)
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores[2], scores[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(scores[3], scores[1])


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_the_shortest_history_is_one_item(name: str) -> None:
    split = lm_cases.split()
    model = lm_cases.model(name, parts={"prompt": {"max_length": 1}}).fit(split.train, split.valid)
    assert np.isfinite(model.score(lm_cases.queries())).all()
