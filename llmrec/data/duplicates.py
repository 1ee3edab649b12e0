"""Texts that say the same: equal after folding, or nearly equal (shared runs of words)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from llmrec.core.types import Ragged

N_BANDS, N_ROWS = 16, 4
SHINGLE = 3
MIN_WORDS = 5
# Texts of one band compared with each other: a boilerplate sentence must not cost a square.
PER_BUCKET = 8
BLOCK = 20_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """Texts of one side that have a copy on the other.

    Attributes:
        left: (P,) places in the first list.
        right: (P,) places in the second list: one copy of each left text, the most similar found.
        similarity: (P,) float64 Jaccard similarity of their word triples; 1 means the same words.
    """

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray

    def __len__(self) -> int:
        return len(self.left)


def word_codes(texts: Sequence[str]) -> Ragged:
    """Return a 64-bit code of each word of each text: (N,) ragged uint64.

    Case and everything that is no letter, digit or mark is ignored. Chinese, Japanese and Korean
    characters, which stand without blanks, are words of their own.
    """
    joined = "\n".join(text.replace("\n", " ") for text in texts).lower()
    # Lower-casing can change lengths ("İ"), never the number of lines.
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.append(np.flatnonzero(points == ord("\n")), len(points))
    if not texts:
        return Ragged.empty(0, np.uint64)
    kind = _kinds(points)
    inside, single = kind > 0, kind == 2
    before = np.concatenate([[0], kind[:-1]])
    first = inside & ((before == 0) | single | (before == 2))
    starts = np.flatnonzero(first)
    if not len(starts):
        return Ragged.empty(len(texts), np.uint64)
    word = np.cumsum(first) - 1
    chosen = np.flatnonzero(inside)
    # A polynomial in the place within the word, modulo 2^64: equal words, equal codes.
    place = chosen - starts[word[chosen]]
    powers = _powers(int(place.max()) + 1)
    terms = (points[chosen].astype(np.uint64) + np.uint64(1)) * powers[place]
    codes = np.add.reduceat(terms, np.searchsorted(chosen, starts))
    text_of = np.searchsorted(ends, starts)
    counts = np.bincount(text_of, minlength=len(texts))
    return Ragged(_mixed(codes), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def text_codes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) uint64, equal for texts of the same words in the same order; (N,) word counts."""
    words = word_codes(texts)
    powers = _powers(int(words.lengths.max(initial=0)) + 1)
    sums = np.zeros(len(words), np.uint64)
    some = words.lengths > 0
    if some.any():
        weighted = words.values * powers[words.place_of]
        sums[some] = np.add.reduceat(weighted, words.offsets[:-1][some])
    return _mixed(sums), words.lengths


def shingles(texts: Sequence[str], size: int = SHINGLE) -> Ragged:
    """Return the distinct runs of `size` words of each text, as sorted 64-bit codes: (N,) ragged.

    A text with fewer words has none.
    """
    words = word_codes(texts)
    n = len(words.values) - size + 1
    if n <= 0:
        return Ragged.empty(len(texts), np.uint64)
    code = np.zeros(n, np.uint64)
    for place in range(size):
        code = _mixed(code + words.values[place : place + n])
    row = words.row_of
    kept = row[:n] == row[size - 1 : size - 1 + n]
    row, code = row[:n][kept], code[kept]
    order = np.lexsort((code, row))
    row, code = row[order], code[order]
    new = np.ones(len(row), bool)
    new[1:] = (row[1:] != row[:-1]) | (code[1:] != code[:-1])
    counts = np.bincount(row[new], minlength=len(texts))
    return Ragged(code[new], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def identical_texts(left: Sequence[str], right: Sequence[str], min_words: int = MIN_WORDS) -> Pairs:
    """Return the texts of `left` whose words stand in the same order in a text of `right`.

    Texts of fewer than `min_words` words are left out: people write the same short things.
    """
    a, words = text_codes(left)
    b, _ = text_codes(right)
    if not len(b):
        return _no_pairs()
    order = np.argsort(b, kind="stable")
    place = np.minimum(np.searchsorted(b[order], a), len(b) - 1)
    found = np.flatnonzero((b[order][place] == a) & (words >= min_words))
    return Pairs(found, order[place[found]], np.ones(len(found)))


def near_duplicates(
    left: Sequence[str],
    right: Sequence[str] | None = None,
    *,
    threshold: float = 0.8,
    min_words: int = MIN_WORDS,
) -> Pairs:
    """Return the texts of `left` that are (nearly) the same as one of `right`.

    Candidates come from MinHash signatures (Broder, 1997) in 16 bands of 4; each is then compared
    exactly. A pair of similarity 0.8 is missed once in 5,000; of very many nearly equal texts each
    is compared with a few.

    Args:
        left: N texts.
        right: M texts; None looks within `left` (a text is then paired with an earlier one).
        threshold: Jaccard similarity of their word triples from which a pair counts.
        min_words: shorter texts are left out.
    """
    own = right is None
    texts = [*left, *(() if right is None else right)]
    rows = shingles(texts)
    long = rows.lengths >= max(min_words - SHINGLE + 1, 1)
    signatures = _signatures(rows)
    n = len(left)
    ours, theirs = np.flatnonzero(long[:n]), np.flatnonzero(long if own else long[n:])
    theirs = theirs if own else theirs + n
    found: list[np.ndarray] = []
    for band in range(N_BANDS):
        keys = _band_keys(signatures, band)
        found.append(_candidates(keys, ours, theirs, own=own))
    pairs = np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)
    similarity = _jaccard(rows, pairs)
    kept = similarity >= threshold
    pairs, similarity = pairs[kept], similarity[kept]
    order = np.lexsort((pairs[:, 1], -similarity, pairs[:, 0]))
    pairs, similarity = pairs[order], similarity[order]
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:, 0] != pairs[:-1, 0]
    return Pairs(pairs[first, 0], pairs[first, 1] - (0 if own else n), similarity[first])


def _no_pairs() -> Pairs:
    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


@cache
def _table() -> np.ndarray:
    """Return what each code point of the basic plane is: 0 no word, 1 in a word, 2 a word alone."""
    kinds = np.array([chr(point).isalnum() for point in range(0x10000)], np.uint8)
    # Marks complete the letters of Indic scripts, Arabic and Hebrew.
    for low, high in (
        (0x300, 0x370),
        (0x591, 0x5C8),
        (0x610, 0x61B),
        (0x64B, 0x660),
        (0x900, 0xE50),
    ):
        kinds[low:high] = 1
    kinds[0x964:0x966] = 0
    for low, high in ((0x3040, 0x3100), (0x3400, 0xA000), (0xAC00, 0xD7B0), (0xF900, 0xFB00)):
        kinds[low:high] = 2
    return kinds


def _kinds(points: np.ndarray) -> np.ndarray:
    kinds = _table()[np.minimum(points, 0xFFFF)]
    kinds[points >= 0x20000] = 2  # rare Chinese characters
    kinds[(points >= 0x1F000) & (points < 0x20000)] = 0  # emoji
    return kinds


def _powers(n: int) -> np.ndarray:
    base = np.full(max(n, 1), 0x9E3779B97F4A7C15, np.uint64)
    base[0] = 1
    powers: np.ndarray = np.multiply.accumulate(base)
    return powers


def _mixed(codes: np.ndarray) -> np.ndarray:
    """Return codes whose bits all depend on all bits (the finaliser of splitmix64)."""
    codes = (codes ^ (codes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    codes = (codes ^ (codes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = codes ^ (codes >> np.uint64(31))
    return mixed


def _signatures(rows: Ragged) -> np.ndarray:
    """Return (N, bands × rows) uint64: for each hash function the smallest code of each text."""
    n_hashes = N_BANDS * N_ROWS
    signatures = np.zeros((len(rows), n_hashes), np.uint64)
    rng = np.random.default_rng(0)
    odd = rng.integers(1, 2**63, n_hashes, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    for start in range(0, len(rows), BLOCK):
        block = rows.take(slice(start, start + BLOCK))
        some = np.flatnonzero(block.lengths)
        if not len(some):
            continue
        begins = block.offsets[:-1][some]
        for number in range(n_hashes):
            codes = block.values * odd[number]
            codes ^= codes >> np.uint64(29)
            codes *= np.uint64(0xBF58476D1CE4E5B9)
            signatures[start + some, number] = np.minimum.reduceat(codes, begins)
    return signatures


def _band_keys(signatures: np.ndarray, band: int) -> np.ndarray:
    keys = np.zeros(len(signatures), np.uint64)
    for row in range(N_ROWS):
        keys = _mixed(keys + signatures[:, band * N_ROWS + row])
    return keys


def _candidates(keys: np.ndarray, ours: np.ndarray, theirs: np.ndarray, *, own: bool) -> np.ndarray:
    """Return (P, 2) texts of ours and theirs with the same key, a few of theirs for each."""
    order = theirs[np.argsort(keys[theirs], kind="stable")]
    sorted_keys = keys[order]
    low = np.searchsorted(sorted_keys, keys[ours], side="left")
    high = np.searchsorted(sorted_keys, keys[ours], side="right")
    pairs = []
    for step in range(PER_BUCKET):
        has = np.flatnonzero(low + step < high)
        if not len(has):
            break
        pairs.append(np.stack([ours[has], order[low[has] + step]], axis=1))
    found = np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)
    return found[found[:, 1] < found[:, 0]] if own else found


def _jaccard(rows: Ragged, pairs: np.ndarray) -> np.ndarray:
    """Return (P,) similarity of the sets of each pair of rows."""
    if not len(pairs):
        return np.empty(0)
    common = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        part = pairs[start : start + BLOCK]
        a, b = rows.take(part[:, 0]), rows.take(part[:, 1])
        both = a.concat(b)
        order = np.lexsort((both.values, both.row_of))
        value, row = both.values[order], both.row_of[order]
        same = (value[1:] == value[:-1]) & (row[1:] == row[:-1])
        common[start : start + BLOCK] = np.bincount(row[1:][same], minlength=len(part))
    sizes = rows.lengths[pairs[:, 0]] + rows.lengths[pairs[:, 1]]
    similarity: np.ndarray = common / np.maximum(sizes - common, 1)
    return similarity
