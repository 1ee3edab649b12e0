from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import make_queries
from llmrec.data.sequences import Sequences, read_sequences
from llmrec.data.splits import LeaveOneOut

# As Amazon Beauty is passed on: user, tab, items in time order.
BEAUTY = (
    "A1YJEY40YUW4SE\tB004756YJA B004ZT0SSG 7806397051\n"
    "A60XNB876KYML\t7806397051 B0009P4PZC B004ZT0SSG B004756YJA\n"
)
ITEMS = (
    "item_id\ttitle\n"
    'B004756YJA\tOPI Nail Lacquer, 0.5-Fluid Ounce, 6" brush\n'
    "B004ZT0SSG\t\n"
    "7806397051\tWAWO 15 Color Palette\n"
    "B0009P4PZC\tCocoa Butter\n"
    "B000000000\tNobody bought this\n"
)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sequences.txt").write_text(BEAUTY)
    (tmp_path / "items.tsv").write_text(ITEMS)
    return {
        "interactions": str(tmp_path / "sequences.txt"),
        "items": str(tmp_path / "items.tsv"),
        "item_id": "item_id",
    }


def test_sequences_are_histories_in_their_order(files: dict[str, str]) -> None:
    data = Sequences(**files).load()
    assert (data.name, data.n_users, data.n_items, len(data)) == ("sequences", 2, 4, 7)
    for user, line in enumerate(BEAUTY.splitlines()):
        name, *items = line.split()
        assert data.user_ids[user] == name
        assert data.item_ids[data.histories[user]].tolist() == items
    assert data.item_fields["title"][data.item_index("B004756YJA")].endswith('6" brush')
    assert data.source["items_without_text"] == 1
    assert data.source["items_left_out_for_lack_of_interactions"] == 1
    assert data.source["time"] == "order of the file"
    whole = Sequences(**files, catalogue="items", label="beauty").load()
    assert (whole.name, whole.n_items, len(whole)) == ("beauty", 5, 7)


def test_the_last_item_of_a_line_is_the_test_and_the_one_before_it_the_validation(files) -> None:
    data = Sequences(**files).load()
    parts = LeaveOneOut().split(data)
    _, test = make_queries(parts.train.union(parts.valid), parts.test)
    _, valid = make_queries(parts.train, parts.valid)
    assert data.item_ids[test.items.values].tolist() == ["7806397051", "B004756YJA"]
    assert data.item_ids[valid.items.values].tolist() == ["B004ZT0SSG", "B004ZT0SSG"]


def test_pairs_on_lines_of_their_own_are_the_same(tmp_path: Path, files) -> None:
    """As SASRec's own files are."""
    pairs = [
        f"{line.split()[0]} {item}" for line in BEAUTY.splitlines() for item in line.split()[1:]
    ]
    (tmp_path / "pairs.txt").write_text("\r\n".join(pairs))
    data = Sequences(interactions=str(tmp_path / "pairs.txt")).load()
    expected = Sequences(interactions=files["interactions"]).load()
    assert data.fingerprint == expected.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"sequences\.txt is empty"),
        ("u a b\nv\n", r"line 2: user 'v' without items"),
        ("u a b\n\nv a\n\n\nw a", r"line 2: an empty line, .* \(and 2 more such lines\)"),
        ("u a b a\n", r"1 duplicate interaction .*user u, item a on lines 1 and 1\."),
        ("u a\nu a\n", r"user u, item a on lines 1 and 2"),
        ("u a\nü b\n".encode("latin-1"), r"line 2: byte 5 .*is not UTF-8"),
    ],
)
def test_bad_lines_are_sentences_with_their_number(tmp_path: Path, content, message) -> None:
    path = tmp_path / "sequences.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        Sequences(interactions=str(path)).load()
    with pytest.raises(DataError, match="there is no file"):
        Sequences(interactions=str(tmp_path / "absent.txt")).load()


def test_repeats_are_left_out_and_counted_when_told(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("u a b a c\n")
    for policy, kept in (("first", ["a", "b", "c"]), ("last", ["b", "a", "c"])):
        data = Sequences(interactions=str(tmp_path / "s.txt"), duplicates=policy).load()
        assert data.item_ids[data.histories[0]].tolist() == kept
        assert data.source["duplicates_left_out"] == 1


def test_wrong_options_are_config_errors() -> None:
    for options, where in [
        ({"items": "items.parquet"}, "items"),
        ({"catalogue": "items"}, "catalogue"),
        ({"duplicates": "drop"}, "duplicates"),
    ]:
        with pytest.raises(ConfigError) as caught:
            build("source", {"name": "sequences", "interactions": "x.txt", **options})
        assert [problem.where for problem in caught.value.problems] == [where]


WORD = st.text("ab1é🎬-", min_size=1, max_size=4)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(WORD, st.lists(WORD, min_size=1, max_size=5)), min_size=1))
def test_every_line_is_read_whole(rows, tmp_path: Path) -> None:
    text = "\n".join(" ".join([user, *items]) for user, items in rows)
    table = read_sequences(tmp_path / "s.txt", text.encode())
    assert table.frame.rows() == [(user, item) for user, items in rows for item in items]
    assert [table.lines[row] for row in range(len(table))] == [
        line for line, (_, items) in enumerate(rows, start=1) for _ in items
    ]
