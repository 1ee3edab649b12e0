"""How good written texts are: BLEU, ROUGE, distinct n-grams, features, and named items.

All of it works on words as `words` splits them: lower case, punctuation left out. Everything is in
0..1 but `feature_diversity`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llmrec.core.errors import DataError

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_FUNCTION_WORDS = """
a about after again all also am an and any are as at back be because been before being but by can
can't could did didn't do does doesn't doing don't down each even ever every for from get gets
getting go goes going got had has have having he her here him his how i i'm i've if in into is isn't
it it's its just like make makes many me more most much my no nor not now of off on once one only or
other our out over own put really same she should so some such than that that's the their them then
there these they they're this those though through to too two under until up us very was wasn't way
we well were what when where which while who why will with won't would you your
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
MARKED = re.compile(r"\[\[(.+?)\]\]")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation.

    Example:
        >>> words("It's GREAT, 5 stars!")
        ["it's", 'great', '5', 'stars']
    """
    return WORD.findall(text.lower())


def _same_number(written: Sequence[str], truth: Sequence[str]) -> None:
    if len(written) != len(truth):
        raise DataError(f"{len(written)} texts cannot be compared with {len(truth)} true ones")


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _matches(written: Sequence[str], truth: Sequence[str], max_n: int) -> np.ndarray:
    """Return (2 max_n + 2,) counts: clipped matches and n-grams by length, both lengths."""
    row = np.zeros(2 * max_n + 2)
    for n in range(1, max_n + 1):
        grams = _grams(written, n)
        row[n - 1] = (grams & _grams(truth, n)).total()
        row[max_n + n - 1] = grams.total()
    row[-2:] = len(written), len(truth)
    return row


def _bleu_of(row: np.ndarray, max_n: int, smoothing: float) -> float:
    matched, total = row[:max_n].copy(), row[max_n : 2 * max_n].copy()
    if not matched.any():
        return 0.0
    matched[1:] += smoothing
    total[1:] += smoothing
    if not matched.all():
        return 0.0
    length, wanted = row[-2:]
    brevity = min(0.0, 1 - wanted / length)
    return float(math.exp(brevity + np.mean(np.log(matched / total))))


def corpus_bleu(written: Sequence[str], truth: Sequence[str], max_n: int = 4) -> float:
    """Return BLEU-`max_n` of all texts together, without smoothing (Papineni et al., 2002).

    Args:
        written: N texts.
        truth: N true ones, one for each.
        max_n: longest n-gram; all lengths weigh the same.

    Raises:
        DataError: if there are more of one than of the other.
    """
    _same_number(written, truth)
    rows = [_matches(words(w), words(t), max_n) for w, t in zip(written, truth, strict=True)]
    return _bleu_of(np.sum(rows, axis=0), max_n, 0.0) if rows else 0.0


def bleu_per_text(written: Sequence[str], truth: Sequence[str], max_n: int = 4) -> np.ndarray:
    """Return (N,) BLEU of each text; n-grams above 1 are smoothed by one (Lin and Och, 2004).

    Raises:
        DataError: if there are more of one than of the other.
    """
    _same_number(written, truth)
    pairs = zip(written, truth, strict=True)
    return np.array([_bleu_of(_matches(words(w), words(t), max_n), max_n, 1.0) for w, t in pairs])


def rouge_per_text(written: Sequence[str], truth: Sequence[str], kind: int | str = 1) -> np.ndarray:
    """Return (N,) F1 of ROUGE (Lin, 2004), without stemming.

    Args:
        written: N texts.
        truth: N true ones.
        kind: 1 or 2 for shared n-grams, ``L`` for the longest common subsequence.

    Raises:
        DataError: if there are more of one than of the other.
    """
    _same_number(written, truth)
    values = []
    for left, right in zip(written, truth, strict=True):
        a, b = words(left), words(right)
        if kind == "L":
            shared, n_a, n_b = _common(a, b), len(a), len(b)
        else:
            grams, true = _grams(a, int(kind)), _grams(b, int(kind))
            shared, n_a, n_b = (grams & true).total(), grams.total(), true.total()
        values.append(2 * shared / (n_a + n_b) if shared else 0.0)
    return np.array(values)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        corner = 0
        for place, other in enumerate(b, start=1):
            above = row[place]
            row[place] = corner + 1 if word == other else max(above, row[place - 1])
            corner = above
    return row[-1]


def distinct(written: Sequence[str], n: int = 1) -> float:
    """Return the share of different n-grams among all n-grams written (Li et al., 2016)."""
    grams: Counter[tuple[str, ...]] = Counter()
    for text in written:
        grams.update(_grams(words(text), n))
    return len(grams) / grams.total() if grams else 0.0


def unique_sentence_ratio(written: Sequence[str]) -> float:
    """Return the share of different texts among all (USR of Li et al., 2020)."""
    return len({tuple(words(text)) for text in written}) / len(written) if len(written) else 0.0


@dataclass(frozen=True)
class Features:
    """The features that texts may name, and how well written texts cover them.

    NETE's measures (Li, Zhang and Chen, CIKM 2020), which PEPLER reports too. A feature is one
    word.

    Attributes:
        names: the features.
    """

    names: frozenset[str]

    @classmethod
    def frequent(
        cls,
        texts: Sequence[str],
        stop: Collection[str] = FUNCTION_WORDS,
        n: int = 200,
        least: int = 3,
    ) -> Features:
        """Take the words that most texts name, other than stop words: no parser, no lexicon.

        Args:
            texts: training texts only.
            stop: words that are none; by default English function words.
            n: how many at most; ties by alphabet.
            least: texts that must name one.
        """
        counts = Counter(word for text in texts for word in set(words(text)))
        kept = [w for w, c in counts.items() if c >= least and len(w) > 2 and w not in stop]
        return cls(frozenset(sorted(kept, key=lambda w: (-counts[w], w))[:n]))

    def of(self, texts: Sequence[str]) -> list[frozenset[str]]:
        """Return the features that each text names."""
        return [self.names.intersection(words(text)) for text in texts]

    def coverage_ratio(self, written: Sequence[str]) -> float:
        """Return FCR: the share of all features that appear in any written text."""
        if not self.names:
            return 0.0
        return len(frozenset().union(*self.of(written))) / len(self.names)

    def matching_ratio(self, written: Sequence[str], truth: Sequence[str]) -> float:
        """Return FMR: the share of the features of the true text that the written one names.

        The mean over texts whose truth names any; with one feature per truth it is NETE's.
        """
        pairs = zip(self.of(written), self.of(truth), strict=True)
        shares = [len(found & wanted) / len(wanted) for found, wanted in pairs if wanted]
        return float(np.mean(shares)) if shares else math.nan

    def diversity(self, written: Sequence[str]) -> float:
        """Return DIV: features that two texts share, mean over all pairs; *lower* is better."""
        n = len(written)
        if n < 2:
            return math.nan
        counts = Counter(feature for found in self.of(written) for feature in found)
        return sum(c * (c - 1) for c in counts.values()) / (n * (n - 1))


class Titles:
    """Finds the items that a text names, and says which of them the catalogue has.

    Two ways to name an item, and no other: a span marked ``[[…]]``, whatever stands in it; and,
    outside of marks, the words of a catalogue title, upper and lower case and punctuation aside,
    the longest title first, in one pass over a trie of words. So only a marked name can be found
    to be invented; an unmarked name that is no title is not seen as a name at all.

    Args:
        titles: of the catalogue; two items may share one.
        least_words: of a title that is looked for unmarked: shorter ones are ordinary words.
    """

    def __init__(self, titles: Sequence[str], least_words: int = 2) -> None:
        self.known = {tuple(words(title)): words_of(title) for title in titles if words(title)}
        self._root: dict[str, object] = {}
        for title in self.known:
            if len(title) < least_words:
                continue
            node = self._root
            for word in title:
                node = node.setdefault(word, {})  # type: ignore[assignment]
            node[""] = title

    def mentions(self, text: str) -> list[tuple[str, bool]]:
        """Return each name in the text, in order within its way, and whether it is a title."""
        found = []
        for span in MARKED.findall(text):
            title = tuple(words(span))
            found.append((self.known.get(title, span.strip()), title in self.known))
        tokens = words(MARKED.sub(" \n ", text))
        place = 0
        while place < len(tokens):
            node, best = self._root, None
            for end in range(place, len(tokens)):
                after = node.get(tokens[end])
                if not isinstance(after, dict):
                    break
                node = after
                if "" in node:
                    best = end + 1, node[""]
            if best is None:
                place += 1
            else:
                place, title = best  # type: ignore[assignment]
                found.append((self.known[title], True))
        return found


def words_of(title: str) -> str:
    """Return a title without outer and double blanks."""
    return " ".join(title.split())


def grounding(written: Sequence[str], titles: Titles) -> dict[str, float]:
    """Return how many items the texts name and how many of them the catalogue has.

    Returns:
        ``mentions_per_text``, ``grounded``: share of names that are titles (NaN without names),
        ``invented_texts``: share of texts with a name that is none.
    """
    found = [titles.mentions(text) for text in written]
    known = [ok for names in found for _, ok in names]
    invented = [any(not ok for _, ok in names) for names in found]
    return {
        "mentions_per_text": len(known) / len(found) if found else 0.0,
        "grounded": float(np.mean(known)) if known else math.nan,
        "invented_texts": float(np.mean(invented)) if found else 0.0,
    }


def recommending(
    written: Sequence[str], truth: Sequence[str], given: Sequence[str], titles: Titles
) -> dict[str, float]:
    """Return how many texts recommend an item, and how many the one that the true text does.

    A text recommends the items of the catalogue that it names and that the text before it does not:
    to repeat what the other one has just named is no recommendation.

    Returns:
        ``recommends``: share of texts that recommend an item; ``recommends_true``: among those
        whose true text recommends any, the share that recommends one of the same (NaN without).

    Raises:
        DataError: if there are more of one than of the other.
    """
    _same_number(written, truth)
    _same_number(given, truth)
    shares, hits = [], []
    for text, true, before in zip(written, truth, given, strict=True):
        old, new, wanted = ({n for n, ok in titles.mentions(t) if ok} for t in (before, text, true))
        shares.append(bool(new - old))
        if wanted - old:
            hits.append(bool(new & wanted - old))
    return {
        "recommends": float(np.mean(shares)) if shares else 0.0,
        "recommends_true": float(np.mean(hits)) if hits else math.nan,
    }


def text_report(
    written: Sequence[str],
    truth: Sequence[str],
    features: Features,
    titles: Titles,
    given: Sequence[str] | None = None,
) -> Mapping[str, float]:
    """Return every measure of N written texts beside N true ones.

    Args:
        written: N texts.
        truth: N true ones.
        features: that the texts may name.
        titles: of the catalogue.
        given: of conversations, the N texts before, which tells what is recommended anew.

    Raises:
        DataError: if there are more of one than of the other.
    """
    _same_number(written, truth)
    return {
        "bleu-1": corpus_bleu(written, truth, 1),
        "bleu-4": corpus_bleu(written, truth, 4),
        **{
            f"rouge-{kind}": float(np.mean(rouge_per_text(written, truth, kind)))
            for kind in (1, 2, "L")
        },
        "distinct-1": distinct(written, 1),
        "distinct-2": distinct(written, 2),
        "usr": unique_sentence_ratio(written),
        "fcr": features.coverage_ratio(written),
        "fmr": features.matching_ratio(written, truth),
        "div": features.diversity(written),
        **grounding(written, titles),
        **({} if given is None else recommending(written, truth, given, titles)),
        "empty": float(np.mean([not words(text) for text in written])),
    }
