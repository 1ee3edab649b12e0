"""A trie of item identifiers as arrays: which token may come next, and which items a leaf is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from llmrec.core.types import Ragged

NO_TOKEN = -1


class IdentifierTrie:
    """Token sequences of all items in compressed rows.

    Nodes are numbered level by level, the children of a node in order of their tokens; so edge e
    leads to node e + 1, and the edges of node v are ``starts[v]`` to ``starts[v + 1]``. Built by
    one sort; what may follow is a slice, whatever the size of the catalogue.

    Args:
        identifiers: token ids of each item, by item id, without the end token.
        end: token that closes each identifier; None where none of them begins another one (all
            of one length), so that the last token closes.

    Attributes:
        starts: (n_nodes + 1,) int64 first edge of each node.
        tokens: (n_edges,) int64 token of each edge.
        leaf: (n_nodes,) int64 number of the leaf, −1 for a node inside.
        below: (n_nodes,) int32 nodes inside, among a node and all below it; 0 for a leaf.
        height: (n_nodes,) int32 nodes inside on the longest way down; 0 for a leaf.
        forced: (n_nodes,) bool, whether a single leaf is below a node, or it is one.
        order: (n_inside,) int32 nodes inside, depth first: all that are below one follow it.
        place: (n_nodes,) int32 where each node inside stands in `order`.
        items: items of each leaf, several where identifiers are equal.
        depth: tokens of the longest identifier, the end token included.

    Raises:
        ValueError: if an identifier cannot be told from a beginning of another.
    """

    def __init__(self, identifiers: Ragged, end: int | None) -> None:
        self.end = end
        if end is not None:
            places = np.arange(len(identifiers) + 1)
            closing = Ragged(np.full(len(identifiers), end, np.int64), places)
            identifiers = identifiers.concat(closing)
        if not len(identifiers.values):
            raise ValueError("there is no identifier")
        table = identifiers.padded(fill=NO_TOKEN).astype(np.int64)
        order = np.lexsort(table.T[::-1])
        rows, self.depth = table[order], table.shape[1]
        # The level at which each row parts from the one before it; equal rows never do.
        differs = rows[1:] != rows[:-1]
        parts = np.where(differs.any(1), differs.argmax(1), self.depth)
        parts = np.concatenate([[0], parts])
        distinct = parts < self.depth
        leaf_of_row = np.cumsum(distinct) - 1
        self.items = Ragged.from_groups(leaf_of_row, order.astype(np.int64), int(distinct.sum()))
        rows, parts = rows[distinct], parts[distinct]
        lengths = (rows != NO_TOKEN).sum(1)
        node = np.zeros(len(rows), np.int64)  # of each row at the current level
        tokens, parents, leaf_nodes, n_nodes = [], [], np.empty(len(rows), np.int64), 1
        levels = [0, 1]  # the first node of each
        for level in range(self.depth):
            begins = (parts <= level) & (level < lengths)
            tokens.append(rows[begins, level])
            parents.append(node[begins])
            node = n_nodes + np.cumsum(begins) - 1
            n_nodes += int(begins.sum())
            levels.append(n_nodes)
            closed = level == lengths - 1
            leaf_nodes[closed] = node[closed]
        self.tokens = np.concatenate(tokens)
        counts = np.bincount(np.concatenate(parents), minlength=n_nodes)
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if counts[leaf_nodes].any() or not lengths.all():
            raise ValueError("an identifier is the beginning of another: an end token is needed")
        self.leaf = np.full(n_nodes, -1, np.int64)
        self.leaf[leaf_nodes] = np.arange(len(rows))
        self._rows = Ragged(rows[rows != NO_TOKEN], np.concatenate([[0], np.cumsum(lengths)]))
        self._measure(levels)

    def _measure(self, levels: list[int]) -> None:
        """Find what is below each node, and the depth-first order.

        Args:
            levels: the first node of each level, and the number of nodes.
        """
        n_nodes, starts = len(self.leaf), self.starts
        self.below = np.zeros(n_nodes, np.int32)
        self.height = np.zeros(n_nodes, np.int32)
        self.place = np.zeros(n_nodes, np.int32)
        self.forced = self.leaf >= 0
        inside = [np.flatnonzero(self.leaf[a:b] < 0) + a for a, b in pairwise(levels)]
        for nodes in reversed(inside):
            if len(nodes):
                # All edges of a level are one slice, and only nodes inside have any.
                cuts = starts[nodes] - starts[nodes[0]]
                children = slice(starts[nodes[0]] + 1, starts[nodes[-1] + 1] + 1)
                self.below[nodes] = 1 + np.add.reduceat(self.below[children], cuts)
                self.height[nodes] = 1 + np.maximum.reduceat(self.height[children], cuts)
                single = starts[nodes + 1] - starts[nodes] == 1
                self.forced[nodes] = single & self.forced[starts[nodes] + 1]
        before = np.concatenate([[0], np.cumsum(self.below[1:], dtype=np.int64)])
        for nodes in inside:
            if len(nodes):
                edges = np.arange(starts[nodes[0]], starts[nodes[-1] + 1])
                counts = starts[nodes + 1] - starts[nodes]
                first = np.repeat(self.place[nodes] + 1 - before[starts[nodes]], counts)
                self.place[edges + 1] = first + before[edges]
        nodes = np.flatnonzero(self.leaf < 0)
        self.order = np.empty(len(nodes), np.int32)
        self.order[self.place[nodes]] = nodes

    @property
    def n_leaves(self) -> int:
        """Number of distinct identifiers."""
        return len(self._rows)

    def identifier(self, leaf: int) -> np.ndarray:
        """Return the tokens of a leaf, the end token included."""
        return self._rows[leaf]

    def node(self, written: Sequence[int]) -> int | None:
        """Return the node that some tokens lead to, None if nothing begins with them."""
        node = 0
        for token in written:
            edges = slice(self.starts[node], self.starts[node + 1])
            place = int(np.searchsorted(self.tokens[edges], token))
            if place == edges.stop - edges.start or self.tokens[edges][place] != token:
                return None
            node = int(edges.start) + place + 1
        return node

    def allowed(self, written: Sequence[int]) -> np.ndarray:
        """Return the tokens that may follow some tokens; none after a leaf or off the trie."""
        node = self.node(written)
        if node is None:
            return np.empty(0, np.int64)
        return self.tokens[self.starts[node] : self.starts[node + 1]]
