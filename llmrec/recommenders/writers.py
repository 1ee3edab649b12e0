"""Writers: what they share, and those that copy: the baselines of generated texts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import RunError
from llmrec.core.files import read_json, write_json
from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo
from llmrec.core.saving import saving, unfitted
from llmrec.metrics.text import words
from llmrec.recommenders.passages import Passages

HEADER = "writer.json"
SENTENCE = re.compile(r"(?<=[.!?])\s+")


class BaseWriter:
    """Base of the writers: `fit` on passages, `write` for requests, `save` and `load`.

    A request is answered from user, item and given text; its true text is never read.
    """

    fitted: ClassVar[str]

    @property
    def info(self) -> ModelInfo:
        return ModelInfo()

    def warm_up(self) -> None:
        """Ask for what writing needs before other writers take their time: a key, a package."""

    def fit(
        self, train: Passages, valid: Passages | None = None, context: FitContext = NO_CONTEXT
    ) -> Self:
        """Learn from the training passages; `valid` serves early stopping only."""
        raise NotImplementedError

    def write(self, requests: Passages) -> list[str]:
        """Return one text per request.

        Raises:
            RunError: before `fit` or `load`.
        """
        raise NotImplementedError

    def require_fitted(self) -> None:
        """Refuse to write before `fit` or `load`.

        Raises:
            RunError: if nothing was learned.
        """
        if getattr(self, self.fitted, None) is None:
            raise RunError(f"{type(self).__name__} is not fitted yet: call fit first, or load")

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs into a folder."""
        self.require_fitted()
        with saving(self, folder, HEADER) as temporary:
            self.save_state(temporary)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the texts are the same.

        Raises:
            RunError: if the folder holds another writer.
        """
        writer = unfitted(cls, folder, HEADER)
        writer.load_state(Path(folder))
        return writer

    def save_state(self, folder: Path) -> None:
        """Write what was learned."""
        raise NotImplementedError

    def load_state(self, folder: Path) -> None:
        """Read what `save_state` wrote."""
        raise NotImplementedError


class FrequentSentence(BaseWriter):
    """Writes the sentence that most training texts hold, the same for every request.

    Sentences are counted without case and punctuation, once per text; ties by alphabet.
    """

    fitted = "_sentence"

    def __init__(self) -> None:
        self._sentence: str | None = None

    def fit(
        self,
        train: Passages,
        valid: Passages | None = None,  # noqa: ARG002
        context: FitContext = NO_CONTEXT,  # noqa: ARG002
    ) -> Self:
        counts: Counter[str] = Counter()
        shown: dict[str, str] = {}
        for text in train.texts:
            found = {" ".join(words(part)): part.strip() for part in SENTENCE.split(text)}
            found.pop("", None)
            counts.update(found.keys())
            for key, part in found.items():
                shown.setdefault(key, part)
        if not counts:
            raise RunError("there is no sentence in the training texts")
        best = min(counts, key=lambda key: (-counts[key], key))
        self._sentence = shown[best]
        return self

    def write(self, requests: Passages) -> list[str]:
        self.require_fitted()
        return [str(self._sentence)] * len(requests)

    def save_state(self, folder: Path) -> None:
        write_json(folder / "sentence.json", self._sentence)

    def load_state(self, folder: Path) -> None:
        self._sentence = read_json(folder / "sentence.json")


class NearestReview(BaseWriter):
    """Copies the training text nearest to the request by tf-idf and cosine.

    Where a text is given, the passage with the nearest given text is copied. Else, among the
    training texts of the item (of all items, if it has none) that other users wrote, the one
    nearest to everything the user wrote; for a user without texts, the one nearest to all texts
    of the item together. Ties go to the first.

    Args:
        max_words: of the vocabulary, the most frequent ones.
    """

    fitted = "_train"

    def __init__(self, *, max_words: int = 20_000) -> None:
        self.max_words = max_words
        construct_check(self)
        self._train: Passages | None = None

    @staticmethod
    def check_options(params: dict[str, Any]) -> list[tuple[str, str]]:
        """Return problems of values that have the right types."""
        return [("max_words", "expected 1 or more")] if params.get("max_words", 1) < 1 else []

    def fit(
        self,
        train: Passages,
        valid: Passages | None = None,  # noqa: ARG002
        context: FitContext = NO_CONTEXT,  # noqa: ARG002
    ) -> Self:
        self._train = train
        self._answers = any(train.given)
        keys = train.given if self._answers else train.texts
        counts = Counter(word for key in keys for word in set(words(key)))
        kept = sorted(counts, key=lambda word: (-counts[word], word))[: self.max_words]
        self._columns = {word: place for place, word in enumerate(kept)}
        seen = np.array([counts[word] for word in kept], np.float64)
        self._weights = np.log((1 + len(keys)) / (1 + seen)) + 1
        self._vectors = self._vectors_of(keys)
        return self

    def _vectors_of(self, texts: Any) -> Any:
        """Return (N, V) CSR rows of length 1 (or 0 for a text without known words)."""
        from scipy.sparse import csr_matrix

        rows, columns, values = [], [], []
        for row, text in enumerate(texts):
            for word, count in Counter(words(text)).items():
                if word in self._columns:
                    column = self._columns[word]
                    rows.append(row)
                    columns.append(column)
                    values.append(count * self._weights[column])
        matrix = csr_matrix((values, (rows, columns)), (len(texts), len(self._columns)))
        return _unit(matrix)

    def write(self, requests: Passages) -> list[str]:
        self.require_fitted()
        train = self._train
        assert train is not None
        if self._answers:
            asked = self._vectors_of(requests.given)
            return [
                train.texts[int(np.argmax((self._vectors @ asked[row].T).toarray()[:, 0]))]
                for row in range(len(requests))
            ]
        return [
            train.texts[self._nearest(train, user, item)]
            for user, item in zip(requests.users.tolist(), requests.items.tolist(), strict=True)
        ]

    def _nearest(self, train: Passages, user: int, item: int) -> int:
        others = train.users != user
        rows = np.flatnonzero((train.items == item) & others)
        if not len(rows):
            rows = np.flatnonzero(others) if others.any() else np.arange(len(train))
        own = np.flatnonzero(train.users == user) if user >= 0 else np.empty(0, np.int64)
        profile = self._vectors[own if len(own) else rows].sum(axis=0)
        likeness = np.asarray(self._vectors[rows] @ np.asarray(profile).ravel()).ravel()
        return int(rows[int(np.argmax(likeness))])

    def save_state(self, folder: Path) -> None:
        train = self._train
        assert train is not None
        kept = {
            "users": train.users.tolist(),
            "items": train.items.tolist(),
            "given": list(train.given),
            "texts": list(train.texts),
        }
        write_json(folder / "passages.json", kept)

    def load_state(self, folder: Path) -> None:
        kept = read_json(folder / "passages.json")
        users, items = (np.array(kept[key], np.int64) for key in ("users", "items"))
        self.fit(Passages(users, items, kept["given"], kept["texts"], [], 0))


def _unit(matrix: Any) -> Any:
    from scipy.sparse import diags

    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (diags(1 / np.where(length > 0, length, 1)) @ matrix).tocsr()
