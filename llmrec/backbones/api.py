"""A model behind an OpenAI-compatible endpoint: nothing of it is on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from llmrec.backbones.chat import Accept, Chat, Limits, Reply, Wire, any_reply
from llmrec.core.config import construct_check
from llmrec.core.errors import ComponentError, RunError
from llmrec.core.files import cache_folder

LOCAL = ("localhost", "127.0.0.1", "::1")
OURS = ("model", "messages", "stream", "n")


class API:
    """Any OpenAI-compatible chat endpoint: a hosted model, vLLM, llama.cpp, transformers serve.

    Replies are kept on disk, so that a second run and a killed one pay nothing twice. The key is
    read from the environment, sent to the endpoint, and written nowhere.

    Args:
        base_url: of the endpoint, up to ``/v1``, without a key in it.
        model: name by which the endpoint knows the model.
        key_variable: environment variable that holds the key; null sends none.
        allow_upload: that prompts, which hold histories and texts of users, may leave this machine.
        concurrency: requests under way at once.
        timeout_seconds: longest silence of the endpoint before a request is tried again.
        retries: further tries after status 408, 409, 429, 5xx, a broken reply or a silence.
        seed: sent with each request; apart from the run's, so that all seeds share the replies.
        request_options: anything else of the request, by name; null takes a field out.
        input_price: of a million tokens read.
        output_price: of a million tokens written.
        budget: most that one process may spend on this row, in the currency of the prices.
        max_requests: most requests that one process may send for this row.
        cache_folder: where replies are kept; null: ``api`` below the cache of llmrec.
    """

    architecture: ClassVar[str] = "api"
    provides: ClassVar[frozenset[str]] = frozenset()
    checkpoint: ClassVar[None] = None

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        key_variable: str | None = None,
        allow_upload: bool = False,
        concurrency: int = 8,
        timeout_seconds: float = 60.0,
        retries: int = 5,
        seed: int = 0,
        request_options: Mapping[str, Any] | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
        budget: float | None = None,
        max_requests: int = 10_000,
        cache_folder: Path | None = None,
    ) -> None:
        self.base_url = base_url
        self.model = model
        self.key_variable = key_variable
        self.allow_upload = allow_upload
        self.concurrency = concurrency
        self.timeout_seconds = timeout_seconds
        self.retries = retries
        self.seed = seed
        self.request_options = request_options
        self.input_price = input_price
        self.output_price = output_price
        self.budget = budget
        self.max_requests = max_requests
        self.cache_folder = cache_folder
        construct_check(self)
        self._chat: Chat | None = None

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong; a secret in the wrong place is never repeated."""
        found = _address_problems(params)
        for key, least in (("concurrency", 1), ("retries", 0), ("max_requests", 1)):
            if params.get(key, least) < least:
                found.append((key, f"expected {least} or more, got {params[key]}"))
        if params.get("timeout_seconds", 1.0) <= 0:
            found.append(("timeout_seconds", "must be above 0"))
        prices = [params.get(key) for key in ("input_price", "output_price")]
        for key in ("input_price", "output_price", "budget"):
            if (params.get(key) or 0) < 0:
                found.append((key, "must not be negative"))
        if prices.count(None) == 1:
            found.append(("input_price", "give both prices, input_price and output_price"))
        if params.get("budget") is not None and None in prices:
            found.append(
                ("budget", "needs input_price and output_price, per million tokens, to be kept")
            )
        options = params.get("request_options") or {}
        found += [
            (f"request_options.{key}", "is set by llmrec; leave it out")
            for key in OURS
            if key in options
        ]
        unlimited = options.get("max_tokens", 1) is None and not options.get(
            "max_completion_tokens"
        )
        if params.get("budget") is not None and unlimited:
            found.append(
                (
                    "request_options.max_tokens",
                    "null lets a reply cost any amount, which no budget can bound; "
                    "give max_completion_tokens",
                )
            )
        return found

    @property
    def weights(self) -> str:
        """The model and where it is, as tables quote it."""
        return f"{self.model} at {urlsplit(self.base_url).netloc}"

    def load(self, *_: Any, **__: Any) -> Any:
        """Refuse: there are no weights to load.

        Raises:
            ComponentError: always.
        """
        raise ComponentError(
            "backbone=api has no weights on this machine; use it with model=hosted, and another "
            "backbone everywhere else"
        )

    def body(self, messages: Sequence[Mapping[str, str]], **fields: Any) -> dict[str, Any]:
        """Return one request: deterministic, as far as the endpoint is.

        Args:
            messages: of the conversation, role and content.
            fields: of this request, e.g. max_tokens.
        """
        body = {
            "model": self.model,
            "messages": [dict(message) for message in messages],
            "temperature": 0.0,
            "seed": self.seed,
            **fields,
            **(self.request_options or {}),
        }
        return {key: value for key, value in body.items() if value is not None}

    @property
    def chat(self) -> Chat:
        """The connection, made on first use.

        Raises:
            RunError: if the environment lacks the key.
        """
        if self._chat is None:
            folder = self.cache_folder or cache_folder() / "api"
            wire = Wire(
                base_url=self.base_url.rstrip("/"),
                key=self._key(),
                key_variable=self.key_variable,
                timeout=self.timeout_seconds,
                retries=self.retries,
                local=_is_local(self.base_url),
            )
            limits = Limits(self.input_price, self.output_price, self.budget, self.max_requests)
            self._chat = Chat(wire, limits, Path(folder), self.concurrency)
        return self._chat

    def complete(
        self, bodies: Sequence[Mapping[str, Any]], accept: Accept = any_reply
    ) -> list[Reply]:
        """Return one reply per request, in their order; equal requests are sent once.

        Args:
            bodies: the requests.
            accept: called with each reply as it comes; what it raises stops the rest.

        Raises:
            RunError: if the endpoint refuses, does not answer, or a limit would be passed.
        """
        return self.chat.complete(bodies, accept)

    def usage(self) -> dict[str, Any]:
        """Return requests, tokens and money so far; empty if nothing was asked yet."""
        return {} if self._chat is None else self._chat.usage()

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise RunError(
                f"the environment variable {self.key_variable}, which key_variable names, is not "
                "set; set it to the key of the endpoint, or key_variable=null for none"
            )
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise RunError(
                f"the environment variable {self.key_variable} holds a blank or a character that "
                "no key has; copy the key again"
            )
        return key


def _is_local(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host in LOCAL or host.startswith("127.")


def _address_problems(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    url, variable = params.get("base_url", ""), params.get("key_variable")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        return [("base_url", "is no web address, e.g. http://localhost:8000/v1")]
    if parts.username or parts.password or parts.query or parts.fragment:
        what = "holds a user, a password or parameters, which would be saved with the run; put the "
        found.append(("base_url", what + "key into an environment variable and name it in "
                      "key_variable"))  # fmt: skip
    elif not usable:
        found.append(("base_url", "expected an address such as http://localhost:8000/v1"))
    if variable is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable):
        found.append(
            (
                "key_variable",
                "names an environment variable in capitals, e.g. OPENAI_API_KEY; never put the "
                "key itself into a config",
            )
        )
    if found or _is_local(url):
        return found
    if not params.get("allow_upload", False):
        found.append(
            (
                "allow_upload",
                f"histories and texts of users would be sent to {parts.hostname}, "
                "another machine; set it to true if they may leave this one",
            )
        )
    if variable is not None and parts.scheme == "http":
        found.append(
            ("base_url", "would send the key unencrypted to another machine; use https://")
        )
    return found
