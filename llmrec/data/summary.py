"""What the data section of a paper needs: sizes, cores, distributions, time, texts, duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from llmrec.core.types import Dataset
from llmrec.data.filters import core_rows, filter_words
from llmrec.data.languages import languages
from llmrec.data.transforms import describe, gini

CORES = (2, 3, 5, 10, 20)
SHARES = (0.01, 0.1, 0.2)
LANGUAGES_SHOWN = 5
STRANGE = {"after_now": "Times in the future", "before_1990": "Times before 1990"}


def summary(dataset: Dataset, *, now: float | None = None) -> dict[str, Any]:
    """Return the figures of `describe` and more, in plain Python values.

    Beyond `describe`: ``history_length`` and ``popularity`` with quantiles, Gini coefficient and
    the share of the most active tenth (of users or items with an interaction), ``k_core`` sizes,
    ``texts`` by field with coverage, words and repetitions, ``languages`` of the texts of items
    and of what users write (`languages`), ``repeated_pairs``, and ``steps``: the filters and text
    steps that were applied before.

    Args:
        dataset: any.
        now: seconds since 1970 after which times are in the future; None: this moment.
    """
    log = dataset.interactions
    facts = describe(dataset, now=now)
    source = facts.pop("source")
    facts.pop("popularity_gini")
    facts["history_length"] = _distribution(dataset.rows_by_user.lengths)
    facts["popularity"] = _distribution(dataset.item_counts)
    facts["k_core"] = {
        f"{k}": size for k in CORES if (size := core_size(dataset, k))["interactions"]
    }
    pair = pl.Series(log.user.astype(np.int64) * dataset.n_items + log.item)
    facts["repeated_pairs"] = len(pair) - pair.n_unique()
    texts = {f"item.{name}": _texts(values) for name, values in dataset.item_fields.items()}
    texts |= {f"user.{name}": _texts(values) for name, values in dataset.user_fields.items()}
    if log.text is not None:
        texts["interaction"] = _texts(log.text)
    facts["texts"] = texts
    facts["languages"] = {"items": languages(dataset.item_texts())}
    if log.text is not None:
        facts["languages"]["interactions"] = languages(log.text.tolist())
    cleaned = [step["step"] for step in dataset.source.get("text", {}).get("steps", [])]
    facts["steps"] = {
        "filters": filter_words(dataset) or "none",
        "text": ", ".join(dict.fromkeys(cleaned)) or "none",
    }
    facts["source"] = source
    return facts


def core_size(dataset: Dataset, k: int) -> dict[str, int]:
    """Return how many users, items and interactions the k-core has.

    Example:
        >>> from llmrec.data.synthetic import Synthetic
        >>> core_size(Synthetic(n_users=50, n_items=40).load(), 5)["users"]
        50
    """
    rows = core_rows(dataset, k)
    log = dataset.interactions
    return {
        "users": len(np.unique(log.user[rows])),
        "items": len(np.unique(log.item[rows])),
        "interactions": int(np.count_nonzero(rows)),
    }


def _distribution(counts: np.ndarray) -> dict[str, float | int] | None:
    counts = np.sort(counts[counts > 0])
    if not len(counts):
        return None
    found: dict[str, float | int] = {
        "min": int(counts[0]),
        "median": float(np.median(counts)),
        "mean": float(counts.mean()),
        "max": int(counts[-1]),
        "gini": gini(counts),
    }
    for share in SHARES:
        top = counts[len(counts) - max(round(share * len(counts)), 1) :]
        found[f"share_of_top_{100 * share:g}%"] = float(top.sum() / counts.sum())
    return found


def _texts(values: np.ndarray) -> dict[str, float | int]:
    texts = pl.Series(values.tolist(), dtype=pl.String)
    texts = texts.filter(texts.str.strip_chars() != "")
    if not len(texts):
        return {"coverage": 0.0}
    words = texts.str.count_matches(r"\S+").to_numpy()
    return {
        "coverage": len(texts) / len(values),
        "words_median": float(np.median(words)),
        "words_95%": float(np.quantile(words, 0.95, method="nearest")),
        "words_max": int(words.max()),
        "repetitions": len(texts) - texts.n_unique(),
    }


def rows_of(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a summary as (what, figure) rows for a table, in the words of a paper."""
    rows = [
        ("Users", f"{facts['users']:,}"),
        ("Items", f"{facts['items']:,}"),
        ("Interactions", f"{facts['interactions']:,}"),
        ("Density", f"{100 * facts['density']:.3g} %"),
    ]
    for key, what in (("history_length", "per user"), ("popularity", "per item")):
        found = facts[key]
        if found is not None:
            figures = f"{found['median']:g} / {found['mean']:.1f} / {found['max']:,}"
            rows.append((f"Interactions {what} (median / mean / max)", figures))
            rows.append((f"Gini of interactions {what}", f"{found['gini']:.3f}"))
    for k, size in facts["k_core"].items():
        figures = f"{size['users']:,} / {size['items']:,} / {size['interactions']:,}"
        rows.append((f"{k}-core (users / items / interactions)", figures))
    if facts["ratings"] is not None:
        low, high = facts["ratings"]
        rows.append(("Ratings (range, mean)", f"{low:g} to {high:g}, {facts['mean_rating']:.2f}"))
    if facts["time"] is not None:
        rows.append(("Time", " to ".join(facts["time"])))
    for name, found in facts["strange_times"].items():
        rows.append((STRANGE[name], f"{found['interactions']:,}"))
    rows.append(("A user's item again (interactions)", f"{facts['repeated_pairs']:,}"))
    left_out = facts["source"].get("duplicates_left_out")
    if left_out is not None:
        rows.append(("Duplicates left out in loading", f"{left_out:,}"))
    for name, found in facts["texts"].items():
        what = "Texts of interactions" if name == "interaction" else f"Field {name}"
        figures = f"{100 * found['coverage']:.1f} %"
        if found["coverage"]:
            figures += (
                f", {found['words_median']:g} / {found['words_95%']:g} / {found['words_max']:,}"
                f", {found['repetitions']:,}"
            )
        rows.append((f"{what} (coverage, words median / 95 % / max, repetitions)", figures))
    for name, found in facts["languages"].items():
        if found["texts"]:
            rows.append((_of_texts(name, found), _shares(found)))
    for name, words in facts["steps"].items():
        if words != "none":
            rows.append((f"Applied: {name}", words))
    return rows


def _of_texts(name: str, found: Mapping[str, Any]) -> str:
    what = "Languages of items" if name == "items" else "Languages of what users write"
    sampled = 0 < found["judged"] < found["texts"]
    return f"{what} (sample of {found['judged']:,} texts)" if sampled else what


def _shares(found: Mapping[str, Any]) -> str:
    if "unknown" in found:
        return "not judged: llmrec[text] is not installed"
    shown = dict(list(found["shares"].items())[:LANGUAGES_SHOWN])
    rest = 1 - sum(shown.values())
    words = [f"{code} {100 * share:.1f} %" for code, share in shown.items()]
    return ", ".join(words + [f"others {100 * rest:.1f} %"] * (rest > 5e-4))
