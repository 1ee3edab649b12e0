"""Amazon Reviews of 2014, 2018 and 2023: JSON lines of reviews and of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from llmrec.core.config import construct_check
from llmrec.core.errors import DataError, unknown
from llmrec.core.types import Dataset
from llmrec.data.assemble import About, Catalogue, Columns, Duplicates, assemble
from llmrec.data.delimited import stem
from llmrec.data.json_lines import read_json_lines, read_objects
from llmrec.data.local import Publisher, first_of_each, noted
from llmrec.data.tables import Table

Edition = Literal["2014", "2018", "2023"]


@dataclass(frozen=True)
class Form:
    """The keys of one edition.

    Attributes:
        columns: of the reviews.
        headline: key of a review's title.
        item: key of the item's id in the metadata.
        fields: our names of item fields to its keys.
    """

    columns: Columns
    headline: str
    item: str
    fields: dict[str, str]


_OLD = Columns("reviewerID", "asin", "overall", "unixReviewTime", "reviewText")
FORMS: dict[str, Form] = {
    "2014": Form(
        _OLD,
        "summary",
        "asin",
        {
            "title": "title",
            "brand": "brand",
            "categories": "categories",
            "price": "price",
            "description": "description",
        },
    ),
    "2018": Form(
        _OLD,
        "summary",
        "asin",
        {
            "title": "title",
            "brand": "brand",
            "categories": "category",
            "price": "price",
            "features": "feature",
            "description": "description",
        },
    ),
    "2023": Form(
        Columns("user_id", "parent_asin", "rating", "timestamp", "text"),
        "title",
        "parent_asin",
        {
            "title": "title",
            "brand": "store",
            "categories": "categories",
            "price": "price",
            "features": "features",
            "description": "description",
        },
    ),
}
TERMS = "no licence is stated; its publishers share it for research, with citation"
PUBLISHERS: dict[str, Publisher] = {
    "2014": Publisher(
        "Amazon Reviews 2014",
        "reviews_CATEGORY_5.json.gz and meta_CATEGORY.json.gz",
        "https://jmcauley.ucsd.edu/data/amazon/",
        TERMS,
        "R. He and J. McAuley. 2016. Ups and Downs: Modeling the Visual Evolution of Fashion "
        "Trends with One-Class Collaborative Filtering. WWW 2016.",
    ),
    "2018": Publisher(
        "Amazon Reviews 2018",
        "CATEGORY_5.json.gz and meta_CATEGORY.json.gz",
        "https://nijianmo.github.io/amazon/",
        TERMS,
        "J. Ni, J. Li and J. McAuley. 2019. Justifying Recommendations using Distantly-Labeled "
        "Reviews and Fine-Grained Aspects. EMNLP 2019.",
    ),
    "2023": Publisher(
        "Amazon Reviews 2023",
        "CATEGORY.jsonl.gz and meta_CATEGORY.jsonl.gz",
        "https://amazon-reviews-2023.github.io/",
        TERMS,
        "Y. Hou, J. Li, Z. He, A. Yan, X. Chen and J. McAuley. 2024. Bridging Language and Items "
        "for Retrieval and Recommendation. arXiv:2403.03952.",
    ),
}


class AmazonReviews:
    """Amazon Reviews 2014, 2018 or 2023: what users wrote and how they rated, one category.

    Reviews come from the publisher's JSON lines, packed (``.gz``) or not; item texts from its
    metadata, also in the loose form of 2014 (Python dictionaries). Items have the fields title,
    brand, categories, price, features (not 2014) and description. Items of 2023 are parent
    products.

    Args:
        edition: 2014, 2018 or 2023.
        reviews: the file of reviews; without it an error says where to get it.
        metadata: the file about items, if wanted; of an item that stands there twice the first
            line counts.
        headline: put the review's title before its text.
        item_fields: fields of items to keep, in this order; null keeps all.
        catalogue: ``interactions``: only reviewed items; ``items``: also the others of the
            metadata.
        duplicates: the files hold some reviews of a user on an item twice: refuse, or keep the
            first or last in time (counted).
        label: name of the data set in tables; null: name of the file of reviews.
    """

    def __init__(
        self,
        *,
        edition: Edition,
        reviews: str | None = None,
        metadata: str | None = None,
        headline: bool = False,
        item_fields: Sequence[str] | None = None,
        catalogue: Catalogue = "interactions",
        duplicates: Duplicates = "last",
        label: str | None = None,
    ) -> None:
        self.edition = edition
        self.reviews = reviews
        self.metadata = metadata
        self.headline = headline
        self.item_fields = item_fields
        self.catalogue = catalogue
        self.duplicates = duplicates
        self.label = label
        construct_check(self)

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong, or with where to get the files.
        """
        form, publisher = FORMS[self.edition], PUBLISHERS[self.edition]
        if self.reviews is None:
            raise publisher.wanted("data.reviews=FILE and data.metadata=FILE")
        if self.catalogue == "items" and self.metadata is None:
            raise DataError("the catalogue of the metadata needs data.metadata=FILE")
        sums: dict[str, str] = {}
        path = Path(self.reviews).expanduser()
        log = read_json_lines(
            noted(path, sums), [*form.columns.names, form.headline], numbers=form.columns.numbers
        )
        notes: dict[str, int] = {"reviews": len(log)}
        if self.headline:
            log = _with_headline(log, form)
        items = None
        if self.metadata is not None:
            table, twice = self._items(form, Path(self.metadata).expanduser(), sums)
            items = About(table, form.item, None, {key: name for name, key in form.fields.items()})
            notes["metadata_lines_of_the_same_item_left_out"] = twice
        return assemble(
            self.label or stem(self.reviews),
            log,
            form.columns,
            items=items,
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source=publisher.source(sums, path) | notes,
        )

    def _items(self, form: Form, path: Path, sums: dict[str, str]) -> tuple[Table, int]:
        for name in self.item_fields or []:
            if name not in form.fields:
                raise DataError(unknown(f"item field of {self.edition}", name, form.fields))
        chosen = [form.fields[name] for name in self.item_fields or form.fields]
        table = read_objects(
            noted(path, sums), [form.item, *chosen], python_literals=self.edition == "2014"
        )
        return first_of_each(table, form.item)


def _with_headline(log: Table, form: Form) -> Table:
    text = str(form.columns.text)
    both = pl.concat_str([form.headline, text], separator="\n").str.strip_chars("\n")
    return Table(log.path, log.frame.with_columns(both.alias(text)), log.lines)
