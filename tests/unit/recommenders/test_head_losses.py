"""Each loss of a head, trained end to end on tiny data, does better than chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lm_cases
import numpy as np
import pytest

from llmrec.core.config import build
from llmrec.core.errors import ComponentError
from llmrec.core.types import Dataset, Interactions, Queries, Ragged
from llmrec.recommenders.base import load_recommender

N_ITEMS = 12
CYCLE = lm_cases.dataset([[(user + step) % N_ITEMS for step in range(6)] for user in range(36)])
NEXT_ITEM: dict[str, dict] = {
    "cross_entropy": {},
    "smoothed": {"label_smoothing": 0.1},
    "blocked": {"block_size": 5},
    "own_weights": {"item_weights": "own"},
    "sampled_softmax": {"loss": "sampled_softmax", "n_negatives": 8, "sampling": "popularity"},
    "gbce": {"loss": "gbce", "n_negatives": 8},
    "bce": {"loss": "bce", "n_negatives": 4},
    "bpr": {"loss": "bpr", "n_negatives": 4},
    "contrastive": {"loss": "contrastive", "temperature": 0.2},
    "focal": {"loss": "focal"},
}


@pytest.mark.parametrize("name", NEXT_ITEM)
def test_what_comes_next_in_a_cycle_is_learned(name: str) -> None:
    model = lm_cases.model(
        parts={"head": NEXT_ITEM[name], "prompt": {"scale": 0.3}},
        epochs=20,
        batch_size=12,
        learning_rate=2e-2,
    ).fit(CYCLE)
    queries = Queries.from_histories(
        [[(i + 1) % N_ITEMS, (i + 2) % N_ITEMS] for i in range(N_ITEMS)]
    )
    scores = model.score(queries)
    wanted = (np.arange(N_ITEMS) + 3) % N_ITEMS
    ranks = (scores > scores[np.arange(N_ITEMS), wanted][:, None]).sum(1) + 1
    assert ranks.mean() < 3, "chance is 6.5"


def rated(n_users: int = 30) -> Dataset:
    """Everybody likes even items and dislikes odd ones; odd users give a star less."""
    user, item = (part.ravel() for part in np.indices((n_users, 8)))
    rating = np.where(item % 2 == 0, 5.0, 2.0) - user % 2
    order = np.random.default_rng(0).permutation(len(user))
    log = Interactions(user[order].astype(np.int32), item[order].astype(np.int32))
    log = Interactions(log.user, log.item, rating[order].astype(np.float32))
    return Dataset("rated", log, np.arange(n_users).astype(str), np.arange(8).astype(str))


JUDGED: dict[str, dict] = {
    "mse": {"name": "regression"},
    "averages": {"name": "regression", "averages": True},
    "huber": {"name": "regression", "loss": "huber", "delta": 0.5},
    "ordinal": {"name": "regression", "loss": "ordinal"},
    "ordinal_averages": {"name": "regression", "loss": "ordinal", "averages": True},
    "like": {"name": "classification", "target": "like"},
    "like_averages": {"name": "classification", "target": "like", "averages": True},
    "like_balanced": {"name": "classification", "target": "like", "class_weights": "balanced"},
    "like_focal": {"name": "classification", "target": "like", "loss": "focal"},
}

CLASSES = {"name": "classification", "target": "classes"}
JUDGED |= {
    "classes": CLASSES,
    "classes_balanced": {**CLASSES, "class_weights": "balanced", "label_smoothing": 0.05},
    "classes_focal": {**CLASSES, "class_weights": "balanced", "loss": "focal"},
    "classes_ordinal": {**CLASSES, "loss": "ordinal"},
    "classes_expected": {**CLASSES, "answer": "expected"},
}


@pytest.mark.parametrize("name", JUDGED)
def test_what_is_liked_is_learned_and_stored(name: str, tmp_path: Path) -> None:
    spec = lm_cases.spec(
        "bert",
        parts={"prompt": {"use_ratings": True, "scale": 0.3}},
        epochs=8,
        batch_size=4,
        learning_rate=1e-2,
        examples_per_user=None,
        training_history="others",
    )
    spec["head"] = JUDGED[name]
    model = build("recommender", spec, seed=1).fit(rated())
    histories = Ragged.from_rows([[2, 3], [2, 3]])
    ratings = Ragged.from_rows([[5.0, 2.0], [2.0, 5.0]], np.float32)
    queries = Queries(np.full(2, -1), histories, ratings)
    scores = model.score(queries)
    assert scores[:, ::2].min() > scores[:, 1::2].max()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load_recommender(tmp_path / "model").score(queries), scores)
    assert model.tasks == load_recommender(tmp_path / "model").tasks
    if "answer" not in JUDGED[name] and name.startswith("classes"):
        assert model.tasks == {"classes"}
        assert set(scores.ravel().tolist()) <= {1.0, 2.0, 4.0, 5.0}


def worded(n_users: int = 40) -> tuple[Dataset, np.ndarray]:
    """Titles of two words, of which the first says the rating; with the (n_items,) ratings."""
    words = {"Great": 5.0, "Fair": 3.0, "Poor": 1.0}
    nouns = ["Fox", "Owl", "River", "Train", "Night", "Garden", "Stone", "Ship", "King", "Rose"]
    nouns += ["Wolf", "Road", "Lake", "Bell", "Moon"]
    titles = [f"{word} {noun}" for word in words for noun in nouns]
    truth = np.repeat([*words.values()], len(nouns)).astype(np.float32)
    rng = np.random.default_rng(3)
    # The three first nouns come with one word less each: those titles are in no training row.
    place = np.arange(len(titles))
    known = np.flatnonzero(place % len(nouns) != place // len(nouns))
    item = np.stack([rng.choice(known, 6, replace=False) for _ in range(n_users)]).astype(np.int32)
    log = Interactions(
        np.repeat(np.arange(n_users), 6).astype(np.int32), item.ravel(), truth[item.ravel()]
    )
    ids = np.arange(n_users).astype(str), np.arange(len(titles)).astype(str)
    return Dataset("worded", log, *ids, {"title": np.array(titles, object)}), truth


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_rating_tokens_learn_what_a_title_says(name: str, tmp_path: Path) -> None:
    train, truth = worded()
    spec = lm_cases.spec(
        name,
        head="rating_tokens",
        prompt="text",
        parts={"prompt": {"template": "", "question": "{{ candidate.title }}: stars?"}},
        epochs=20 if name == "t5" else 12,
        batch_size=16,
        learning_rate=1e-2,
        examples_per_user=None,
    )
    model = build("recommender", spec, seed=1).fit(train)
    queries = Queries.from_histories([[]])
    predicted = model.score(queries)[0]
    assert predicted.min() >= 1
    assert predicted.max() <= 5
    unseen = np.setdiff1d(np.arange(train.n_items), train.interactions.item)
    assert len(unseen) == 3
    mean = float(train.interactions.rating.mean())
    for some in (slice(None), unseen):
        error = np.sqrt(np.square(predicted[some] - truth[some]).mean())
        floor = np.sqrt(np.square(mean - truth[some]).mean())
        assert error < floor / 2, "predicting the mean is no better"
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load_recommender(tmp_path / "model").score(queries)[0], predicted)


def test_an_item_that_nobody_had_is_scored_by_its_text(tmp_path: Path) -> None:
    # Foxes follow foxes and owls follow owls; the last of each are in no training row.
    titles = [f"Red Fox {word}" for word in ("one", "two", "three", "four", "five")]
    titles[4] = titles[3]
    titles += [f"Blue Owl {word}" for word in ("one", "two", "three", "four", "five")]
    rows = [[(5 * (user % 2)) + (user + step) % 4 for step in range(4)] for user in range(24)]
    train = replace(
        lm_cases.dataset(rows, 10), item_fields={"title": np.array(titles, dtype=object)}
    )
    encoder = lm_cases.checkpoint("bert", "pooled", tmp_path / "encoder")
    head = {"item_weights": "text", "text_encoder": {"name": "bert", "checkpoint": str(encoder)}}
    model = lm_cases.model(
        parts={"head": head, "prompt": {"scale": 0.3}}, epochs=25, batch_size=6, learning_rate=2e-2
    ).fit(train)
    scores = model.score(Queries.from_histories([[0, 1, 2], [5, 6, 7]]))
    fox, owl = 4, 9
    # Words that both kinds share add the same to each: what counts is how the history moves them.
    assert scores[1, owl] - scores[0, owl] > scores[1, fox] - scores[0, fox]
    np.testing.assert_array_equal(scores[:, 3], scores[:, 4], "the same text, the same score")
    assert scores[0, fox] > scores[0, 5:].max(), "above every known owl as well"
    model.save(tmp_path / "model")
    again = load_recommender(tmp_path / "model")
    np.testing.assert_allclose(
        again.score(Queries.from_histories([[0, 1, 2]])), scores[:1], rtol=1e-5
    )


def test_a_large_catalogue_is_validated_a_block_of_users_at_a_time(monkeypatch) -> None:
    split = lm_cases.split()
    whole = lm_cases.model().fit(split.train, split.valid)
    monkeypatch.setattr("llmrec.recommenders.validation.SCORES_AT_ONCE", 2 * len(lm_cases.TITLES))
    parts = lm_cases.model().fit(split.train, split.valid)
    assert whole.info == parts.info


def test_too_many_values_are_no_classes() -> None:
    data = rated()
    ratings = np.arange(len(data), dtype=np.float32)
    log = replace(data.interactions, rating=ratings)
    spec = lm_cases.spec("bert")
    spec["head"] = CLASSES
    with pytest.raises(ComponentError, match="these are no classes"):
        build("recommender", spec).fit(data.with_interactions(log))
