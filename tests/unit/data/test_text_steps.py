from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import Dataset, Interactions
from llmrec.data.cleaning import clean_dataset, is_invalid, text_report
from llmrec.data.text import (
    Case,
    Controls,
    Html,
    Language,
    NoCopies,
    Repeats,
    Segment,
    SpecialCharacters,
    StopWords,
    Truncate,
    Unicode,
    Urls,
)

EXAMPLES = [
    (Html(), "<p>Tom &amp; Jerry<br>it&#39;s <b>bold</b></p>", "Tom & Jerry it's bold"),
    (Html(), "a < b and c > d", "a < b and c > d"),
    (Html(), "I <3 this", "I <3 this"),
    (Html(), "x<script>alert(1)</script>y", "xy"),
    (Html(), "un<b>closed", "unclosed"),
    (Html(), "AT&amp;T", "AT&T"),
    (Urls(), "see https://a.b/c?d=e, or WWW.x.org.", "see , or ."),
    (Urls(replacement="[URL]"), "(http://x.y/z)", "([URL])"),
    (Urls(), "nothing here", "nothing here"),
    (Unicode(), "Ｆｕｌｌ ﬁne ①", "Full fine 1"),
    (Unicode(form="NFC"), "cafe\u0301", "café"),
    (Controls(), "a\x00b\tc\n\nd\u200be\ufffd", "ab c de"),
    (Controls(), "  two  blanks ", "two blanks"),
    (Controls(), "می\u200cخواهم", "می\u200cخواهم"),
    (Controls(), "👩\u200d🚀 ok", "👩\u200d🚀 ok"),
    (SpecialCharacters(), "good★ *5* #1 €3 😀", "good★ 5 1 €3 😀"),
    (SpecialCharacters(emoji=False, keep=""), "good! 😀 yes", "good yes"),
    (SpecialCharacters(keep=""), "हिन्दी, में", "हिन्दी में"),
    (Case(), "ÄPFEL", "äpfel"),
    (Repeats(), "sooooo good!!!!! 1000000", "sooo good!!! 1000000"),
    (Repeats(at_most=1), "aabb", "ab"),
    (Repeats(), "好好好好好", "好好好"),
    (StopWords(), "This is a wooden Book for me", "wooden Book"),
    (StopWords(languages=["de"]), "das ist ein Buch", "Buch"),
    (Segment(), "我来到北京清华大学 ok", "我 来到 北京 清华大学 ok"),
    (Segment(), "plain", "plain"),
    (Truncate(max_characters=8), "one two three", "one two"),
    (Truncate(max_characters=7), "one two three", "one two"),
    (Truncate(max_characters=4), "abcdefgh", "abcd"),
    (Truncate(max_characters=99), "short", "short"),
    (Language(keep=["en"]), "das hier ist ein sehr schönes deutsches Buch", ""),
    (Language(keep=["en"]), "this is a very nice English book", "this is a very nice English book"),
    (Language(keep=["en"]), "très bon", "très bon"),
    (Language(), "das hier ist ein sehr schönes Buch", "das hier ist ein sehr schönes Buch"),
]


@pytest.mark.parametrize(("step", "text", "cleaned"), EXAMPLES)
def test_a_step_by_example(step, text: str, cleaned: str) -> None:
    assert step.apply([text, "", text]) == [cleaned, "", cleaned]


STEPS = sorted({type(step) for step, *_ in EXAMPLES} - {Segment}, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", STEPS)
@given(texts=st.lists(st.text(max_size=40), max_size=5))
def test_whatever_is_written_a_step_returns_as_many_texts(cls, texts: list[str]) -> None:
    done = cls().apply(texts)
    assert len(done) == len(texts)
    assert all(isinstance(text, str) for text in done)


IDEMPOTENT = [Urls, Unicode, Controls, SpecialCharacters, Repeats, Truncate]


@pytest.mark.parametrize("cls", IDEMPOTENT)
@given(text=st.text(max_size=40))
def test_cleaning_twice_changes_nothing_more(cls, text: str) -> None:
    once = cls().apply([text])
    assert cls().apply(once) == once


def test_languages_are_counted() -> None:
    texts = [
        "this is a book that I like",
        "das ist ein Buch das ich mag",
        "这本书非常好看啊",
        "ok",
        "",
    ]
    assert Language().facts(texts) == {"de": 1, "en": 1, "undecided": 1, "zh": 1}


def test_no_copies_keeps_the_first_and_short_ones() -> None:
    words = "the very same eight words stand here again"
    texts = [words, "ok", words.upper(), f"{words} twice", "ok", "nothing like any of the others"]
    assert NoCopies().apply(texts) == [words, "ok", "", "", "ok", texts[5]]
    assert NoCopies(threshold=1).apply(texts) == [words, "ok", "", texts[3], "ok", texts[5]]


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"name": "truncate", "max_characters": 0}, "max_characters"),
        ({"name": "repeats", "at_most": 0}, "at_most"),
        ({"name": "no_copies", "threshold": 0.1}, "threshold"),
        ({"name": "no_copies", "min_words": 0}, "min_words"),
        ({"name": "language", "min_words": 0}, "min_words"),
        ({"name": "stop_words", "languages": ["english"]}, "languages"),
        ({"name": "unicode", "form": "UTF-8"}, "form"),
    ],
)
def test_wrong_options_are_refused(spec, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        build("text_step", spec)


def test_stop_words_of_a_language_that_does_not_exist() -> None:
    with pytest.raises(DataError, match='unknown language of stop words "xx"'):
        StopWords(languages=["xx"]).apply(["a b"])


def dataset() -> Dataset:
    reviews = ["<b>Good</b>", "\x00bad", "", "one and the same long text here"]
    log = Interactions(
        np.zeros(5, np.int32),
        np.array([0, 1, 0, 1, 0], np.int32),
        text=np.array([*reviews, "ONE and the same long text here!"], dtype=object),
    )
    titles = np.array(["<i>Alien</i>", "***"], dtype=object)
    years = np.array(["1979", ""], dtype=object)
    fields = {"title": titles, "year": years}
    return Dataset("toy", log, np.array(["u"]), np.array(["a", "b"]), fields)


def test_a_data_set_is_cleaned_and_counted() -> None:
    data = dataset()
    done = clean_dataset(data, {"html": Html(), "controls": Controls(), "copies": NoCopies()})
    assert done.item_fields["title"].tolist() == ["Alien", "***"]
    assert done.interactions.text.tolist() == ["Good", "bad", "", data.interactions.text[3], ""]
    assert len(done) == len(data)
    report = done.source["text"]
    assert report["before"]["text"] == {
        "texts": 5,
        "missing": 1,
        "invalid": 1,
        "duplicate": 1,
        "near_duplicate": 0,
    }
    assert report["after"]["text"]["missing"] == 2
    assert report["after"]["text"]["invalid"] == 0
    assert report["before"]["title"]["invalid"] == report["after"]["title"]["invalid"] == 1
    assert report["before"]["year"]["missing"] == 1
    steps = {(each["step"], each["field"]): each for each in report["steps"]}
    assert steps["html", "title"] == {"step": "html", "field": "title", "changed": 1, "emptied": 0}
    assert steps["copies", "text"]["emptied"] == 1
    assert ("copies", "title") not in steps
    assert done.fingerprint != data.fingerprint
    assert clean_dataset(data, {}) is data


def test_chosen_columns_only() -> None:
    data = dataset()
    done = clean_dataset(data, {"html": Html(fields=["title"])})
    assert done.interactions.text.tolist() == data.interactions.text.tolist()
    with pytest.raises(DataError, match="text column of toy in step html"):
        clean_dataset(data, {"html": Html(fields=["titel"])})
    silent = data.with_interactions(replace(data.interactions, text=None))
    assert clean_dataset(silent, {"copies": NoCopies()}).interactions.text is None


def test_languages_are_reported() -> None:
    report = clean_dataset(dataset(), {"l": Language(fields=["text"])}).source["text"]
    assert report["steps"][0]["facts"] == {"undecided": 2, "en": 2}


@pytest.mark.parametrize(
    ("text", "invalid"),
    [
        ("fine", False),
        ("caf\ufffd", True),
        ("***", True),
        ("a\nb", False),
        ("\x07a", True),
        ("😀", False),
        ("\ud800x", True),
        ("भारत", False),
    ],
)
def test_invalid(text: str, invalid: bool) -> None:
    assert is_invalid(text) is invalid


def test_the_report_of_copies() -> None:
    words = "the very same eight words stand here again"
    assert text_report([words, words, f"{words} twice", "ok", "ok"]) == {
        "texts": 5,
        "missing": 0,
        "invalid": 0,
        "duplicate": 1,
        "near_duplicate": 1,
    }
