"""Leaks planted on purpose into a clean split: what an auditor must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from llmrec.core.types import Dataset, Ragged, Split, make_queries
from llmrec.data.audit import FittedPiece, RenderedPrompts

WORDS = ("soft", "warm", "light", "fine", "small", "blue", "quick", "quiet", "sharp", "dark", "dry")
SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Planted:
    """A split with one leak, or with something leaky made for it.

    Attributes:
        split: the sides.
        prompts: as the auditor takes them.
        pieces: the same.
        semantic_ids: the same.
    """

    split: Split
    prompts: tuple[RenderedPrompts, ...] = ()
    pieces: tuple[FittedPiece, ...] = ()
    semantic_ids: dict[str, np.ndarray] = field(default_factory=dict)


def with_reviews(data: Dataset, seed: int = 0) -> Dataset:
    """Return the data set with a text of 12 to 30 random words at each interaction."""
    rng = np.random.default_rng([seed, 1])
    words = np.array([a + b for a in WORDS for b in WORDS], dtype=object)
    texts = np.array(
        [" ".join(rng.choice(words, rng.integers(12, 30))) for _ in range(len(data))], dtype=object
    )
    return data.with_interactions(replace(data.interactions, text=texts))


def copied_interactions(split: Split, rng: np.random.Generator) -> Planted:
    """Copy some test rows into train."""
    copied = split.test.select(_some(len(split.test), rng))
    return Planted(replace(split, train=split.train.union(copied)))


def repeated_items(split: Split, rng: np.random.Generator) -> Planted:
    """Let some users have had the test item before."""
    rows = split.test.select(_some(len(split.test), rng))
    log = rows.interactions
    assert log.timestamp is not None
    earlier = log.timestamp - 10**9
    again = rows.with_interactions(replace(log, timestamp=earlier))
    return Planted(replace(split, train=again.union(split.train)))


def later_own_interactions(split: Split, rng: np.random.Generator) -> Planted:
    """Exchange the test row of some users with one of their training rows."""
    users = split.test.interactions.user[_some(len(split.test), rng)]
    out = np.isin(split.test.interactions.user, users)
    rows = split.train.rows_by_user.take(np.unique(users))
    first = rows.values[rows.offsets[:-1][rows.lengths > 0]]
    back = np.isin(np.arange(len(split.train)), first)
    return Planted(
        replace(
            split,
            train=split.train.select(~back).union(split.test.select(out)),
            test=split.test.select(~out).union(split.train.select(back)),
        )
    )


def later_interactions_of_others(split: Split, rng: np.random.Generator) -> Planted:
    """Move some test rows of a split at one moment into train."""
    moved = _mask(len(split.test), _some(len(split.test), rng))
    return Planted(
        replace(
            split,
            train=split.train.union(split.test.select(moved)),
            test=split.test.select(~moved),
        )
    )


def items_from_the_future(split: Split, rng: np.random.Generator) -> Planted:
    """Ask for some items' first interactions and train on their last ones."""
    log = split.train.interactions
    counts = split.train.item_counts
    chosen = rng.permutation(np.flatnonzero(counts >= 3))[:20]
    last = np.zeros(len(log), bool)
    last[len(log) - 1 - np.unique(log.item[::-1], return_index=True)[1]] = True
    asked = np.isin(log.item, chosen) & ~last
    return Planted(
        replace(
            split,
            train=split.train.select(~asked),
            test=split.test.union(split.train.select(asked)),
        )
    )


def users_from_the_future(split: Split, rng: np.random.Generator) -> Planted:
    """Ask for some users' first interactions and train on their later ones."""
    log = split.train.interactions
    chosen = rng.permutation(np.unique(log.user))[:20]
    first = np.zeros(len(log), bool)
    first[np.unique(log.user, return_index=True)[1]] = True
    asked = np.isin(log.user, chosen) & first
    return Planted(
        replace(
            split,
            train=split.train.select(~asked),
            test=split.test.union(split.train.select(asked)),
        )
    )


def copied_texts(split: Split, rng: np.random.Generator) -> Planted:
    """Let some test rows have the text of a training row."""
    return Planted(_with_texts(split, rng, lambda text: f"  {text.upper()}!"))


def edited_texts(split: Split, rng: np.random.Generator) -> Planted:
    """Let some test rows have the text of a training row with one word added at its end."""
    return Planted(_with_texts(split, rng, lambda text: f"{text} indeed"))


def ids_through_the_test(split: Split, rng: np.random.Generator) -> Planted:
    """Number the items user by user, in the order in which they meet them, the test included."""
    ranks = _walked(split, rng)
    ids = np.array([f"item_{rank + 1001}" for rank in ranks])
    sides = (replace(side, item_ids=ids) for side in (split.train, split.valid, split.test))
    train, valid, test = sides
    return Planted(replace(split, train=train, valid=valid, test=test))


def semantic_ids_through_the_test(split: Split, rng: np.random.Generator) -> Planted:
    """Give the items three-digit codes, user by user, the test included."""
    ranks = _walked(split, rng)
    codes = np.stack([ranks // 4096, ranks // 64 % 64, ranks % 64], axis=1)
    return Planted(split, semantic_ids={"walked": codes})


def targets_in_the_template(split: Split, _rng: np.random.Generator) -> Planted:
    """Write the held-out title at the end of every tenth prompt."""
    rendered = clean_prompts(split)
    titles = split.test.item_fields["title"]
    texts = list(rendered.texts)
    for row in range(0, len(texts), 10):
        texts[row] += f" They will like {titles[rendered.targets[row][0]]}."
    return Planted(split, prompts=(replace(rendered, texts=texts),))


def targets_in_a_field(split: Split, _rng: np.random.Generator) -> Planted:
    """Render a field "bought with" that was filled from the held-out side too."""
    rendered = clean_prompts(split)
    titles = split.test.item_fields["title"]
    following = np.full(split.test.n_items, "", dtype=object)
    for row in range(len(rendered.histories)):
        if len(rendered.histories[row]):
            following[rendered.histories[row][-1]] = titles[rendered.targets[row][0]]
    texts = [
        " ".join(f"{titles[i]} (bought with {following[i]})" for i in row)
        for row in rendered.histories
    ]
    return Planted(split, prompts=(replace(rendered, texts=texts),))


def popularity_of_everything(split: Split, _rng: np.random.Generator) -> Planted:
    """Count the items' interactions on all sides."""
    whole = split.train.union(split.valid).union(split.test)
    return Planted(
        split, pieces=(FittedPiece("popularity", whole.item_counts, lambda data: data.item_counts),)
    )


def vocabulary_of_everything(split: Split, _rng: np.random.Generator) -> Planted:
    """Collect the words of the texts of all sides."""

    def words(data: Dataset) -> list[str]:
        texts = data.interactions.text
        assert texts is not None
        return sorted({word for text in texts for word in text.split()})

    texts = split.test.interactions.text
    assert texts is not None
    unseen = replace(split.test.interactions, text=texts + " neologism")
    whole = split.train.union(split.test.with_interactions(unseen))
    return Planted(split, pieces=(FittedPiece("vocabulary", words(whole), words),))


def components_of_everything(split: Split, rng: np.random.Generator) -> Planted:
    """Take the mean of item vectors (as principal components do) over the items of all sides."""
    vectors = rng.normal(size=(split.train.n_items, 4))
    whole = split.train.union(split.valid).union(split.test)

    def mean(data: Dataset) -> np.ndarray:
        return np.average(vectors, axis=0, weights=data.item_counts)

    return Planted(split, pieces=(FittedPiece("mean of item vectors", mean(whole), mean),))


def counts_in_a_field(split: Split, _rng: np.random.Generator) -> Planted:
    """Give the items a field with their number of interactions on all sides."""
    whole = split.train.union(split.valid).union(split.test)
    column = np.array([str(count) for count in whole.item_counts], dtype=object)
    train, valid, test = (
        replace(side, item_fields={**side.item_fields, "n_ratings": column})
        for side in (split.train, split.valid, split.test)
    )
    return Planted(replace(split, train=train, valid=valid, test=test))


# By name: the code that must be found, the splits in which the leak can exist, who plants it.
Plant = Callable[[Split, np.random.Generator], Planted]
TIMED, LAST, AT_ONE_MOMENT = "any", "leave_one_out", "global_temporal"
NEED_TEXTS = ("copied texts", "edited texts", "vocabulary of all sides")
PLANTS: dict[str, tuple[str, str, Plant]] = {
    "copied interactions": ("same-interaction", TIMED, copied_interactions),
    "repeated items": ("repeated-item", TIMED, repeated_items),
    "own later interactions": ("train-after-held-out", TIMED, later_own_interactions),
    "others' later interactions": ("global-future", AT_ONE_MOMENT, later_interactions_of_others),
    "items from the future": ("item-from-future", AT_ONE_MOMENT, items_from_the_future),
    "users from the future": ("user-from-future", TIMED, users_from_the_future),
    "copied texts": ("identical-text", TIMED, copied_texts),
    "edited texts": ("near-identical-text", TIMED, edited_texts),
    "ids through the test": ("ordered-ids", LAST, ids_through_the_test),
    "semantic ids through the test": ("ordered-ids", LAST, semantic_ids_through_the_test),
    "targets in the template": ("target-in-prompt", TIMED, targets_in_the_template),
    "targets in an item field": ("target-in-prompt", LAST, targets_in_a_field),
    "popularity of all sides": ("held-out-statistic", TIMED, popularity_of_everything),
    "vocabulary of all sides": ("held-out-statistic", TIMED, vocabulary_of_everything),
    "components of all sides": ("held-out-statistic", TIMED, components_of_everything),
    "counts of all sides in a field": ("held-out-statistic", TIMED, counts_in_a_field),
}


def clean_prompts(split: Split, n: int = 300, length: int = 10) -> RenderedPrompts:
    """Return prompts of titles of the history, as the default template writes them."""
    queries, targets = make_queries(split.train.union(split.valid), split.test)
    place = slice(0, n)
    queries, targets = queries.take(place), targets.take(place)
    shown: Ragged = queries.histories.tail(length)
    titles = split.test.item_fields["title"]
    texts = ["The user liked: " + "; ".join(titles[i] for i in row) + "." for row in shown]
    return RenderedPrompts("planted", "test", texts, queries.histories, targets.items)


def _some(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(n)[: max(round(SHARE * n), 1)])


def _mask(n: int, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask


def _with_texts(split: Split, rng: np.random.Generator, change: Callable[[str], str]) -> Split:
    log, known = split.test.interactions, split.train.interactions.text
    assert log.text is not None
    assert known is not None
    texts = log.text.copy()
    for row in _some(len(texts), rng):
        texts[row] = change(known[rng.integers(len(known))])
    return replace(split, test=split.test.with_interactions(replace(log, text=texts)))


def _walked(split: Split, rng: np.random.Generator) -> np.ndarray:
    """Return the rank of each item in the order in which users meet them, test included."""
    whole = split.train.union(split.valid).union(split.test)
    users = rng.permutation(whole.n_users)
    met = whole.histories.take(users).values
    met = np.concatenate([met, np.arange(whole.n_items)])
    items, first = np.unique(met, return_index=True)
    ranks = np.empty(whole.n_items, np.int64)
    ranks[items[np.argsort(first)]] = np.arange(whole.n_items)
    return ranks
