from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.data.duplicates import (
    identical_texts,
    near_duplicates,
    shingles,
    text_codes,
    word_codes,
)


def words_by_hand(text: str) -> int:
    return len(word_codes([text])[0])


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("...!?", 0),
        ("one", 1),
        (" one,two--three ", 3),
        ("l'été à Paris", 4),
        ("好書推薦", 4),
        ("iPhone 手機 good", 4),
        ("हिन्दी में", 2),
        ("مرحبا بالعالم", 2),
        ("😀 fine 😀", 1),
        ("a\nb", 2),
        ("İstanbul İİ", 2),
    ],
)
def test_words(text: str, n: int) -> None:
    assert words_by_hand(text) == n


def test_texts_do_not_run_into_each_other() -> None:
    rows = word_codes(["one two", "", "three", "!"])
    assert rows.lengths.tolist() == [2, 0, 1, 0]
    assert rows[2][0] == word_codes(["three"])[0][0]
    assert word_codes([]).lengths.tolist() == []


TEXTS = st.lists(
    st.lists(st.sampled_from(["abc", "de", "fg"]), max_size=9).map(" ".join), max_size=9
)


@given(TEXTS)
def test_equal_codes_mean_equal_words(texts: list[str]) -> None:
    codes, counts = text_codes(texts)
    words = [tuple(text.split()) for text in texts]
    assert counts.tolist() == [len(each) for each in words]
    for a in range(len(texts)):
        for b in range(len(texts)):
            assert (codes[a] == codes[b]) == (words[a] == words[b])


@given(TEXTS)
def test_shingles_are_the_distinct_triples(texts: list[str]) -> None:
    found = shingles(texts)
    for row, text in enumerate(texts):
        words = text.split()
        triples = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
        assert len(found[row]) == len(triples)
        assert np.all(np.diff(found[row].astype(object)) > 0)


def test_identical_ignores_case_and_punctuation_not_order() -> None:
    left = ["One, two THREE four five!", "five four three two one", "one two"]
    pairs = identical_texts(left, ["x", "one two three four five", "one two"])
    assert pairs.left.tolist() == [0]
    assert pairs.right.tolist() == [1]
    assert len(identical_texts(left, [])) == 0
    assert identical_texts(left, ["one two"], min_words=2).left.tolist() == [2]


def test_similarity_is_that_of_triples() -> None:
    a = "a b c d e f g h i j"
    b = "a b c d e f g h i j k"
    pairs = near_duplicates([a], [b])
    assert pairs.similarity.tolist() == [8 / 9]
    assert len(near_duplicates([a], [b], threshold=0.9)) == 0


def test_near_duplicates_are_found_among_thousands_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{n}" for n in range(3000)])
    known = [" ".join(rng.choice(vocabulary, 30)) for _ in range(3000)]
    held = [" ".join(rng.choice(vocabulary, 30)) for _ in range(500)]
    for place in range(100):
        words = known[place * 7].split()
        words[-1] = "edited"
        held[place * 5] = " ".join(words)
    pairs = near_duplicates(held, known)
    assert pairs.left.tolist() == [place * 5 for place in range(100)]
    assert pairs.right.tolist() == [place * 7 for place in range(100)]


def test_within_one_list_a_text_is_paired_with_an_earlier_one() -> None:
    text = "the very same words stand here again"
    pairs = near_duplicates([text, "something else that nobody wrote before", text + "!", text])
    assert pairs.left.tolist() == [2, 3]
    assert set(pairs.right.tolist()) <= {0, 2}
    assert len(near_duplicates([])) == 0
