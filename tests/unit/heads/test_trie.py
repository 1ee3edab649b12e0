"""The trie allows exactly the catalogue's identifiers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.heads.trie import IdentifierTrie

END = 0
IDENTIFIERS = st.lists(st.lists(st.integers(1, 4), max_size=4).map(tuple), min_size=1, max_size=12)


def walk(trie: IdentifierTrie) -> list[tuple[int, ...]]:
    """Return everything that can be written."""
    found, open_rows = [], [()]
    while open_rows:
        row = open_rows.pop()
        for token in trie.allowed(row):
            if token == END:
                found.append(row)
            else:
                open_rows.append((*row, token))
    return found


@given(identifiers=IDENTIFIERS)
@settings(max_examples=80, deadline=None)
def test_exactly_the_identifiers_can_be_written(identifiers: list[tuple[int, ...]]) -> None:
    trie = IdentifierTrie(identifiers, END)
    assert sorted(walk(trie)) == sorted(set(identifiers))
    assert trie.n_leaves == len(set(identifiers))


@given(identifiers=IDENTIFIERS, data=st.data())
@settings(max_examples=80, deadline=None)
def test_what_is_written_names_its_items(identifiers: list[tuple[int, ...]], data) -> None:
    trie = IdentifierTrie(identifiers, END)
    item = data.draw(st.integers(0, len(identifiers) - 1))
    padding = data.draw(st.lists(st.integers(0, 4), max_size=3))
    found = trie.items([*identifiers[item], END, *padding]).tolist()
    assert found == [i for i, other in enumerate(identifiers) if other == identifiers[item]]
    assert trie.items(identifiers[item]).tolist() == []  # not closed yet


@given(identifiers=IDENTIFIERS, written=st.lists(st.integers(0, 5), max_size=6))
@settings(max_examples=80, deadline=None)
def test_no_dead_end_and_nothing_invalid(
    identifiers: list[tuple[int, ...]], written: list[int]
) -> None:
    trie = IdentifierTrie(identifiers, END)
    allowed = trie.allowed(written)
    assert allowed  # generation can always go on
    assert len(set(allowed)) == len(allowed)
    prefixes = {row[:n] for row in identifiers for n in range(len(row) + 1)}
    if tuple(written) in prefixes:
        for token in allowed:
            assert token == END or (*written, token) in prefixes
    else:  # finished, or off the trie: only the end is left
        assert allowed == [END]
    for item in trie.items(written):
        assert tuple(written[: written.index(END)]) == identifiers[item]
