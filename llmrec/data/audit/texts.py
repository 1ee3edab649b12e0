"""The same (or nearly the same) text on two sides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from llmrec.data.audit.findings import Finding, Severity
from llmrec.data.audit.interactions import Sides
from llmrec.data.duplicates import MIN_WORDS, Pairs, identical_texts, near_duplicates, word_codes

SHOWN, WIDTH = 3, 70
# Below this share copies are what people do (the same review for two colours of a thing).
TOLERATED = 0.01


def text_findings(sides: Sides, *, read: bool = True) -> Iterator[Finding]:
    """Yield held-out texts that stand, word for word or nearly so, among the known ones.

    Args:
        sides: what is known, and what is held out.
        read: whether a model reads these texts.
    """
    known, held = sides.known.interactions.text, sides.held.interactions.text
    if known is None or held is None:
        return
    theirs, ours = [str(text) for text in known], [str(text) for text in held]
    same = identical_texts(ours, theirs)
    long = int((word_codes(ours).lengths >= MIN_WORDS).sum())
    if len(same):
        yield _finding("identical-text", "stand word for word", sides, same, (long, read))
    rest = np.setdiff1d(np.arange(len(ours)), same.left)
    near = near_duplicates([ours[place] for place in rest], theirs)
    near = Pairs(rest[near.left], near.right, near.similarity)
    if len(near):
        yield _finding(
            "near-identical-text", "stand nearly word for word", sides, near, (long, read)
        )


def _finding(code: str, how: str, sides: Sides, pairs: Pairs, about: tuple[int, bool]) -> Finding:
    long, read = about
    severity: Severity = "error" if read and len(pairs) > TOLERATED * long else "warning"
    said = (
        "a model that reads what users write recognises them: +text@text.copies=no_copies empties "
        "later copies"
        if read
        else "nothing here reads what users write; mind it before something does"
    )
    held, known = sides.held.interactions, sides.known.interactions
    assert held.text is not None
    assert known.text is not None
    examples = [
        f'user {sides.held.user_ids[held.user[a]]}: "{_short(held.text[a])}" like user '
        f'{sides.known.user_ids[known.user[b]]}: "{_short(known.text[b])}"'
        for a, b in zip(pairs.left[:SHOWN], pairs.right[:SHOWN], strict=True)
    ]
    return Finding(
        code,
        severity,
        sides.name,
        len(pairs),
        long,
        f"held-out texts of {MIN_WORDS} words or more {how} among the known ones; {said}",
        tuple(examples),
    )


def _short(text: object) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= WIDTH else words[: WIDTH - 1] + "…"
