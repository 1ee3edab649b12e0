"""Vectors of words: trained here on given texts, or read from a file."""

from __future__ import annotations

import gzip
import itertools
import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.extras import require

# What counts as a word, here and in the tokenizer of the backbone word_vectors.
PATTERN = r"\w+(?:['’]\w+)*"
WORD = re.compile(PATTERN)


def words_of(texts: Sequence[str], lowercase: bool) -> list[list[str]]:
    """Return the words of each text."""
    return [WORD.findall(text.lower() if lowercase else text) for text in texts]


def train_vectors(
    sentences: Sequence[Sequence[str]],
    *,
    embedding_size: int,
    window: int,
    min_count: int,
    skip_gram: bool,
    n_negatives: int,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> tuple[list[str], np.ndarray]:
    """Train Word2Vec (Mikolov et al., NIPS 2013) by gensim, one worker: same seed, same bits.

    Args:
        sentences: training texts only, each as its words.
        embedding_size: length of a vector.
        window: words on either side that count as company.
        min_count: rarer words have no vector.
        skip_gram: true for skip-gram, false for CBOW.
        n_negatives: words drawn against each true one.
        epochs: passes over the texts.
        learning_rate: at the start; it falls in a line.
        seed: of initial vectors and drawn words.

    Returns:
        V words, the most frequent first, and their (V, D) float32 vectors.

    Raises:
        DataError: if no word is frequent enough.
    """
    counts = Counter(itertools.chain.from_iterable(sentences))
    if max(counts.values(), default=0) < min_count:
        raise DataError(
            f"no word occurs {min_count} times in {len(sentences)} training texts; lower min_count"
        )
    models = require("gensim.models", "features", "word2vec")
    model = models.Word2Vec(
        sentences,
        vector_size=embedding_size,
        window=window,
        min_count=min_count,
        sg=int(skip_gram),
        negative=n_negatives,
        epochs=epochs,
        alpha=learning_rate,
        seed=seed,
        workers=1,
    )
    return list(model.wv.index_to_key), np.array(model.wv.vectors, np.float32)


def read_vectors(
    path: Path, words: Container[str] | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the words of a file that are asked for (None for all), with their vectors.

    The first line fixes how many numbers a line has; one of two whole numbers (count and size,
    as word2vec and fastText write) is skipped. A word may hold blanks.

    Raises:
        DataError: that names the file and the line.
    """
    size = 0
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            parts = line.rstrip().split(" ")
            if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                continue
            if not size:
                size = len(parts) - 1
            if len(parts) < 2 or len(parts) <= size:
                raise DataError(
                    f"{path}, line {number}: expected a word and {max(size, 1)} numbers, got "
                    f"{len(parts)} parts; is it a file of word vectors?"
                )
            word = " ".join(parts[:-size])
            try:
                if words is None or word in words:
                    vector = np.array([float(part) for part in parts[-size:]], np.float32)
                elif len(parts) - 1 == size:
                    continue
                else:
                    float(parts[-size])
                    continue
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
            if not np.isfinite(vector).all():
                raise DataError(f"{path}, line {number}: the vector of {word!r} is not finite")
            yield word, vector
    if not size:
        raise DataError(f"{path} is empty")


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
                yield file
        else:
            with path.open(encoding="utf-8", newline="\n") as file:
                yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}") from error
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read the word vectors in {path}: {error}") from error
