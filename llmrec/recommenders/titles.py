"""From a title that a model wrote to the item it means, or to none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from llmrec.core.extras import require

YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
ARTICLE = re.compile(r"^(.*), (the|a|an|la|le|les|il|el|das|der|die)$")
NUMERAL = re.compile(r"\d+|[ivx]+")


class TitleIndex:
    """Finds items by title: up to case, accents, articles and punctuation; then by likeness.

    A year in brackets may be missing on one side, if it is then clear which item is meant; two
    different years never match, nor do different numbers: Rocky II is not Rocky III. Of items with
    one and the same title the first is meant.

    Args:
        titles: of the items, by place.
        likeness: least likeness of a misspelt title, 0 to 100 (rapidfuzz's ratio).
    """

    def __init__(self, titles: Sequence[str], likeness: float) -> None:
        self.n = len(titles)
        self._likeness = likeness
        self._places: dict[str, dict[str, int]] = {}
        for place, title in enumerate(titles):
            name, year = split_title(title)
            if name:
                self._places.setdefault(name, {}).setdefault(year, place)
        self._names = list(self._places)
        self._known: dict[str, int | None] = {}

    def find(self, text: str) -> int | None:
        """Return the place of the item that a text names, None if it names none."""
        if text not in self._known:
            self._known[text] = self._find(text)
        return self._known[text]

    def _find(self, text: str) -> int | None:
        name, year = split_title(text)
        if not name:
            return None
        if name in self._places:
            return _of_year(self._places[name], year)
        fuzz = require("rapidfuzz.fuzz", "hosted", "matching the titles that a model wrote")
        process = require("rapidfuzz.process", "hosted", "matching the titles that a model wrote")
        close = process.extract(
            name, self._names, scorer=fuzz.ratio, score_cutoff=self._likeness, limit=5
        )
        for other, _, _ in close:
            if _numerals(other) == _numerals(name):
                place = _of_year(self._places[other], year)
                if place is not None:
                    return place
        return None


def split_title(text: str) -> tuple[str, str]:
    """Return a title as it is compared, and its year, "" if it has none.

    Example:
        >>> split_title("Matrix, The (1999)"), split_title("the MATRIX!")
        (('the matrix', '1999'), ('the matrix', ''))
    """
    text = unicodedata.normalize("NFKC", text).strip()
    found = YEAR.search(text)
    name = YEAR.sub("", text).casefold()
    moved = ARTICLE.match(name)
    if moved:
        name = f"{moved[2]} {moved[1]}"
    plain = unicodedata.normalize("NFKD", name.replace("&", " and ").replace("'", ""))
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", letters).split()), found[1] if found else ""


def _numerals(name: str) -> list[str]:
    return sorted(word for word in name.split() if NUMERAL.fullmatch(word))


def _of_year(places: dict[str, int], year: str) -> int | None:
    if year in places:
        return places[year]
    if year and "" in places:
        return places[""]
    return next(iter(places.values())) if not year and len(places) == 1 else None
