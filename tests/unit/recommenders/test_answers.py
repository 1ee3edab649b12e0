"""Answers of a language model, read leniently, and titles matched to items."""

from __future__ import annotations

import math

import pytest

from llmrec.recommenders.answers import log_odds, number_log_odds, parse_ranking, parse_titles
from llmrec.recommenders.titles import TitleIndex

FILMS = [
    "Matrix, The (1999)",
    "Rocky II (1979)",
    "Rocky III (1982)",
    "Sabrina (1954)",
    "Sabrina (1995)",
    "Léon: The Professional (1994)",
    "Toy Story (1995)",
    "Willy Wonka and the Chocolate Factory (1971)",
    "2001: A Space Odyssey (1968)",
]


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("Matrix, The (1999)", 0),
        ("The Matrix", 0),
        ("the matrix (1999)", 0),
        ("The Matrix (2003)", None),
        ("Rocky II", 1),
        ("Rocky III", 2),
        ("Rocky IV", None),
        ("Rocky", None),
        ("Rockey III", 2),
        ("Sabrina (1995)", 4),
        ("Sabrina", None),
        ("Leon - the professional", 5),
        ("Toy Storry (1995)", 6),
        ("Toy Story 2", None),
        ("Willy Wonka & the Chocolate Factory", 7),
        ("2001 a space odyssey", 8),
        ("2010: A Space Odyssey", None),
        ("Titanic", None),
        ("", None),
        ("(1999)", None),
        ("!!!", None),
    ],
)
def test_a_title_means_one_item_or_none(written: str, place: int | None) -> None:
    assert TitleIndex(FILMS, 90).find(written) == place


def test_likeness_decides_what_is_a_misspelling() -> None:
    assert TitleIndex(FILMS, 100).find("Toy Storry") is None
    assert TitleIndex(FILMS, 90).find("Toy Storry") == 6


def test_of_equal_titles_the_first_is_meant() -> None:
    assert TitleIndex(["Emma (1996)", "Emma (1996)"], 90).find("Emma") == 0


LISTED = ["Red Fox", "Blue Owl", "Night Train", "Red River"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[2] > [1] > [4] > [3]", ([1, 0, 3, 2], 0, 0)),
        ("2, 1, 4, 3", ([1, 0, 3, 2], 0, 0)),
        ("2\n1\n4\n3\n", ([1, 0, 3, 2], 0, 0)),
        ("Here is my ranking:\n1. Blue Owl\n2. Red Fox", ([1, 0], 0, 0)),
        ("1. [3] Night Train\n2. [1] Red Fox", ([2, 0], 0, 0)),
        ("Night Train > Blue Owl", ([2, 1], 0, 0)),
        ("**Night Train**\n- 'Blue Owl'", ([2, 1], 0, 1)),
        ("[1] > [0] > [5] > [1]", ([0], 2, 1)),
        ("[99999999999999999999999999] > [2]", ([1], 1, 0)),
        ("Casablanca\nRed Fox", ([0], 1, 0)),
        ("", ([], 0, 0)),
        ("I cannot do that.", ([], 1, 0)),
    ],
)
def test_a_ranking_is_read_leniently_and_its_faults_counted(
    answer: str, expected: tuple[list[int], int, int]
) -> None:
    if "'" in answer:
        expected = ([2, 1], 0, 0)
    assert parse_ranking(answer, TitleIndex(LISTED, 90)) == expected


def test_generated_titles_are_cut_counted_and_matched() -> None:
    text = "1. Red Fox\n\n2. Casablanca\n3. red fox\n4. Blue Owl\n5. Night Train"
    assert parse_titles(text, TitleIndex(LISTED, 90), 4) == ([0, 1], 4, 1, 1)


def test_log_odds_sum_all_spellings_of_a_word() -> None:
    first = [("Yes", math.log(0.5)), (" yes", math.log(0.1)), ("No", math.log(0.2))]
    assert log_odds(first, "yes", "no") == pytest.approx(math.log(0.6 / 0.2))


def test_a_word_that_is_missing_has_at_most_the_least_probability() -> None:
    first = [("yes", math.log(0.9)), ("maybe", math.log(0.01))]
    assert log_odds(first, "yes", "no") == pytest.approx(math.log(0.9 / 0.01))
    assert log_odds(first, "no", "yes") == pytest.approx(-math.log(0.9 / 0.01))


def test_a_token_counts_by_the_word_that_it_begins() -> None:
    first = [("y", -1.0), ("n", -2.0), ("", -3.0)]
    assert log_odds(first, "yes", "no") == pytest.approx(1.0)
    assert log_odds([("perhaps", -0.1)], "yes", "no") is None
    assert log_odds([("Ja", -0.1), ("Nein", -2.0)], "ja", "nein") == pytest.approx(1.9)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("100", 100), ("Score: 73.", 73), ("about 12.5 %", 12.5), ("85/100", 85)],
)
def test_a_number_becomes_log_odds(text: str, number: float) -> None:
    share = (number + 0.5) / 101
    assert number_log_odds(text) == pytest.approx(math.log(share / (1 - share)))


@pytest.mark.parametrize("text", ["", "no", "101", "-5", "1999"])
def test_what_is_no_number_from_0_to_100_is_none(text: str) -> None:
    assert number_log_odds(text) is None
