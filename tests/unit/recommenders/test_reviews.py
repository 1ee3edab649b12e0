"""Models that read the review that is judged: they learn it, from training reviews alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest
import review_cases

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, ConfigError, DataError
from llmrec.core.types import Split, make_queries
from llmrec.evaluation.evaluate import evaluate, make_exam
from llmrec.evaluation.options import EvaluationOptions
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.tfidf_logistic import TfidfLogistic

OPTIONS = EvaluationOptions("classes", ["class_accuracy", "macro_f1"], reads_review=True)


def accuracy(recommender: Any, split: Split) -> float:
    result = evaluate(recommender, make_exam(split, OPTIONS), label="x")
    return float(result.overall["class_accuracy"])


def scores(recommender: Any, split: Split) -> np.ndarray:
    known = split.train.union(split.valid)
    queries, targets = make_queries(known, split.test, reviews=True)
    found: np.ndarray = recommender.score(queries, targets.items.padded())
    return found


def reversed_words(data: Any) -> Any:
    texts = [f"unheard {' '.join(text.split()[::-1])}" for text in data.interactions.text]
    return review_cases.with_texts(data, texts)


# -- what they reach ---------------------------------------------------------------------------


def sklearns(split: Split, **options: Any) -> float:
    """Return the accuracy of scikit-learn's own pipeline on the same reviews."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(
        text.TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=500),
    )
    train, test = split.train.interactions, split.test.interactions
    pipeline.fit(train.text, train.rating)
    return float(pipeline.score(test.text, test.rating))


def test_tfidf_logistic_is_scikit_learns_pipeline() -> None:
    split = review_cases.split(n_users=80, noise=0.4)
    expected = sklearns(split)
    assert 0.6 < expected < 1.0
    assert accuracy(TfidfLogistic().fit(split.train), split) == pytest.approx(expected, abs=0.013)


@pytest.mark.parametrize("name", ["bert", "word_vectors"])
def test_a_model_that_reads_is_far_better_than_one_that_does_not(name: str) -> None:
    split = review_cases.split(n_users=80)
    options: dict[str, Any] = {"epochs": 6, "learning_rate": 1e-2}
    if name == "word_vectors":
        options |= {"backbone": {"name": name, "embedding_size": 16}, "learning_rate": 5e-2}
    reading = review_cases.model(name, **options).fit(split.train, split.valid)
    blind = review_cases.model(
        name, **options, prompt={"question": "{{ candidate.title }}", "template": "{{ history }}"}
    ).fit(split.train, split.valid)
    assert accuracy(reading, split) > max(0.85, accuracy(blind, split) + 0.25)
    assert abs(accuracy(reading, split) - sklearns(split)) < 0.1


@pytest.mark.parametrize("name", ["gpt2", "t5", "recurrent"])
def test_other_backbones_read_reviews_too(name: str) -> None:
    split = review_cases.split(n_users=30)
    backbone = None
    if name == "recurrent":
        backbone = {"name": name, "hidden_size": 16, "vocabulary_size": 300}
    made = review_cases.model(name, backbone=backbone).fit(split.train, split.valid)
    found = scores(made, split)
    assert found.shape == (30, 1)
    assert set(found.ravel()) <= {0.0, 1.0, 2.0}


def test_answer_tokens_read_reviews_too() -> None:
    split = review_cases.split(n_users=30)
    head = {
        "name": "generative",
        "mode": "rating",
        "answer": "class",
        "labels": [" awful", " okay", " great"],
    }
    prompt = {"question": "{{ review }} This is"}
    made = review_cases.model("gpt2", head=head, prompt=prompt).fit(split.train, split.valid)
    assert set(scores(made, split).ravel()) <= {0.0, 1.0, 2.0}


# -- nothing of a test review reaches training -------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "word_vectors", "tfidf_logistic"])
def test_other_test_reviews_give_the_same_model_and_other_answers(
    name: str, tmp_path: Path
) -> None:
    split = review_cases.split(n_users=30)
    other = replace(split, test=reversed_words(split.test))
    options: dict[str, Any] = {}
    if name == "word_vectors":
        options["backbone"] = {"name": name, "embedding_size": 8}
    stored = []
    for place, sides in enumerate((split, other)):
        if name == "tfidf_logistic":
            made: Any = TfidfLogistic().fit(sides.train, sides.valid)
        else:
            made = review_cases.model(name, **options).fit(sides.train, sides.valid)
            assert "unheard" not in made._model.tokenizer.get_vocab()
        made.save(tmp_path / str(place))
        stored.append(made)
    files = [
        {
            path.relative_to(tmp_path / place): path.read_bytes()
            for path in sorted((tmp_path / place).rglob("*"))
            if path.is_file() and path.suffix in (".json", ".safetensors", ".txt")
        }
        for place in "01"
    ]
    assert files[0] == files[1]
    assert files[0]
    np.testing.assert_array_equal(scores(stored[0], split), scores(stored[1], split))


def test_the_training_texts_are_the_training_reviews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of validation and test nothing is learned, be it a word; nor are titles, if none is read."""
    split = review_cases.split(n_users=20)
    learned: list[str] = []
    made = review_cases.model()
    own = made._backbone.tokenizer

    def tokenizer(texts: list[str]) -> Any:
        learned.extend(texts)
        return own(texts)

    monkeypatch.setattr(made._backbone, "tokenizer", tokenizer)
    made.fit(split.train, split.valid)
    told = set(split.train.interactions.text.tolist())
    assert told <= set(learned)
    assert {text.strip() for text in set(learned) - told} == {"nothing"}


def test_reviews_of_the_history_are_never_shown() -> None:
    split = review_cases.split(n_users=20)
    prompt = {
        "template": "{% for i in history %}{{ i }} {% endfor %}",
        "question": "{{ candidate }} {{ review }}",
        "history_length": 5,
        "max_length": 500,
    }
    backbone = {**lm_cases.backbone("bert"), "max_positions": 512}
    made = review_cases.model(prompt=prompt, backbone=backbone).fit(split.train)
    shown: list[str] = []
    parts = made._prompt.parts

    def spy(*args: Any) -> Any:
        found = parts(*args)
        shown.extend(f"{history} {question}" for history, question in found)
        return found

    made._prompt.parts = spy
    scores(made, split)
    written = split.test.interactions.text.tolist()
    assert len(shown) >= len(written)
    known = split.train.union(split.valid).interactions.text.tolist()
    assert not [text for text in known if any(text in prompt for prompt in shown)]
    assert all(any(text in prompt for prompt in shown) for text in written)


def test_the_training_review_is_that_of_its_interaction() -> None:
    """Shuffled reviews teach nothing; so would a mistake in which review is whose."""
    split = review_cases.split(n_users=80)
    log = split.train.interactions
    shuffled = np.random.default_rng(0).permutation(log.text)
    wrong = replace(split, train=review_cases.with_texts(split.train, shuffled))
    right = TfidfLogistic().fit(split.train)
    assert accuracy(right, split) > accuracy(TfidfLogistic().fit(wrong.train), split) + 0.3


# -- two interactions never share an answer ----------------------------------------------------


@pytest.mark.parametrize("adapter", ["full", "frozen"])
def test_the_same_pair_with_another_review_gets_its_own_answer(adapter: str) -> None:
    split = review_cases.split(n_users=60)
    options: dict[str, Any] = {"epochs": 6, "learning_rate": 1e-2}
    if adapter == "frozen":
        options |= {"adapter": {"name": "frozen"}, "learning_rate": 0.1, "epochs": 20}
    made = review_cases.model(**options).fit(split.train, split.valid)
    known = split.train.union(split.valid)
    queries, _ = make_queries(known, split.test, reviews=True)
    assert queries.reviews is not None
    said = ["great lovely superb best happy", "awful broken dull refund never slow"]
    one = np.array([0, 0])
    reviews = replace(queries.take(one).reviews, values=np.array(said, object))  # type: ignore[type-var]
    asked = replace(queries.take(one), reviews=reviews)
    items = np.zeros((2, 1), np.int64)
    if made._model.frozen is not None:
        made._model.frozen.remember(True)
    together = made.score(asked, items).ravel()
    assert together[0] != together[1]
    apart = [made.score(asked.take(np.array([row])), items[:1])[0, 0] for row in (0, 1)]
    assert together.tolist() == apart


def test_answers_do_not_depend_on_batches_order_or_saving(tmp_path: Path) -> None:
    split = review_cases.split(n_users=60)
    options: dict[str, Any] = {"epochs": 6, "learning_rate": 1e-2}
    made = review_cases.model(**options).fit(split.train, split.valid)
    known = split.train.union(split.valid)
    queries, targets = make_queries(known, split.test, reviews=True)
    items = targets.items.padded()
    whole = made.score(queries, items)
    assert len(np.unique(whole)) > 1
    back = np.arange(len(queries))[::-1]
    np.testing.assert_array_equal(made.score(queries.take(back), items[back])[::-1], whole)
    made.score_batch_size = 3
    np.testing.assert_array_equal(made.score(queries, items), whole)
    made.save(tmp_path / "model")
    np.testing.assert_array_equal(load_recommender(tmp_path / "model").score(queries, items), whole)


@pytest.mark.parametrize("kind", ["language_model", "tfidf_logistic"])
def test_empty_places_and_empty_reviews(kind: str, tmp_path: Path) -> None:
    """Users with several held-out items, one review each, some of them empty or very long."""
    whole = review_cases.dataset(n_users=20)
    sides = np.zeros(len(whole), int)
    for user, rows in enumerate(whole.rows_by_user):
        sides[rows[-(1 + user % 3) :]] = 2
    texts = whole.interactions.text.copy()
    texts[np.flatnonzero(sides == 2)[:3]] = ["", None, "great " * 5000]
    texts[0] = ""
    whole = review_cases.with_texts(whole, texts)
    split = Split(*(whole.select(sides == side) for side in range(3)), protocol="some out")
    made: Any = TfidfLogistic() if kind == "tfidf_logistic" else review_cases.model()
    made.fit(split.train)
    exam = make_exam(split, OPTIONS)
    result = evaluate(made, exam, label="x")
    assert result.predicted is not None
    items = exam.targets.items.padded()
    assert (items < 0).any()
    row, place = exam.targets.items.row_of, exam.targets.items.place_of
    np.testing.assert_array_equal(
        made.score(exam.queries, items)[row, place], result.predicted.values
    )
    made.save(tmp_path / "model")
    again = evaluate(load_recommender(tmp_path / "model"), exam, label="x")
    np.testing.assert_array_equal(again.predicted.values, result.predicted.values)
    if kind == "language_model":
        assert made._model.batches.n_cut >= 1
        assert made.info.details["reads_review"]


# -- refused with a sentence -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["language_model", "tfidf_logistic"])
def test_without_reviews_it_refuses(kind: str) -> None:
    split = review_cases.split(n_users=20)
    made: Any = TfidfLogistic() if kind == "tfidf_logistic" else review_cases.model()
    bare = split.train.with_interactions(replace(split.train.interactions, text=None))
    with pytest.raises(DataError, match="reviews has no texts that users wrote"):
        made.fit(bare)
    made.fit(split.train)
    queries, targets = make_queries(split.train, split.test)
    for items in (targets.items.padded(), None):
        with pytest.raises(ComponentError, match="no review is given here"):
            made.score(queries, items)
    shown, _ = make_queries(split.train, split.test, reviews=True)
    with pytest.raises(ComponentError, match="cannot recommend"):
        made.score(shown)
    with pytest.raises(ComponentError, match="not as many reviews as items"):
        made.score(shown, np.zeros((len(shown), 2), np.int64))
    with pytest.raises(DataError, match="choose data with reviews"):
        make_queries(split.train, bare, reviews=True)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        ({"name": "regression"}, "serves rating, but prompt.question reads the review"),
        ({"name": "classification"}, "serves ranking"),
        ({"name": "generative", "mode": "yes_no"}, "serves preference, ranking"),
    ],
)
def test_only_the_task_classes_may_read_reviews(head: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        review_cases.model(head=head)


def test_a_teacher_is_shown_no_reviews() -> None:
    spec = review_cases.spec()
    teacher = {"name": "soft_scores", "teacher": {"name": "majority"}}
    with pytest.raises(ConfigError, match="a teacher is shown no reviews"):
        build("recommender", {**spec, "distillation": teacher})


def test_one_class_is_nothing_to_tell_apart() -> None:
    split = review_cases.split(n_users=20)
    log = split.train.interactions
    same = split.train.with_interactions(replace(log, rating=np.ones_like(log.rating)))
    with pytest.raises(DataError, match="all training rows of reviews are of one"):
        TfidfLogistic().fit(same)
