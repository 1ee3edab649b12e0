"""Every reader on files that nobody should have: read with what is wrong counted, or refused.

A reader may raise nothing but a `DataError` of one line that names a file.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset
from llmrec.data.amazon import AmazonReviews
from llmrec.data.delimited import DelimitedFiles
from llmrec.data.goodbooks import Goodbooks10k
from llmrec.data.grouplens import MovieLens
from llmrec.data.mind import MIND
from llmrec.data.movielens import MovieLens100K
from llmrec.data.recbole import RecBole
from llmrec.data.sequences import Sequences
from llmrec.data.typed import JSONLines, Parquet
from llmrec.data.yelp import Yelp

HUGE = "x" * 1_000_000
# What stands in messy logs, as a field of any of them.
NUMBERS = ["1", "-1", "0", "007", "1e400", "NaN", "inf", "null", "None", "true"]
TIMES = ["-5", "1700000000", "1700000000000", "9999999999"]
DATES = ["2024-03-01", "2024-13-45", "11/11/2019 9:05:58 AM"]
LETTERS = [
    "",
    " ",
    "😀👩\u200d👩\u200d👧",
    "שלום",
    "مرحبا",
    "\u202eabc",
    "\ufeff",
    "a\x00b",
    "\x85",
]
SIGNS = [
    "\u2028",
    '"',
    '""',
    "a,b",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "a::b",
    "N1-1 N2-0",
    "{}",
    "[1]",
    "\\",
]
FIELDS = st.sampled_from([*NUMBERS, *TIMES, *DATES, *LETTERS, *SIGNS]) | st.text(max_size=8)
DELIMITERS = st.sampled_from([",", "\t", "|", ";", "::", " "])


@st.composite
def texts(draw: st.DrawFn, headers: tuple[str, ...]) -> bytes:
    """Draw delimited lines, perhaps below a true header, perhaps with a byte-order mark."""
    delimiter = draw(DELIMITERS)
    rows = draw(st.lists(st.lists(FIELDS, min_size=1, max_size=6), max_size=5))
    quoted = draw(st.booleans())
    lines = [delimiter.join(f'"{f}"' if quoted else f for f in row) for row in rows]
    if draw(st.booleans()):
        lines.insert(0, draw(st.sampled_from(headers)))
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, "surrogatepass" if "utf" in encoding else "replace")


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | FIELDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@st.composite
def objects(draw: st.DrawFn, keys: tuple[str, ...]) -> bytes:
    """Draw JSON lines with some of the right keys and any values."""
    import json

    row = st.dictionaries(st.sampled_from([*keys, "other"]), VALUES, max_size=len(keys) + 1)
    rows = draw(st.lists(row, max_size=4))
    lines = [json.dumps(each, ensure_ascii=draw(st.booleans())) for each in rows]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def packed(draw: st.DrawFn, content: st.SearchStrategy[bytes]) -> bytes:
    """Draw a content as it is, compressed, cut off, or any bytes at all."""
    data = draw(content | st.binary(max_size=80))
    how = draw(st.sampled_from(["plain", "plain", "gz", "cut"]))
    if how == "plain":
        return data
    made = gzip.compress(data, mtime=0)
    return made if how == "gz" else made[: draw(st.integers(0, len(made)))]


def in_one_line(error: DataError) -> None:
    assert "\n" not in str(error)


def reads(load: Callable[[], Dataset]) -> Dataset | None:
    """Load; return None if it was refused in one line with a file in it."""
    try:
        data = load()
    except DataError as error:
        in_one_line(error)
        return None
    log = data.interactions
    assert len(log) >= 1
    for ids, n in ((log.user, data.n_users), (log.item, data.n_items)):
        assert 0 <= ids.min() <= ids.max() < n
    assert len(set(data.user_ids.tolist())) == data.n_users
    assert log.rating is None or np.isfinite(log.rating).all()
    assert data.source["duplicates_left_out"] >= 0
    for values in data.item_fields.values():
        assert all(isinstance(value, str) for value in values)
    return data


FUZZ = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LOG = "user,item,rating,timestamp,text"
ABOUT = "item,title"


@FUZZ
@given(log=packed(texts((LOG, LOG.replace(",", "\t")))), items=packed(texts((ABOUT,))))
@example(log=b"", items=b"")
@example(log=b"\r,1", items=b"")
@example(log=gzip.compress(b"", mtime=0), items=b"")
@example(log=f"{LOG}\nu,i,5,1,{HUGE}\n".encode(), items=f"{ABOUT}\ni,{HUGE}\n".encode())
def test_delimited(log: bytes, items: bytes, tmp_path: Path) -> None:
    for ending in ("csv", "tsv"):
        (tmp_path / f"log.{ending}").write_bytes(log)
        (tmp_path / f"items.{ending}").write_bytes(items)
        mapped = {"rating": "rating", "timestamp": "timestamp", "text": "text"}
        for more in ({}, {"items": str(tmp_path / f"items.{ending}")}):
            for columns in ({}, mapped):
                reads(
                    DelimitedFiles(
                        interactions=str(tmp_path / f"log.{ending}"),
                        duplicates="last",
                        **columns,
                        **more,
                    ).load
                )


KEYS = ("user", "item", "rating", "timestamp", "text", "title")


@FUZZ
@given(log=packed(objects(KEYS)), items=packed(objects(KEYS)))
@example(log=b'{"user":1,"item":2,"rating":NaN,"timestamp":1e400,"text":null}', items=b"{}")
@example(log=b'{"user":"\\ud800","item":2}', items=b'{"item":2,"title":"\\ud800"}')
def test_json_lines(log: bytes, items: bytes, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(log)
    (tmp_path / "items.jsonl").write_bytes(items)
    mapped = {"rating": "rating", "timestamp": "timestamp", "text": "text"}
    for more in ({}, {"items": str(tmp_path / "items.jsonl")}):
        for columns in ({}, mapped):
            source = JSONLines(
                interactions=str(tmp_path / "log.jsonl"), duplicates="last", **columns, **more
            )
            reads(source.load)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    kinds: list[tuple[st.SearchStrategy[object], pl.DataType | type[pl.DataType]]] = [
        (FIELDS.map(lambda text: text.encode("utf-8", "ignore").decode()), pl.String),
        (st.integers(-(2**63), 2**63 - 1), pl.Int64),
        (st.integers(0, 2**64 - 1), pl.UInt64),
        (st.floats(), pl.Float64),
        (st.booleans(), pl.Boolean),
        (st.datetimes(), pl.Datetime),
        (st.dates(), pl.Date),
        (st.binary(max_size=3), pl.Binary),
        (st.lists(st.integers(0, 3), max_size=2), pl.List(pl.Int64)),
        (st.fixed_dictionaries({"a": st.integers(0, 3)}), pl.Struct({"a": pl.Int64})),
        (st.none(), pl.Null),
    ]
    n = draw(st.integers(0, 4))
    columns = {}
    for name in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        values, kind = draw(st.sampled_from(kinds))
        cells = draw(st.lists(values | st.none(), min_size=n, max_size=n))
        columns[name] = pl.Series(cells, dtype=kind)
    return pl.DataFrame(columns)


@FUZZ
@given(log=frames(), items=frames(), cut=st.none() | st.integers(0, 400))
def test_parquet(log: pl.DataFrame, items: pl.DataFrame, cut: int | None, tmp_path: Path) -> None:
    for name, frame in (("log", log), ("items", items)):
        stream = io.BytesIO()
        frame.write_parquet(stream)
        content = stream.getvalue()
        (tmp_path / f"{name}.parquet").write_bytes(content if cut is None else content[:cut])
    mapped = {"rating": "rating", "timestamp": "timestamp", "text": "text"}
    for more in ({}, {"items": str(tmp_path / "items.parquet")}):
        for columns in ({}, mapped):
            source = Parquet(
                interactions=str(tmp_path / "log.parquet"), duplicates="last", **columns, **more
            )
            reads(source.load)


@FUZZ
@given(log=packed(texts(("u a b c", "1\t2\t3"))), items=packed(texts(("item\ttitle",))))
@example(log=f"u {HUGE}\n".encode(), items=b"")
def test_sequences(log: bytes, items: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes(log)
    (tmp_path / "items.tsv").write_bytes(items)
    for more in ({}, {"items": str(tmp_path / "items.tsv")}):
        reads(Sequences(interactions=str(tmp_path / "s.txt"), duplicates="last", **more).load)


ATOMIC = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    "user_id:token\titem_id_list:token_seq\titem_id:token",
)


@FUZZ
@given(log=packed(texts(ATOMIC)), items=packed(texts(("item_id:token\ttitle:token_seq",))))
def test_recbole(log: bytes, items: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_bytes(log)
    (tmp_path / "x.item").write_bytes(items)
    reads(RecBole(interactions=str(tmp_path / "x.inter"), duplicates="last").load)
    (tmp_path / "x.item").unlink()
    reads(RecBole(interactions=str(tmp_path / "x.inter"), duplicates="last").load)


@FUZZ
@given(
    ratings=packed(texts(("1::1193::5::978300760", "userId,movieId,rating,timestamp"))),
    others=packed(texts(("1193::A Film (1975)::Drama", "movieId,title,genres"))),
    tags=packed(texts(("1::1193::tag::978300760", "userId,movieId,tag,timestamp"))),
)
@example(ratings=b"1::1193::5::978300760\n1", others=b"1193::A Film (1975)::Drama\n1", tags=b"1\n1")
def test_movielens(ratings: bytes, others: bytes, tags: bytes, tmp_path: Path) -> None:
    for ending in ("dat", "csv"):
        for name, content in (("ratings", ratings), ("movies", others), ("tags", tags)):
            (tmp_path / f"{name}.{ending}").write_bytes(content)
    (tmp_path / "users.dat").write_bytes(tags)
    for variant in ("1m", "10m", "25m"):
        reads(MovieLens(variant=variant, folder=str(tmp_path), tags=variant != "1m").load)
    for name, content in (("u.data", ratings), ("u.item", others), ("u.user", tags)):
        (tmp_path / name).write_bytes(content)
    reads_100k(tmp_path)


def reads_100k(folder: Path) -> None:
    try:
        data = MovieLens100K(folder=str(folder)).load()
    except DataError as error:
        in_one_line(error)
    else:
        assert len(data) >= 1


AMAZON = ("reviewerID", "asin", "overall", "unixReviewTime", "reviewText", "summary", "title")
AMAZON_2023 = ("user_id", "parent_asin", "rating", "timestamp", "text", "title", "features")


@FUZZ
@given(
    reviews=packed(objects(AMAZON) | objects(AMAZON_2023)),
    about=packed(objects(AMAZON) | objects(AMAZON_2023)),
)
@example(reviews=b"", about=b"{'asin': 'x', 'title': 'open}")
@example(reviews=b"", about=b"[" * 5000)
def test_amazon(reviews: bytes, about: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.json.gz").write_bytes(reviews)
    (tmp_path / "m.json.gz").write_bytes(about)
    for edition in ("2014", "2018", "2023"):
        for more in ({}, {"metadata": str(tmp_path / "m.json.gz"), "headline": True}):
            reads(AmazonReviews(edition=edition, reviews=str(tmp_path / "r.json.gz"), **more).load)
    try:  # the metadata alone, whatever the reviews were
        AmazonReviews(
            edition="2014",
            reviews=good_reviews(tmp_path),
            metadata=str(tmp_path / "m.json.gz"),
        ).load()
    except DataError as error:
        in_one_line(error)


def good_reviews(folder: Path) -> str:
    path = folder / "good.json"
    path.write_text(
        '{"reviewerID": "u", "asin": "1", "overall": 5, "unixReviewTime": 1, '
        '"reviewText": "t", "summary": "s"}\n'
    )
    return str(path)


IMPRESSION = "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2\tN3-1 N4-0"
ARTICLE = "N1\tnews\tworld\tTitle\tAbstract\thttp://x\t[]\t[]"


@FUZZ
@given(log=packed(texts((IMPRESSION,))), news=packed(texts((ARTICLE,))))
@example(log=IMPRESSION.encode(), news=ARTICLE.encode())
def test_mind(log: bytes, news: bytes, tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_bytes(log)
    (tmp_path / "news.tsv").write_bytes(news)
    for history in (True, False):
        reads(MIND(folders=[str(tmp_path)], history=history).load)


YELP = ("user_id", "business_id", "stars", "date", "text", "name", "categories")


@FUZZ
@given(log=packed(objects(YELP)), items=packed(objects(YELP)))
def test_yelp(log: bytes, items: bytes, tmp_path: Path) -> None:
    (tmp_path / "yelp_academic_dataset_review.json").write_bytes(log)
    (tmp_path / "yelp_academic_dataset_business.json").write_bytes(items)
    reads(Yelp(folder=str(tmp_path)).load)


BOOKS = "book_id,title,authors,original_publication_year,language_code"


@FUZZ
@given(log=packed(texts(("user_id,book_id,rating",))), items=packed(texts((BOOKS,))))
def test_goodbooks(log: bytes, items: bytes, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_bytes(log)
    (tmp_path / "books.csv").write_bytes(items)
    reads(Goodbooks10k(folder=str(tmp_path)).load)


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_empty_files_are_said_to_be_empty(content: bytes, tmp_path: Path) -> None:
    for name, load in (
        ("log.csv", lambda p: DelimitedFiles(interactions=p).load()),
        ("log.jsonl", lambda p: JSONLines(interactions=p).load()),
        ("s.txt", lambda p: Sequences(interactions=p).load()),
        ("x.inter", lambda p: RecBole(interactions=p).load()),
        ("r.json.gz", lambda p: AmazonReviews(edition="2018", reviews=p).load()),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is empty"):
            load(str(tmp_path / name))
