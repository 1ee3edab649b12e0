"""Measures of texts on cases worked out by hand."""

from __future__ import annotations

import math

import pytest

from llmrec.core.errors import DataError
from llmrec.metrics.text import (
    Features,
    Titles,
    bleu_per_text,
    corpus_bleu,
    distinct,
    grounding,
    recommending,
    rouge_per_text,
    text_report,
    unique_sentence_ratio,
)


def test_bleu_counts_a_repeated_word_once_and_punishes_short_texts() -> None:
    # The classic: seven times "the" against a truth with two.
    assert corpus_bleu(["the the the the the the the"], ["the cat is on the mat"], 1) == (
        pytest.approx(2 / 7)
    )
    assert corpus_bleu(["the cat"], ["the cat sat down"], 1) == pytest.approx(math.exp(1 - 4 / 2))
    assert corpus_bleu(["", "a b"], ["x", ""], 4) == 0.0


def test_bleu_of_all_texts_is_not_the_mean_of_each() -> None:
    written, truth = ["a b c d", "x"], ["a b c d", "y"]
    assert corpus_bleu(written, truth, 1) == pytest.approx(4 / 5)
    assert bleu_per_text(written, truth, 1).tolist() == [pytest.approx(1.0), 0.0]


def test_rouge_l_needs_the_order_and_rouge_1_does_not() -> None:
    assert rouge_per_text(["c b a"], ["a b c"], 1).tolist() == [1.0]
    assert rouge_per_text(["c b a"], ["a b c"], "L").tolist() == [pytest.approx(1 / 3)]
    assert rouge_per_text(["a x b y"], ["a b"], "L").tolist() == [pytest.approx(4 / 6)]
    assert rouge_per_text([""], ["a"], 2).tolist() == [0.0]


def test_distinct_and_unique() -> None:
    assert distinct(["a a b", "a"], 1) == 0.5
    assert distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    assert unique_sentence_ratio(["A!", "a", "b"]) == pytest.approx(2 / 3)


def test_features_as_nete_defines_them() -> None:
    features = Features(frozenset({"plot", "cast", "music", "price"}))
    written, truth = ["the plot", "plot and cast", "nothing"], ["plot", "music cast", "no word"]
    assert features.coverage_ratio(written) == 0.5
    assert features.matching_ratio(written, truth) == pytest.approx((1 + 0.5) / 2)
    assert features.diversity(written) == pytest.approx(1 / 3)  # one of three pairs shares one


def test_frequent_features_leave_stop_words_and_rare_words_out() -> None:
    texts = ["the plot is fine", "the plot plot", "the cast", "the cast is", "rare"]
    assert Features.frequent(texts, {"the", "is"}, least=2).names == {"plot", "cast"}
    assert Features.frequent(texts, {"the", "is"}, n=1, least=2).names == {"cast"}


def test_longest_title_wins_and_marked_names_may_be_invented() -> None:
    titles = Titles(["Red Fox", "Red Fox II", "The Old River", "Heat"])
    text = "After red fox ii, THE OLD RIVER; then [[Blue Owl]], [[heat]] and heat, Red Foxes."
    assert titles.mentions(text) == [
        ("Blue Owl", False),
        ("Heat", True),
        ("Red Fox II", True),
        ("The Old River", True),
    ]
    assert titles.mentions("Red [[Heat]] Fox") == [("Heat", True), ("Red Fox", True)]
    found = grounding([text, "nothing"], titles)
    assert found == {"mentions_per_text": 2.0, "grounded": 0.75, "invented_texts": 0.5}


def test_a_turn_recommends_what_it_names_anew() -> None:
    """By hand: six turns; 1 names the true film, 2 another one, 3 repeats the film of the seeker.

    4 names none, 5 an invented one, and 6 names one where the true turn names none.
    """
    titles = Titles(["Heat", "Red Fox", "Blue Owl"])
    before = "Seeker: I liked [[Heat]]."
    written = [
        "See [[red fox]]!",
        "See [[Blue Owl]].",
        "[[Heat]]?",
        "Bye",
        "[[Zog]]",
        "[[Red Fox]]",
    ]
    truth = ["[[Red Fox]]"] * 3 + ["[[Red Fox]] or [[Heat]]", "[[Heat]] is good", "Bye"]
    found = recommending(written, truth, [before] * 6, titles)
    # New items of the catalogue in 1, 2 and 6. True recommendations in 1 to 4: Heat is old in 5.
    assert found == {"recommends": pytest.approx(3 / 6), "recommends_true": pytest.approx(1 / 4)}
    assert recommending(written, truth, [""] * 6, titles) == {
        "recommends": pytest.approx(4 / 6),
        "recommends_true": pytest.approx(1 / 5),
    }
    assert math.isnan(recommending(["a"], ["b"], [""], titles)["recommends_true"])
    report = text_report(written, truth, Features(frozenset()), titles, [before] * 6)
    assert report["recommends"] == 0.5
    assert "recommends" not in text_report(written, truth, Features(frozenset()), titles)


def test_a_report_refuses_unequal_numbers_and_counts_empty_texts() -> None:
    features, titles = Features(frozenset()), Titles([])
    with pytest.raises(DataError, match="2 texts cannot be compared with 1"):
        text_report(["a", "b"], ["a"], features, titles)
    assert text_report(["", "b"], ["a", "b"], features, titles)["empty"] == 0.5
