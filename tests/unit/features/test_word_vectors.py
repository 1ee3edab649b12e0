"""Word vectors: read from files, trained on a corpus whose answer is known, pooled by hand."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_cases import at, data

from llmrec.core.errors import DataError
from llmrec.core.types import Dataset, Interactions, Queries, Ragged
from llmrec.features.base import load_feature
from llmrec.features.word_vectors import GloVe, Word2Vec

LINES = "red 1 2\nfox 3 -4\nriver 0 6\n. . . 9 9\nunused 7 7\n"
RED, FOX, RIVER = np.array([[1, 2], [3, -4], [0, 6]], float)


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text(LINES)
    return path


def test_the_average_of_glove_vectors_by_hand(glove: Path) -> None:
    items = GloVe(path=glove).fit(data()).items()
    np.testing.assert_allclose(
        items, [(RED + FOX) / 2, (2 * RED + FOX) / 3, RIVER, RIVER, [0, 0]], rtol=1e-6
    )


def test_the_largest_value_of_glove_vectors_by_hand(glove: Path) -> None:
    items = GloVe(path=glove, pooling="max").fit(data()).items()
    np.testing.assert_allclose(items, [[3, 2], [3, 2], RIVER, RIVER, [0, 0]])


def test_what_users_wrote_is_pooled_over_texts(glove: Path) -> None:
    feature = GloVe(path=glove, of="user", source="written").fit(data())
    # user 0 wrote "good fox", "bad river", "good river"; the last on day 4
    time = np.array([at(4), at(9), at(9)])
    rows = feature.queries(Queries(np.array([0, 0, 1]), Ragged.empty(3), time=time))
    np.testing.assert_allclose(
        rows, [(FOX + RIVER) / 2, (FOX + RIVER + RIVER) / 3, [0, 0]], rtol=1e-6
    )


def test_coverage_is_reported(glove: Path) -> None:
    details = GloVe(path=glove).fit(data()).details
    # red ×3, fox ×2, river ×2 have vectors; blue ×2 has not
    assert details["words with a vector"] == 0.75
    assert details["tokens with a vector"] == round(7 / 9, 4)


def test_gzip_and_a_header_are_read(glove: Path, tmp_path: Path) -> None:
    packed = tmp_path / "vectors.gz"
    packed.write_bytes(gzip.compress(f"5 2\n{LINES}".encode()))
    np.testing.assert_array_equal(
        GloVe(path=packed).fit(data()).items(), GloVe(path=glove).fit(data()).items()
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("red 1 2\nfox 3\n", "line 2: expected a word and 2 numbers, got 2 parts"),
        ("red 1 2\nfox 3 x\n", "line 2: could not convert"),
        ("red 1 nan\n", "line 1: the vector of 'red' is not finite"),
        ("", "is empty"),
        ("unused 1 2\n", "no vector for any word"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=f"wrong.txt.*{message}"):
        GloVe(path=path).fit(data())


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        GloVe(path=tmp_path / "absent.txt").fit(data())
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(LINES.encode() * 1000)[:-20])
    with pytest.raises(DataError, match=r"cut\.gz"):
        GloVe(path=cut).fit(data())


def test_a_saved_feature_needs_no_file(glove: Path, tmp_path: Path) -> None:
    feature = GloVe(path=glove).fit(data())
    feature.save(tmp_path / "f")
    glove.unlink()
    np.testing.assert_array_equal(load_feature(tmp_path / "f").items(), feature.items())


def corpus(n: int = 400) -> Dataset:
    """Items whose titles take words of one of two subjects."""
    rng = np.random.default_rng(0)
    subjects = [[f"{kind}{number}" for number in range(6)] for kind in ("sea", "city")]
    titles = [" ".join(rng.choice(subjects[item % 2], 5)) for item in range(n)]
    log = Interactions(np.zeros(n, np.int32), np.arange(n, dtype=np.int32))
    ids = np.arange(n).astype(str)
    return Dataset("corpus", log, np.array(["u"]), ids, {"title": np.array(titles, object)})


TRAINED = {"embedding_size": 16, "epochs": 30, "window": 3}


def test_words_of_one_subject_end_up_nearer() -> None:
    feature = Word2Vec(**TRAINED).fit(corpus())
    unit = feature.vectors / np.linalg.norm(feature.vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    sea = np.char.startswith(feature.vocabulary, "sea")
    same = (sea[:, None] == sea) & ~np.eye(len(sea), dtype=bool)
    assert cosine[same].min() > cosine[sea][:, ~sea].max()
    items = feature.items()
    near = items / np.linalg.norm(items, axis=1, keepdims=True)
    assert (near[0] @ near[2::2].T).min() > (near[0] @ near[1::2].T).max()


def test_the_same_seed_gives_the_same_bits_whatever_python_hashes() -> None:
    code = (
        "import hashlib, sys; sys.path.insert(0, 'tests/unit/features');"
        "from test_word_vectors import *;"
        "v = Word2Vec(**TRAINED, seed=3).fit(corpus(60)).items();"
        "print(hashlib.sha256(v.tobytes()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    a, b = (Word2Vec(**TRAINED, seed=seed).fit(corpus(60)).items() for seed in (3, 4))
    assert not np.allclose(a, b)


def test_too_few_words_are_refused() -> None:
    with pytest.raises(DataError, match="lower min_count"):
        Word2Vec(min_count=50).fit(data())
    with pytest.raises(DataError, match="no texts"):
        Word2Vec().fit(replace(data(), item_fields={}))
