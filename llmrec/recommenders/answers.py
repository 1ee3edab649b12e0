"""What a model is asked beyond the prompt, and what its answers say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from llmrec.recommenders.titles import TitleIndex

MARK = re.compile(r"^\s*(?:[-*•]+|\(?\d+\s*[.):])\s+")
NUMBERS = re.compile(r"^[\s,;>=#.\[\]\d]+$")
INSTRUCTIONS = {
    "score logprobs": "Answer with one word, {yes} or {no}.",
    "score number": "Answer with one whole number from 0 (certainly not) to 100 (certainly).",
    "rank": (
        "Rank all these candidates by how likely the user is to choose them next. Answer only "
        "with their numbers in brackets, best first, for example [2] > [1]."
    ),
    "generate": (
        "Name up to {n_titles} titles that the user is likely to choose next, best first. Answer "
        "only with the titles, one per line."
    ),
}


def listed(titles: Sequence[str]) -> str:
    """Return candidates as a prompt lists them: numbered from 1, one per line."""
    return "\n".join(f"[{place}] {title}" for place, title in enumerate(titles, 1))


def log_odds(first: Sequence[tuple[str, float]], yes: str, no: str) -> float | None:
    """Return log P(yes) − log P(no) of the first token, None if it is neither.

    Tokens count by the word that they begin, whatever their case and blanks. A word that is not
    among the tokens given has at most the probability of the least of them: that bound is taken.

    Args:
        first: the likeliest first tokens and their log-probabilities.
        yes: the word for a like.
        no: the word for a dislike.
    """
    sums = {yes: -math.inf, no: -math.inf}
    for token, log_probability in first:
        start = token.strip().casefold()
        begun = [word for word in sums if start and word.casefold().startswith(start)]
        if len(begun) == 1:
            sums[begun[0]] = _log_sum(sums[begun[0]], log_probability)
    if all(value == -math.inf for value in sums.values()):
        return None
    least = min(log_probability for _, log_probability in first)
    return max(sums[yes], least) - max(sums[no], least)


def _log_sum(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def number_log_odds(text: str) -> float | None:
    """Return the log-odds of the first number from 0 to 100 in a text, None if it has none.

    Example:
        >>> number_log_odds("50"), number_log_odds("no idea")
        (0.0, None)
    """
    found = re.search(r"(?<![\d.-])\d{1,3}(?:\.\d+)?(?![\d])", text)
    if found is None or float(found[0]) > 100:
        return None
    share = (float(found[0]) + 0.5) / 101  # 0 and 100 stay finite
    return math.log(share / (1 - share))


def parse_ranking(text: str, index: TitleIndex) -> tuple[list[int], int, int]:
    """Return the order of candidates in an answer: their numbers or titles, read leniently.

    Args:
        text: the answer: ``[2] > [1]``, ``2, 1``, or one number or title per line.
        index: of the titles of the candidates, as they were listed.

    Returns:
        places from 0, best first; how many names were no candidate; how many came twice.
    """
    return _tally(_named(text, index))


def _tally(found: Iterable[int | None]) -> tuple[list[int], int, int]:
    """Return what was named, once each and in order; how many were nothing; how many came twice."""
    order: dict[int, None] = {}
    invalid = repeated = 0
    for each in found:
        if each is None:
            invalid += 1
        elif each in order:
            repeated += 1
        else:
            order[each] = None
    return list(order), invalid, repeated


def _named(text: str, index: TitleIndex) -> list[int | None]:
    n = index.n
    found: list[int | None] = []
    for line in text.splitlines():
        bracketed = re.findall(r"\[\s*(\d+)\s*\]", line)
        if bracketed:
            found += [_place(number, n) for number in bracketed]
        elif NUMBERS.match(line):
            found += [_place(number, n) for number in re.findall(r"\d+", line)]
        else:
            found += [index.find(title) for title in titles_in(line)]
    return found


def _place(number: str, n: int) -> int | None:
    # Digits beyond any list are cut: Python refuses to read thousands of them.
    place = int(number[:9]) - 1
    return place if 0 <= place < n else None


def titles_in(line: str) -> list[str]:
    """Return the titles of one line of an answer, without list marks and quotes.

    A line that only leads in, and so ends in a colon, has none.

    Example:
        >>> titles_in('2. **"Red Fox"**'), titles_in("Here they are:"), titles_in("Fox > Owl")
        (['Red Fox'], [], ['Fox', 'Owl'])
    """
    line = MARK.sub("", line.strip())
    if line.endswith(":"):
        return []
    parts = [part.strip(' \t*_`"“”«»') for part in line.split(" > ")]
    return [part for part in parts if part]


def parse_titles(text: str, index: TitleIndex, most: int) -> tuple[list[int], int, int, int]:
    """Return the items that an answer names.

    Args:
        text: one title per line.
        index: of the titles of the catalogue.
        most: titles read; what comes after them was not asked for.

    Returns:
        item ids, best first; how many titles were read; how many were no item; how many came twice.
    """
    written = [title for line in text.splitlines() for title in titles_in(line)][:most]
    order, invalid, repeated = _tally(map(index.find, written))
    return order, len(written), invalid, repeated


def talk(
    system: str | None, examples: Sequence[Mapping[str, str]], question: str
) -> list[dict[str, str]]:
    """Return the messages of one request: system, worked examples, the question."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    for example in examples:
        messages.append({"role": "user", "content": example["question"]})
        messages.append({"role": "assistant", "content": example["answer"]})
    return [*messages, {"role": "user", "content": question}]
