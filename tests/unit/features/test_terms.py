"""Counts and TF-IDF, against scikit-learn used directly and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_cases import REVIEWS, TITLES, at, data, texts_changed
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, ConfigError, DataError
from llmrec.core.types import Queries, Ragged
from llmrec.features.base import load_feature
from llmrec.features.terms import TFIDF, TermCounts


def test_tfidf_of_items_is_that_of_scikit_learn_fitted_on_items_seen_in_training() -> None:
    train = data()
    seen = TITLES[:4]  # the last has no interaction
    for ours, theirs in (
        ({}, {}),
        ({"longest": 2, "sublinear": True}, {"ngram_range": (1, 2), "sublinear_tf": True}),
        ({"min_documents": 2, "max_vocabulary": 2}, {"min_df": 2, "max_features": 2}),
        ({"max_document_share": 0.5}, {"max_df": 0.5}),
    ):
        vectorizer = TfidfVectorizer(**theirs).fit(seen)
        feature = TFIDF(fields=["title"], **ours).fit(train)
        assert feature.columns == vectorizer.get_feature_names_out().tolist()
        expected = vectorizer.transform(TITLES).toarray()
        np.testing.assert_allclose(feature.items().toarray(), expected, atol=1e-6)
        assert feature.items().dtype == np.float32


def test_counts_by_hand() -> None:
    feature = TermCounts(fields=["title"]).fit(data())
    assert feature.columns == ["blue", "fox", "red", "river"]
    assert feature.items().toarray().tolist() == [
        *([0, 1, 1, 0], [0, 1, 2, 0], [0, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0]),
    ]


def test_an_item_is_all_that_was_written_about_it() -> None:
    feature = TermCounts(source="written").fit(data())
    whole = CountVectorizer().fit(REVIEWS)
    assert feature.columns == whole.get_feature_names_out().tolist()
    joined = [
        " ".join(
            r for r, item in zip(REVIEWS, data().interactions.item, strict=True) if item == number
        )
        for number in range(5)
    ]
    np.testing.assert_array_equal(feature.items().toarray(), whole.transform(joined).toarray())


def test_a_user_is_what_was_written_before_the_query() -> None:
    train = data()
    feature = TermCounts(of="user", source="written").fit(train)
    users = np.array([0, 0, 0, 1, -1])
    time = np.array([at(2), at(2) + 1, at(9), at(9), at(9)])
    queries = Queries(users, Ragged.empty(5), time=time)
    whole = CountVectorizer().fit(REVIEWS)
    first, second = whole.transform(["good fox", "bad river"]).toarray()
    last = whole.transform([REVIEWS[4]]).toarray()[0]
    his = whole.transform(["good good", "fine"]).toarray().sum(axis=0)
    np.testing.assert_array_equal(
        feature.queries(queries).toarray(),
        [first, first + second, first + second + last, his, np.zeros_like(first)],
    )
    untimed = feature.queries(Queries(users, Ragged.empty(5)))
    np.testing.assert_array_equal(untimed.toarray()[0], first + second + last)


@pytest.mark.parametrize("name", ["term_counts", "tfidf", "word2vec"])
@pytest.mark.parametrize("source", ["item_fields", "written"])
def test_what_training_does_not_hold_changes_no_column(name: str, source: str) -> None:
    spec = {"name": name, "source": source}
    if name == "word2vec":
        spec |= {"min_count": 1, "embedding_size": 4, "epochs": 2}
    clean = build("feature", spec).fit(data())
    other = build("feature", spec).fit(texts_changed())
    assert clean.columns == other.columns
    rows = slice(0, 4)  # items that occur in training
    a, b = (np.asarray(_dense(f.items()))[rows] for f in (clean, other))
    np.testing.assert_array_equal(a, b)


def _dense(matrix):  # type: ignore[no-untyped-def]
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def test_columns_stay_when_more_is_known() -> None:
    train = data()
    first = np.arange(len(train)) < 3
    feature = TermCounts(source="written").fit(train.select(first))
    columns = feature.columns
    before = feature.items().toarray()
    feature.observe(train)
    assert feature.columns == columns
    assert (feature.items().toarray() >= before).all()
    assert feature.items().sum() > before.sum()


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "tfidf"},
        {"name": "term_counts", "source": "written"},
        {"name": "tfidf", "source": "written", "of": "user"},
        {"name": "word2vec", "min_count": 1, "embedding_size": 3},
    ],
)
def test_saved_and_loaded_it_gives_the_same(spec: dict, tmp_path: Path) -> None:
    feature = build("feature", spec).fit(data())
    feature.save(tmp_path / "f")
    loaded = load_feature(tmp_path / "f")
    assert loaded.columns == feature.columns
    queries = Queries(np.array([0, -1]), Ragged.empty(2), time=np.array([at(9), at(9)]))
    for f in (loaded, loaded.observe(data())):
        if feature.describes == "item":
            np.testing.assert_array_equal(_dense(f.items()), _dense(feature.items()))
        else:
            np.testing.assert_array_equal(
                _dense(f.queries(queries)), _dense(feature.queries(queries))
            )


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="source=written"):
        build("feature", {"name": "tfidf", "of": "user"})
    with pytest.raises(ConfigError, match="fields"):
        TFIDF(source="written", fields=["title"])
    with pytest.raises(ConfigError, match="longest"):
        TermCounts(shortest=2)
    with pytest.raises(DataError, match="no such column"):
        TFIDF(source="written").fit(
            data().with_interactions(replace(data().interactions, text=None))
        )
    with pytest.raises(DataError, match="no texts"):
        TFIDF().fit(replace(data(), item_fields={}))
    with pytest.raises(DataError, match="min_documents"):
        TFIDF(min_documents=50).fit(data())
    with pytest.raises(ComponentError, match="describes item"):
        TFIDF().fit(data()).queries(Queries(np.array([0]), Ragged.empty(1)))
