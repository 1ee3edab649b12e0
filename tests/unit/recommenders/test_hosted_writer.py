"""A hosted writer: what it is asked, within which limits, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_endpoint import FakeEndpoint, question, serving

from llmrec.core.config import build, check
from llmrec.core.errors import ConfigError, RunError
from llmrec.recommenders.hosted_writer import HostedWriter
from llmrec.recommenders.passages import Passages

PRICES = {"input_price": 1.0, "output_price": 10.0}
RECORDS = [{"title": f"Film {n}", "genres": "War" if n else ""} for n in range(4)]
TRAIN = Passages(
    np.array([0, 0, 0, 1]),
    np.array([0, 1, 2, 0]),
    [""] * 4,
    ["one of zero", "two of zero", "three of zero here", "one of one"],
    RECORDS,
    2,
)
ASKED = Passages(np.array([0, 1, -1]), np.array([3, 1, 1]), [""] * 3, [""] * 3, RECORDS, 2)


def shouted(body: dict[str, Any]) -> dict[str, Any]:
    return {"text": f" {question(body).splitlines()[0].upper()} "}


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serving(shouted) as endpoint:
        yield endpoint


def writer(fake: FakeEndpoint, folder: Path, **options: Any) -> HostedWriter:
    backbone = fake.backbone(cache_folder=str(folder), **options.pop("backbone", {}))
    return HostedWriter(backbone=backbone, **options)


def test_an_explanation_is_asked_with_the_item_and_what_the_user_wrote_before(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    fitted = writer(fake, tmp_path, own_texts=2, system=None).fit(TRAIN)
    assert not fake.bodies, "fitting asks for nothing"
    first, second, third = (body["messages"] for body in fitted.requests(ASKED))
    assert first == [
        {
            "role": "user",
            "content": "What the user wrote of other items:\n- Film 1: two of zero\n"
            "- Film 2: three of zero here\nItem: Film 3; War\n\n"
            "Write what this user would write of this item, in about 3 words.",
        }
    ]
    assert second[0]["content"].startswith("What the user wrote of other items:\n- Film 0: one of")
    assert third[0]["content"].startswith("Item: Film 1; War\n\nWrite")
    assert fitted.write(ASKED)[2] == "ITEM: FILM 1; WAR"


def test_worked_examples_come_from_training_and_hide_their_own_answer(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    fitted = writer(fake, tmp_path, n_examples=4).fit(TRAIN)
    (body,) = fitted.requests(ASKED.take(np.array([2])))
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", *["user", "assistant"] * 4, "user"]
    for shown, answer in zip(body["messages"][1::2], body["messages"][2::2], strict=False):
        assert answer["content"] in TRAIN.texts
        assert answer["content"] not in shown["content"]
    again = writer(fake, tmp_path, n_examples=4).fit(TRAIN)
    assert again.requests(ASKED) == fitted.requests(ASKED)


@pytest.mark.parametrize(
    ("passages", "words"),
    [
        (Passages(np.array([-1]), np.array([0]), ["War"], ["a b"], RECORDS, 0), "Item: War\n\nDes"),
        (Passages(np.array([-1]), np.array([-1]), ["Hm"], ["a b"], [], 0), "Hm\n\nWrite the reply"),
        (
            Passages(np.array([-1]), np.array([-1]), ["Seeker: Hi"], ["a"], RECORDS, 0),
            "Seeker: Hi\n\nWrite the next turn",
        ),
    ],
)
def test_each_kind_has_a_question_of_its_own(
    fake: FakeEndpoint, tmp_path: Path, passages: Passages, words: str
) -> None:
    (body,) = writer(fake, tmp_path).fit(passages).requests(passages.without_texts())
    assert question(body).startswith(words)


def test_a_long_prompt_keeps_its_end_and_is_counted(fake: FakeEndpoint, tmp_path: Path) -> None:
    given = ["x" * 100 + " the end", "short"]
    nobody = np.full(2, -1)
    passages = Passages(nobody, nobody, given, ["a b", "a b"], [], 0)
    fitted = writer(fake, tmp_path, max_length=5, instruction="Go, {n_words}.").fit(passages)
    texts = fitted.write(passages.without_texts())
    assert [question(body) for body in sorted(fake.bodies, key=question)] == [
        "short\n\nGo, 2.",
        "x" * 12 + " the end\n\nGo, 2.",
    ]
    assert texts == ["X" * 12 + " THE END", "SHORT"]
    assert fitted.info.details == {"worked_examples": 0, "cut_prompts": 1, "cut_answers": 0}


def test_replies_and_money_are_counted_and_the_disk_is_free(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    fitted = writer(fake, tmp_path, backbone=PRICES).fit(TRAIN)
    texts = fitted.write(ASKED)
    usage = fitted.endpoint_usage()
    assert usage["requests"] == len(fake.bodies) == 3
    tokens = usage["input_tokens"], usage["output_tokens"]
    assert usage["spent"] == pytest.approx((tokens[0] + 10 * tokens[1]) / 1e6)
    fitted.save(tmp_path / "writer")
    loaded = HostedWriter.load(tmp_path / "writer")
    assert loaded.write(ASKED) == texts
    assert len(fake.bodies) == 3
    assert loaded.endpoint_usage()["cached_requests"] == 3
    assert loaded.endpoint_usage()["spent"] == 0


def test_all_texts_are_counted_against_the_limits_before_one_is_sent(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    few = writer(fake, tmp_path, backbone={"max_requests": 2}).fit(TRAIN)
    with pytest.raises(RunError, match=r"^3 requests .* max_requests=2; nothing of them was sent"):
        few.write(ASKED)
    poor = writer(fake, tmp_path, backbone={**PRICES, "budget": 0.001}).fit(TRAIN)
    with pytest.raises(RunError, match=r"^3 requests .* budget of 0\.001; nothing of them"):
        poor.write(ASKED)
    assert not fake.bodies


def test_what_must_not_or_cannot_be_sent_is_refused(
    fake: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"name": "hosted_writer", "backbone": fake.backbone(base_url="https://a.example/v1")}
    with pytest.raises(ConfigError, match=r"texts of users would be sent to a\.example"):
        build("writer", spec)
    spec["backbone"] = {**spec["backbone"], "allow_upload": True}
    assert check("writer", spec) == []
    with pytest.raises(ConfigError, match="a model of this machine; choose backbone=api"):
        build("writer", {"name": "hosted_writer", "backbone": {"name": "gpt2"}})
    with pytest.raises(ConfigError, match='unknown name "history"; allowed: given, item, texts'):
        writer(fake, tmp_path, template="{{ history }}")
    with pytest.raises(ConfigError, match=r"may hold \{n_words\}"):
        writer(fake, tmp_path, instruction="{words} words")
    monkeypatch.delenv("NO_KEY_HERE", raising=False)
    with pytest.raises(RunError, match="NO_KEY_HERE"):
        writer(fake, tmp_path, backbone={"key_variable": "NO_KEY_HERE"}).warm_up()
