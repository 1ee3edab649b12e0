"""``llmrec recommend``: what a fitted recommender of a run says to one user."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llmrec.core.errors import RunError
from llmrec.core.types import Dataset, Queries, Ragged
from llmrec.experiment.context import item_titles
from llmrec.experiment.store import StoredRun, load_run
from llmrec.recommenders.base import recommend

SHOWN = 10


def recommend_text(
    folder: str | Path,
    *,
    user: str | None = None,
    items: str | None = None,
    k: int = 10,
    label: str | None = None,
) -> str:
    """Return what was liked before and the k best unseen items, with titles and scores.

    Args:
        folder: a run folder.
        user: external id of a user; everything the data knows of them is the history.
        items: external ids joined by commas: the history of a new user, oldest first.
        k: how many.
        label: which recommender, by default the first of the table.

    Raises:
        RunError: if the folder is no run, or the model was not kept.
        DataError: for an unknown user or item.
    """
    stored = load_run(folder)
    label = label or _best(stored)
    stored.result(label)
    dataset = stored.dataset()
    queries = _new_user(dataset, items) if items is not None else _known_user(dataset, str(user))
    model = stored.model(label)
    chosen, scores = recommend(model, queries, min(k, dataset.n_items))
    titles = item_titles(dataset)
    who = f"user {user}" if items is None else "a new user"
    lines = [f"{_history_title(queries, who)}"]
    lines += [f"  {line}" for line in _liked(queries, titles)]
    lines += ["", f'"{label}" recommends'] if np.any(chosen[0] >= 0) else ["", "nothing is left"]
    width = max([len(titles[item]) for item in chosen[0] if item >= 0], default=0)
    for place, (item, score) in enumerate(zip(chosen[0], scores[0], strict=True), start=1):
        if item >= 0:
            title = f"{titles[item]:<{width}}"
            lines.append(f"  {place:>3}  {title}  {score:9.4f}  (item {dataset.item_ids[item]})")
    return "\n".join(lines)


def _best(stored: StoredRun) -> str:
    return stored.comparison().results[0].label


def _known_user(dataset: Dataset, user: str) -> Queries:
    index = dataset.user_index(user)
    rows = dataset.rows_by_user.take(np.array([index]))
    log = dataset.interactions

    def column(values: np.ndarray | None) -> Ragged | None:
        return None if values is None else rows.with_values(values[rows.values])

    return Queries(
        np.array([index], np.int64),
        rows.with_values(log.item[rows.values]),
        column(log.rating),
        column(log.timestamp),
    )


def _new_user(dataset: Dataset, items: str) -> Queries:
    ids = [part.strip() for part in items.split(",") if part.strip()]
    if not ids:
        raise RunError("--items needs at least one item id, e.g. --items 50,181")
    return Queries.from_histories([[dataset.item_index(each) for each in ids]])


def _history_title(queries: Queries, who: str) -> str:
    n = int(queries.histories.lengths[0])
    if not n:
        return f"{who} has no history"
    best = "the best rated" if queries.ratings is not None else "the latest"
    return f"{who} has {n} items" + (f"; {best} {SHOWN}:" if n > SHOWN else ":")


def _liked(queries: Queries, titles: list[str]) -> list[str]:
    """Return the history with ratings: the best rated first, the later of equals first."""
    history = queries.histories[0]
    latest = np.arange(len(history))[::-1]
    if queries.ratings is None:
        return [titles[history[place]] for place in latest[:SHOWN]]
    ratings = queries.ratings[0]
    order = latest[np.argsort(-ratings[latest], kind="stable")]
    return [f"{ratings[place]:3g}  {titles[history[place]]}" for place in order[:SHOWN]]
