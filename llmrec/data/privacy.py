"""Less of people in the data: pseudonyms, masked texts, removal on request, k-anonymity.

None of it makes data anonymous: a history of items can name a person by itself
(docs/how-to/privacy.md says what remains).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError, unknown
from llmrec.core.types import Dataset, Interactions

KEY_BYTES, DIGITS = 32, 16
SMALL_GROUP = 5


@dataclass(frozen=True)
class PrivacyOptions:
    """What is done about people before anything else reads the data.

    Attributes:
        key: file with the secret key (``new_key`` makes one): user ids become pseudonyms.
        mask: replace e-mail addresses, phone and card numbers and names in texts by a word.
        removed_users: file with one external user id per line: they are left out.
    """

    key: str | None = None
    mask: bool = False
    removed_users: str | None = None


def protected(dataset: Dataset, options: PrivacyOptions) -> Dataset:
    """Return the data set after removal, masking and pseudonyms, as chosen.

    ``source["privacy"]`` counts what was done; the key and the removed ids are not in it.

    Raises:
        DataError: for a key or list that cannot be read.
    """
    facts: dict[str, Any] = {}
    if options.removed_users is not None:
        listed = _lines(Path(options.removed_users).expanduser())
        dataset, facts["removed_users"] = without_users(dataset, listed)
    if options.mask:
        dataset, facts["masked"] = masked_dataset(dataset)
    if options.key is not None:
        key = read_key(Path(options.key).expanduser())
        dataset = replace(dataset, user_ids=pseudonyms(dataset.user_ids, key))
        facts["pseudonyms"] = True
    if facts and dataset.user_fields:
        facts["k_anonymity"] = k_anonymity(dataset)
    return replace(dataset, source={**dataset.source, "privacy": facts}) if facts else dataset


# Pseudonyms


def new_key(path: Path) -> None:
    """Write a random key that only its owner may read. Keep it away from data and results.

    Raises:
        DataError: if the file exists: another key would make other pseudonyms.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise DataError(f"{path} exists; a key is never replaced, choose another file") from error
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")


def read_key(path: Path) -> bytes:
    """Return the key that `new_key` wrote.

    Raises:
        DataError: if it cannot be read or is no key.
    """
    text = "".join(_lines(path))
    if not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_BYTES}}}", text):
        raise DataError(f"{path} holds no key; make one with llmrec.data.privacy.new_key")
    return bytes.fromhex(text)


def pseudonym(external_id: str, key: bytes) -> str:
    """Return the pseudonym of one user: 16 hexadecimal digits of HMAC-SHA-256."""
    return hmac.new(key, str(external_id).encode(), hashlib.sha256).hexdigest()[:DIGITS]


def pseudonyms(ids: np.ndarray, key: bytes) -> np.ndarray:
    """Return (N,) pseudonyms of (N,) external ids.

    Raises:
        DataError: if two ids get the same one (once in 10¹⁹ pairs).
    """
    made = np.array([pseudonym(each, key) for each in ids.tolist()], dtype=str)
    if len(np.unique(made)) < len(made):
        raise DataError("two users got the same pseudonym; make another key")
    return made


# Masking

_NAME = r"[A-Z][a-zà-öø-ÿ'’-]+(?:\s+[A-Z][a-zà-öø-ÿ'’-]+){0,2}"
_PATTERNS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("email", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[EMAIL]"),
    ("card", re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?!\w)"), "[CARD]"),
    ("phone", re.compile(r"(?<![\w.])(?:\+|\()?\d(?:[ ()./-]{0,2}\d){6,14}(?!\w)"), "[PHONE]"),
    (
        "name",
        re.compile(
            r"(?P<before>\b(?:[Mm]y name is|I am called|[Ii]ch hei(?:ß|ss)e|[Jj]e m['’]appelle|"
            rf"[Mm]e llamo|[Mm]i chiamo|Mrs?\.?|Ms\.?|Miss|Dr\.?|Prof\.?)\s+){_NAME}"
        ),
        "[NAME]",
    ),
    (
        "name",
        re.compile(
            r"(?P<before>\b(?:[Rr]egards|[Ss]incerely|[Cc]heers|[Yy]ours),?\s+)"
            rf"{_NAME}(?=[\s.!]*$)"
        ),
        "[NAME]",
    ),
)
_DATE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}|\d{4}-\d{4}")


def mask(text: str) -> tuple[str, dict[str, int]]:
    """Return a text with people's traces replaced by a word, and how many of each kind.

    Example:
        >>> mask("My name is Ann Lee, write to ann@lee.org")
        ('My name is [NAME], write to [EMAIL]', {'email': 1, 'name': 1})
    """
    counts: dict[str, int] = {}
    for kind, pattern, word in _PATTERNS:
        accept = _ACCEPT.get(kind)

        def put(
            found: re.Match[str],
            kind: str = kind,
            word: str = word,
            accept: Callable[[str], bool] | None = accept,
        ) -> str:
            if accept is not None and not accept(found[0]):
                return found[0]
            counts[kind] = counts.get(kind, 0) + 1
            return (found.groupdict().get("before") or "") + word

        text = pattern.sub(put, text)
    return text, counts


def is_card(text: str) -> bool:
    """Whether the digits of a text pass the check that all payment cards do (Luhn's)."""
    digits = [int(character) for character in text if character.isdigit()][::-1]
    if not 13 <= len(digits) <= 19 or not any(digits):
        return False
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[0::2]) + doubled) % 10 == 0


def is_phone(text: str) -> bool:
    """Whether a run of digits and signs looks like a phone number, not like a date or a sum."""
    digits = sum(character.isdigit() for character in text)
    if _DATE.fullmatch(text) or not 7 <= digits <= 15:
        return False
    marked = text.startswith(("+", "(", "00"))
    grouped = len(re.findall(r"\d+", text)) >= 3
    return marked or grouped or (text.isdigit() and text.startswith("0") and digits >= 9)


_ACCEPT: dict[str, Callable[[str], bool]] = {"card": is_card, "phone": is_phone}


class Mask:
    """Replaces e-mail addresses, phone and card numbers and names by a word such as ``[EMAIL]``.

    Names are found by what stands before them ("my name is", "Mr.", "Regards,"), so most are not.

    Args:
        fields: columns to mask; the default is what users write.
    """

    def __init__(self, *, fields: Sequence[str] | None = ("text",)) -> None:
        self.fields = fields
        construct_check(self)

    def apply(self, texts: Sequence[str]) -> list[str]:
        return [mask(text)[0] for text in texts]

    def facts(self, texts: Sequence[str]) -> dict[str, int]:
        """Return how many of each kind stand in the texts."""
        return _counted(mask(text)[1] for text in texts)


def masked_dataset(dataset: Dataset) -> tuple[Dataset, dict[str, int]]:
    """Return the data set with masked texts of users, and how many of each kind there were."""
    log = dataset.interactions
    if log.text is None:
        return dataset, {}
    done = [mask(str(text)) for text in log.text]
    texts = np.array([text for text, _ in done], dtype=object)
    counts = _counted(count for _, count in done)
    return dataset.with_interactions(replace(log, text=texts)), counts


def _counted(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for kind, number in each.items():
            total[kind] = total.get(kind, 0) + number
    return dict(sorted(total.items()))


# Removal


def without_users(dataset: Dataset, ids: Iterable[str]) -> tuple[Dataset, int]:
    """Return the data set without some users (ids, fields, interactions, texts), and how many.

    Ids that the data set does not have are no error: they may be gone already. Items stay.
    """
    kept = ~np.isin(dataset.user_ids.astype(str), [str(each) for each in ids])
    if kept.all():
        return dataset, 0
    log = dataset.interactions.take(kept[dataset.interactions.user])
    renumbered = (np.cumsum(kept) - 1).astype(np.int32)
    log = Interactions(renumbered[log.user], log.item, log.rating, log.timestamp, log.text)
    fields = {name: column[kept] for name, column in dataset.user_fields.items()}
    made = replace(dataset, interactions=log, user_ids=dataset.user_ids[kept], user_fields=fields)
    return made, int((~kept).sum())


# k-anonymity


def k_anonymity(dataset: Dataset, fields: Sequence[str] | None = None) -> dict[str, Any]:
    """Return how well users hide among those with the same user fields.

    Args:
        dataset: any with user fields.
        fields: what an attacker may know; by default all user fields.

    Returns:
        ``k`` (size of the smallest group), ``groups``, ``unique_users`` (alone in their group),
        ``users_in_small_groups`` (below 5), and the same ``k`` by field alone.

    Raises:
        DataError: for a field that the data set lacks, or if it has none.
    """
    chosen = list(dataset.user_fields) if fields is None else list(fields)
    for name in chosen:
        if name not in dataset.user_fields:
            raise DataError(unknown(f"user field of {dataset.name}", name, dataset.user_fields))
    if not chosen:
        raise DataError(f"{dataset.name} has no user fields to report on")
    columns = [dataset.user_fields[name].astype(str) for name in chosen]
    sizes = _group_sizes(np.stack(columns, axis=1))
    return {
        "fields": chosen,
        "k": int(sizes.min()) if len(sizes) else 0,
        "groups": len(sizes),
        "unique_users": int((sizes == 1).sum()),
        "users_in_small_groups": int(sizes[sizes < SMALL_GROUP].sum()),
        "by_field": {
            name: int(_group_sizes(column[:, None]).min())
            for name, column in zip(chosen, columns, strict=True)
            if len(column)
        },
    }


def _group_sizes(table: np.ndarray) -> np.ndarray:
    if not len(table):
        return np.empty(0, np.int64)
    sizes: np.ndarray = np.unique(table, axis=0, return_counts=True)[1]
    return sizes


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
