"""What writers learn from and are asked for: texts about a user and an item, or after a text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llmrec.core.errors import DataError, unknown
from llmrec.core.types import Dataset, Split
from llmrec.prompts.records import item_records

Kind = Literal["explanation", "description", "reply", "conversation"]
SIDES = ("train", "valid", "test")
MENTION = re.compile(r"@(\d+)")


@dataclass(frozen=True, eq=False)
class Passages:
    """N requests, and the texts that people wrote for them.

    Attributes:
        users: (N,) int64, −1 for nobody known.
        items: (N,) int64, −1 where a request is about no item.
        given: N texts that are read first: a review to reply to, the turns so far, an item's
            fields; "" for none.
        texts: N true texts; a writer reads those of the training side alone.
        records: fields of each item, by item id.
        n_users: of the data set.
    """

    users: np.ndarray
    items: np.ndarray
    given: Sequence[str]
    texts: Sequence[str]
    records: Sequence[Mapping[str, str]]
    n_users: int

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> Passages:
        """Return the chosen requests, in the given order."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            given=[self.given[row] for row in rows.tolist()],
            texts=[self.texts[row] for row in rows.tolist()],
        )

    def without_texts(self) -> Passages:
        """Return the requests alone: what a writer is given when it is judged."""
        return replace(self, texts=[""] * len(self))

    def fields(self) -> list[Mapping[str, str]]:
        """Return the fields of the item of each request, none without an item."""
        return [self.records[item] if item >= 0 else {} for item in self.items.tolist()]


def first_words(text: str, n: int | None) -> str:
    """Return the first n words between blanks, all for None."""
    parts = text.split()
    return " ".join(parts if n is None else parts[:n])


def explanations(split: Split, max_words: int | None) -> dict[str, Passages]:
    """Return what users wrote of items, by side of the split; no text, no request.

    Args:
        split: its training texts are learned, its test texts are the truth.
        max_words: each text is cut after so many words, in training and truth.

    Raises:
        DataError: if the data set has no texts of users, or none in training or test.
    """
    return _some({side: _written(getattr(split, side), max_words) for side in SIDES}, "user texts")


def _written(dataset: Dataset, max_words: int | None) -> Passages:
    log = dataset.interactions
    if log.text is None:
        raise DataError(
            f"{dataset.name} has no texts that users wrote; choose data with reviews "
            "(data=synthetic data.texts=true, data=amazon-2023), or --kind description"
        )
    texts = [first_words(str(text or ""), max_words) for text in log.text.tolist()]
    rows = np.flatnonzero([bool(text) for text in texts])
    return Passages(
        log.user[rows].astype(np.int64),
        log.item[rows].astype(np.int64),
        [""] * len(rows),
        [texts[row] for row in rows.tolist()],
        item_records(dataset),
        dataset.n_users,
    )


def descriptions(split: Split, max_words: int | None, field: str) -> dict[str, Passages]:
    """Return item descriptions: a tenth of the items is test, a tenth validation, by hash of id.

    The description itself is not among the fields of an item that a writer sees.

    Raises:
        DataError: for a field that the items lack, or too few descriptions.
    """
    dataset = split.train
    if field not in dataset.item_fields:
        raise DataError(unknown(f"item field of {dataset.name}", field, dataset.item_fields))
    records = item_records(dataset)
    texts = [first_words(str(record.pop(field)), max_words) for record in records]
    given = ["; ".join(value for value in record.values() if value) for record in records]
    sides = _sides(dataset.item_ids.tolist())
    found = {}
    for number, side in enumerate(SIDES):
        rows = np.flatnonzero([bool(t) and s == number for t, s in zip(texts, sides, strict=True)])
        found[side] = Passages(
            np.full(len(rows), -1, np.int64),
            rows.astype(np.int64),
            [given[row] for row in rows.tolist()],
            [texts[row] for row in rows.tolist()],
            records,
            dataset.n_users,
        )
    return _some(found, "descriptions")


def pairs(path: Path, kind: Kind, max_words: int | None) -> dict[str, Passages]:
    """Read texts and their answers from JSON lines; a tenth is test, a tenth validation.

    Two forms of a line: ``{"given": …, "text": …}`` (a review and its reply), with an optional
    ``"group"``: lines of one group stay on one side; or a dialogue of ReDial (Li et al., 2018):
    each turn of the one who recommends is a text, the turns before it are given, and a film is
    written ``[[title]]``.

    Raises:
        DataError: for a line of another form, or if a side is empty.
    """
    given, texts, groups = [], [], []
    titles: dict[str, None] = {}
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "messages" in row:
                turns = _turns(row, titles)
                group = str(row["conversationId"])
            else:
                turns = [(str(row["given"]), str(row["text"]))]
                group = str(row.get("group", number))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}, line {number}: expected an object with given and text, or a dialogue of "
                f"ReDial with messages, movieMentions and conversationId ({error!r})"
            ) from error
        for before, text in turns:
            given.append(before)
            texts.append(first_words(text, max_words))
            groups.append(group)
    records = [{"title": title} for title in titles]
    nobody = np.full(len(texts), -1, np.int64)
    whole = Passages(nobody, nobody, given, texts, records, 0)
    sides = _sides(groups)
    some = np.array([bool(text) for text in texts], bool)
    return _some(
        {side: whole.take(np.flatnonzero((sides == n) & some)) for n, side in enumerate(SIDES)},
        "replies" if kind == "reply" else "turns",
    )


def _turns(dialogue: Mapping[str, Any], titles: dict[str, None]) -> list[tuple[str, str]]:
    """Return the turns so far and the next one, for each turn of the one who recommends."""
    names = {str(key): str(name) for key, name in dict(dialogue["movieMentions"] or {}).items()}
    for name in names.values():
        titles[name] = None

    def readable(text: str) -> str:
        return MENTION.sub(lambda m: f"[[{names[m[1]]}]]" if m[1] in names else m[0], text)

    found: list[tuple[str, str]] = []
    before: list[str] = []
    for message in dialogue["messages"]:
        text = readable(str(message["text"]))
        recommends = message["senderWorkerId"] != dialogue["initiatorWorkerId"]
        if recommends:
            found.append((" ".join(before), text))
        before.append(f"{'Recommender' if recommends else 'Seeker'}: {text}")
    return found


def _sides(ids: Sequence[str]) -> np.ndarray:
    """Return 0 (train), 1 (valid) or 2 (test) for each id, by its hash: 8, 1 and 1 tenths."""
    tenth = [int(hashlib.sha256(i.encode()).hexdigest()[:8], 16) % 10 for i in ids]
    return np.array([0 if t < 8 else t - 7 for t in tenth], np.int64)


def _some(sides: dict[str, Passages], what: str) -> dict[str, Passages]:
    for side in ("train", "test"):
        if not len(sides[side]):
            raise DataError(f"there are no {what} on the {side} side: nothing to write")
    return sides
