"""What the auditor reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scipy import special

Severity = Literal["error", "warning"]

# What is looked for, by code; the docs and the benchmark list the same.
CODES = {
    "same-interaction": "an interaction stands on two sides",
    "repeated-item": "a held-out item is in the user's own history",
    "train-after-held-out": "a user's known interactions are later than their held-out ones",
    "global-future": "known interactions of others are later than a held-out one",
    "item-from-future": "an item is known only from after the held-out interaction",
    "user-from-future": "a user is known only from after the held-out interaction",
    "identical-text": "a held-out text also stands among the known ones",
    "near-identical-text": "a held-out text is nearly the same as a known one",
    "ordered-ids": "item ids were numbered through the held-out items",
    "target-in-prompt": "a prompt names the item it asks for",
    "held-out-statistic": "a number was computed with held-out interactions",
}


@dataclass(frozen=True)
class Finding:
    """One leak that was found.

    Attributes:
        code: which, a key of `CODES`.
        severity: a run refuses errors; a warning is inherent to the protocol, or harmless unless
            a model reads what it is about.
        side: the held-out side, ``valid`` or ``test``; "" if it concerns neither alone.
        count: how many rows, texts, items or prompts.
        total: out of how many.
        message: one sentence: what, and what to do.
        examples: a few, in external ids.
    """

    code: str
    severity: Severity
    side: str
    count: int
    total: int
    message: str
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {**asdict(self), "examples": list(self.examples)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Finding:
        """Read what `as_dict` returned."""
        return cls(**{**values, "examples": tuple(values["examples"])})

    def __str__(self) -> str:
        where = f" ({self.side})" if self.side else ""
        share = f"{self.count:,} of {self.total:,}"
        return f"{self.severity} {self.code}{where}: {share}: {self.message}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return those that a run refuses."""
    return [finding for finding in findings if finding.severity == "error"]


def findings_text(findings: Sequence[Finding], *, examples: bool = True) -> str:
    """Return the findings as lines of text, errors first."""
    if not findings:
        return "no leak found"
    lines = []
    for finding in sorted(findings, key=lambda each: each.severity != "error"):
        lines.append(str(finding))
        if examples:
            lines += [f"    e.g. {example}" for example in finding.examples]
    n_errors = len(errors(findings))
    lines.append(f"{n_errors} errors, {len(findings) - n_errors} warnings")
    return "\n".join(lines)


def binomial_tail(hits: int, n: int, chance: float) -> float:
    """Return the probability of at least `hits` successes in n trials: an exact one-sided test.

    Example:
        >>> round(binomial_tail(2, 2, 0.5), 3), binomial_tail(0, 5, 0.1)
        (0.25, 1.0)
    """
    return float(special.betainc(hits, n - hits + 1, chance)) if hits else 1.0
