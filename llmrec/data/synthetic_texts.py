"""Reviews and descriptions of the generated data set: what they depend on is planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from llmrec.core.types import Interactions

ASPECTS = ("plot", "music", "acting", "ending", "pace", "dialogue")
PRAISE = ("wonderful", "moving", "clever", "superb")
BLAME = ("weak", "dull", "clumsy", "tiresome")
LIKED = 3.5


def with_texts(
    interactions: Interactions, fields: Mapping[str, np.ndarray], seed: int
) -> tuple[Interactions, np.ndarray]:
    """Return the log with a review in each row, and a description of each item.

    A user always writes of the same aspect; the word of praise (from a rating of 3.5) or blame
    belongs to the item; title and genre are named in half of the reviews each.

    Args:
        interactions: with ratings.
        fields: ``title`` and ``genres`` of each item.
        seed: of the draws.
    """
    assert interactions.rating is not None
    titles, genres = fields["title"], fields["genres"]
    rng = np.random.default_rng([seed, 7])
    aspect_of = rng.integers(0, len(ASPECTS), int(interactions.user.max(initial=0)) + 1)
    word_of = rng.integers(0, len(PRAISE), len(titles))
    own = rng.integers(0, len(ASPECTS), len(titles))
    forms = rng.integers(0, 2, len(interactions))
    reviews = np.empty(len(interactions), object)
    columns = (interactions.user, interactions.item, interactions.rating, forms)
    for row, (user, item, rating, form) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        aspect = ASPECTS[aspect_of[user]]
        word = (PRAISE if rating >= LIKED else BLAME)[word_of[item]]
        kind = str(genres[item]).lower()
        verdict = "I would watch it again." if rating >= LIKED else "I would not watch it again."
        start = (
            f"The {aspect} of {titles[item]} is {word}."
            if form
            else f"For a {kind} film the {aspect} is {word}."
        )
        reviews[row] = f"{start} {verdict}"
    described = np.array(
        [
            f"{title} is a {str(genre).lower()} film with {PRAISE[word]} {ASPECTS[aspect]}."
            for title, genre, word, aspect in zip(titles, genres, word_of, own, strict=True)
        ],
        dtype=object,
    )
    return replace(interactions, text=reviews), described
