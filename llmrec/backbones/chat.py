"""Asking a chat endpoint: replies from disk or over the wire, several at once, within limits."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmrec.backbones.wire import BrokenError, SilentError, UnavailableError, Wire
from llmrec.core.errors import RunError
from llmrec.core.files import read_json, write_json

__all__ = ["Chat", "Limits", "Reply", "Wire", "cost", "likely_tokens"]

CHARACTERS_PER_TOKEN = 4
FRAME = 8  # tokens that a chat template adds around a message, about


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered.

    Attributes:
        text: what it wrote.
        first: the likeliest first tokens with their log-probabilities, None if it gave none.
        input_tokens: that it read.
        output_tokens: that it wrote.
        estimated: whether the tokens are estimated from characters, because it gave no usage.
        finish: why it stopped, e.g. ``stop`` or ``length``.
        served: what it says is the model, e.g. a dated version.
    """

    text: str
    first: list[tuple[str, float]] | None
    input_tokens: int
    output_tokens: int
    estimated: bool
    finish: str
    served: str


Accept = Callable[[Reply], None]


def any_reply(_: Reply) -> None:
    """Accept whatever comes."""


@dataclass(frozen=True)
class Limits:
    """Prices per million tokens, and what one process may spend and send."""

    input_price: float | None
    output_price: float | None
    budget: float | None
    max_requests: int


def cost(limits: Limits, input_tokens: float, output_tokens: float) -> float | None:
    """Return the price of tokens, None without prices."""
    if limits.input_price is None or limits.output_price is None:
        return None
    return (input_tokens * limits.input_price + output_tokens * limits.output_price) / 1e6


def likely_tokens(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a request has, at four characters each."""
    return sum(
        FRAME + -(-len(message["content"]) // CHARACTERS_PER_TOKEN) for message in body["messages"]
    )


def most_tokens(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return bounds of the tokens read and written: no tokenizer makes more than one of a byte."""
    read = sum(2 * FRAME + len(m["content"].encode()) for m in body["messages"]) + 2 * FRAME
    return read, most_output(body)


def most_output(body: Mapping[str, Any]) -> int:
    """Return the most tokens that a request lets the model write."""
    return int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)


class Chat:
    """One endpoint, its replies on disk, and what was spent on it.

    Args:
        wire: how a request is sent.
        limits: prices and limits.
        folder: where replies are kept.
        concurrency: requests under way at once.
    """

    def __init__(self, wire: Wire, limits: Limits, folder: Path, concurrency: int) -> None:
        self.wire = wire
        self.limits = limits
        self.folder = folder
        self.concurrency = concurrency
        self.sent = self.cached = self.tries = self.estimated = 0
        self.input_tokens = self.output_tokens = 0
        self.spent = self._reserved = 0.0
        self._free = threading.Condition()
        self._stop = threading.Event()

    def usage(self) -> dict[str, Any]:
        """Return requests sent and answered from disk, tokens of all replies, money spent."""
        return {
            "requests": self.sent,
            "cached_requests": self.cached,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "estimated_tokens": self.estimated > 0,
            "spent": None if self.limits.input_price is None else self.spent,
        }

    def complete(
        self, bodies: Sequence[Mapping[str, Any]], accept: Accept = any_reply
    ) -> list[Reply]:
        """Return one reply per request, in their order; equal requests are sent once.

        Args:
            bodies: the requests.
            accept: called with each reply as it comes; what it raises stops the rest, so that a
                useless endpoint is not paid for every request.

        Raises:
            RunError: before anything is sent, if the requests pass a limit by the estimate;
                later, if the endpoint fails or the next request could pass the budget.
        """
        keys = [self._key(body) for body in bodies]
        known: dict[str, Reply] = {}
        missing: dict[str, Mapping[str, Any]] = {}
        for key, body in zip(keys, bodies, strict=True):
            if key not in known and key not in missing:
                path = self._path(key)
                if path.is_file():
                    known[key] = _reply_from_disk(path)
                    accept(known[key])
                    self._count(known[key], sent=False)
                else:
                    missing[key] = body
        self.refuse_beyond(list(missing.values()))
        known |= self._send_all(missing, accept)
        return [known[key] for key in keys]

    def refuse_beyond(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Refuse requests that would pass a limit, by their number and estimated price."""
        n = len(bodies)
        read = sum(map(likely_tokens, bodies))
        written = sum(map(most_output, bodies))
        self.refuse(n, read, written)

    def refuse(self, n: int, read: float, written: float) -> None:
        """Refuse `n` requests that would pass a limit.

        Raises:
            RunError: with the numbers.
        """
        limits = self.limits
        said = estimate_text(limits, n, read, written)
        if self.sent + n > limits.max_requests:
            raise RunError(
                f"{said} are needed and {self.sent:,} were sent, more than max_requests="
                f"{limits.max_requests:,}; nothing of them was sent. Ask about fewer users, "
                "candidates or texts, or raise backbone.max_requests"
            )
        price = cost(limits, read, written)
        if limits.budget is not None and price is not None and self.spent + price > limits.budget:
            raise RunError(
                f"{said} are needed and {self.spent:.4g} is spent, more than the budget of "
                f"{limits.budget:g}; nothing of them was sent. Ask about fewer users, "
                "candidates or texts, or raise backbone.budget"
            )

    def _send_all(
        self, missing: Mapping[str, Mapping[str, Any]], accept: Accept
    ) -> dict[str, Reply]:
        if not missing:
            return {}
        self._stop.clear()
        found: dict[str, Reply] = {}
        workers = min(self.concurrency, len(missing))
        with ThreadPoolExecutor(workers, thread_name_prefix="llmrec-api") as pool:
            tasks: dict[str, Future[Reply | None]] = {
                key: pool.submit(self._send_one, key, body, accept) for key, body in missing.items()
            }
            try:
                for task in tasks.values():
                    task.result()
            except BaseException:
                self._halt()
                pool.shutdown(cancel_futures=True)  # those under way end, and are kept
                failures = [
                    task.exception()
                    for task in tasks.values()
                    if not task.cancelled() and task.exception() is not None
                ]
                done = sum(self._path(key).is_file() for key in missing)
                first = failures[0] if failures else None
                if isinstance(first, RunError):
                    raise RunError(
                        f"{first}. {done:,} of {len(missing):,} replies are kept in "
                        f"{self.folder}: a rerun pays only for the rest"
                    ) from None
                raise
            for key, task in tasks.items():
                reply = task.result()
                assert reply is not None
                found[key] = reply
        return found

    def _halt(self) -> None:
        self._stop.set()
        with self._free:
            self._free.notify_all()

    def _send_one(self, key: str, body: Mapping[str, Any], accept: Accept) -> Reply | None:
        """Send one request, again if need be, and keep the reply; None once others failed."""
        try:
            reply = self._tried(body)
            if reply is None:
                return None
            write_json(self._path(key), asdict(reply))
            with self._free:
                self._count(reply, sent=True)
            accept(reply)
            return reply
        except BaseException:
            self._halt()
            raise

    def _tried(self, body: Mapping[str, Any]) -> Reply | None:
        bound = cost(self.limits, *most_tokens(body)) or 0.0
        trouble: UnavailableError | None = None
        for attempt in range(self.wire.retries + 1):
            if trouble is not None and self._stop.wait(self.wire.pause(attempt, trouble)):
                return None
            if not self._reserve(bound):
                return None
            paid = 0.0
            try:
                with self._free:
                    self.tries += 1
                reply = _reply_of(self.wire.post(dict(body)), body)
                paid = cost(self.limits, reply.input_tokens, reply.output_tokens) or 0.0
                return reply
            except UnavailableError as error:
                # What was not answered in full may be billed all the same.
                paid = bound if isinstance(error, SilentError | BrokenError) else 0.0
                trouble = error
            finally:
                self._settle(bound, paid)
        raise RunError(f"{trouble}, {self.wire.retries + 1} times in a row")

    def _reserve(self, bound: float) -> bool:
        """Set the most that a request can cost aside; wait while others may leave room for it.

        Raises:
            RunError: if the budget has no room for it.
        """
        budget = self.limits.budget
        with self._free:
            while not self._stop.is_set():
                if budget is None or self.spent + self._reserved + bound <= budget:
                    self._reserved += bound
                    return True
                if not self._reserved:
                    raise RunError(
                        f"stopped before passing the budget of {budget:g}: {self.spent:.4g} is "
                        f"spent, and the next request may cost {bound:.4g}; raise "
                        "backbone.budget"
                    )
                self._free.wait()
        return False

    def _settle(self, bound: float, paid: float) -> None:
        with self._free:
            # Sums of floats do not cancel: nothing may seem to be under way when nothing is.
            self._reserved = max(0.0, self._reserved - bound)
            if self._reserved < bound * 1e-6:
                self._reserved = 0.0
            self.spent += paid
            self._free.notify_all()

    def _count(self, reply: Reply, *, sent: bool) -> None:
        self.sent += sent
        self.cached += not sent
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        self.estimated += reply.estimated

    def _key(self, body: Mapping[str, Any]) -> str:
        text = json.dumps([self.wire.base_url, body], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def estimate_text(limits: Limits, n: int, read: float, written: float) -> str:
    """Return the size of a job in words: requests, tokens, price."""
    text = f"{n:,} requests (about {read:,.0f} tokens read, at most {written:,.0f} written"
    price = cost(limits, read, written)
    return f"{text}; no prices are set)" if price is None else f"{text}; about {price:.4g} to pay)"


def _reply_of(answer: Any, body: Mapping[str, Any]) -> Reply:
    """Return the reply in what an endpoint sent.

    Raises:
        BrokenError: if it has none.
    """
    try:
        choice = answer["choices"][0]
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            raise TypeError
        usage = answer.get("usage") or {}
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        first = _first_tokens(choice)
        estimated = not isinstance(read, int) or not isinstance(written, int)
        if not isinstance(read, int) or not isinstance(written, int):
            read, written = likely_tokens(body), -(-len(text) // CHARACTERS_PER_TOKEN)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise BrokenError("the endpoint sent a reply without choices[0].message.content") from None
    finish, served = str(choice.get("finish_reason")), str(answer.get("model") or "")
    return Reply(text, first, read, written, estimated, finish, served)


def _first_tokens(choice: Mapping[str, Any]) -> list[tuple[str, float]] | None:
    content = (choice.get("logprobs") or {}).get("content")
    if not content or not content[0].get("top_logprobs"):
        return None
    return [(str(e["token"]), float(e["logprob"])) for e in content[0]["top_logprobs"]]


def _reply_from_disk(path: Path) -> Reply:
    kept = read_json(path)
    try:
        first = kept["first"]
        kept["first"] = None if first is None else [(str(t), float(p)) for t, p in first]
        return Reply(**kept)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} holds no reply of this version of llmrec; delete it") from error
