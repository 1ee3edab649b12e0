"""Word vectors pooled over a text: Word2Vec trained here, or a GloVe file."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.backbones.base import Needs, TransformerBackbone, inner, quiet_loading
from llmrec.backbones.tokenizers import PAD, UNK
from llmrec.core.errors import ComponentError, DataError
from llmrec.core.extras import require
from llmrec.core.protocols import Encoded
from llmrec.data.word_vectors import PATTERN, read_vectors, train_vectors, words_of

SPECIAL = (PAD, UNK)


class WordVectors(TransformerBackbone):
    """A bag of word vectors: Word2Vec trained on the training texts, or read from a file.

    A text is the mean of the vectors of its words, or the largest value in each dimension (Shen et
    al., ACL 2018); words without a vector are left out, and a text of such words alone is zero.
    With adapter=full the vectors are fine-tuned.

    Args:
        path: text file of lines ``word v1 v2 …`` (GloVe, fastText, word2vec; gz too), or null to
            train Word2Vec (skip-gram or CBOW with negative sampling, Mikolov et al., 2013) here.
        vocabulary_size: words kept, the most frequent (of a file: the first).
        pooling: ``mean`` or ``max`` over the words of a text.
        lowercase: whether upper and lower case are one.
        embedding_size: length of a vector trained here.
        window: words on either side that count as company.
        min_count: rarer words have no vector.
        skip_gram: true for skip-gram, false for CBOW.
        n_negatives: words drawn against each true one.
        epochs: passes over the texts.
        learning_rate: at the start; it falls in a line.
        seed: of initial vectors and drawn words.
    """

    architecture = "word_vectors"
    model_types = frozenset({"word_vectors"})
    direction = "bidirectional"
    provides = frozenset({"pooled"})
    auto_classes: ClassVar[Mapping[str, str]] = {}
    adaptable = False

    def __init__(
        self,
        *,
        path: str | None = None,
        vocabulary_size: int = 50_000,
        pooling: Literal["mean", "max"] = "mean",
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
        super().__init__(
            vocabulary_size=vocabulary_size, pooling=pooling, dropout=0.0, attention_dropout=0.0
        )
        self.path = path
        self.lowercase = lowercase
        self.embedding_size = embedding_size
        self.window = window
        self.min_count = min_count
        self.skip_gram = skip_gram
        self.n_negatives = n_negatives
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.seed = seed

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        counts = (
            "vocabulary_size",
            "embedding_size",
            "window",
            "min_count",
            "n_negatives",
            "epochs",
        )
        found = [(key, "must be at least 1") for key in counts if params.get(key, 1) < 1]
        if params.get("learning_rate", 1.0) <= 0:
            found.append(("learning_rate", "must be above 0"))
        return found

    @property
    def weights(self) -> str:
        return "word2vec of the training texts" if self.path is None else Path(self.path).name

    def identity(self) -> str | None:
        """Return a hash of the file and of how it is read; None for vectors trained here."""
        if self.path is None:
            return None
        digest = hashlib.sha256(f"{self.vocabulary_size} {self.lowercase} ".encode())
        try:
            with Path(self.path).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"cannot read the word vectors in {self.path}: {error}") from error
        return digest.hexdigest()

    def tokenizer(self, texts: Sequence[str]) -> Any:
        """Return a tokenizer of whole words that carries their vectors (``word_vectors``).

        Raises:
            DataError: if no word of the texts is frequent enough, or the file cannot be read.
        """
        tokenizers = require("tokenizers", "lm", "backbone word_vectors")
        transformers = require("transformers", "lm", "backbone word_vectors")
        words, vectors = self._trained(texts) if self.path is None else self._read(Path(self.path))
        vocabulary = {word: number for number, word in enumerate([*SPECIAL, *words])}
        whole = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=UNK))
        if self.lowercase:
            whole.normalizer = tokenizers.normalizers.Lowercase()
        whole.pre_tokenizer = tokenizers.pre_tokenizers.Split(
            tokenizers.Regex(PATTERN), behavior="removed", invert=True
        )
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=whole, pad_token=PAD, unk_token=UNK, padding_side="right"
        )
        blank = np.zeros((len(SPECIAL), vectors.shape[1]), np.float32)
        tokenizer.word_vectors = np.concatenate([blank, vectors])
        return tokenizer

    def _trained(self, texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
        words, vectors = train_vectors(
            words_of(texts, self.lowercase),
            embedding_size=self.embedding_size,
            window=self.window,
            min_count=self.min_count,
            skip_gram=self.skip_gram,
            n_negatives=self.n_negatives,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )
        return words[: self.vocabulary_size], vectors[: self.vocabulary_size]

    def _read(self, path: Path) -> tuple[list[str], np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for word, vector in itertools.islice(read_vectors(path), self.vocabulary_size):
            if word not in SPECIAL:
                found.setdefault(word, vector)
        if not found:
            raise DataError(f"{path} has no vector of any word")
        return list(found), np.stack(list(found.values()))

    def load(
        self,
        needs: Needs,  # noqa: ARG002  (one table serves all needs)
        *,
        tokenizer: Any | None = None,
        folder: Path | None = None,
        load_options: Mapping[str, Any] | None = None,  # noqa: ARG002  (see adaptable)
    ) -> Any:
        require("transformers", "lm", "backbone word_vectors")
        import torch

        from llmrec.backbones.word_vectors_model import WordVectorsConfig, WordVectorsModel

        if folder is not None:
            with self._readable_errors(folder), quiet_loading():
                return WordVectorsModel.from_pretrained(folder)
        vectors = getattr(tokenizer, "word_vectors", None)
        if vectors is None:
            raise ComponentError("backbone word_vectors needs the tokenizer that it made itself")
        size, width = vectors.shape
        model = WordVectorsModel(WordVectorsConfig(size, width, unknown=SPECIAL.index(UNK)))
        with torch.no_grad():
            model.words.weight.copy_(torch.from_numpy(vectors))
        return model

    def max_tokens(self, model: Any) -> int:  # noqa: ARG002
        """Return a length that no text reaches: words are counted in no order."""
        return 2**20

    def encode(
        self,
        model: Any,
        mask: Any,
        ids: Any = None,
        embeddings: Any = None,  # noqa: ARG002  (it reads words only)
        positions: Any = None,  # noqa: ARG002  (and in no order)
    ) -> Encoded:
        bag = inner(model)
        tokens = bag(input_ids=ids).last_hidden_state
        return Encoded(tokens, self.pool(tokens, mask & (ids != bag.config.unknown)), mask)
