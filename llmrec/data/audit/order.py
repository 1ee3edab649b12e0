"""Item ids (or semantic ids) whose numbers follow the held-out interactions.

Whoever numbers items in the order in which users meet them, held-out interactions included, gives
each held-out item the number after the item before it. A model that reads the numbers then has an
answer that no user gave it (found in P5's consecutive ids by Rajput et al., 2023). Catalogue order,
release dates and alphabets are no such leak, even where neighbours in the catalogue are used one
after the other: that is as true of known interactions as of held-out ones, and so the test compares
the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llmrec.core.order import stable_order
from llmrec.core.types import Dataset, Split
from llmrec.data.audit.findings import Finding, Severity, binomial_tail

LEAST, SIGNIFICANT = 10, 1e-6
# Numbering through the held-out rows made .58 to 1 of them neighbours, all others at most .13
# (benchmarks/audit.py): a third is far from both.
MANY, ALIKE, UNLIKE = 0.33, 0.95, 0.9
SHOWN = 3


def id_ranks(ids: np.ndarray) -> np.ndarray:
    """Return (n_items,) int64 place of each id: by its number if all are numbers, else by alphabet.

    Example:
        >>> id_ranks(np.array(["i10", "i9", "i1"])).tolist()
        [2, 1, 0]
    """
    texts = [str(each) for each in ids]
    found = [re.fullmatch(r"(\D*)(\d{1,18})", text) for text in texts]
    numbered = [match for match in found if match is not None]
    if len(numbered) == len(texts) and len({match[1] for match in numbered}) == 1:
        keys = np.array([int(match[2]) for match in numbered])
    else:
        keys = np.array(texts)
    return _ranks(np.argsort(keys, kind="stable"))


def code_ranks(codes: np.ndarray) -> np.ndarray:
    """Return (n_items,) int64 place of each item among its (n_items, L) semantic ids."""
    return _ranks(np.lexsort(codes.T[::-1]))


def _ranks(order: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


@dataclass(frozen=True)
class Neighbours:
    """How often a held-out item has the number after the one before it.

    Attributes:
        fresh: hits among held-out items that nobody had before in the order of numbering.
        n_fresh: how many such held-out items.
        seen: hits among the other held-out items (what catalogue order does by itself).
        n_seen: how many of those.
        examples: (item before, held-out item) pairs that hit.
    """

    fresh: int
    n_fresh: int
    seen: int
    n_seen: int
    examples: tuple[tuple[int, int], ...]

    @property
    def chance(self) -> float:
        """The rate to expect of ids that know nothing of the held-out side."""
        return (self.seen + 1) / (self.n_seen + 2)

    @property
    def p_value(self) -> float:
        """Exact one-sided binomial test of the fresh hits against that rate."""
        return binomial_tail(self.fresh, self.n_fresh, self.chance)

    @property
    def leaks(self) -> bool:
        """Whether the ids were numbered through the held-out items."""
        enough = self.n_fresh >= LEAST and self.fresh > MANY * self.n_fresh
        return enough and self.p_value < SIGNIFICANT


def order_findings(
    split: Split, ranks: np.ndarray, *, what: str = "item ids", read: bool = False
) -> Iterator[Finding]:
    """Yield a finding if numbers of items follow the held-out interactions.

    Args:
        split: the sides.
        ranks: (n_items,) place of each item in the order of its id.
        what: is numbered, for the message.
        read: whether a model reads these ids: then it is an error.
    """
    severity: Severity = "error" if read else "warning"
    said = (
        f"; a model reads these {what}: number them anew, at random or on train only"
        if read
        else f"; nothing here reads {what}: keep them out of prompts, or number them anew"
    )
    whole = split.train.union(split.valid).union(split.test)
    found = max(
        (neighbours(split, order, ranks) for order in _user_orders(whole, ranks)),
        key=lambda each: each.fresh,
    )
    ids = whole.item_ids
    if found.leaks:
        yield Finding(
            "ordered-ids",
            severity,
            "",
            found.fresh,
            found.n_fresh,
            f"held-out items that appear for the first time have the number after the item before "
            f"them (other held-out items: {found.seen:,} of {found.n_seen:,}; "
            f"p = {found.p_value:.1g}): the {what} were numbered through the held-out rows" + said,
            tuple(f"item {ids[b]} follows item {ids[a]}" for a, b in found.examples[:SHOWN]),
        )
        return
    for name, side in (("valid", split.valid), ("test", split.test)):
        ours, theirs, n = _correlations(split.train, side, ranks)
        if n >= LEAST and ours >= ALIKE and theirs < UNLIKE:
            yield Finding(
                "ordered-ids",
                severity,
                name,
                n,
                n,
                f"the {what} of held-out items rise in the order of the {name} rows (rank "
                f"correlation {ours:.2f}; in train {theirs:.2f})" + said,
            )


def _user_orders(whole: Dataset, ranks: np.ndarray) -> Iterator[np.ndarray]:
    """Yield orders in which users may have been walked through: as they are, and as ids suggest.

    Who numbers user by user gives each user's new items higher numbers than all before: so the
    users' highest numbers tell the order.
    """
    yield np.arange(whole.n_users)
    highest = np.full(whole.n_users, -1, np.int64)
    np.maximum.at(highest, whole.interactions.user, ranks[whole.interactions.item])
    yield np.argsort(highest, kind="stable")


def neighbours(split: Split, users: np.ndarray, ranks: np.ndarray) -> Neighbours:
    """Count held-out items that are numbered right after the item before them.

    Args:
        split: the sides.
        users: (n_users,) the order in which the numbering may have met them.
        ranks: (n_items,) place of each item in the order of its id.
    """
    sides = (split.train, split.valid, split.test)
    user = np.concatenate([side.interactions.user for side in sides])
    item = np.concatenate([side.interactions.item for side in sides])
    held = np.arange(len(user)) >= len(split.train)
    place = np.empty(split.train.n_users, np.int64)
    place[users] = np.arange(len(users))
    # Stable: equal times, or all rows of a log without times, stay train, validation, test.
    times = [side.interactions.timestamp for side in sides]
    known_times = [time for time in times if time is not None]
    if len(known_times) == len(times):
        walk = stable_order(np.concatenate(known_times))
        walk = walk[stable_order(place[user[walk]])]
    else:
        walk = stable_order(place[user])
    user, item, held = user[walk], item[walk], held[walk]
    numbers = ranks[item]
    fresh = np.zeros(len(item), bool)
    fresh[_first_rows(item, split.train.n_items)[1]] = True
    new = np.flatnonzero(fresh)
    # Only within a user: sorting users by their numbers makes neighbours of neighbouring users.
    inside = user[new[1:]] == user[new[:-1]]
    asked = inside & held[new[1:]]
    hits = asked & (numbers[new[1:]] == numbers[new[:-1]] + 1)
    same = user[1:] == user[:-1]
    old = same & held[1:] & ~fresh[1:]
    follows = old & (numbers[1:] == numbers[:-1] + 1)
    shown = np.flatnonzero(hits)[:SHOWN]
    before, after = item[new[:-1][shown]].tolist(), item[new[1:][shown]].tolist()
    return Neighbours(
        int(hits.sum()),
        int(asked.sum()),
        int(follows.sum()),
        int(old.sum()),
        tuple(zip(before, after, strict=True)),
    )


def _correlations(train: Dataset, side: Dataset, ranks: np.ndarray) -> tuple[float, float, int]:
    """Return the rank correlation of numbers with first appearance in a side, in train, and n.

    Of two orders of the rows, by user and as they are, the one that fits the side better counts.
    """
    best = (0.0, 0.0, 0)
    for by_user in (False, True):
        items, places = _first_places(side, by_user=by_user)
        if len(items) < LEAST:
            continue
        ours = _rank_correlation(ranks[items], places)
        common, theirs = _first_places(train, by_user=by_user)
        chosen = np.isin(common, items)
        known = 0.0
        if chosen.sum() >= LEAST:
            known = _rank_correlation(ranks[common[chosen]], theirs[chosen])
        if ours > best[0]:
            best = (ours, known, len(items))
    return best


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's correlation of numbers that are all different."""
    return float(np.corrcoef(_ranks(np.argsort(a)), _ranks(np.argsort(b)))[0, 1])


def _first_places(side: Dataset, *, by_user: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the items of a side and the row on which each stands first."""
    item = side.histories.values if by_user else side.interactions.item
    return _first_rows(item, side.n_items)


def _first_rows(item: np.ndarray, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the same as ``np.unique(item, return_index=True)``, without a sort."""
    first = np.full(n_items, -1, np.int64)
    # Of several values for one place the last is kept: so backwards.
    first[item[::-1]] = np.arange(len(item))[::-1]
    items = np.flatnonzero(first >= 0)
    return items, first[items]
