from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, DataError
from llmrec.data import downloads, grouplens
from llmrec.data.grouplens import RELEASES, MovieLens

RATINGS_CSV = (
    "userId,movieId,rating,timestamp\n"
    "1,11,4.0,964982703\n"
    "1,3,0.5,964981247\n"
    "2,11,5.0,964982224\n"
)  # fmt: skip
MOVIES_CSV = (
    "movieId,title,genres\n"
    "3,Grumpier Old Men (1995),Comedy|Romance\n"
    '11,"American President, The (1995)",(no genres listed)\n'
    "99,Never Rated (2001),Drama\n"
)
TAGS_CSV = (
    "userId,movieId,tag,timestamp\n"
    "1,11,politics,1445714994\n"
    '1,11,"funny, ""really""",1445714990\n'
    "2,3,never rated by 2,1445714999\n"
)
RATINGS_DAT = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
MOVIES_DAT = (
    "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
    "1193::One Flew: Over the Cuckoo's Nést (1975)::Drama\n"
)
USERS_DAT = "1::F::1::10::48067\n2::M::56::16::70072\n"
TAGS_DAT = "1::661::peach!::1215184630\n"


def write(folder: Path, encoding: str = "utf-8", **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(text.encode(encoding))
    return str(folder)


@pytest.fixture
def new(tmp_path: Path) -> str:
    return write(tmp_path, ratings_csv=RATINGS_CSV, movies_csv=MOVIES_CSV, tags_csv=TAGS_CSV)


@pytest.mark.parametrize("variant", ["latest-small", "20m", "25m", "32m"])
def test_the_comma_form(new: str, variant: str) -> None:
    data = MovieLens(variant=variant, folder=new).load()
    assert data.name == f"ml-{variant}"
    assert (data.n_users, data.n_items, len(data)) == (2, 2, 3)
    assert data.item_ids.tolist() == ["11", "3"]
    assert data.item_fields["title"].tolist() == ["American President, The", "Grumpier Old Men"]
    assert data.item_fields["year"].tolist() == ["1995", "1995"]
    assert data.item_fields["genres"].tolist() == ["", "Comedy, Romance"]
    assert data.interactions.rating.tolist() == [0.5, 5, 4]
    assert data.interactions.text is None
    assert "research" in data.source["licence"]
    assert data.source["items_left_out_for_lack_of_interactions"] == 1
    assert sorted(data.source["sha256"]) == ["movies.csv", "ratings.csv"]
    whole = MovieLens(variant=variant, folder=new, catalogue="items").load()
    assert whole.n_items == 3


def test_tags_are_what_the_user_wrote_on_the_film(new: str) -> None:
    data = MovieLens(variant="latest-small", folder=new, tags=True).load()
    log = data.interactions
    written = {
        (str(data.user_ids[user]), str(data.item_ids[item])): text
        for user, item, text in zip(log.user, log.item, log.text, strict=True)
    }
    assert written == {("1", "11"): 'funny, "really", politics', ("1", "3"): "", ("2", "11"): ""}
    assert (data.source["tags"], data.source["tags_left_out_for_lack_of_a_rating"]) == (2, 1)


def test_the_form_of_1m_with_users(tmp_path: Path) -> None:
    files = {"ratings_dat": RATINGS_DAT, "movies_dat": MOVIES_DAT, "users_dat": USERS_DAT}
    data = MovieLens(variant="1m", folder=write(tmp_path, "latin-1", **files)).load()
    assert (data.n_users, data.n_items, len(data)) == (2, 2, 3)
    film = data.item_index("1193")
    assert data.item_fields["title"][film] == "One Flew: Over the Cuckoo's Nést"
    assert data.item_fields["genres"][data.item_index("661")] == "Animation, Children's, Musical"
    assert {key: values.tolist() for key, values in data.user_fields.items()} == {
        "gender": ["F", "M"],
        "age": ["under 18", "56 or older"],
        "occupation": ["K-12 student", "self-employed"],
    }
    (tmp_path / "users.dat").write_text(USERS_DAT.replace("::16::", "::21::"))
    with pytest.raises(DataError, match=r"users\.dat, line 2: occupation '21' is not a number"):
        MovieLens(variant="1m", folder=str(tmp_path)).load()


def test_the_form_of_10m_with_tags(tmp_path: Path) -> None:
    files = {"ratings_dat": RATINGS_DAT, "movies_dat": MOVIES_DAT, "tags_dat": TAGS_DAT}
    data = MovieLens(variant="10m", folder=write(tmp_path, **files), tags=True).load()
    assert sorted(data.interactions.text) == ["", "", "peach!"]
    assert data.item_fields["title"][data.item_index("1193")].endswith("Nést")
    assert dict(data.user_fields) == {}


def test_another_size_than_the_published_one_is_told(new: str, caplog) -> None:
    data = MovieLens(variant="25m", folder=new).load()
    assert not data.source["is_the_published_size"]
    assert data.source["published_size"] == ("162,541 users, 59,047 items, 25,000,095 interactions")
    assert "ml-25m: the files hold 2 users, 2 items, 3 interactions" in caplog.text


def test_bad_files_are_sentences(tmp_path: Path, new: str) -> None:
    with pytest.raises(DataError, match=r"is not a folder; it should hold ratings\.csv, movies"):
        MovieLens(variant="25m", folder=str(tmp_path / "absent")).load()
    with pytest.raises(DataError, match=r"there is no file .*ratings\.dat"):
        MovieLens(variant="1m", folder=new).load()
    (tmp_path / "ratings.csv").write_text(RATINGS_CSV + "2,3,good,1\n")
    with pytest.raises(DataError, match=r"ratings\.csv, line 5: rating 'good' is not a number"):
        MovieLens(variant="25m", folder=new).load()
    files = {"ratings_dat": RATINGS_DAT + "1::2\n", "movies_dat": MOVIES_DAT}
    with pytest.raises(DataError, match=r"ratings\.dat, line 4: 2 field\(s\) where 4"):
        MovieLens(variant="10m", folder=write(tmp_path, **files)).load()


def test_wrong_options_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="no tags"):
        build("source", {"name": "movielens", "variant": "1m", "tags": True})
    with pytest.raises(ConfigError, match="32m"):
        build("source", {"name": "movielens", "variant": "33m"})


def test_the_archive_is_unpacked_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("ml-10M100K/ratings.dat", RATINGS_DAT)
        packed.writestr("ml-10M100K/movies.dat", MOVIES_DAT)
    archive = stream.getvalue()
    md5 = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    release = RELEASES["10m"]
    made = grouplens.Release(release.archive, release.folder, release.files, (2, 2, 3), md5=md5)
    monkeypatch.setitem(RELEASES, "10m", made)
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    asked = []

    def fetch(url: str, partial: Path, *, timeout: float) -> bytes:
        asked.append(url)
        return archive

    monkeypatch.setattr(downloads.resumable, "fetch", fetch)
    for _ in range(2):
        data = MovieLens(variant="10m").load()
        assert len(data) == 3
    assert asked == ["https://files.grouplens.org/datasets/movielens/ml-10m.zip"]
    assert data.source["archive_sha256"] == hashlib.sha256(archive).hexdigest()
    assert data.source["is_the_published_size"]


def test_without_network_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise DataError("no network")

    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    monkeypatch.setattr(downloads.resumable, "fetch", refuse)
    with pytest.raises(DataError, match=r"no network.*ratings\.csv, movies\.csv.*data\.folder"):
        MovieLens(variant="25m").load()
