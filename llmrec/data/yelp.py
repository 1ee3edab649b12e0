"""The Yelp Open Dataset: reviews of businesses."""

from __future__ import annotations

from pathlib import Path

from llmrec.core.config import construct_check
from llmrec.core.types import Dataset
from llmrec.data.assemble import About, Catalogue, Columns, Duplicates, assemble
from llmrec.data.json_lines import read_json_lines, read_objects
from llmrec.data.local import Publisher, noted, packed

YELP = Publisher(
    "The Yelp Open Dataset",
    "yelp_academic_dataset_review.json and yelp_academic_dataset_business.json",
    "https://business.yelp.com/data/resources/open-dataset/",
    "Yelp's own agreement: academic, non-commercial use, not to be redistributed",
    "Yelp Open Dataset, https://business.yelp.com/data/resources/open-dataset/",
)
FIELDS = {"name": "title", "categories": "categories", "city": "city", "state": "state"}


class Yelp:
    """The Yelp Open Dataset: stars and texts of reviews; names, categories, places of businesses.

    Args:
        folder: with ``yelp_academic_dataset_review.json`` and ``…_business.json`` (``.gz`` or not);
            without it an error says where to get them.
        catalogue: ``interactions``: only reviewed businesses; ``items``: all of them.
        duplicates: a user may review a business again: refuse, or keep the first or last in time
            (counted).
    """

    def __init__(
        self,
        *,
        folder: str | None = None,
        catalogue: Catalogue = "interactions",
        duplicates: Duplicates = "last",
    ) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.duplicates = duplicates
        construct_check(self)

    def load(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: with file and line of what is wrong, or with where to get the files.
        """
        if self.folder is None:
            raise YELP.wanted("data.folder=THE_FOLDER")
        folder, sums = Path(self.folder).expanduser(), dict[str, str]()
        columns = Columns("user_id", "business_id", "stars", "date", "text")
        path = packed(folder, ["yelp_academic_dataset_review.json"])
        log = read_json_lines(noted(path, sums), columns.names, numbers=columns.numbers)
        path = packed(folder, ["yelp_academic_dataset_business.json"])
        items = read_objects(noted(path, sums), ["business_id", *FIELDS])
        return assemble(
            "yelp",
            log,
            columns,
            items=About(items, "business_id", None, FIELDS),
            catalogue=self.catalogue,
            duplicates=self.duplicates,
            source=YELP.source(sums, folder),
        )
