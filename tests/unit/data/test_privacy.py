from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import numpy as np
import pytest

from llmrec.cli import main
from llmrec.core.errors import ConfigError, DataError
from llmrec.core.types import Dataset, Interactions
from llmrec.data.cache import write_dataset
from llmrec.data.privacy import (
    Mask,
    PrivacyOptions,
    is_card,
    k_anonymity,
    mask,
    new_key,
    protected,
    pseudonym,
    pseudonyms,
    read_key,
    without_users,
)
from llmrec.experiment.compose import compose_config
from llmrec.experiment.datasets import load_dataset
from llmrec.experiment.schema import check_config

MASKED = [
    ("write to ann.lee+x@mail.example.org!", "write to [EMAIL]!"),
    ("card 4111 1111 1111 1111 ok", "card [CARD] ok"),
    ("card 4111-1111-1111-1111", "card [CARD]"),
    ("call +44 20 7946 0958 now", "call [PHONE] now"),
    ("call (555) 123-4567.", "call [PHONE]."),
    ("tel 0612345678", "tel [PHONE]"),
    ("555-123-4567", "[PHONE]"),
    ("My name is Ann Lee and I", "My name is [NAME] and I"),
    ("ask Dr. Müller or Mrs Smith", "ask Dr. [NAME] or Mrs [NAME]"),
    ("Ich heiße Jörg", "Ich heiße [NAME]"),
    ("Good book. Regards, Bob Jones", "Good book. Regards, [NAME]"),
]
KEPT = [
    "bought on 2019-05-12 and 12.05.2019",
    "seasons 1995-1997, ISBN 9780306406158",
    "it cost 1299.99 and weighs 1000000 g",
    "item 1234567890123456",
    "rated 5/5, 10 of 10",
    "Best Western is a hotel",
    "my name is secret",
    "v1.2.3.4",
    "Windows 95, Model 300-400",
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_traces_of_people_are_masked(text: str, masked: str) -> None:
    assert mask(text)[0] == masked
    assert mask(masked) == (masked, {}), "masking twice changes nothing more"


@pytest.mark.parametrize("text", KEPT)
def test_dates_sums_and_titles_are_kept(text: str) -> None:
    assert mask(text) == (text, {})


def test_kinds_are_counted() -> None:
    counts = mask("a@b.cd, c@d.ef, Mr. Bean")[1]
    assert counts == {"email": 2, "name": 1}
    step = Mask()
    assert step.apply(["a@b.cd", "x"]) == ["[EMAIL]", "x"]
    assert step.facts(["a@b.cd", "c@d.ef"]) == {"email": 2}


def test_the_check_of_cards() -> None:
    assert is_card("5500 0000 0000 0004")
    assert not is_card("5500 0000 0000 0005")
    assert not is_card("0000 0000 0000 0000")
    assert not is_card("59")


def test_keys_are_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = read_key(path)
    assert len(key) == 32
    with pytest.raises(DataError, match="never replaced"):
        new_key(path)
    assert read_key(path) == key
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(DataError, match="holds no key"):
        read_key(path)
    with pytest.raises(DataError, match="cannot read"):
        read_key(tmp_path / "absent")


def test_pseudonyms_are_keyed_hashes() -> None:
    key = b"k" * 32
    expected = hmac.new(key, b"alice", hashlib.sha256).hexdigest()[:16]
    assert pseudonym("alice", key) == expected
    made = pseudonyms(np.array(["alice", "bob"]), key)
    assert made.tolist() == [expected, pseudonym("bob", key)]
    assert pseudonym("alice", b"l" * 32) != expected
    with pytest.raises(DataError, match="same pseudonym"):
        pseudonyms(np.array(["alice", "alice"]), key)


def dataset() -> Dataset:
    log = Interactions(
        np.array([0, 1, 2, 1, 0], np.int32),
        np.array([0, 1, 0, 0, 1], np.int32),
        np.arange(5, dtype=np.float32),
        np.arange(5),
        np.array(["a@b.cd", "bob wrote", "c", "bob again", "Mr. Bean"], dtype=object),
    )
    fields = {
        "age": np.array(["20", "30", "20"], dtype=object),
        "town": np.array(["x", "x", "x"], dtype=object),
    }
    users, items = np.array(["ann", "bob", "cy"]), np.array(["i", "j"])
    return Dataset("toy", log, users, items, {}, fields)


def test_a_removed_user_leaves_nothing() -> None:
    data, n = without_users(dataset(), ["bob", "nobody"])
    assert n == 1
    assert data.user_ids.tolist() == ["ann", "cy"]
    assert data.interactions.user.tolist() == [0, 1, 0]
    assert data.interactions.rating.tolist() == [0, 2, 4]
    assert data.interactions.text.tolist() == ["a@b.cd", "c", "Mr. Bean"]
    assert data.user_fields["age"].tolist() == ["20", "20"]
    assert data.n_items == 2
    same, none = without_users(dataset(), ["nobody"])
    assert (none, len(same)) == (0, 5)


def test_k_anonymity_by_hand() -> None:
    assert k_anonymity(dataset()) == {
        "fields": ["age", "town"],
        "k": 1,
        "groups": 2,
        "unique_users": 1,
        "users_in_small_groups": 3,
        "by_field": {"age": 1, "town": 3},
    }
    assert k_anonymity(dataset(), ["town"])["k"] == 3
    with pytest.raises(DataError, match="unknown user field"):
        k_anonymity(dataset(), ["city"])


def test_all_together(tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    (tmp_path / "gone").write_text("bob\n\n")
    options = PrivacyOptions(str(tmp_path / "key"), True, str(tmp_path / "gone"))
    data = protected(dataset(), options)
    key = read_key(tmp_path / "key")
    assert data.user_ids.tolist() == [pseudonym("ann", key), pseudonym("cy", key)]
    assert data.interactions.text.tolist() == ["[EMAIL]", "c", "Mr. [NAME]"]
    facts = data.source["privacy"]
    assert facts["removed_users"] == 1
    assert facts["masked"] == {"email": 1, "name": 1}
    assert facts["k_anonymity"]["k"] == 2
    assert "bob" not in str(data.source)
    assert key.hex() not in str(data.source)
    assert "privacy" not in protected(dataset(), PrivacyOptions()).source


def test_a_run_protects_before_it_filters(tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    (tmp_path / "gone").write_text("u1\nu2\n")
    words = ["experiment=none", "model=popularity", "data=synthetic", "data.n_users=30"]
    own = [f"privacy.key={tmp_path / 'key'}", f"privacy.removed_users={tmp_path / 'gone'}"]
    config = compose_config([*words, *own])
    check_config(config)
    data = load_dataset(config)
    assert data.n_users == 28
    assert data.user_ids[0] == pseudonym("u3", read_key(tmp_path / "key"))
    assert load_dataset(compose_config(words)).n_users == 30
    with pytest.raises(ConfigError, match=r"privacy\.mask"):
        check_config(compose_config([*words, "privacy.mask=7"]))


def test_forgetting_deletes_caches_that_hold_a_user(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    write_dataset(dataset(), tmp_path / "tables" / "with")
    write_dataset(without_users(dataset(), ["bob"])[0], tmp_path / "tables" / "without")
    (tmp_path / "tables" / "damaged").mkdir()
    for name in ("embeddings/a.npy", "datasets/ml-100k/ml-100k.zip"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    assert main(["forget", "bob"]) == 0
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["without"]
    assert list((tmp_path / "embeddings").iterdir()) == [], "made by an earlier version"
    said = capsys.readouterr().out
    assert "deleted 2 cached data sets" in said
    assert "0 cached embeddings of what they wrote" in said
    assert "ml-100k.zip" in said
    assert main(["forget", " "]) == 1
    assert main(["forget", "nobody"]) == 0
    assert (tmp_path / "tables" / "without").is_dir()
