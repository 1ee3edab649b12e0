"""BM25 and the merging of several queries, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmrec.heads.bm25 import BM25, merged, words


def test_the_formula_by_hand() -> None:
    index = BM25(["red fox fox", "Red owl", "blue"], k1=1.2, b=0.75)
    scores = index.scores(["fox", "RED red!", "green", ""])
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    weight = 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2))
    assert scores[0].tolist() == pytest.approx([idf * weight, 0, 0])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    weight = 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 2))
    assert scores[1, 1] == pytest.approx(2 * idf * weight)  # twice in the query
    assert scores[1, 0] < scores[1, 1]  # the longer text
    assert not scores[2:].any()


def test_scores_are_those_of_bm25s() -> None:
    bm25s = pytest.importorskip("bm25s")
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.zipf(1.5, rng.integers(1, 30))) for _ in range(200)]
    queries = ["w1", "w2 w3 w50", "w7 w2 w1 w9", "w4 w4 w8"]
    theirs = bm25s.BM25(k1=1.2, b=0.75, method="lucene", dtype="float64")
    theirs.index([words(text) for text in texts], show_progress=False)
    expected = [theirs.get_scores(words(query)) for query in queries]
    # Lucene leaves out the constant factor k1 + 1.
    np.testing.assert_allclose(BM25(texts).scores(queries), 2.2 * np.array(expected), rtol=1e-5)


def test_words_and_empty_texts() -> None:
    assert words("It's N°5, Größe 2!") == ["it", "s", "n", "5", "größe", "2"]
    assert BM25(["", ""]).scores(["red"]).tolist() == [[0, 0]]


def test_queries_take_turns_with_an_equal_share() -> None:
    scores = np.array([[3.0, 2.0, 1.0, 0.0, 0.0], [9.0, 0.0, 4.0, 5.0, 0.0]])
    found = merged(scores, 4)
    # The first query gives 0 and 1; the second, of what is left, 3 and 2; nothing matches 4.
    assert np.argsort(-found).tolist() == [0, 1, 3, 2, 4]
    assert found[[0, 1, 3, 2]].tolist() == [5, 4, 3, 2]
    assert found[4] == 0
    found = merged(scores, 2)
    assert np.argsort(-found).tolist() == [0, 3, 2, 1, 4]
    assert found[2] < 2
