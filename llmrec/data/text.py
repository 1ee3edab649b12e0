"""Steps that clean texts, each of them optional; they work on one text at a time but for copies.

A step never drops a row: a text that it empties is counted (`llmrec.data.cleaning`).
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from html.parser import HTMLParser
from typing import Any, Literal

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError, unknown
from llmrec.core.extras import require
from llmrec.data.duplicates import identical_texts, near_duplicates

WORD = re.compile(r"\w+(?:['’]\w+)*")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
BLANKS = re.compile(r"\s+")


class _EachText:
    """What steps share that look at one text at a time."""

    fields: Sequence[str] | None

    def clean(self, text: str) -> str:
        """Return the cleaned text."""
        raise NotImplementedError

    def apply(self, texts: Sequence[str]) -> list[str]:
        # Titles and short reviews repeat: each distinct text is cleaned once.
        done: dict[str, str] = {}
        for text in texts:
            if text not in done:
                done[text] = self.clean(text)
        return [done[text] for text in texts]


class Html(_EachText):
    """Takes HTML tags out and turns entities into characters; scripts and styles go wholly.

    Args:
        fields: columns to clean; null: all item fields and what users write (``text``).
    """

    def __init__(self, *, fields: Sequence[str] | None = None) -> None:
        self.fields = fields
        construct_check(self)

    def clean(self, text: str) -> str:
        if "<" not in text:
            return html.unescape(text) if "&" in text else text
        parser = _Words()
        parser.feed(text)
        parser.close()
        return BLANKS.sub(" ", "".join(parser.parts)).strip()


class _Words(HTMLParser):
    BLOCKS = frozenset({"br", "p", "div", "li", "tr", "td", "th", "h1", "h2", "h3", "hr", "ul"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
        self._silent += tag in ("script", "style")
        self.parts.append(" " if tag in self.BLOCKS else "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._silent = max(self._silent - 1, 0)
        self.parts.append(" " if tag in self.BLOCKS else "")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


class Urls(_EachText):
    """Replaces web addresses.

    Args:
        replacement: what stands in their place, e.g. ``[URL]``.
        fields: columns to clean; null: all item fields and what users write.
    """

    PATTERN = re.compile(r"(?:https?://|ftp://|www\.)[^\s<>\"]+", re.IGNORECASE)

    def __init__(self, *, replacement: str = "", fields: Sequence[str] | None = None) -> None:
        self.replacement = replacement
        self.fields = fields
        construct_check(self)

    def clean(self, text: str) -> str:
        def put(found: re.Match[str]) -> str:
            # The full stop after an address belongs to the sentence.
            address = found[0]
            return self.replacement + address[len(address.rstrip(".,;:!?)]}'")) :]

        changed = self.PATTERN.sub(put, text)
        return text if changed == text else BLANKS.sub(" ", changed).strip()


class Unicode(_EachText):
    """Writes equal characters in one way: full-width letters, ligatures, composed accents.

    Args:
        form: of Unicode; the ones with K also replace look-alikes such as ``①``.
        fields: columns to clean; null: all item fields and what users write.
    """

    def __init__(
        self,
        *,
        form: Literal["NFC", "NFKC", "NFD", "NFKD"] = "NFKC",
        fields: Sequence[str] | None = None,
    ) -> None:
        self.form = form
        self.fields = fields
        construct_check(self)

    def clean(self, text: str) -> str:
        return unicodedata.normalize(self.form, text)


class Controls(_EachText):
    """Takes out control characters, damaged characters and invisible ones; blanks become single.

    Line breaks and tabs become blanks. The joiners that Persian and emoji need stay.

    Args:
        fields: columns to clean; null: all item fields and what users write.
    """

    KEPT = frozenset("\u200c\u200d")

    def __init__(self, *, fields: Sequence[str] | None = None) -> None:
        self.fields = fields
        construct_check(self)

    def clean(self, text: str) -> str:
        if text.isascii() and text.isprintable():
            return BLANKS.sub(" ", text).strip()
        kept = "".join(
            character
            for character in BLANKS.sub(" ", text)
            if character in self.KEPT
            or (unicodedata.category(character)[0] != "C" and character != "\ufffd")
        )
        return BLANKS.sub(" ", kept).strip()


class SpecialCharacters(_EachText):
    """Takes out everything but letters, digits, blanks and chosen signs.

    Args:
        keep: signs that stay.
        emoji: whether emoji stay (they say what people feel).
        fields: columns to clean; null: all item fields and what users write.
    """

    def __init__(
        self,
        *,
        keep: str = ".,;:!?'’\"()-&/%$€£",
        emoji: bool = True,
        fields: Sequence[str] | None = None,
    ) -> None:
        self.keep = keep
        self.emoji = emoji
        self.fields = fields
        construct_check(self)

    def clean(self, text: str) -> str:
        kept = [character if self._stays(character) else " " for character in text]
        changed = "".join(kept)
        return text if changed == text else BLANKS.sub(" ", changed).strip()

    def _stays(self, character: str) -> bool:
        if character.isalnum() or character.isspace() or character in self.keep:
            return True
        # Marks belong to the letter before them.
        kind = unicodedata.category(character)
        if kind[0] == "M" or character in Controls.KEPT:
            return True
        return self.emoji and kind in ("So", "Sk") and ord(character) >= 0x2190


class Case(_EachText):
    """Writes all letters small.

    Args:
        fields: columns to clean; null: all item fields and what users write.
    """

    def __init__(self, *, fields: Sequence[str] | None = None) -> None:
        self.fields = fields
        construct_check(self)

    def clean(self, text: str) -> str:
        return text.lower()


class Repeats(_EachText):
    """Shortens runs of one character: "sooooo good!!!!!" becomes "sooo good!!!".

    Args:
        at_most: length of the longest run of one letter or sign that stays; digits keep theirs.
        fields: columns to clean; null: all item fields and what users write.
    """

    def __init__(self, *, at_most: int = 3, fields: Sequence[str] | None = None) -> None:
        self.at_most = at_most
        self.fields = fields
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        least = params.get("at_most", 3)
        return [] if least >= 1 else [("at_most", f"at least 1, got {least}")]

    @cached_property
    def _run(self) -> re.Pattern[str]:
        return re.compile(rf"([^\d\s])\1{{{self.at_most},}}")

    def clean(self, text: str) -> str:
        return self._run.sub(lambda found: found[1] * self.at_most, text)


class StopWords(_EachText):
    """Takes out the frequent words of some languages (lists of the package stopwordsiso).

    For counts of words; a language model wants its sentences whole. Chinese needs `segment` first.

    Args:
        languages: two-letter codes, e.g. ``[en, de]``.
        fields: columns to clean; null: all item fields and what users write.
    """

    def __init__(
        self, *, languages: Sequence[str] = ("en",), fields: Sequence[str] | None = None
    ) -> None:
        self.languages = languages
        self.fields = fields
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        wrong = [code for code in params.get("languages", ()) if len(code) not in (2, 3)]
        return [("languages", f"two-letter codes such as en, got {', '.join(wrong)}")] * bool(wrong)

    @cached_property
    def _words(self) -> frozenset[str]:
        known = require("stopwordsiso", "text", "the step stop_words")
        for code in self.languages:
            if not known.has_lang(code):
                raise DataError(unknown("language of stop words", code, known.langs()))
        return frozenset(word for code in self.languages for word in known.stopwords(code))

    def clean(self, text: str) -> str:
        stops = self._words
        kept = WORD.sub(lambda found: "" if found[0].lower() in stops else found[0], text)
        return text if kept == text else BLANKS.sub(" ", kept).strip()


class Segment(_EachText):
    """Puts blanks between Chinese words (jieba); other scripts stay as they are.

    Args:
        fields: columns to clean; null: all item fields and what users write.
    """

    def __init__(self, *, fields: Sequence[str] | None = None) -> None:
        self.fields = fields
        construct_check(self)

    @cached_property
    def _jieba(self) -> Any:
        import logging

        jieba = require("jieba", "text", "the step segment")
        jieba.setLogLevel(logging.WARNING)
        return jieba

    def clean(self, text: str) -> str:
        if not HAN.search(text):
            return text
        cut = HAN.sub(lambda found: f" {' '.join(self._jieba.cut(found[0]))} ", text)
        return BLANKS.sub(" ", cut).strip()


class Language(_EachText):
    """Counts languages (py3langid, no network), and may empty texts in other ones.

    A guess on a few words is often wrong: texts below `min_words` count as undecided and stay.

    Args:
        keep: two-letter codes; null keeps all and only counts.
        min_words: shorter texts are not judged; each Chinese, Japanese or Korean character counts.
        fields: columns to look at; null: all item fields and what users write.
    """

    def __init__(
        self,
        *,
        keep: Sequence[str] | None = None,
        min_words: int = 5,
        fields: Sequence[str] | None = None,
    ) -> None:
        self.keep = keep
        self.min_words = min_words
        self.fields = fields
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        least = params.get("min_words", 5)
        return [] if least >= 1 else [("min_words", f"at least 1, got {least}")]

    @cached_property
    def _known(self) -> dict[str, str]:
        return {}

    def language(self, text: str) -> str:
        """Return the two-letter code of a text's language, "" if it is too short to say."""
        if text not in self._known:
            detector = require("py3langid", "text", "the step language")
            han = sum(map(len, HAN.findall(text)))
            n_words = len(WORD.findall(HAN.sub(" ", text))) + han
            decided = n_words >= self.min_words
            self._known[text] = str(detector.classify(text)[0]) if decided else ""
        return self._known[text]

    def clean(self, text: str) -> str:
        if self.keep is None or self.language(text) in ("", *self.keep):
            return text
        return ""

    def facts(self, texts: Sequence[str]) -> dict[str, int]:
        """Return how many texts are in each language, the most frequent first."""
        counts: dict[str, int] = {}
        for text in texts:
            if text:
                name = self.language(text) or "undecided"
                counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


class Truncate(_EachText):
    """Cuts texts after a number of characters, at the last blank before it.

    Args:
        max_characters: length of the longest text that stays whole.
        fields: columns to clean; null: all item fields and what users write.
    """

    def __init__(self, *, max_characters: int = 2000, fields: Sequence[str] | None = None) -> None:
        self.max_characters = max_characters
        self.fields = fields
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        least = params.get("max_characters", 2000)
        return [] if least >= 1 else [("max_characters", f"at least 1, got {least}")]

    def clean(self, text: str) -> str:
        if len(text) <= self.max_characters:
            return text
        cut = text[: self.max_characters]
        # A word that the cut went through goes wholly, unless there is nothing else.
        through = not (cut[-1].isspace() or text[self.max_characters].isspace())
        if through and BLANKS.search(cut.strip()):
            cut = cut.rsplit(None, 1)[0]
        return cut.rstrip()


class NoCopies:
    """Empties a text that an earlier row has already, word for word or nearly so.

    The row stays, without its text. Rows are in time order: the first who wrote it keeps it.

    Args:
        threshold: similarity (common word triples) from which texts count as copies; 1: the same
            words.
        min_words: shorter texts stay: people write the same short things.
        fields: columns to clean (equal titles of items are not copies).
    """

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        min_words: int = 5,
        fields: Sequence[str] = ("text",),
    ) -> None:
        self.threshold = threshold
        self.min_words = min_words
        self.fields = fields
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        share, least = params.get("threshold", 0.8), params.get("min_words", 5)
        problems = []
        if not 0.5 <= share <= 1:
            problems.append(("threshold", f"from 0.5 to 1, got {share:g}"))
        if least < 1:
            problems.append(("min_words", f"at least 1, got {least}"))
        return problems

    def apply(self, texts: Sequence[str]) -> list[str]:
        kept = list(texts)
        same = identical_texts(texts, texts, self.min_words)
        for place, other in zip(same.left.tolist(), same.right.tolist(), strict=True):
            if other < place:
                kept[place] = ""
        if self.threshold < 1:
            near = near_duplicates(kept, threshold=self.threshold, min_words=self.min_words)
            for place in near.left.tolist():
                kept[place] = ""
        return kept
