"""The loaders and splits on real files; skipped where those are absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from llmrec.core.config import build
from llmrec.core.types import Dataset, make_queries
from llmrec.data.amazon import AmazonReviews
from llmrec.data.delimited import DelimitedFiles
from llmrec.data.grouplens import MovieLens
from llmrec.data.recbole import RecBole
from llmrec.data.sequences import Sequences
from llmrec.data.splits import GlobalTemporal, LeaveOneOut, RandomKFold
from llmrec.data.transforms import binarized, describe, describe_split

CONFIGS = Path(__file__).parents[2] / "configs"


def test_movielens_100k_is_whole(ml100k: Dataset) -> None:
    assert (ml100k.n_users, ml100k.n_items, len(ml100k)) == (943, 1682, 100_000)
    assert ml100k.source["is_the_published_size"]
    assert ml100k.item_counts.min() > 0
    assert ml100k.item_ids[[0, -1]].tolist() == ["1", "1682"]
    assert ml100k.user_ids[[0, -1]].tolist() == ["1", "943"]
    star_wars = ml100k.item_index("50")
    assert ml100k.item_texts()[star_wars] == (
        "Star Wars, 1977, Action, Adventure, Romance, Sci-Fi, War"
    )
    assert ml100k.item_counts[star_wars] == 583
    assert ml100k.item_fields["title"][ml100k.item_index("543")] == "Misérables, Les"
    assert ml100k.item_fields["title"][ml100k.item_index("267")] == "unknown"
    years = set(ml100k.item_fields["year"])
    assert all(1922 <= int(year) <= 1998 for year in years if year)
    assert np.count_nonzero(ml100k.item_fields["year"] == "") == 1
    # 943 ages and so on; user 1 is a technician of 24.
    assert ml100k.user_fields["occupation"][0] == "technician"
    assert len(set(ml100k.user_fields["occupation"])) == 21
    # The published distribution of ratings.
    assert np.bincount(ml100k.interactions.rating.astype(int)).tolist() == [
        0,
        6110,
        11370,
        27145,
        34174,
        21201,
    ]
    assert np.all(np.diff(ml100k.interactions.timestamp) >= 0)


def test_movielens_100k_described(ml100k: Dataset) -> None:
    described = describe(ml100k)
    assert described["history_length"] == {"min": 20, "median": 65.0, "max": 737}
    assert described["ratings"] == [1.0, 5.0]
    assert described["density"] == pytest.approx(0.063047, abs=1e-6)
    assert described["time"] == ["1997-09-20", "1998-04-22"]
    assert described["items_with_text"] == 1.0
    assert "research" in described["source"]["licence"]
    assert binarized(ml100k, 4).interactions.rating.mean() == pytest.approx(0.55375)


def test_movielens_100k_leave_one_out(ml100k: Dataset) -> None:
    split = LeaveOneOut().split(ml100k)
    assert (len(split.train), len(split.valid), len(split.test)) == (98_114, 943, 943)
    queries, targets = make_queries(split.train.union(split.valid), split.test)
    assert len(queries) == 943
    assert targets.items.lengths.tolist() == [1] * 943
    for user in (0, 195, 942):
        joined = [*queries.histories[user], *targets.items[user]]
        assert joined == ml100k.histories[user].tolist()


def test_movielens_100k_by_time_and_in_folds(ml100k: Dataset) -> None:
    described = describe_split(GlobalTemporal().split(ml100k))
    assert described["protocol"] == "global-temporal 80/10/10"
    sizes = [described[part]["interactions"] for part in ("train", "valid", "test")]
    assert sum(sizes) == 100_000
    assert np.abs(np.array(sizes) - [80_000, 10_000, 10_000]).max() < 20
    assert described["test"]["unseen_users"] > 0
    folds = [RandomKFold(fold=fold).split(ml100k) for fold in range(5)]
    assert [len(fold.test) for fold in folds] == [20_000] * 5
    assert {len(fold.valid) for fold in folds} == {4_000}
    users = sum(fold.test.rows_by_user.lengths for fold in folds)
    assert users.tolist() == ml100k.rows_by_user.lengths.tolist()


def real(name: str) -> Path:
    """Return the folder of a real data set, or skip the test."""
    if not os.environ.get("LLMREC_DATA"):
        pytest.skip(f"LLMREC_DATA names no folder with {name}/")
    folder = Path(os.environ["LLMREC_DATA"]) / name
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    return folder


def test_amazon_beauty_has_the_published_size() -> None:
    folder = real("amazon-beauty")
    data = Sequences(
        interactions=str(folder / "sequences.txt"),
        items=str(folder / "items.tsv"),
        item_id="item_id",
        label="beauty",
    ).load()
    assert (data.n_users, data.n_items, len(data)) == (22_363, 12_101, 198_502)
    assert data.source["items_without_text"] == 12_101 - 12_094
    assert data.rows_by_user.lengths.min() == data.item_counts.min() == 5


def test_amazon_games_in_atomic_files_has_the_published_size() -> None:
    folder = real("amazon-games")
    data = RecBole(
        interactions=str(folder / "games.test.inter"), items=str(folder / "games.item")
    ).load()
    assert (data.n_users, data.n_items) == (50_546, 16_859)
    assert len(data) == 440_264
    assert data.source["items_without_text"] == 0


def test_amazon_gift_cards_have_the_published_size() -> None:
    folder = real("amazon-gift-cards")
    data = AmazonReviews(
        edition="2018",
        reviews=str(folder / "Gift_Cards_5.json"),
        metadata=str(folder / "meta_Gift_Cards.json"),
    ).load()
    assert data.source["reviews"] == 2972
    assert (data.n_users, data.n_items) == (458, 148)
    assert len(data) == 2972 - data.source["duplicates_left_out"] == 2965
    assert np.count_nonzero(data.interactions.text == "") == 6
    assert set(data.interactions.rating) == {1, 2, 3, 4, 5}


def test_movielens_latest_small_has_the_published_size() -> None:
    folder = str(real("ml-latest-small"))
    data = MovieLens(variant="latest-small", folder=folder, tags=True).load()
    assert (data.n_users, data.n_items, len(data)) == (610, 9724, 100_836)
    assert data.source["is_the_published_size"]
    assert data.source["tags"] + data.source["tags_left_out_for_lack_of_a_rating"] == 3683
    assert data.source["items_without_text"] == 0
    assert data.item_texts()[data.item_index("11")] == (
        "American President, The, 1995, Comedy, Drama, Romance"
    )
    everything = MovieLens(variant="latest-small", folder=folder, catalogue="items").load()
    assert everything.n_items == 9742


def test_movielens_latest_small_loads_as_csv() -> None:
    folder = real("ml-latest-small")
    data = DelimitedFiles(
        interactions=str(folder / "ratings.csv"),
        items=str(folder / "movies.csv"),
        user="userId",
        item="movieId",
        rating="rating",
        timestamp="timestamp",
        item_id="movieId",
        label="ml-latest-small",
    ).load()
    assert (data.n_users, data.n_items, len(data)) == (610, 9724, 100_836)
    assert data.source["items_left_out_for_lack_of_interactions"] == 18
    assert data.source["items_without_text"] == 0
    title = data.item_fields["title"][data.item_index("11")]
    assert title == "American President, The (1995)"  # a quoted field with a comma
    assert len(LeaveOneOut().split(data).test) == 610


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("data/*.yaml")), ids=lambda path: path.stem)
def test_every_data_config_builds_and_names_every_option(path: Path) -> None:
    check_config("source", path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("split/*.yaml")), ids=lambda path: path.stem)
def test_every_split_config_builds_and_names_every_option(path: Path) -> None:
    check_config("split", path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("filter/*.yaml")), ids=lambda path: path.stem)
def test_every_filter_config_builds_and_names_every_option(path: Path) -> None:
    check_config("filter", path)


def check_config(kind: str, path: Path) -> None:
    from omegaconf import OmegaConf

    from llmrec.core.config import options_of

    config = OmegaConf.load(path)
    for key in OmegaConf.missing_keys(config):
        config[key] = "2000-01-01" if "start" in key else "some.csv"
    spec = OmegaConf.to_container(config, resolve=True)
    component = build(kind, spec)
    options = options_of(type(component))
    assert set(spec) == {"name", *options}
    for key, option in options.items():
        if not option.required:
            assert spec[key] == option.default, key
