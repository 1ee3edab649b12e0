from __future__ import annotations

from pathlib import Path

import pytest

from llmrec.core.errors import DataError
from llmrec.data.recbole import RecBole

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\treview:token_seq\n"
    '196\t242\t3\t881250949\ta fine "film"\n'
    "186\t302\t3\t891717742\t\n"
    "196\t302\t4.5\t8.81250948e8\tgood\n"
)
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tscore:float\n"
    "242\tKolya\t1996\tComedy\t0.5\n"
    "302\tL.A. Confidential\t1997\tCrime Film-Noir\t1\n"
    "1\tToy Story\t1995\tAnimation\t2\n"
)
USER = "user_id:token\tage:token\tgender:token\n196\t49\tM\n186\t39\tF\n"
GAMES = (
    "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    "0\t10 2 3\t14\n"
    "1\t15\t3\n"
)  # fmt: skip


@pytest.fixture
def write(tmp_path: Path):
    def put(inter: str = INTER, item: str | None = ITEM, user: str | None = USER) -> str:
        for ending, text in (("inter", inter), ("item", item), ("user", user)):
            if text is not None:
                (tmp_path / f"ml.{ending}").write_text(text, encoding="utf-8")
        return str(tmp_path / "ml.inter")

    return put


def test_the_three_files_are_found_by_their_name(write) -> None:
    data = RecBole(interactions=write(), text="review").load()
    assert (data.name, data.n_users, data.n_items, len(data)) == ("ml", 2, 2, 3)
    log = data.interactions
    assert data.user_ids.tolist() == ["186", "196"]
    assert log.timestamp.tolist() == [881250948, 881250949, 891717742]
    assert log.rating.tolist() == [4.5, 3, 3]
    assert log.text.tolist() == ["good", 'a fine "film"', ""]
    assert data.item_fields["class"].tolist() == ["Comedy", "Crime Film-Noir"]
    assert list(data.item_fields) == ["movie_title", "release_year", "class", "score"]
    assert data.user_fields["age"].tolist() == ["39", "49"]
    assert data.source["rating"] == "rating"
    assert data.source["timestamp"] == "timestamp"
    assert sorted(data.source["sha256"]) == ["ml.inter", "ml.item", "ml.user"]


def test_without_the_other_files_and_fields_there_are_only_interactions(write) -> None:
    text = "user_id:token\titem_id:token\nb\ty\na\tx\n"
    data = RecBole(interactions=write(text, None, None)).load()
    assert data.interactions.rating is None
    assert data.interactions.timestamp is None
    assert (dict(data.item_fields), dict(data.user_fields)) == ({}, {})
    assert data.interactions.user.tolist() == [1, 0]
    with pytest.raises(DataError, match=r"there is no .*ml\.item, which catalogue=items needs"):
        RecBole(interactions=write(text, None, None), catalogue="items").load()


def test_history_and_target_are_one_sequence(write) -> None:
    item = "item_id:token\ttitle:token_seq\n14\tFourteen\n3\tThree\n99\tNobody's\n"
    data = RecBole(interactions=write(GAMES, item, None)).load()
    histories = [data.item_ids[data.histories[user]].tolist() for user in range(2)]
    assert histories == [["10", "2", "3", "14"], ["15", "3"]]
    assert data.source["items_absent_from_item_file"] == 3
    whole = RecBole(interactions=write(GAMES, item, None), catalogue="items").load()
    assert whole.n_items == 6


@pytest.mark.parametrize(
    ("inter", "message"),
    [
        (INTER.replace("rating:float", "rating"), r"line 1: 'rating' has no type"),
        (INTER.replace("rating:float", "rating:int"), r'line 1: unknown type of rating "int"'),
        (INTER.replace("rating:float", "rating:token"), r"line 1: rating is a token, but ratings"),
        (INTER.replace("rating:float", "user_id:float"), r"has the field 'user_id' more than once"),
        (INTER.replace("user_id", "user"), r'"user_id" \(did you mean "user"\?\)'),
        (INTER.replace("881250949", "noon"), r"ml\.inter, line 2: timestamp 'noon' is neither"),
        (INTER + "1\t2\t3\t4\n", r"line 5: 4 field\(s\) where 5 are expected"),
        (INTER + INTER.splitlines()[1] + "\n", r"user 196, item 242 on lines 2 and 5"),
        (GAMES + "0\t10 2\t3\n", r"has user '0' on lines 2 and 4: pieces of one history"),
    ],
)
def test_bad_files_are_sentences(write, inter: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RecBole(interactions=write(inter, None, None)).load()
