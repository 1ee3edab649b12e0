from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.data import tables
from llmrec.data.delimited import DelimitedFiles
from llmrec.data.tables import read_table

LOG = "user,item,rating,timestamp\n007,b,4,100\n8,a,3.5,50\n007,a,1,75\n"


@pytest.fixture
def write(tmp_path: Path):
    def put(content: str | bytes, name: str = "log.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return put


def load(path: str, **options: object):
    return DelimitedFiles(
        interactions=path, **{"rating": "rating", "timestamp": "timestamp", **options}
    ).load()


def test_labels_become_numbers_in_the_order_given(write) -> None:
    log = "user,item,act\n1,a,buy\n1,b,view\n2,a, cart \n"
    classes = ["view", "cart", "buy"]
    data = load(write(log), rating="act", timestamp=None, classes=classes)
    assert data.interactions.rating.tolist() == [2, 0, 1]
    with pytest.raises(DataError, match=r"line 2: act 'buy' is none of the classes view, cart"):
        load(write(log), rating="act", timestamp=None, classes=["view", "cart"])
    with pytest.raises(ConfigError, match="at least two labels, each once"):
        load(write(log), rating="act", classes=["view", "view"])
    with pytest.raises(ConfigError, match="which is null"):
        load(write(log), rating=None, classes=classes)


def test_ids_stay_as_written_and_rows_come_in_time_order(write) -> None:
    data = load(write(LOG))
    assert data.name == "log"
    assert data.user_ids.tolist() == ["007", "8"]
    assert data.item_ids.tolist() == ["a", "b"]
    log = data.interactions
    assert log.user.tolist() == [1, 0, 0]
    assert log.item.tolist() == [0, 0, 1]
    assert log.rating.tolist() == [3.5, 1, 4]
    assert log.timestamp.tolist() == [50, 75, 100]
    assert (log.user.dtype, log.rating.dtype, log.timestamp.dtype) == ("i4", "f4", "i8")
    assert data.source["sha256"]


def test_without_times_the_order_is_that_of_the_file(write) -> None:
    data = DelimitedFiles(interactions=write(LOG), label="mine").load()
    assert data.name == "mine"
    assert data.interactions.item.tolist() == [1, 0, 0]
    assert data.interactions.timestamp is None
    assert data.interactions.rating is None
    assert data.source["time"] == "order of the file"


def test_other_columns_and_tabs_and_crlf_and_byte_order_mark(write) -> None:
    text = '\ufeffwho\twhat\tsaid\r\nu\t"x\tfine, "really"\r\n'
    data = DelimitedFiles(interactions=write(text, "a.tsv"), user="who", item="what", text="said")
    loaded = data.load()
    assert loaded.item_ids.tolist() == ['"x']
    assert loaded.interactions.text.tolist() == ['fine, "really"']


def test_quoted_line_breaks_are_text_and_lines_still_count(write) -> None:
    text = 'user,item,text\nu,i,"two\nlines, ""quoted"""\nu,j,fine\n,k,x\n'
    path = write(text)
    with pytest.raises(DataError, match=r"log\.csv, line 5: user is missing"):
        DelimitedFiles(interactions=path, text="text").load()
    data = DelimitedFiles(interactions=write(text.replace("\n,k", "\nv,k")), text="text").load()
    assert data.interactions.text.tolist() == ['two\nlines, "quoted"', "fine", "x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"log\.csv is empty"),
        ("\n\n", r"log\.csv is empty"),
        (LOG.replace("\n", "\r"), r"line 1: the header cannot be read .* carriage return alone"),
        ("user,item,rating,timestamp\n", r"has a header but no rows"),
        ("usr,item,rating,timestamp\n1,2,3,4\n", r'"user" \(did you mean "usr"\?\)'),
        ("user,item,rating,rating\n1,2,3,4\n", r"has the column 'rating' more than once"),
        (LOG + "9,a,3\n", r"line 5: 3 field\(s\) where 4 are expected$"),
        (LOG + "9,a,3,1,1\n9,a\n", r"line 5: 5 field\(s\) .* \(and 1 more such lines\)"),
        (LOG + "\n9,a,3,1\n", r"line 5: an empty line"),
        (LOG + "9,a,,1\n", r"line 5: rating is missing"),
        (LOG + "9,a,good,1\n", r"line 5: rating 'good' is not a number"),
        (LOG + "9,a,NaN,1\n", r"line 5: rating 'NaN' is not a finite number"),
        (LOG + "9,a,inf,1\n9,b,-inf,2\n", r"line 5: rating 'inf' is not a finite number \(and 1"),
        (LOG + "9,a,1e39,1\n", r"line 5: rating '1e39' is not a finite number"),
        (LOG + "9,,3,1\n", r"line 5: item is missing"),
        (LOG + "9,a,3,\n", r"line 5: timestamp is missing"),
        (LOG + "9,a,3,today\n", r"line 5: timestamp 'today' is not a number"),
        (LOG + "9,a,3,900000000000\n", r"line 5: .* looks like milliseconds, .* like seconds"),
        (LOG.replace("100", "yesterday"), r"line 2: timestamp 'yesterday' is neither"),
        (LOG + '9,"a,3,1\n', r"line 5: the quote that opens here is never closed"),
        (LOG + '9,a"b,3,1\n', r"line 5: stray double quote"),
        (LOG + '9,"a"b,3,1\n', r"line 5: stray double quote"),
        (LOG.encode() + "9,é,3,1\n".encode("latin-1"), r"line 5: byte \d+ .*\(0xe9\) is not UTF-8"),
        (LOG.encode("utf-16"), r"is UTF-16"),
        (
            LOG + "8,a,1,1\n8,a,2,2\n",
            r"2 duplicate interactions .*user 8, item a on lines 3 and 5; .*3 and 6\.",
        ),
    ],
)
def test_bad_input_is_one_sentence_with_file_and_line(write, content, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(write(content))
    assert "\n" not in str(caught.value)


def test_an_absent_file_and_a_folder_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*absent\.csv"):
        load(str(tmp_path / "absent.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*folder\.csv"):
        load(str(tmp_path / "folder.csv"))


def test_another_encoding_is_read_when_named(write) -> None:
    path = write("user,item\nJosé,ñ\n".encode("latin-1"))
    assert DelimitedFiles(interactions=path, encoding="latin-1").load().user_ids[0] == "José"
    with pytest.raises(DataError, match="is not ascii text"):
        DelimitedFiles(interactions=path, encoding="ascii").load()


@pytest.mark.parametrize(("policy", "rating"), [("first", 1.0), ("last", 9.0)])
def test_duplicates_are_kept_by_time_where_a_policy_is_chosen(write, policy, rating) -> None:
    text = "user,item,rating,timestamp\nu,a,9,300\nu,b,5,200\nu,a,1,100\nu,a,2,150\n"
    data = load(write(text), duplicates=policy)
    assert data.source["duplicates_left_out"] == 2
    log = data.interactions
    assert len(log) == 2
    assert log.rating[log.item == 0].tolist() == [rating]
    assert np.all(np.diff(log.timestamp) >= 0)


@pytest.mark.parametrize(
    ("written", "seconds", "unit"),
    [
        (["1000000000", "999999999"], [999999999, 1000000000], "seconds"),
        (["1000000000500", "1000000000400"], [1000000000, 1000000000], "milliseconds"),
        (["1e9", "999999999.5"], [999999999, 1000000000], "seconds"),
        (["-5", "-7"], [-7, -5], "seconds"),
        (["2001-09-09", "2001-09-08T23:59:59"], [999993599, 999993600], "ISO 8601"),
        (
            ["2001-09-09T03:46:40+02:00", "2001-09-09T01:46:39.9Z"],
            [999999999, 1000000000],
            "ISO 8601",
        ),
    ],
)
def test_times_in_every_form(write, written, seconds, unit: str) -> None:
    rows = "".join(f"u,i{n},1,{time}\n" for n, time in enumerate(written))
    data = load(write("user,item,rating,timestamp\n" + rows))
    assert data.interactions.timestamp.tolist() == seconds
    assert data.interactions.item.tolist() == [1, 0]
    assert data.source["time"].startswith(unit)


def test_item_and_user_files_give_texts_and_counts(write) -> None:
    items = "item,title,genres\nz,Zed,\nb,Bee,drama\n"
    users = "uid;age\n8;30\n"
    data = load(
        write(LOG),
        items=write(items, "items.csv"),
        users=write(users.replace(";", ","), "users.csv"),
        user_id="uid",
    )
    assert data.item_ids.tolist() == ["a", "b"]
    assert data.item_texts() == ["", "Bee, drama"]
    assert data.user_fields["age"].tolist() == ["", "30"]
    assert data.source["items_without_text"] == 1
    assert data.source["items_absent_from_item_file"] == 1
    assert data.source["items_left_out_for_lack_of_interactions"] == 1
    assert data.source["users_absent_from_user_file"] == 1


def test_whole_item_file_as_catalogue_and_chosen_fields(write) -> None:
    items = write("item,title,genres\nz,Zed,\nb,Bee,drama\n", "items.csv")
    data = load(write(LOG), items=items, catalogue="items", item_fields=["genres", "title"])
    assert data.item_ids.tolist() == ["a", "b", "z"]
    assert data.item_texts() == ["", "drama, Bee", "Zed"]
    with pytest.raises(DataError, match=r'unknown field .*"titel" \(did you mean "title"'):
        load(write(LOG), items=items, item_fields=["titel"])


def test_an_item_file_that_fits_nothing_or_repeats_is_refused(write) -> None:
    with pytest.raises(DataError, match=r"knows none of the ids .*begins with 'A'"):
        load(write(LOG), items=write("item,title\nA,x\n", "items.csv"))
    with pytest.raises(DataError, match=r"line 4: item 'a' stands on line 2 already"):
        load(write(LOG), items=write("item,title\na,x\nb,y\na,z\n", "items.csv"))


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"interactions": "x.txt"}, "interactions"),
        ({"interactions": "x.csv", "delimiter": "::"}, "delimiter"),
        ({"interactions": "x.csv", "encoding": "klingon"}, "encoding"),
        ({"interactions": "x.csv", "catalogue": "items"}, "catalogue"),
        ({"interactions": "x.csv", "duplicates": "drop"}, "duplicates"),
        ({"interactions": "x.csv", "raiting": "r"}, "raiting"),
        ({}, "interactions"),
    ],
)
def test_wrong_options_are_config_errors(options: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("source", {"name": "csv", **options})
    assert [problem.where for problem in caught.value.problems] == [where]


def test_wrong_options_are_refused_by_the_constructor_too() -> None:
    with pytest.raises(ConfigError, match="delimiter"):
        DelimitedFiles(interactions="x.csv", delimiter="::")


def test_fields_are_counted_alike_in_blocks(tmp_path: Path, monkeypatch) -> None:
    text = "a,b,c\n" + "".join(f'{n},"x,{n}\n",z\n' for n in range(20))
    whole = read_table(tmp_path / "x.csv", text.encode())
    bad = text.replace('10,"x', '10;"x').replace('"x,10\n"', "y")
    for size in (1, 2, 7, 21):
        monkeypatch.setattr(tables, "BLOCK", size)
        assert read_table(tmp_path / "x.csv", text.encode()).frame.equals(whole.frame)
        with pytest.raises(DataError, match=r"line 22: 2 field\(s\)"):
            read_table(tmp_path / "x.csv", bad.encode())


FIELD = st.text(alphabet='ab",\n é', max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=20))
def test_every_table_that_python_writes_is_read_back(rows, tmp_path: Path) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["x", "y", "z"])
    writer.writerows(rows)
    table = read_table(tmp_path / "x.csv", stream.getvalue().encode())
    assert table.frame.rows() == rows
    physical = [1 + sum(field.count("\n") for field in row) for row in rows]
    assert table.lines.tolist() == (2 + np.cumsum([0, *physical[:-1]])).tolist()


@pytest.mark.parametrize(
    ("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars"), ("::", "double colons")]
)
def test_a_wrong_delimiter_is_guessed_in_the_error(write, mark: str, name: str) -> None:
    with pytest.raises(DataError, match=f"divided by {name}: set delimiter"):
        load(write(LOG.replace(",", mark)))


def test_a_column_that_is_missing_is_not_taken_for_a_wrong_delimiter(write) -> None:
    with pytest.raises(DataError) as caught:
        load(write(LOG.replace("item", "product")))
    assert "delimiter" not in str(caught.value)
