"""The sentence that answers the question: is a language model better, by how much, is it sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmrec.evaluation.comparison import Comparison
from llmrec.evaluation.result import ModelResult, full_label
from llmrec.reporting.text import (
    best_of,
    gain,
    higher_is_better,
    is_better,
    is_significant,
    main_versus,
    number,
    p_phrase,
    result_of,
    row_name,
)

Outcome = Literal[
    "better", "better_unsure", "equal", "worse_unsure", "worse", "untested",
    "no_language_model", "no_baseline",
]  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """The answer of a comparison.

    Attributes:
        outcome: which case it is; the ``_unsure`` ones are not significant at 5 % after Holm.
        headline: a few words.
        sentence: the full sentence, with numbers, interval and p-value.
    """

    outcome: Outcome
    headline: str
    sentence: str


def verdict(comparison: Comparison) -> Verdict:
    """Answer from the main metric, the reference and its paired test."""
    model, baseline = best_of(comparison, "language_model"), best_of(comparison, "baseline")
    if model is None:
        best = comparison.results[0]
        return Verdict(
            "no_language_model",
            "No language model was judged",
            "No language-model row is in this comparison, so it cannot say whether one is "
            f"better. The best row, {_reaches(comparison, best)}.",
        )
    if baseline is None or comparison.reference is None:
        return Verdict(
            "no_baseline",
            "No baseline to compare with",
            f"The best language-model row, {_reaches(comparison, model)}, but no baseline is in "
            "this comparison, so it cannot say whether that is good.",
        )
    outcome, headline, sentence = _against(comparison, model, baseline)
    extra = _ensemble(comparison, model) + _controls(comparison)
    return Verdict(outcome, headline, sentence + extra)


def _against(
    comparison: Comparison, model: ModelResult, baseline: ModelResult
) -> tuple[Outcome, str, str]:
    versus = main_versus(comparison, model.label)
    start = f"The best language-model row, {_reaches(comparison, model)}"
    base = number(baseline.overall[comparison.main_metric])
    other = f"the best baseline, {row_name(baseline)} ({base})"
    if versus is None:
        return (
            "untested",
            "Not tested",
            f"{start}; {other}. {comparison.main_metric} has no value per user, so there is no "
            "paired test of the difference.",
        )
    change, bounds = gain(comparison, versus)
    facts = f"{change} {bounds}"
    p = f"{p_phrase(versus.p_holm)} after Holm's correction"
    if versus.difference == 0:
        return "equal", "The language model equals the best baseline", f"{start}, just as {other}."
    up = higher_is_better(comparison, comparison.main_metric)
    lower, over = ("", "over") if up else (" (lower is better)", "against")
    if is_better(comparison, versus):
        if is_significant(versus):
            return (
                "better",
                "The language model is better",
                f"{start}, which is {facts}{lower} {over} {other} ({p}).",
            )
        return (
            "better_unsure",
            "The language model is ahead, but not significantly",
            f"{start}, which is {facts}{lower} {over} {other}, but the difference is not "
            f"significant ({p}): these users do not tell the two apart.",
        )
    if is_significant(versus):
        return (
            "worse",
            "The language model is worse",
            f"{start}, which is worse than {other}: {facts}{lower} ({p}).",
        )
    return (
        "worse_unsure",
        "The language model is not better",
        f"{start}, which is not better than {other}: {facts}{lower}, a difference that is not "
        f"significant ({p}).",
    )


def _reaches(comparison: Comparison, result: ModelResult) -> str:
    metric = full_label(comparison.main_metric, comparison.protocol)
    value = number(result.overall[comparison.main_metric])
    return f"{row_name(result)}, reaches {metric} = {value}"


def _controls(comparison: Comparison) -> str:
    """Return a sentence on what its text is worth to each row whose control was judged."""
    sentences = []
    for test in comparison.controls:
        change, bounds = gain(comparison, test.versus, test.control)
        mine, other = (
            number(result_of(comparison, label).overall[comparison.main_metric])
            for label in (test.model, test.control)
        )
        sentences.append(
            f" To {test.model} ({mine}) its text is worth {change} {bounds} over the control "
            f"{test.control} ({other}, {p_phrase(test.versus.p_holm)})."
        )
    return "".join(sentences)


def _ensemble(comparison: Comparison, model: ModelResult) -> str:
    """Return a sentence on the best ensemble where it beats the language model, else nothing."""
    ensemble = best_of(comparison, "ensemble")
    if ensemble is None or comparison.results.index(ensemble) > comparison.results.index(model):
        return ""
    versus = main_versus(comparison, ensemble.label)
    value = number(ensemble.overall[comparison.main_metric])
    if versus is None:
        return f" The best ensemble, {row_name(ensemble)}, reaches {value}."
    change, bounds = gain(comparison, versus)
    return (
        f" The best ensemble, {row_name(ensemble)}, reaches {value} ({change} {bounds} against "
        f"the same baseline, {p_phrase(versus.p_holm)})."
    )
