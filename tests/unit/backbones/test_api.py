"""The client of an endpoint: retries, limits, replies on disk, and a key that is never written."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import Answer, FakeEndpoint, question, serving

from llmrec.backbones import wire
from llmrec.backbones.chat import likely_tokens, most_tokens
from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError, ConfigError, RunError

KEY = "sk-very-secret-0123456789"


class Script:
    """Answers by a list, then always with the text of the question."""

    def __init__(self) -> None:
        self.next: list[Answer] = []

    def __call__(self, body: dict[str, Any]) -> Answer:
        return self.next.pop(0) if self.next else {"text": question(body).upper()}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def fake(script: Script) -> Iterator[FakeEndpoint]:
    with serving(script) as endpoint:
        yield endpoint


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record how long the client would wait, and do not wait."""
    seen: list[float] = []
    real = wire.Wire.pause

    def pause(self: wire.Wire, attempt: int, trouble: wire.UnavailableError) -> float:
        seen.append(real(self, attempt, trouble))
        return 0.0

    monkeypatch.setattr(wire.Wire, "pause", pause)
    return seen


def api(fake: FakeEndpoint, folder: Path, **options: Any) -> Any:
    return build("backbone", fake.backbone(cache_folder=str(folder), **options))


def bodies(part: Any, *texts: str, **fields: Any) -> list[dict[str, Any]]:
    fields = {"max_tokens": 4, **fields}
    return [part.body([{"role": "user", "content": text}], **fields) for text in texts]


def ask(part: Any, *texts: str, **fields: Any) -> list[str]:
    return [reply.text for reply in part.complete(bodies(part, *texts, **fields))]


# what is sent


def test_replies_come_in_the_order_of_the_requests(fake: FakeEndpoint, tmp_path: Path) -> None:
    part = api(fake, tmp_path)
    texts = [f"text {n}" for n in range(20)]
    assert ask(part, *texts) == [text.upper() for text in texts]
    assert set(fake.paths) == {"/v1/chat/completions"}
    (body, *_) = [body for body in fake.bodies if question(body) == "text 3"]
    assert body == {
        "model": "fake-1",
        "messages": [{"role": "user", "content": "text 3"}],
        "temperature": 0.0,
        "seed": 0,
        "max_tokens": 4,
    }


def test_other_fields_are_added_and_null_takes_one_out(fake: FakeEndpoint, tmp_path: Path) -> None:
    options = {"seed": None, "max_tokens": None, "max_completion_tokens": 9, "top_p": 0.5}
    part = api(fake, tmp_path, request_options=options)
    ask(part, "a")
    assert set(fake.bodies[0]) == {
        "model",
        "messages",
        "temperature",
        "max_completion_tokens",
        "top_p",
    }


def test_never_more_requests_under_way_than_allowed(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.delay = 0.02
    ask(api(fake, tmp_path, concurrency=3), *"abcdefghijkl")
    assert fake.most == 3


def test_equal_requests_are_sent_once(fake: FakeEndpoint, tmp_path: Path) -> None:
    part = api(fake, tmp_path)
    assert ask(part, "a", "b", "a") == ["A", "B", "A"]
    assert len(fake.bodies) == 2
    assert part.usage()["requests"] == 2


# replies on disk


def test_what_was_answered_is_never_sent_again(fake: FakeEndpoint, tmp_path: Path) -> None:
    ask(api(fake, tmp_path), "a", "b")
    second = api(fake, tmp_path)
    assert ask(second, "b", "a", "c") == ["B", "A", "C"]
    assert [question(body) for body in fake.bodies][2:] == ["c"]
    assert second.usage()["requests"] == 1
    assert second.usage()["cached_requests"] == 2


def test_any_other_request_is_another_reply(fake: FakeEndpoint, tmp_path: Path) -> None:
    ask(api(fake, tmp_path), "a")
    ask(api(fake, tmp_path), "a", max_tokens=5)
    ask(api(fake, tmp_path, model="fake-2"), "a")
    ask(api(fake, tmp_path, seed=1), "a")
    ask(api(fake, tmp_path, base_url=fake.base_url.replace("127.0.0.1", "localhost")), "a")
    ask(api(fake, tmp_path, base_url=fake.base_url + "/"), "a")
    assert len(fake.bodies) == 5


def test_log_probabilities_survive_the_disk(
    fake: FakeEndpoint, script: Script, tmp_path: Path
) -> None:
    script.next = [{"text": "yes", "first": {"yes": -0.25, " no": -1.5}}]
    part = api(fake, tmp_path)
    first = part.complete(bodies(part, "a"))
    assert first[0].first == [("yes", -0.25), (" no", -1.5)]
    assert first[0].served == "fake-1-2026"
    again = api(fake, tmp_path)
    assert again.complete(bodies(again, "a")) == first


def test_a_broken_file_of_the_cache_is_named(fake: FakeEndpoint, tmp_path: Path) -> None:
    ask(api(fake, tmp_path), "a")
    (file,) = tmp_path.rglob("*.json")
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match=f"{file.name}.*delete it"):
        ask(api(fake, tmp_path), "a")


def test_what_was_answered_before_a_failure_is_kept(
    fake: FakeEndpoint, script: Script, tmp_path: Path
) -> None:
    script.next = [{"text": "one"}, {"text": "two"}, (400, {}, '{"error": {"message": "bad"}}')]
    with pytest.raises(RunError, match="2 of 5 replies are kept"):
        ask(api(fake, tmp_path, concurrency=1), *"abcde")
    assert len(fake.bodies) == 3
    assert ask(api(fake, tmp_path, concurrency=1), *"abcde") == ["one", "two", "C", "D", "E"]
    assert len(fake.bodies) == 6


# trouble that passes


def test_too_many_requests_waits_as_long_as_asked(
    fake: FakeEndpoint, script: Script, tmp_path: Path, pauses: list[float]
) -> None:
    script.next = [(429, {"Retry-After": "7"}, "{}"), (503, {"Retry-After": "0.5"}, "")]
    assert ask(api(fake, tmp_path), "a") == ["A"]
    assert pauses == [7.0, 0.5]
    assert len(fake.bodies) == 3


def test_a_date_to_come_back_at_is_understood(
    fake: FakeEndpoint, script: Script, tmp_path: Path, pauses: list[float]
) -> None:
    import time

    later = formatdate(time.time() + 30, usegmt=True)
    script.next = [(429, {"Retry-After": later}, "{}"), (429, {"Retry-After": "soon"}, "{}")]
    assert ask(api(fake, tmp_path), "a") == ["A"]
    assert 25 < pauses[0] <= 31
    assert 1.0 <= pauses[1] <= 2.0


def test_without_a_hint_the_pause_doubles_with_jitter(
    fake: FakeEndpoint, script: Script, tmp_path: Path, pauses: list[float]
) -> None:
    script.next = [(500, {}, "oops")] * 4
    assert ask(api(fake, tmp_path), "a") == ["A"]
    for n, pause in enumerate(pauses):
        assert 0.5 * 2**n <= pause <= 2**n
    assert len(pauses) == 4


def test_waiting_for_minutes_is_refused(fake: FakeEndpoint, script: Script, tmp_path: Path) -> None:
    script.next = [(429, {"Retry-After": "3600"}, "{}")]
    with pytest.raises(RunError, match="asks to wait 3600 s"):
        ask(api(fake, tmp_path), "a")


def test_it_gives_up_after_all_tries(
    fake: FakeEndpoint, script: Script, tmp_path: Path, pauses: list[float]
) -> None:
    script.next = [(502, {}, '{"error": {"message": "bad gateway"}}')] * 3
    with pytest.raises(RunError, match="status 502: bad gateway, 3 times in a row"):
        ask(api(fake, tmp_path, retries=2), "a")
    assert len(fake.bodies) == 3


@pytest.mark.parametrize(
    "broken",
    ["<html>", "", "[]", '{"choices": []}', '{"choices": [{"message": null}]}', '{"error": "x"}'],
)
def test_a_broken_reply_is_asked_for_again(
    fake: FakeEndpoint, script: Script, tmp_path: Path, pauses: list[float], broken: str
) -> None:
    script.next = [broken]
    assert ask(api(fake, tmp_path), "a") == ["A"]
    script.next = [broken] * 2
    with pytest.raises(RunError, match="2 times in a row"):
        ask(api(fake, tmp_path, retries=1), "b")
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_silence_is_tried_again(fake: FakeEndpoint, tmp_path: Path, pauses: list[float]) -> None:
    delays = iter([0.5, 0.0])
    real = fake.answer

    def slowly(body: dict[str, Any]) -> Answer:
        fake.delay = next(delays)
        return real(body)

    fake.answer = slowly
    assert ask(api(fake, tmp_path, timeout_seconds=0.2), "a") == ["A"]
    assert len(fake.bodies) == 2


def test_nobody_there_is_a_sentence(
    fake: FakeEndpoint, tmp_path: Path, pauses: list[float]
) -> None:
    part = api(fake, tmp_path, base_url="http://127.0.0.1:9/v1", retries=1)
    with pytest.raises(RunError, match=r"no answer from http://127\.0\.0\.1:9/v1.*2 times"):
        ask(part, "a")


# trouble that stays


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "request_options"),
        (401, "asks for a key"),
        (403, "asks for a key"),
        (404, "check model.backbone.base_url"),
        (302, "final address"),
        (422, "request_options"),
    ],
)
def test_a_refusal_is_a_sentence_at_once(
    fake: FakeEndpoint, script: Script, tmp_path: Path, status: int, words: str
) -> None:
    body = '{"error": {"message": "because"}}'
    script.next = [(status, {"Location": "http://127.0.0.1:9/other"}, body)]
    with pytest.raises(RunError, match=f"status {status}: because.*{words}"):
        ask(api(fake, tmp_path), "a")
    assert len(fake.bodies) == 1


def test_a_refusal_of_log_probabilities_says_what_to_ask_instead(
    fake: FakeEndpoint, script: Script, tmp_path: Path
) -> None:
    script.next = [(400, {}, '{"error": {"message": "logprobs are not supported"}}')]
    with pytest.raises(RunError, match=r"not supported; .* model\.answer=number"):
        ask(api(fake, tmp_path), "a")


def test_an_account_without_credit_is_not_asked_again(
    fake: FakeEndpoint, script: Script, tmp_path: Path
) -> None:
    script.next = [(429, {}, '{"error": {"message": "x", "code": "insufficient_quota"}}')]
    with pytest.raises(RunError, match="no credit left"):
        ask(api(fake, tmp_path), "a")
    assert len(fake.bodies) == 1


# the key


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    fake: FakeEndpoint, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    script.next = [{"text": "fine"}, (401, {}, f'{{"error": {{"message": "wrong key {KEY}"}}}}')]
    part = api(fake, tmp_path, key_variable="MY_KEY", concurrency=1)
    with pytest.raises(RunError, match=r"wrong key \*\*\*; the key in MY_KEY") as error:
        ask(part, "a", "b")
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(error.value)
    assert KEY not in repr(part.chat.wire)
    assert KEY not in json.dumps(fake.bodies)
    kept = [file.read_text("utf-8") for file in tmp_path.rglob("*.json")]
    assert len(kept) == 1
    assert KEY not in kept[0]


def test_a_long_message_does_not_show_half_of_the_key(
    fake: FakeEndpoint, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    script.next = [(400, {}, "x" * 290 + KEY)]
    with pytest.raises(RunError) as error:
        ask(api(fake, tmp_path, key_variable="MY_KEY"), "a")
    assert KEY[:6] not in str(error.value)


@pytest.mark.parametrize(("value", "words"), [("", "is not set"), ("a\nb", "holds a blank")])
def test_a_key_that_cannot_be_is_a_sentence(
    fake: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(RunError, match=f"MY_KEY.*{words}"):
        ask(api(fake, tmp_path, key_variable="MY_KEY"), "a")
    assert not fake.bodies


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key_variable": KEY}, "never put the key itself"),
        ({"base_url": f"https://user:{KEY}@host/v1", "allow_upload": True}, "holds a user"),
        ({"base_url": f"https://host/v1?key={KEY}", "allow_upload": True}, "holds a user"),
        ({"base_url": "https://api.example.com/v1"}, "sent to api.example.com"),
        ({"base_url": "http://192.168.1.5/v1"}, "sent to 192.168.1.5"),
        ({"base_url": "localhost:8000"}, "expected an address"),
        (
            {"base_url": "http://host/v1", "allow_upload": True, "key_variable": "KEY"},
            "unencrypted",
        ),
        ({"budget": 1.0}, "needs input_price"),
        ({"input_price": 1.0}, "both prices"),
        ({"request_options": {"messages": []}}, "is set by llmrec"),
        ({"concurrency": 0}, "expected 1 or more"),
        (
            {
                "budget": 1.0,
                "input_price": 1.0,
                "output_price": 1.0,
                "request_options": {"max_tokens": None},
            },
            "no budget can bound",
        ),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], words: str) -> None:
    spec = {"name": "api", "base_url": "http://localhost:1/v1", "model": "m", **options}
    problems = check("backbone", spec)
    assert words in str(problems[0])
    with pytest.raises(ConfigError) as error:
        build("backbone", spec)
    assert KEY not in str(error.value)


def test_another_machine_is_fine_when_allowed() -> None:
    spec = {"name": "api", "base_url": "https://api.example.com/v1", "model": "m"}
    assert check("backbone", {**spec, "allow_upload": True, "key_variable": "KEY"}) == []


def test_there_is_nothing_to_load(fake: FakeEndpoint, tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match="model=hosted"):
        api(fake, tmp_path).load("pooled")


# tokens and money

PRICES = {"input_price": 2.0, "output_price": 10.0}


def test_tokens_and_money_are_counted_from_the_usage(
    fake: FakeEndpoint, script: Script, tmp_path: Path
) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 50}
    script.next = [{"text": "x", "usage": usage}, {"text": "y", "usage": usage}]
    part = api(fake, tmp_path, **PRICES)
    ask(part, "a", "b")
    assert part.usage() == {
        "requests": 2,
        "cached_requests": 0,
        "input_tokens": 2000,
        "output_tokens": 100,
        "estimated_tokens": False,
        "spent": pytest.approx((2000 * 2 + 100 * 10) / 1e6),
    }
    again = api(fake, tmp_path, **PRICES)
    ask(again, "a", "b")
    assert again.usage()["spent"] == 0
    assert again.usage()["input_tokens"] == 2000


def test_without_usage_tokens_are_estimated_and_marked(
    fake: FakeEndpoint, script: Script, tmp_path: Path
) -> None:
    script.next = [{"text": "12345", "usage": {}}]
    part = api(fake, tmp_path)
    ask(part, "a" * 40)
    assert part.usage()["estimated_tokens"]
    assert part.usage()["input_tokens"] == 10 + 8
    assert part.usage()["output_tokens"] == 2
    assert part.usage()["spent"] is None


def test_a_job_beyond_the_limits_is_refused_with_its_numbers_before_anything_is_sent(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"^3 requests .* max_requests=2; nothing of them was sent"):
        ask(api(fake, tmp_path, max_requests=2), *"abc")
    with pytest.raises(RunError, match=r"about 0\.0001.* budget of 0\.0001; nothing of them"):
        ask(api(fake, tmp_path, budget=1e-4, **PRICES), *"abc")
    assert not fake.bodies


def test_the_limit_of_requests_counts_all_calls_but_not_the_disk(
    fake: FakeEndpoint, tmp_path: Path
) -> None:
    part = api(fake, tmp_path, max_requests=2)
    ask(part, "a")
    ask(part, "a", "b")
    ask(part, "a", "b")
    with pytest.raises(RunError, match=r"1 requests .* are needed and 2 were sent"):
        ask(part, "c")


def test_the_budget_is_never_passed(fake: FakeEndpoint, tmp_path: Path) -> None:
    """The endpoint reads and writes as much as it can: far more than the estimate."""

    def greedy(body: dict[str, Any]) -> Answer:
        read, written = most_tokens(body)
        usage = {"prompt_tokens": read, "completion_tokens": written}
        return {"text": "x", "usage": usage}

    fake.answer = greedy
    texts = [f"{n:03} " + "wordy " * 20 for n in range(30)]
    part = api(fake, tmp_path, budget=1.0, **PRICES)
    each = bodies(part, texts[0])[0]
    read, written = most_tokens(each)
    bound = (read * 2 + written * 10) / 1e6
    likely = (likely_tokens(each) * 2 + written * 10) / 1e6
    budget = 30.5 * likely
    part = api(fake, tmp_path, budget=budget, concurrency=4, **PRICES)
    with pytest.raises(RunError, match="stopped before passing the budget") as error:
        ask(part, *texts)
    n = int(budget / bound)
    assert 0 < n < 30
    assert len(fake.bodies) == n
    assert part.usage()["spent"] == pytest.approx(n * bound)
    assert part.usage()["spent"] <= budget
    assert f"{n} of 30 replies are kept" in str(error.value)
    rest = api(fake, tmp_path, budget=1.0, **PRICES)
    ask(rest, *texts)
    assert rest.usage()["requests"] == 30 - n


def test_a_reservation_that_is_given_back_makes_room(fake: FakeEndpoint, tmp_path: Path) -> None:
    """Each reply costs little, so a budget that holds two reservations at once serves all."""
    fake.answer = lambda body: {"usage": {"prompt_tokens": 1, "completion_tokens": 0}}
    part = api(fake, tmp_path, **PRICES)
    read, written = most_tokens(bodies(part, "00")[0])
    budget = 2.5 * (read * 2 + written * 10) / 1e6
    part = api(fake, tmp_path, budget=budget, concurrency=8, **PRICES)
    fake.delay = 0.01
    texts = [f"{n:02}" for n in range(2)]
    for n in itertools.count(2):
        more = [*texts, f"{n:02}"]
        each = sum(likely_tokens(body) * 2 + 40 for body in bodies(part, *more)) / 1e6
        if each > budget:
            break
        texts = more
    ask(part, *texts)
    assert len(fake.bodies) == len(texts)
    assert fake.most <= 2


def test_a_request_that_may_be_billed_without_a_reply_counts(
    fake: FakeEndpoint, script: Script, tmp_path: Path, pauses: list[float]
) -> None:
    script.next = ["<html>", (500, {}, "")]
    part = api(fake, tmp_path, **PRICES)
    ask(part, "a")
    read, written = most_tokens(bodies(part, "a")[0])
    paid = 1 * 2 + 1 * 10  # one word read, one written
    assert part.usage()["spent"] == pytest.approx((read * 2 + written * 10 + paid) / 1e6)
