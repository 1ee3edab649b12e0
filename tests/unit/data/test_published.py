"""Amazon, Yelp, Goodbooks and MIND, from small files in their true formats."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.data.amazon import AmazonReviews
from llmrec.data.goodbooks import Goodbooks10k
from llmrec.data.mind import MIND
from llmrec.data.yelp import Yelp

REVIEWS_2018 = """\
{"overall": 5.0, "verified": true, "reviewTime": "06 17, 2018", "reviewerID": "A31UB", "asin": "B004L", "style": {"Gift Amount:": " 50"}, "reviewerName": "john", "reviewText": "Another great gift.", "summary": "Five Stars", "unixReviewTime": 1529193600}
{"overall": 4.0, "verified": true, "reviewTime": "06 14, 2018", "reviewerID": "A2MN5", "asin": "B004L", "reviewerName": "Amazon Customer", "summary": "Ease of use", "unixReviewTime": 1528934400, "vote": "3", "image": ["https://x/y.jpg"]}
{"overall": 1.0, "verified": false, "reviewTime": "06 18, 2018", "reviewerID": "A31UB", "asin": "B004L", "reviewerName": "john", "reviewText": "On second thought,\\nno &amp; never", "summary": "One Star", "unixReviewTime": 1529280000}
{"overall": 3.0, "verified": true, "reviewTime": "06 19, 2018", "reviewerID": "A31UB", "asin": "B00XX", "reviewText": "", "summary": "", "unixReviewTime": 1529366400}
"""  # noqa: E501
META_2018 = """\
{"category": ["Gift Cards", "Gift Cards"], "tech1": "", "description": ["A card.", "Nice."], "title": "Card $50", "also_buy": [], "brand": "Amazon", "feature": [], "rank": [], "details": {"ASIN: ": "B004L"}, "price": "$50.00", "asin": "B004L"}
{"category": [], "description": [], "title": "", "brand": "", "feature": [], "rank": "1 in Books", "price": "", "asin": "B00XX"}
{"category": [], "description": [], "title": "Card again", "brand": "", "feature": [], "price": "", "asin": "B004L"}
"""  # noqa: E501
# Loose, as the publisher calls it: Python, not JSON.
REVIEWS_2014 = """\
{"reviewerID": "A1YJ", "asin": "7806397051", "reviewerName": "Andrea", "helpful": [3, 4], "reviewText": "Very oily", "overall": 1.0, "summary": "Don't waste your money", "unixReviewTime": 1391040000, "reviewTime": "01 30, 2014"}
"""  # noqa: E501
META_2014 = """\
{'asin': '7806397051', 'categories': [['Beauty', 'Makeup', 'Face']], 'description': "WAWO's palette", 'title': 'WAWO 15 Color', 'price': 5.99, 'salesRank': {'Beauty': 5540}, 'imUrl': 'http://x'}
"""  # noqa: E501
REVIEWS_2023 = """\
{"rating": 5.0, "title": "Such a lovely scent", "text": "Not overpowering.", "images": [], "asin": "B00YQ", "parent_asin": "B00PA", "user_id": "AGKH", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": true}
"""  # noqa: E501
META_2023 = """\
{"main_category": "All Beauty", "title": "Howard LC0008", "average_rating": 4.8, "rating_number": 10, "features": ["Cleans", "Polishes"], "description": [], "price": null, "images": [], "videos": [], "store": "Howard Products", "categories": ["Beauty"], "details": {"UPC": "61"}, "parent_asin": "B00PA", "bought_together": null}
"""  # noqa: E501


def put(path: Path, text: str) -> str:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.mark.parametrize("ending", ["json", "json.gz"])
def test_amazon_2018(tmp_path: Path, ending: str) -> None:
    reviews = put(tmp_path / f"Gift_Cards_5.{ending}", REVIEWS_2018)
    metadata = put(tmp_path / f"meta_Gift_Cards.{ending}", META_2018)
    data = AmazonReviews(edition="2018", reviews=reviews, metadata=metadata).load()
    assert (data.name, data.n_users, data.n_items, len(data)) == ("Gift_Cards_5", 2, 2, 3)
    assert data.user_ids.tolist() == ["A2MN5", "A31UB"]
    log = data.interactions
    assert log.rating.tolist() == [4, 1, 3]
    assert log.text.tolist() == ["", "On second thought,\nno &amp; never", ""]
    assert log.timestamp.tolist() == [1528934400, 1529280000, 1529366400]
    assert {name: values.tolist() for name, values in data.item_fields.items()} == {
        "title": ["Card $50", ""],
        "brand": ["Amazon", ""],
        "categories": ["Gift Cards, Gift Cards", ""],
        "price": ["$50.00", ""],
        "features": ["", ""],
        "description": ["A card., Nice.", ""],
    }
    source = data.source
    assert (source["reviews"], source["duplicates_left_out"]) == (4, 1)
    assert source["metadata_lines_of_the_same_item_left_out"] == 1
    assert "Ni" in source["citation"]
    first = AmazonReviews(edition="2018", reviews=reviews, duplicates="first").load()
    assert first.interactions.rating.tolist() == [4, 5, 3]
    with pytest.raises(DataError, match=r"user A31UB, item B004L on lines 1 and 3"):
        AmazonReviews(edition="2018", reviews=reviews, duplicates="error").load()


def test_amazon_headlines_and_chosen_fields(tmp_path: Path) -> None:
    reviews = put(tmp_path / "r.json", REVIEWS_2018)
    metadata = put(tmp_path / "m.json", META_2018)
    data = AmazonReviews(
        edition="2018",
        reviews=reviews,
        metadata=metadata,
        headline=True,
        item_fields=["brand", "title"],
    ).load()
    assert data.interactions.text.tolist() == [
        "Ease of use",
        "One Star\nOn second thought,\nno &amp; never",
        "",
    ]
    assert list(data.item_fields) == ["brand", "title"]
    with pytest.raises(DataError, match=r'"colour".*allowed: brand, categories'):
        AmazonReviews(
            edition="2018", reviews=reviews, metadata=metadata, item_fields=["colour"]
        ).load()


def test_amazon_2014_and_2023(tmp_path: Path) -> None:
    old = AmazonReviews(
        edition="2014",
        reviews=put(tmp_path / "reviews_Beauty_5.json.gz", REVIEWS_2014),
        metadata=put(tmp_path / "meta_Beauty.json.gz", META_2014),
    ).load()
    assert old.item_texts() == ["WAWO 15 Color, Beauty, Makeup, Face, 5.99, WAWO's palette"]
    assert old.interactions.text.tolist() == ["Very oily"]
    new = AmazonReviews(
        edition="2023",
        reviews=put(tmp_path / "All_Beauty.jsonl", REVIEWS_2023),
        metadata=put(tmp_path / "meta_All_Beauty.jsonl", META_2023),
    ).load()
    assert new.item_ids.tolist() == ["B00PA"]
    assert new.interactions.timestamp.tolist() == [1588687728]
    assert new.item_fields["brand"].tolist() == ["Howard Products"]
    assert new.item_fields["features"].tolist() == ["Cleans, Polishes"]
    assert new.item_fields["price"].tolist() == [""]
    with pytest.raises(DataError, match=r'unknown field .*"user_id".*allowed: .*reviewerID'):
        AmazonReviews(edition="2023", reviews=put(tmp_path / "x.json", REVIEWS_2018)).load()


YELP_REVIEW = """\
{"review_id":"KU_O","user_id":"mh_-","business_id":"XQfw","stars":3.0,"useful":0,"funny":0,"cool":0,"text":"If you decide\\nto eat here","date":"2018-07-07 22:09:11"}
{"review_id":"BiTu","user_id":"OyoG","business_id":"7ATY","stars":5.0,"useful":1,"funny":0,"cool":1,"text":"I've taken","date":"2012-01-03 15:28:18"}
"""  # noqa: E501
YELP_BUSINESS = """\
{"business_id":"7ATY","name":"Body Cycle","address":"1 X","city":"Philadelphia","state":"PA","stars":5.0,"review_count":144,"is_open":0,"attributes":null,"categories":"Active Life, Gyms","hours":null}
{"business_id":"XQfw","name":"Turning Point","city":"North Wales","state":"PA","attributes":{"WiFi":"u'free'"},"categories":null}
"""  # noqa: E501


def test_yelp(tmp_path: Path) -> None:
    put(tmp_path / "yelp_academic_dataset_review.json", YELP_REVIEW)
    with pytest.raises(DataError, match=r"holds no yelp_academic_dataset_business\.json"):
        Yelp(folder=str(tmp_path)).load()
    put(tmp_path / "yelp_academic_dataset_business.json.gz", YELP_BUSINESS)
    data = Yelp(folder=str(tmp_path)).load()
    assert data.interactions.timestamp.tolist() == [1325604498, 1531001351]
    assert data.interactions.text.tolist() == ["I've taken", "If you decide\nto eat here"]
    assert data.item_texts() == [
        "Body Cycle, Active Life, Gyms, Philadelphia, PA",
        "Turning Point, North Wales, PA",
    ]
    put(tmp_path / "yelp_academic_dataset_review.json", YELP_REVIEW.replace("2012-01", "2012-13"))
    with pytest.raises(DataError, match=r"review\.json, line 2: date '2012-13-03 15:28:18'"):
        Yelp(folder=str(tmp_path)).load()


BOOKS = (
    "book_id,goodreads_book_id,best_book_id,work_id,books_count,isbn,isbn13,authors,"
    "original_publication_year,original_title,title,language_code,average_rating\n"
    '1,2767052,2767052,2792775,272,439023483,9.78E+12,"Collins, S.",2008.0,The Hunger Games,'
    '"The Hunger Games (#1)",eng,4.34\n'
    "2,3,3,4640799,491,439554934,9.78E+12,J.K. Rowling,,Stone,Harry Potter,,4.44\n"
)


def test_goodbooks_in_the_order_of_the_file(tmp_path: Path) -> None:
    put(tmp_path / "ratings.csv", "user_id,book_id,rating\n9,2,5\n10,1,4\n9,1,3\n")
    put(tmp_path / "books.csv", BOOKS)
    data = Goodbooks10k(folder=str(tmp_path)).load()
    assert data.interactions.rating.tolist() == [5, 4, 3]
    assert data.interactions.timestamp is None
    assert data.item_texts() == [
        "The Hunger Games (#1), Collins, S., 2008, eng",
        "Harry Potter, J.K. Rowling",
    ]


BEHAVIORS = (
    "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2\tN3-1 N4-0\n"
    "2\tU2\t11/12/2019 6:11:30 PM\t\tN1-0 N4-1\n"
    "3\tU1\t11/11/2019 12:00:01 AM\tN1 N2\tN4-1 N5-1 N1-1\n"
)
NEWS = (
    'N1\tlifestyle\troyals\tThe "Brands"\tShop\thttps://x\t[{"Label": "P"}]\t[]\n'
    "N2\thealth\tweight\tHabits\t\thttps://x\t[]\t[]\n"
    "N3\tnews\tworld\tThe Cost\tLt. Ivan\thttps://x\t[]\t[]\n"
    "N4\tsports\tnfl\tHow\t\thttps://x\t[]\t[]\n"
    "N5\tsports\tnfl\tWhy\t\thttps://x\t[]\t[]\n"
    "N6\tsports\tnfl\tWho\t\thttps://x\t[]\t[]\n"
)


@pytest.fixture
def mind(tmp_path: Path) -> str:
    put(tmp_path / "behaviors.tsv", BEHAVIORS)
    put(tmp_path / "news.tsv", NEWS)
    return str(tmp_path)


def test_mind_takes_histories_then_clicks_by_time(mind: str) -> None:
    data = MIND(folders=[mind]).load()
    histories = [data.item_ids[data.histories[user]].tolist() for user in range(2)]
    assert histories == [["N1", "N2", "N4", "N5", "N3"], ["N4"]]
    assert data.interactions.timestamp is None
    assert data.source["duplicates_left_out"] == 1  # N1 is in the history and clicked again
    assert (data.source["impressions"], data.source["clicks"]) == (3, 5)
    assert data.item_texts()[0] == 'The "Brands", Shop, lifestyle, royals'
    assert MIND(folders=[mind], catalogue="items").load().n_items == 6


def test_mind_clicks_alone_have_times(mind: str) -> None:
    data = MIND(folders=[mind], history=False).load()
    log = data.interactions
    assert data.item_ids[log.item].tolist() == ["N4", "N5", "N1", "N3", "N4"]
    assert log.timestamp.tolist() == [1573430401] * 3 + [1573463158, 1573582290]


def test_mind_from_two_folders(tmp_path: Path, mind: str) -> None:
    other = tmp_path / "dev"
    other.mkdir()
    put(other / "behaviors.tsv", "1\tU1\t11/13/2019 1:00:00 AM\tN1 N2 N3\tN6-1 N2-0\n")
    put(other / "news.tsv", NEWS)
    data = MIND(folders=[mind, str(other)]).load()
    assert data.item_ids[data.histories[0]].tolist() == ["N1", "N2", "N4", "N5", "N3", "N6"]


@pytest.mark.parametrize(
    ("behaviors", "message"),
    [
        (BEHAVIORS.replace("11/12/2019", "13/12/2019"), r"line 2: time '13/12/2019 6:11:30 PM'"),
        (BEHAVIORS.replace("N4-1 N5-1", "N4 N5"), r"line 3: 'N4' does not say whether it was"),
        (BEHAVIORS + "4\tU1\n", r"line 4: 2 field\(s\) where 5 are expected"),
    ],
)
def test_bad_behaviors_are_sentences(mind: str, behaviors: str, message: str) -> None:
    put(Path(mind) / "behaviors.tsv", behaviors)
    with pytest.raises(DataError, match=r"behaviors\.tsv, " + message):
        MIND(folders=[mind]).load()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "amazon", "edition": "2014"}, r"meta_CATEGORY\.json\.gz from https://jmcauley"),
        ({"name": "amazon", "edition": "2018"}, r"CATEGORY_5\.json\.gz .*nijianmo.*data\.reviews="),
        ({"name": "amazon", "edition": "2023"}, r"CATEGORY\.jsonl\.gz .*amazon-reviews-2023"),
        ({"name": "yelp"}, r"yelp_academic_dataset_review\.json .*data\.folder=THE_FOLDER"),
        ({"name": "goodbooks-10k"}, r"ratings\.csv and books\.csv from .*goodbooks-10k/releases"),
        ({"name": "mind"}, r"MINDsmall_train\.zip .*data\.folders=\[TRAIN_FOLDER,DEV_FOLDER\]"),
    ],
)
def test_without_files_it_says_which_to_put_where(spec: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build("source", spec).load()


def test_wrong_options_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2019"):
        build("source", {"name": "amazon", "edition": "2019"})
    with pytest.raises(DataError, match="is not a folder; it should hold ratings"):
        Goodbooks10k(folder=str(tmp_path / "absent")).load()
