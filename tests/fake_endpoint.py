"""A small server in this process that speaks the chat protocol, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = dict[str, Any] | str | tuple[int, dict[str, str], str]


class FakeEndpoint:
    """What a test sees of the server.

    Attributes:
        answer: called with the body of a request; returns fields of the reply ({"text": …,
            "first": {token: log-probability}, "usage": …}), a raw text, or (status, headers, text).
        bodies: every request, in order of arrival.
        headers: theirs.
        most: requests that were under way at once, at most.
        delay: seconds that each answer takes.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most = 0
        self.delay = 0.0
        self.base_url = ""
        self._now = 0
        self._lock = threading.Lock()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def backbone(self, **options: Any) -> dict[str, Any]:
        """Return the spec of a backbone that asks this server."""
        return {"name": "api", "base_url": self.base_url, "model": "fake-1", **options}


@contextmanager
def serving(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[FakeEndpoint]:
    """Yield a running endpoint on a free port of this machine."""
    fake = FakeEndpoint(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with fake.under_way():
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.bodies.append(body)
                fake.headers.append(dict(self.headers))
                fake.paths.append(self.path)
                given = fake.answer(body)
                time.sleep(fake.delay)
                self.give(given, body)

        def give(self, given: Answer, body: dict[str, Any]) -> None:
            status, headers = 200, {}
            if isinstance(given, tuple):
                status, headers, given = given
            raw = given if isinstance(given, str) else json.dumps(completion(body, **given))
            try:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(raw.encode())))
                self.end_headers()
                self.wfile.write(raw.encode())
            except (BrokenPipeError, ConnectionResetError):
                return  # the client had no patience

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(
    body: dict[str, Any],
    text: str = "ok",
    first: dict[str, float] | None = None,
    usage: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Return a reply in the form of the protocol."""
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    if first is not None:
        top = [{"token": token, "logprob": value} for token, value in first.items()]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    reply = {"model": f"{body['model']}-2026", "choices": [choice]}
    return reply if usage == {} else {**reply, "usage": usage or usage_of(body, text)}


def usage_of(body: dict[str, Any], text: str) -> dict[str, int]:
    """Return what a tokenizer of words would count."""
    words = sum(len(message["content"].split()) for message in body["messages"])
    return {"prompt_tokens": words, "completion_tokens": len(text.split())}


def question(body: dict[str, Any]) -> str:
    """Return the last message."""
    return str(body["messages"][-1]["content"])


def candidates(body: dict[str, Any]) -> dict[int, str]:
    """Return the listed candidates by number."""
    lines = question(body).rpartition("Candidates:")[2]
    return {int(n): title for n, title in re.findall(r"^\[(\d+)\] (.*)$", lines, re.MULTILINE)}


def taste(text: str) -> float:
    """Return a pseudo-random number from -3 to 3 for a text, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") / 2**32 * 6 - 3


def opinions(body: dict[str, Any]) -> dict[str, Any]:
    """Answer as a model with a fixed taste would, in whichever form it is asked."""
    if body.get("logprobs"):
        value = taste(question(body))
        return {"text": "yes", "first": {"yes": value - 4, " no": -4.0, "Maybe": -9.0}}
    listed = candidates(body)
    if listed:
        best = sorted(listed, key=lambda n: -taste(listed[n]))
        return {"text": " > ".join(f"[{n}]" for n in best)}
    return {"text": f"{50 + round(16 * taste(question(body)))}"}
