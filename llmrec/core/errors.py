"""Errors meant for people: what is wrong, where, what was allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class LlmrecError(Exception):
    """Base of every error llmrec raises on purpose; its message is one readable sentence."""


class DataError(LlmrecError):
    """A file, folder, table or split that cannot be used as it is."""


class RunError(LlmrecError):
    """A run that cannot start, go on, or be read back."""


class UnknownNameError(LlmrecError, LookupError):
    """A name that is not registered; the message lists close matches and what exists."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ComponentError(LlmrecError):
    """A registered component that is broken, duplicated, or does not fit another one."""


class MissingExtraError(LlmrecError, ImportError):
    """An optional dependency is absent; the message names the extra that brings it."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a config: where (dotted path) and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(LlmrecError):
    """A config with one or more problems, all reported at once.

    Attributes:
        problems: every problem found, in config order.
    """

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = [Problem("", problems)]
        self.problems = list(problems)
        lines = [str(problem) for problem in self.problems]
        if len(lines) == 1:
            super().__init__(lines[0])
        else:
            body = "\n".join(f"  - {line}" for line in lines)
            super().__init__(f"{len(lines)} problems in the config:\n{body}")


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ' (did you mean "x"?)' for a close match, else an empty string."""
    known = list(options)
    folded = {option.lower().replace("_", "-"): option for option in known}
    close = difflib.get_close_matches(name.lower().replace("_", "-"), folded, n=1, cutoff=0.6)
    return f' (did you mean "{folded[close[0]]}"?)' if close else ""


def unknown(what: str, name: str, options: Iterable[str]) -> str:
    """Return the sentence for a name outside `options`."""
    known = sorted(options)
    listed = ", ".join(known) if known else "nothing"
    return f'unknown {what} "{name}"{did_you_mean(name, known)}; allowed: {listed}'
