"""The trie of arrays allows exactly the catalogue's identifiers, as nested dicts do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dict_trie import allowed as dict_allowed
from dict_trie import dict_trie
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.core.types import Ragged
from llmrec.heads.beams import TrieArrays, beam_search
from llmrec.heads.trie import IdentifierTrie

END = 0
IDENTIFIERS = st.lists(st.lists(st.integers(1, 4), max_size=4).map(tuple), min_size=1, max_size=12)
FIXED = st.lists(
    st.lists(st.integers(0, 3), min_size=3, max_size=3).map(tuple), min_size=1, max_size=12
)


def trie_of(identifiers: list[tuple[int, ...]], end: int | None = END) -> IdentifierTrie:
    return IdentifierTrie(Ragged.from_rows(identifiers, np.int64), end)


def walk(trie: IdentifierTrie) -> list[tuple[int, ...]]:
    """Return everything that can be written, the end token included."""
    found, open_rows = [], [()]
    while open_rows:
        row = open_rows.pop()
        tokens = trie.allowed(row).tolist()
        if not tokens:
            found.append(row)
        open_rows += [(*row, token) for token in tokens]
    return found


@given(identifiers=IDENTIFIERS)
@settings(max_examples=80, deadline=None)
def test_exactly_the_identifiers_can_be_written(identifiers: list[tuple[int, ...]]) -> None:
    trie = trie_of(identifiers)
    assert sorted(walk(trie)) == sorted({(*row, END) for row in identifiers})
    assert trie.n_leaves == len(set(identifiers))


@given(identifiers=FIXED)
@settings(max_examples=40, deadline=None)
def test_identifiers_of_one_length_need_no_end(identifiers: list[tuple[int, ...]]) -> None:
    assert sorted(walk(trie_of(identifiers, None))) == sorted(set(identifiers))


def test_what_needs_an_end_token_is_refused_without() -> None:
    for rows in ([(1,), (1, 2)], [(), (1,)], []):
        with pytest.raises(ValueError, match="identifier"):
            trie_of(rows, None)


@given(identifiers=IDENTIFIERS)
@settings(max_examples=80, deadline=None)
def test_each_leaf_knows_its_items(identifiers: list[tuple[int, ...]]) -> None:
    trie = trie_of(identifiers)
    seen = []
    for leaf in range(trie.n_leaves):
        written = tuple(trie.identifier(leaf).tolist())
        node = trie.node(written)
        assert node is not None
        assert trie.leaf[node] == leaf
        items = trie.items[leaf].tolist()
        assert items == [i for i, other in enumerate(identifiers) if (*other, END) == written]
        seen += items
    assert sorted(seen) == list(range(len(identifiers)))
    assert (trie.leaf >= 0).sum() == trie.n_leaves


def leaves_below(trie: IdentifierTrie, node: int) -> list[int]:
    """Return the leaves below a node, or itself."""
    if trie.leaf[node] >= 0:
        return [node]
    edges = range(trie.starts[node], trie.starts[node + 1])
    return [leaf for edge in edges for leaf in leaves_below(trie, edge + 1)]


@given(identifiers=IDENTIFIERS)
@settings(max_examples=80, deadline=None)
def test_what_is_below_a_node_follows_it_in_the_order(identifiers: list[tuple[int, ...]]) -> None:
    trie = trie_of(identifiers)

    def walked(node: int) -> tuple[list[int], int]:
        """Return the nodes inside from a node on, depth first, and how many of them on the way."""
        if trie.leaf[node] >= 0:
            return [], 0
        parts = [walked(edge + 1) for edge in range(trie.starts[node], trie.starts[node + 1])]
        return [node, *(n for below, _ in parts for n in below)], 1 + max(h for _, h in parts)

    assert trie.order.tolist() == walked(0)[0]
    for node in range(len(trie.leaf)):
        below, height = walked(node)
        assert (trie.below[node], trie.height[node]) == (len(below), height)
        assert trie.forced[node] == (len(leaves_below(trie, node)) == 1)
        if below:
            start = trie.place[node]
            assert trie.order[start : start + len(below)].tolist() == below


@given(identifiers=IDENTIFIERS, written=st.lists(st.integers(0, 5), max_size=6))
@settings(max_examples=80, deadline=None)
def test_it_allows_what_nested_dicts_allow(
    identifiers: list[tuple[int, ...]], written: list[int]
) -> None:
    trie = trie_of(identifiers)
    ours = trie.allowed(written).tolist()
    # The dicts always let generation go on: with the end token where nothing may follow.
    assert sorted(ours or [END]) == sorted(dict_allowed(dict_trie(identifiers, END), written, END))
    assert ours == sorted(ours)


@given(identifiers=IDENTIFIERS, data=st.data())
@settings(max_examples=40, deadline=None)
def test_many_beams_are_followed_at_once(identifiers: list[tuple[int, ...]], data) -> None:
    trie = trie_of(identifiers)
    n_nodes = len(trie.leaf)
    nodes = data.draw(st.lists(st.integers(0, n_nodes - 1), min_size=4, max_size=4))
    tokens, children, real = TrieArrays(trie, torch.device("cpu")).follow(
        torch.tensor(nodes).view(2, 2)
    )
    for place, node in enumerate(nodes):
        kept = real.view(4, -1)[place]
        edges = slice(trie.starts[node], trie.starts[node + 1])
        assert tokens.view(4, -1)[place][kept].tolist() == trie.tokens[edges].tolist()
        assert children.view(4, -1)[place][kept].tolist() == [
            e + 1 for e in range(edges.start, edges.stop)
        ]


class Fixed:
    """A writer whose states are its logits, which depend on the last token alone."""

    def __init__(self, first: torch.Tensor, after: torch.Tensor, n_rows: int) -> None:
        self.first, self.after, self.n_rows = first, after, n_rows
        self.vocabulary_size = len(first)

    def start(self) -> torch.Tensor:
        return self.first.expand(self.n_rows, 1, -1)

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        return self.after[tokens]

    def read(self, tokens: torch.Tensor, parents: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return self.after[tokens]

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states.clone()


@given(identifiers=IDENTIFIERS, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_search_with_enough_beams_is_exhaustive(
    identifiers: list[tuple[int, ...]], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(5, generator=generator) * 2
    after = torch.randn(5, 5, generator=generator) * 2
    trie = trie_of(identifiers)
    arrays = TrieArrays(trie, torch.device("cpu"))
    leaves, scores = beam_search(Fixed(first, after, 2), arrays, trie.n_leaves)
    truth = []
    for leaf in range(trie.n_leaves):
        row = trie.identifier(leaf).tolist()
        logits = torch.stack([first, *after[row[:-1]]])
        truth.append(float(logits.log_softmax(1)[range(len(row)), row].sum()))
    assert sorted(leaves[0].tolist()) == list(range(trie.n_leaves))
    np.testing.assert_allclose(scores[1], np.sort(truth)[::-1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores[0], np.array(truth)[leaves[0]], rtol=1e-4, atol=1e-4)
