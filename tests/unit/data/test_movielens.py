from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmrec.core.errors import DataError
from llmrec.data.movielens import GENRES, MovieLens100K, split_title

# Made by hand: both forms say the same.
LOG = [
    ("7", "3", "4", "880000100"),
    ("1", "1", "5", "880000100"),
    ("7", "1", "3", "870000000"),
    ("1", "4", "2", "880000100"),
]
USERS = [("7", "24", "M", "technician", "85711"), ("1", "53", "F", "other", "94043")]
ITEMS = [
    ("1", "Toy Stéry", "1995", ["Animation", "Children's", "Comedy"]),
    ("3", "Postino, Il (The Postman)", "1994", ["Film-Noir", "Sci-Fi"]),
    ("4", "Land Before Time III", "1995", ["Drama"]),
    ("5", "unknown", "", ["unknown"]),
]


def write_original(folder: Path) -> None:
    (folder / "u.data").write_text("".join("\t".join(row) + "\n" for row in LOG))
    (folder / "u.user").write_text("".join("|".join(row) + "\n" for row in USERS))
    lines = []
    for item, title, year, genres in ITEMS:
        full = f"{title} ({year})" if year else title
        full += " (V)" if item == "4" else ""
        flags = ["1" if genre in genres else "0" for genre in GENRES]
        lines.append("|".join([item, full, "01-Jan-1995", "", "http://x", *flags]))
    (folder / "u.item").write_bytes(("\n".join(lines) + "\n").encode("latin-1"))


def write_recbole(folder: Path) -> None:
    log = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    log += ["\t".join(row) for row in LOG]
    users = ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"]
    users += ["\t".join(row) for row in USERS]
    items = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    for item, title, year, genres in ITEMS:
        shown, cut = (title, year) if year else ("unkonwn", "unkonwn")
        if item == "4":
            shown, cut = f"{title} ({year})", "V"
        items.append("\t".join([item, shown, cut, " ".join(genres)]))
    for ending, lines in (("inter", log), ("user", users), ("item", items)):
        (folder / f"ml-100k.{ending}").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("write", [write_original, write_recbole])
def test_both_forms_give_the_same_data_set(tmp_path: Path, write) -> None:
    write(tmp_path)
    data = MovieLens100K(folder=str(tmp_path)).load()
    assert data.user_ids.tolist() == ["7", "1"]
    assert data.item_ids.tolist() == ["1", "3", "4", "5"]
    assert data.item_fields["title"].tolist() == [title for _, title, _, _ in ITEMS]
    assert data.item_fields["year"].tolist() == ["1995", "1994", "1995", ""]
    assert data.item_fields["genres"].tolist() == [
        "Animation, Children's, Comedy",
        "Film-Noir, Sci-Fi",
        "Drama",
        "",
    ]
    assert {key: values.tolist() for key, values in data.user_fields.items()} == {
        "age": ["24", "53"],
        "gender": ["M", "F"],
        "occupation": ["technician", "other"],
    }
    log = data.interactions
    # In time order, the three equal times in the order of the file.
    assert log.user.tolist() == [0, 0, 1, 1]
    assert log.item.tolist() == [0, 1, 0, 2]
    assert log.rating.tolist() == [3, 4, 5, 2]
    assert log.timestamp.tolist() == [870000000, 880000100, 880000100, 880000100]
    assert log.timestamp.dtype == np.int64
    assert log.rating.dtype == np.float32
    assert "research" in data.source["licence"]
    assert data.source["citation"]
    assert len(data.source["sha256"]) == 3


def test_fingerprints_of_both_forms_agree(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_original(tmp_path / "a")
    write_recbole(tmp_path / "b")
    a = MovieLens100K(folder=str(tmp_path / "a")).load()
    b = MovieLens100K(folder=str(tmp_path / "b")).load()
    assert a.fingerprint == b.fingerprint


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Toy Story (1995)", ("Toy Story", "1995")),
        ("Shanghai Triad (Yao a yao) (1995)", ("Shanghai Triad (Yao a yao)", "1995")),
        (
            "Marlene Dietrich: Shadow and Light (1996) ",
            ("Marlene Dietrich: Shadow and Light", "1996"),
        ),
        ("Land Before Time III (1995) (V)", ("Land Before Time III", "1995")),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", "1968")),
        ("unknown", ("unknown", "")),
    ],
)
def test_year_is_cut_off_the_title(text: str, parts: tuple[str, str]) -> None:
    assert split_title(text) == parts


def break_file(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text(encoding="latin-1")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="latin-1")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("u.data", "1\t1\t5", "1\t99\t5", r"u\.data, line 2: item '99' is not in .*u\.item"),
        ("u.data", "1\t1\t5", "9\t1\t5", r"u\.data, line 2: user '9' is not in .*u\.user"),
        ("u.data", "1\t1\t5", "1\t1\tfive", r"u\.data, line 2: rating 'five' is not a number"),
        ("u.data", "1\t1\t5\t", "1\t1\t", r"u\.data, line 2: 3 field\(s\) where 4 are expected"),
        ("u.item", "3|Postino", "1|Postino", r"u\.item, line 2: item '1' stands on line 1 already"),
        ("u.user", "1|53", "|53", r"u\.user, line 2: user is missing"),
    ],
)
def test_malformed_files_are_refused_with_their_line(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    write_original(tmp_path)
    break_file(tmp_path, name, old, new)
    with pytest.raises(DataError, match=message):
        MovieLens100K(folder=str(tmp_path)).load()


def test_unknown_genre_is_refused(tmp_path: Path) -> None:
    write_recbole(tmp_path)
    path = tmp_path / "ml-100k.item"
    path.write_text(path.read_text(encoding="utf-8").replace("Drama", "Dram"), encoding="utf-8")
    with pytest.raises(DataError, match=r'line 4: unknown genre "Dram" \(did you mean "Drama"'):
        MovieLens100K(folder=str(tmp_path)).load()


def test_folder_without_the_files_says_which(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds neither u\.data, .* nor ml-100k\.inter"):
        MovieLens100K(folder=str(tmp_path)).load()
    with pytest.raises(DataError, match="is not a folder"):
        MovieLens100K(folder=str(tmp_path / "absent")).load()
    write_original(tmp_path)
    (tmp_path / "u.user").unlink()
    with pytest.raises(DataError, match=r"there is no file .*u\.user"):
        MovieLens100K(folder=str(tmp_path)).load()
