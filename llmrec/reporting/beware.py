"""What to beware of in a comparison: what was lost, or means nothing, in some of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmrec.evaluation.comparison import Comparison

UNKNOWN_FROM = 0.1


def beware_lines(comparison: Comparison) -> list[str]:
    """Return a warning, without its full stop, for each thing that a reader has to know."""
    lines = []
    for result in comparison.results:
        for name, details in _models(result.label, result.info.details):
            lines += _cut(name, details)
            lines += _unknown(name, details)
            lines += _beyond(name, details, result.metrics)
    return lines


def _models(label: str, details: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a row and what it is made of (e.g. a ranker), with the details of each."""
    yield label, details
    for part, own in details.items():
        if isinstance(own, Mapping):
            yield from _models(f"{label} ({part.replace('_', ' ')})", own)


def _cut(name: str, details: Mapping[str, Any]) -> list[str]:
    cut, total = details.get("prompts_cut"), details.get("n_examples")
    if not cut or not total:
        return []
    lost = "the oldest of the history"
    if details.get("reads_review"):
        lost += ", or the end of the review,"
    return [
        f"{name} lost {lost} in {cut:,} of {total:,} training "
        "prompts, which are longer than model.prompt.max_length"
    ]


def _unknown(name: str, details: Mapping[str, Any]) -> list[str]:
    share = details.get("unknown_share")
    if share is None or share < UNKNOWN_FROM:
        return []
    return [
        f"{name} does not know {100 * share:.0f}% of the tokens of its training texts: it reads "
        "them as one unknown token, or not at all; take a checkpoint or word vectors of their "
        "language, or raise model.backbone.vocabulary_size of a tokenizer trained here"
    ]


def _beyond(name: str, details: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """Return a warning where more places are judged than items were written."""
    n_beams = details.get("n_beams")
    if n_beams is None:
        return []
    lengths = {metric: length_of(metric) for metric in metrics}
    longest = max(lengths.values(), default=0)
    beyond = [metric for metric, length in lengths.items() if length > n_beams]
    if not beyond:
        return []
    return [
        f"{name} writes {n_beams:,} items (n_beams), so that {', '.join(beyond)} also judge places "
        f"filled in an order that says nothing; raise model.head.n_beams to {longest:,} or more"
    ]


def length_of(metric: str) -> int:
    """Return the length of the list that a metric judges, 0 for one without.

    Example:
        >>> length_of("ndcg@10"), length_of("rmse")
        (10, 0)
    """
    length = metric.rpartition("@")[2]
    return int(length) if length.isdecimal() else 0
