"""Vectors of words, trained here or read from a file, pooled over a text."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.types import Ragged
from llmrec.data.word_vectors import read_vectors, train_vectors, words_of
from llmrec.features.base import Matrix, Pooling, pooled
from llmrec.features.text import Of, Source, TextFeature, text_problems


class WordVectors(TextFeature):
    """Base of the features from word vectors.

    A text is the mean (or the largest value in each dimension) of the vectors of its words, words
    without a vector left out; several texts are pooled in the same way over those that have any.
    """

    pooling: Pooling
    lowercase: bool
    width: int = 1

    def words_of(self, texts: list[str]) -> list[list[str]]:
        """Return the words of each text."""
        return words_of(texts, self.lowercase)

    def table(self, words: Counter[str]) -> tuple[Mapping[str, int], np.ndarray]:
        """Return rows of vectors by word, and the (V, D) vectors."""
        raise NotImplementedError

    def encode(self, texts: list[str], owners: list[str] | None) -> Matrix:  # noqa: ARG002
        lists = self.words_of(texts)
        counted = Counter(itertools.chain.from_iterable(lists))
        places, vectors = self.table(counted)
        known = sum(counted[word] for word in counted if word in places)
        self.word_coverage = sum(word in places for word in counted) / max(len(counted), 1)
        self.token_coverage = known / max(counted.total(), 1)
        rows = [[places[word] for word in words if word in places] for words in lists]
        return pooled(Ragged.from_rows(rows, np.int64), vectors, self.pooling)

    def gather(self, groups: Ragged, rows: Matrix) -> Matrix:
        told = rows.any(axis=1)
        return pooled(groups.keep(told[groups.values]), rows, self.pooling)

    @property
    def learned(self) -> tuple[str, ...]:
        return ("width", "word_coverage", "token_coverage")

    @property
    def columns(self) -> list[str]:
        return [f"dimension {number}" for number in range(self.width)]

    @property
    def details(self) -> Mapping[str, Any]:
        return {
            "columns": self.width,
            "words with a vector": round(self.word_coverage, 4),
            "tokens with a vector": round(self.token_coverage, 4),
        }


class Word2Vec(WordVectors):
    """Word vectors trained here, on the training texts alone, pooled over a text.

    Skip-gram (or CBOW) with negative sampling (Mikolov et al., NIPS 2013) by gensim, one worker:
    the same seed gives the same bits.

    Args:
        of: whose row it is, an item's or a user's.
        source: texts of items, or what users wrote.
        fields: item fields in order; null for all.
        pooling: over the words of a text, and over several texts.
        lowercase: whether upper and lower case are one.
        embedding_size: length of a word vector.
        window: words on either side that count as company.
        min_count: rarer words have no vector.
        skip_gram: true for skip-gram, false for CBOW.
        n_negatives: words drawn against each true one.
        epochs: passes over the texts.
        learning_rate: at the start; it falls in a line.
        seed: of initial vectors and drawn words.

    Raises:
        DataError: from `fit`, if no word is frequent enough.
    """

    def __init__(
        self,
        *,
        of: Of = "item",
        source: Source = "item_fields",
        fields: Sequence[str] | None = None,
        pooling: Pooling = "mean",
        lowercase: bool = True,
        embedding_size: int = 64,
        window: int = 5,
        min_count: int = 2,
        skip_gram: bool = True,
        n_negatives: int = 5,
        epochs: int = 10,
        learning_rate: float = 0.025,
        seed: int = 0,
    ) -> None:
        self.of = of
        self.source = source
        self.fields = fields
        self.pooling = pooling
        self.lowercase = lowercase
        self.embedding_size = embedding_size
        self.window = window
        self.min_count = min_count
        self.skip_gram = skip_gram
        self.n_negatives = n_negatives
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.seed = seed
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        found = text_problems(params)
        for key in ("embedding_size", "window", "min_count", "n_negatives", "epochs"):
            if params.get(key, 1) < 1:
                found.append((key, f"expected 1 or more, got {params[key]!r}"))
        if not params.get("learning_rate", 1) > 0:
            found.append(("learning_rate", "expected more than 0"))
        return found

    @property
    def learned(self) -> tuple[str, ...]:
        return (*super().learned, "vocabulary", "vectors")

    def learn_texts(self, texts: list[str]) -> None:
        words, self.vectors = train_vectors(
            self.words_of(texts),
            embedding_size=self.embedding_size,
            window=self.window,
            min_count=self.min_count,
            skip_gram=self.skip_gram,
            n_negatives=self.n_negatives,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )
        self.vocabulary = np.array(words)
        self.width = self.embedding_size

    def table(self, words: Counter[str]) -> tuple[Mapping[str, int], np.ndarray]:  # noqa: ARG002
        return {word: row for row, word in enumerate(self.vocabulary.tolist())}, self.vectors


class GloVe(WordVectors):
    """Word vectors from a text file of lines ``word v1 v2 …`` (GloVe, fastText; gz too), pooled.

    Only the words of the texts are kept. The file is not part of a saved model (Pennington et
    al., EMNLP 2014).

    Args:
        path: the file, plain or gzipped.
        of: whose row it is, an item's or a user's.
        source: texts of items, or what users wrote.
        fields: item fields in order; null for all.
        pooling: over the words of a text, and over several texts.
        lowercase: whether texts are put in lower case, as most files are.

    Raises:
        DataError: from `fit`, for a file that cannot be read (with its line), or has no word of
            the texts.
    """

    def __init__(
        self,
        *,
        path: Path,
        of: Of = "item",
        source: Source = "item_fields",
        fields: Sequence[str] | None = None,
        pooling: Pooling = "mean",
        lowercase: bool = True,
    ) -> None:
        self.path = Path(path)
        self.of = of
        self.source = source
        self.fields = fields
        self.pooling = pooling
        self.lowercase = lowercase
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong between options."""
        return text_problems(params)

    @property
    def weights(self) -> str:
        return self.path.name

    def learn_texts(self, texts: list[str]) -> None:
        words = Counter(itertools.chain.from_iterable(self.words_of(texts)))
        if not self.table(words)[0]:
            raise DataError(f"{self.path} has no vector for any word of the training texts")

    def table(self, words: Counter[str]) -> tuple[Mapping[str, int], np.ndarray]:
        found: dict[str, int] = {}
        vectors: list[np.ndarray] = []
        for word, vector in read_vectors(self.path, words):
            if word not in found:
                found[word] = len(vectors)
                vectors.append(vector)
            self.width = len(vector)
        return found, np.array(vectors, np.float32).reshape(len(found), self.width)
