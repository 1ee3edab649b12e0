"""One request over HTTP: what can be tried again, what cannot, and how long to wait."""

from __future__ import annotations

import email.utils
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from typing import Any

from llmrec.core.errors import RunError

AGAIN = (408, 409, 429)
LONGEST_PAUSE = 60.0
LONGEST_ASKED = 300.0


class UnavailableError(Exception):
    """The endpoint may answer another time.

    Attributes:
        after: seconds that it asks to wait, None if it says nothing.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class SilentError(UnavailableError):
    """It took the request and did not answer in time."""


class BrokenError(UnavailableError):
    """It answered with something that is no reply."""


@dataclass(frozen=True)
class Wire:
    """How an endpoint is reached.

    Attributes:
        base_url: without a slash at its end.
        key: sent as bearer, None for none; it appears in no message.
        key_variable: where the key came from, for messages.
        timeout: longest silence in seconds.
        retries: further tries.
        local: on this machine, so that no proxy is asked.
    """

    base_url: str
    key: str | None
    key_variable: str | None
    timeout: float
    retries: int
    local: bool

    def __repr__(self) -> str:
        return f"Wire({self.base_url})"

    def pause(self, attempt: int, trouble: UnavailableError) -> float:
        """Return the seconds before try number `attempt` (from 1): doubled, jittered, or as asked.

        Raises:
            RunError: if the endpoint asks for minutes: a later run is better than a long sleep.
        """
        if trouble.after is not None:
            if trouble.after > LONGEST_ASKED:
                raise RunError(f"{trouble}, and asks to wait {trouble.after:.0f} s; run it later")
            return trouble.after
        longest = min(LONGEST_PAUSE, 2.0 ** (attempt - 1))
        # Jitter keeps workers from coming back all at once; it changes no number of a run.
        return longest * random.uniform(0.5, 1.0)

    def post(self, body: dict[str, Any]) -> Any:
        """Return the decoded answer to one request.

        Raises:
            UnavailableError: if it is worth another try.
            RunError: if it is not.
        """
        headers = {"Content-Type": "application/json", "User-Agent": "llmrec"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            f"{self.base_url}/chat/completions", json.dumps(body).encode(), headers
        )
        try:
            with _opener(self.local).open(request, timeout=self.timeout) as response:
                raw = response.read()
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        except (TimeoutError, http.client.HTTPException) as error:
            raise SilentError(self._no_answer(error)) from None
        except urllib.error.URLError as error:
            kind = SilentError if isinstance(error.reason, TimeoutError) else UnavailableError
            raise kind(self._no_answer(error.reason)) from None
        except OSError as error:
            raise SilentError(self._no_answer(error)) from None
        try:
            return json.loads(raw)
        except ValueError:
            said = f"{self.base_url} sent something that is no JSON: {self._excerpt(raw)}"
            raise BrokenError(said) from None

    def _no_answer(self, error: object) -> str:
        reason = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            reason = f"nothing came for {self.timeout:g} s"
        return f"no answer from {self.base_url}: {self._hidden(reason)}"

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """Return what an HTTP status means, as an error with the endpoint's own words."""
        try:
            raw = error.read()
        except (OSError, http.client.HTTPException):
            raw = b""
        said = f"{self.base_url} answered with status {error.code}: {self._excerpt(raw)}"
        if error.code in AGAIN or error.code >= 500:
            if b"insufficient_quota" in raw:
                return RunError(f"{said}; the account has no credit left")
            return UnavailableError(said, _asked_pause(error.headers.get("Retry-After")))
        if error.code in (401, 403):
            if self.key is None:
                return RunError(f"{said}; it asks for a key: name its variable in key_variable")
            return RunError(f"{said}; the key in {self.key_variable} is not accepted")
        if error.code == 404:
            return RunError(f"{said}; check model.backbone.base_url (up to /v1) and .model")
        if 300 <= error.code < 400:
            return RunError(f"{said}; it sends requests elsewhere, where no key must go: give the "
                            "final address as base_url")  # fmt: skip
        if b"logprobs" in raw:
            return RunError(
                f"{said}; without log-probabilities, set model.answer=number or model.mode=rank"
            )
        return RunError(
            f"{said}; a field that it does not know is taken out with "
            "model.backbone.request_options={FIELD: null}"
        )

    def _excerpt(self, raw: bytes, length: int = 300) -> str:
        text = " ".join(raw.decode("utf-8", "replace").split())
        try:
            error = json.loads(raw)["error"]
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError):
            pass
        # Hidden first: a cut could leave half of the key.
        text = self._hidden(text)
        return (text[: length - 1] + "…" if len(text) > length else text) or "no words"

    def _hidden(self, text: str) -> str:
        return text if self.key is None else text.replace(self.key, "***")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key and the prompt to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


@cache
def _opener(local: bool) -> urllib.request.OpenerDirector:
    """Return what opens requests; a local address is never asked for through a proxy."""
    handlers: list[Any] = [_NoRedirect]
    if local:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _asked_pause(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header: a number or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
