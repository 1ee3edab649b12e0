"""A trie of item identifiers: which token may come next, and which item a finished row is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class IdentifierTrie:
    """Token sequences of all items, each closed by an end token.

    Args:
        identifiers: token ids of each item, by item id, without the end token.
        end: the end token.
    """

    def __init__(self, identifiers: Sequence[Sequence[int]], end: int) -> None:
        self.end = end
        self.root: dict[int, Any] = {}
        self._items: dict[tuple[int, ...], list[int]] = {}
        for item, tokens in enumerate(identifiers):
            node = self.root
            for token in [*tokens, end]:
                node = node.setdefault(int(token), {})
            self._items.setdefault(tuple(map(int, tokens)), []).append(item)

    @property
    def n_leaves(self) -> int:
        """Number of distinct identifiers."""
        return len(self._items)

    def allowed(self, written: Sequence[int]) -> list[int]:
        """Return the tokens that may follow; only the end token after a finished identifier."""
        node = self.root
        for token in written:
            if token == self.end and not node.get(token, {}):
                return [self.end]
            if token not in node:
                return [self.end]
            node = node[token]
        return list(node) or [self.end]

    def items(self, written: Sequence[int]) -> np.ndarray:
        """Return the items whose identifier was written (up to the end token); none if invalid."""
        tokens = list(map(int, written))
        if self.end not in tokens:
            return np.empty(0, np.int64)
        found = self._items.get(tuple(tokens[: tokens.index(self.end)]), [])
        return np.asarray(found, np.int64)
