"""Tiny data sets of two groups, where anybody who learns from others knows the answer."""

from __future__ import annotations

import numpy as np

from llmrec.core.types import Dataset, Interactions, Split

PER_GROUP = 8
START = 946_684_800


def checkerboard(n_users: int = 24) -> Split:
    """Return users and items in two groups; everybody has had only items of the own group.

    User u is of group ``u % 2``, item i of group ``i % 2``, eight items a group. Each user had six
    items of the group in train, one in valid, one in test, in cyclic order from a place of its
    own; so the held-out item is the only unseen one of the group, and a recommender that learns
    from others ranks it above the eight of the other group. One more user and one more item,
    the last ids, never occur. All ratings are 5.
    """
    users, items, times = [], [], []
    for user in range(n_users):
        for step in range(PER_GROUP):
            users.append(user)
            items.append(2 * ((user // 2 + step) % PER_GROUP) + user % 2)
            times.append(START + 3600 * step + user)
    log = _log(users, items, np.full(len(users), 5.0), times)
    place = np.empty(len(log), np.int64)
    for rows in (np.flatnonzero(log.user == user) for user in range(n_users)):
        place[rows] = np.arange(len(rows))
    return _split(log, n_users, place < PER_GROUP - 2, place == PER_GROUP - 1, "checkerboard")


def rated_checkerboard(n_users: int = 24) -> Split:
    """Return the same groups with ratings: 5 for items of the own group, 1 for the others.

    Everybody rated all sixteen items; of each user one item of either group is in valid and one
    of either group in test, the rest in train. Whoever learns from others predicts a higher
    rating for the held-out item of the own group than for that of the other.
    """
    users, items, ratings, times, sides = [], [], [], [], []
    for user in range(n_users):
        for step in range(2 * PER_GROUP):
            pair, group = (user // 2 + step // 2) % PER_GROUP, (user + step) % 2
            users.append(user)
            items.append(2 * pair + group)
            ratings.append(5.0 if group == user % 2 else 1.0)
            times.append(START + 3600 * step + user)
            sides.append(step // 2)
    order = np.argsort(times, kind="stable")
    log = _log(users, items, np.array(ratings), times)
    side = np.array(sides)[order]
    train, test = side < PER_GROUP - 2, side == PER_GROUP - 1
    return _split(log, n_users, train, test, "rated checkerboard")


def _log(users: list[int], items: list[int], ratings: np.ndarray, times: list[int]) -> Interactions:
    return Interactions(
        np.array(users, np.int32),
        np.array(items, np.int32),
        ratings.astype(np.float32),
        np.array(times, np.int64),
    ).sorted()


def _split(
    log: Interactions, n_users: int, train: np.ndarray, test: np.ndarray, name: str
) -> Split:
    words = ("white", "black")
    titles = [f"{words[item % 2]} piece {item // 2}" for item in range(2 * PER_GROUP)]
    whole = Dataset(
        name,
        log,
        np.array([f"user {user}" for user in range(n_users + 1)]),
        np.array([f"item {item}" for item in range(2 * PER_GROUP + 1)]),
        {"title": np.array([*titles, "grey piece"], object)},
    )
    valid = ~train & ~test
    return Split(whole.select(train), whole.select(valid), whole.select(test), name)
