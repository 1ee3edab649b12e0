"""Counts of words and n-grams, plain or weighted by how rare they are; sparse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError
from llmrec.core.extras import require
from llmrec.core.types import Ragged
from llmrec.features.base import Matrix, sums, unit_rows
from llmrec.features.text import Of, Source, TextFeature, text_problems

WORDS = r"(?u)\b\w\w+\b"  # scikit-learn's own: words of two letters or more


def term_problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the options of `TermCounts` out of range."""
    found = text_problems(params)
    for key in ("shortest", "longest", "min_documents", "max_vocabulary"):
        if params.get(key) is not None and params[key] < 1:
            found.append((key, f"expected 1 or more, got {params[key]!r}"))
    if params.get("longest", 1) < params.get("shortest", 1):
        found.append(("longest", "must not be smaller than shortest"))
    share = params.get("max_document_share", 1.0)
    if not 0 < share <= 1:
        found.append(("max_document_share", f"expected more than 0, at most 1, got {share!r}"))
    return found


class TermCounts(TextFeature):
    """How often each word or n-gram of the training texts occurs: a sparse row of counts.

    Of several texts (what was written about an item, or by a user) the counts are added.

    Args:
        of: whose row it is, an item's or a user's.
        source: texts of items, or what users wrote.
        fields: item fields in order; null for all.
        shortest: words of the shortest n-gram.
        longest: words of the longest n-gram.
        min_documents: terms in fewer training texts are left out.
        max_document_share: and those in a larger share of them.
        max_vocabulary: only so many of the most frequent terms; null for all.
        lowercase: whether upper and lower case are one.
        token_pattern: what a word is, a regular expression.

    Raises:
        DataError: from `fit`, if there is no text, or no term is left.
    """

    def __init__(
        self,
        *,
        of: Of = "item",
        source: Source = "item_fields",
        fields: Sequence[str] | None = None,
        shortest: int = 1,
        longest: int = 1,
        min_documents: int = 1,
        max_document_share: float = 1.0,
        max_vocabulary: int | None = None,
        lowercase: bool = True,
        token_pattern: str = WORDS,
    ) -> None:
        self.of = of
        self.source = source
        self.fields = fields
        self.shortest = shortest
        self.longest = longest
        self.min_documents = min_documents
        self.max_document_share = max_document_share
        self.max_vocabulary = max_vocabulary
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        construct_check(self)

    @staticmethod
    def check_options(params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the options out of range."""
        return term_problems(params)

    @property
    def learned(self) -> tuple[str, ...]:
        return ("vocabulary",)

    @property
    def columns(self) -> list[str]:
        return [str(term) for term in self.vocabulary]

    def _vectorizer(self, **options: Any) -> Any:
        text = require("sklearn.feature_extraction.text", "features", type(self).__name__)
        return text.CountVectorizer(
            ngram_range=(self.shortest, self.longest),
            lowercase=self.lowercase,
            token_pattern=self.token_pattern,
            dtype=np.float32,
            **options,
        )

    def learn_texts(self, texts: list[str]) -> None:
        vectorizer = self._vectorizer(
            min_df=self.min_documents,
            max_df=self.max_document_share,
            max_features=self.max_vocabulary,
        )
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise DataError(
                f"{type(self).__name__} finds no term in {len(texts)} training texts ({error}); "
                "lower min_documents, raise max_document_share, or change token_pattern"
            ) from error
        self.vocabulary = np.array(vectorizer.get_feature_names_out().tolist())
        self.learn_counts(counts)

    def learn_counts(self, counts: sparse.csr_matrix) -> None:
        """Learn from the (N, D) counts of the training texts; nothing here."""

    def encode(self, texts: list[str], owners: list[str] | None) -> Matrix:  # noqa: ARG002
        counts = self._vectorizer(vocabulary=self.columns).transform(texts)
        counts.sort_indices()
        return sparse.csr_matrix(counts)

    def gather(self, groups: Ragged, rows: Matrix) -> Matrix:
        return sums(groups, rows)


class TFIDF(TermCounts):
    """Term counts times the inverse document frequency, each row of length 1; sparse.

    ``idf = ln((1 + n) / (1 + df)) + 1`` over the n training texts, as scikit-learn computes it.

    Args:
        of: whose row it is, an item's or a user's.
        source: texts of items, or what users wrote.
        fields: item fields in order; null for all.
        shortest: words of the shortest n-gram.
        longest: words of the longest n-gram.
        min_documents: terms in fewer training texts are left out.
        max_document_share: and those in a larger share of them.
        max_vocabulary: only so many of the most frequent terms; null for all.
        lowercase: whether upper and lower case are one.
        token_pattern: what a word is, a regular expression.
        sublinear: a count c becomes ``1 + ln c``.

    Raises:
        DataError: from `fit`, if there is no text, or no term is left.
    """

    def __init__(
        self,
        *,
        of: Of = "item",
        source: Source = "item_fields",
        fields: Sequence[str] | None = None,
        shortest: int = 1,
        longest: int = 1,
        min_documents: int = 1,
        max_document_share: float = 1.0,
        max_vocabulary: int | None = None,
        lowercase: bool = True,
        token_pattern: str = WORDS,
        sublinear: bool = False,
    ) -> None:
        self.sublinear = sublinear
        super().__init__(
            of=of,
            source=source,
            fields=fields,
            shortest=shortest,
            longest=longest,
            min_documents=min_documents,
            max_document_share=max_document_share,
            max_vocabulary=max_vocabulary,
            lowercase=lowercase,
            token_pattern=token_pattern,
        )

    @property
    def learned(self) -> tuple[str, ...]:
        return ("vocabulary", "idf")

    def learn_counts(self, counts: sparse.csr_matrix) -> None:
        documents = np.bincount(counts.indices, minlength=counts.shape[1])
        self.idf = np.log((1 + counts.shape[0]) / (1 + documents)) + 1

    def gather(self, groups: Ragged, rows: Matrix) -> Matrix:
        counts = sums(groups, rows)
        data = 1 + np.log(counts.data) if self.sublinear else counts.data
        parts = (data * self.idf[counts.indices], counts.indices, counts.indptr)
        return unit_rows(sparse.csr_matrix(parts, shape=counts.shape))
