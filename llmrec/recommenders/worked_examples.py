"""Worked examples of a prompt, drawn from training users only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset


@dataclass(frozen=True, eq=False)
class Shown:
    """One worked example.

    Attributes:
        history: item ids before it, oldest first.
        ratings: theirs, or None.
        items: what it is about: one candidate (score), candidates as listed (rank), or the items
            that came next (generate).
        liked: of a score: whether the answer is yes.
        order: of a ranking: places of `items`, best first.
    """

    history: np.ndarray
    ratings: np.ndarray | None
    items: np.ndarray
    liked: bool = True
    order: tuple[int, ...] = ()


def draw_examples(
    train: Dataset,
    n: int,
    *,
    mode: str,
    threshold: float,
    n_candidates: int,
    n_titles: int,
    seed: int,
) -> list[Shown]:
    """Return `n` worked examples, each of another training user, drawn with the seed.

    What a user had last is what is asked for. Of scores every second one is a dislike: a rating
    below the threshold, or an item the user never had where the data set holds none.

    Raises:
        DataError: if too few users have a history to show.
    """
    if not n:
        return []
    rng = np.random.default_rng(seed)
    ratings = train.interactions.rating
    dislikes = ratings is not None and bool((ratings < threshold).any())
    found: list[Shown] = []
    for user in rng.permutation(train.n_users):
        rows = train.rows_by_user[int(user)]
        stars = None if ratings is None else ratings[rows]
        items = train.interactions.item[rows]
        liked = len(found) % 2 == 0
        if mode == "score":
            made = _score(rng, items, stars, train.n_items, threshold, liked, dislikes)
        elif mode == "rank":
            made = _rank(rng, items, stars, train.n_items, n_candidates)
        else:
            made = _generate(items, stars, n_titles)
        found += made
        if len(found) == n:
            return found
    raise DataError(
        f"only {len(found)} training users of {train.name} can serve as worked examples, but "
        f"n_examples={n}; ask for fewer"
    )


def _score(
    rng: np.random.Generator,
    items: np.ndarray,
    stars: np.ndarray | None,
    n_items: int,
    threshold: float,
    liked: bool,
    dislikes: bool,
) -> Iterator[Shown]:
    if len(items) < 2:
        return
    places = np.arange(1, len(items))
    if stars is not None and (liked or dislikes):
        places = places[(stars[1:] >= threshold) == liked]
    if not len(places):
        return
    cut = int(places[-1])
    asked = items[cut : cut + 1]
    if not liked and not dislikes:
        asked = _others(rng, items, n_items, 1)
        if not len(asked):
            return
    yield Shown(items[:cut], None if stars is None else stars[:cut], asked, liked)


def _rank(
    rng: np.random.Generator,
    items: np.ndarray,
    stars: np.ndarray | None,
    n_items: int,
    n_candidates: int,
) -> Iterator[Shown]:
    others = _others(rng, items, n_items, n_candidates - 1)
    if len(items) < 2 or not len(others):
        return
    candidates = rng.permutation(np.concatenate([items[-1:], others]))
    target = int(np.flatnonzero(candidates == items[-1])[0])
    rest = [place for place in range(len(candidates)) if place != target]
    past = None if stars is None else stars[:-1]
    yield Shown(items[:-1], past, candidates, order=(target, *rest))


def _generate(items: np.ndarray, stars: np.ndarray | None, n_titles: int) -> Iterator[Shown]:
    n = min(n_titles, len(items) // 2)
    if n:
        yield Shown(items[:-n], None if stars is None else stars[:-n], items[-n:])


def _others(rng: np.random.Generator, items: np.ndarray, n_items: int, n: int) -> np.ndarray:
    """Return up to `n` random items that the user never had in training."""
    free = np.setdiff1d(np.arange(n_items), items)
    return rng.choice(free, min(n, len(free)), replace=False)
