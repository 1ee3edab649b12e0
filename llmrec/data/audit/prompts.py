"""Prompts that name the item they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llmrec.core.types import Dataset, Ragged
from llmrec.data.audit.findings import Finding, Severity, binomial_tail

SHIFTS = (1, 2, 3, 5, 8)
SURE, SUSPECT = 1e-6, 0.01
SHOWN, AROUND = 3, 30


@dataclass(frozen=True, eq=False)
class RenderedPrompts:
    """What a model would read of B held-out queries, without any candidate.

    Attributes:
        name: of the recommender or template, for the message.
        side: ``valid`` or ``test``.
        texts: B prompts.
        histories: B rows of the item ids that the prompt may name.
        targets: B rows of the held-out item ids.
    """

    name: str
    side: str
    texts: Sequence[str]
    histories: Ragged
    targets: Ragged


def prompt_findings(prompts: RenderedPrompts, dataset: Dataset) -> Iterator[Finding]:
    """Yield a finding if prompts name their own target more often than other users' targets.

    Titles of the history are taken out first; a target that the user had before is not asked
    about. The targets of other users tell how often short or common titles (and ids that look
    like years or ratings) appear by chance.
    """
    n = len(prompts.texts)
    words = _Searches(dataset)
    masked = [_without_history(prompts, row, dataset) for row in range(n)]
    named, asked, examples = 0, 0, []
    for row, text in enumerate(masked):
        for item in _new(prompts, row, row):
            asked += 1
            found = words(item).search(text)
            if found:
                named += 1
                around = text[max(0, found.start() - AROUND) : found.end() + AROUND]
                examples.append(f'item {dataset.item_ids[item]} in "…{" ".join(around.split())}…"')
    if not named:
        return
    others, tried = 0, 0
    for shift in SHIFTS:
        for row in range(n):
            for item in _new(prompts, row, (row + shift) % n):
                tried += 1
                others += words(item).search(masked[row]) is not None
    p_value = binomial_tail(named, asked, (others + 1) / (tried + 2))
    if p_value > SUSPECT:
        return
    severity: Severity = "error" if p_value < SURE else "warning"
    yield Finding(
        "target-in-prompt",
        severity,
        prompts.side,
        named,
        asked,
        f'prompts of "{prompts.name}" name the held-out item outside the history (the items of '
        f"other users: {others:,} of {tried:,}; p = {p_value:.1g}): look at the template, and at "
        "item fields that mention other items, with llmrec show prompt",
        tuple(examples[:SHOWN]),
    )


def _new(prompts: RenderedPrompts, row: int, of: int) -> list[int]:
    """Return targets of row `of` that are neither in the history of `row` nor, if others', its own.

    Else a popular item would count as somebody's secret.
    """
    known = set(prompts.histories[row].tolist())
    if of != row:
        known |= set(prompts.targets[row].tolist())
    return [item for item in prompts.targets[of].tolist() if item not in known]


def _titles(dataset: Dataset) -> np.ndarray | None:
    return dataset.item_fields.get("title")


def _without_history(prompts: RenderedPrompts, row: int, dataset: Dataset) -> str:
    text = prompts.texts[row]
    titles = _titles(dataset)
    if titles is not None:
        for title in sorted(
            {str(titles[i]) for i in prompts.histories[row]}, key=len, reverse=True
        ):
            if title:
                text = text.replace(title, " ~ ")
    return text


class _Searches:
    """Patterns that find an item's title or id as whole words, made when they are asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._titles = _titles(dataset)
        self._ids = dataset.item_ids
        self._made: dict[int, re.Pattern[str]] = {}

    def __call__(self, item: int) -> re.Pattern[str]:
        if item not in self._made:
            names = {str(self._ids[item])}
            if self._titles is not None and self._titles[item]:
                names.add(str(self._titles[item]))
            either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
            self._made[item] = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
        return self._made[item]
