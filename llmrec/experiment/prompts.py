"""Text prompts of a run: checked before training, and shown as a model reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmrec.backbones.chat import likely_tokens
from llmrec.core.config import build
from llmrec.core.errors import DataError, UnknownNameError, unknown
from llmrec.core.types import Dataset, Queries, Ragged, Split, Targets
from llmrec.evaluation.candidates import sampled
from llmrec.experiment.compose import compose_config, config_folder, options_of_group
from llmrec.experiment.context import item_titles
from llmrec.experiment.datasets import load_dataset
from llmrec.experiment.schema import check_config, complete, recommenders
from llmrec.prompts.lint import lint
from llmrec.prompts.records import item_records
from llmrec.prompts.text import joined
from llmrec.recommenders.hosted import HostedLanguageModel

SHOWN_CANDIDATES = 9


def check_prompts(config: Mapping[str, Any], dataset: Dataset) -> None:
    """Check the text prompts of all recommenders of a run against its data.

    Raises:
        DataError: with every problem of every prompt.
    """
    problems = []
    records: dict[bool, list[dict[str, str]]] = {}
    for label, spec in prompted(config).items():
        prompt = build("prompt", spec["prompt"])
        if prompt.kind != "text":
            continue
        identified = spec.get("identifier") is not None
        if identified not in records:
            # Identifiers are made with the model: here something stands for them.
            stand_ins = ["item_0"] * dataset.n_items if identified else None
            records[identified] = item_records(dataset, stand_ins)
        asks = bool(getattr(build("recommender", spec), "asks_about_candidates", False))
        rated = dataset.interactions.rating is not None
        found = lint(prompt, records[identified], rated=rated, asks=asks)
        if prompt.reads_review and dataset.interactions.text is None:
            found.append(
                f"question: names the review, but {dataset.name} has no texts that users wrote; "
                "name their column (data.text=…)"
            )
        problems += [f"{label}: prompt {problem}" for problem in found]
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise DataError(f"{len(problems)} problems in the prompts:\n{lines}")


def prompted(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the specs of a run that have a prompt, those inside a two-stage one included."""
    found = {}
    for label, spec in recommenders(config).items():
        stages = {f"{label}.{key}": spec.get(key) for key in ("retriever", "ranker")}
        for name, each in {label: spec, **stages}.items():
            if isinstance(each, Mapping) and isinstance(each.get("prompt"), Mapping):
                found[name] = each
    return found


def prompt_text(
    name: str, user: str, overrides: Sequence[str] = (), *, candidate: str | None = None
) -> str:
    """Return what a model reads of one user: words, tokens, and what was cut.

    The history is that of the test: train and validation.

    Args:
        name: a config of the group model, or of model/prompt.
        user: external id.
        overrides: as for ``llmrec run``, e.g. another data set.
        candidate: external id of the item asked about, by default the user's held-out one.

    Raises:
        UnknownNameError: if there is no such config, or it has no prompt.
        DataError: for an unknown user or item, or a prompt that does not fit the data.
    """
    config = complete(composed_prompt(name, overrides))
    spec = prompted_spec(config["model"])
    model = build("recommender", spec)
    dataset = load_dataset(config)
    check_prompts(config, dataset)
    split: Split = build("split", config["split"]).split(dataset)
    known = split.train.union(split.valid)
    index = dataset.user_index(user)
    queries = _history(known, index)
    asked = None
    if isinstance(model, HostedLanguageModel):
        return _conversation(model, split, queries, user, candidate)
    if model.asks_about_candidates:
        asked = _candidate(split, index, user, candidate)
    elif candidate is not None:
        raise DataError(f"{name} asks about no candidate; leave out --item")
    prompt = model._prompt
    n = int(queries.histories.lengths[0])
    lines = [
        f"{name}, prompt {spec['prompt']['name']}, user {user} of {dataset.name} "
        f"({split.protocol}; history: train and validation, {n} items)"
    ]
    if asked is not None:
        lines.append(f"candidate: {item_titles(dataset)[asked]} (item {dataset.item_ids[asked]})")
    if prompt.kind == "text":
        review = None
        if asked is not None and prompt.reads_review:
            review = _review(split, index, asked, user)
        lines += _words_and_tokens(model, split.train, queries, asked, review)
    else:
        lines += _item_tokens(model, dataset, queries, asked)
    return "\n".join(lines)


def composed_prompt(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the config of a run with one language model that has the prompt.

    Raises:
        UnknownNameError: if no config has that name, or it has no prompt.
        ConfigError: for wrong overrides.
    """
    models = options_of_group(config_folder(), "model")
    prompts = options_of_group(config_folder(), "model/prompt")
    if name in models:
        chosen = [f"model={name}"]
    elif name in prompts:
        chosen = ["model=language_model", f"model/prompt={name}"]
    else:
        raise UnknownNameError(unknown("prompt", name, [*prompts, *models]))
    config = compose_config(["experiment=none", *chosen, *overrides])
    check_config(config)
    if not isinstance(prompted_spec(config["model"]).get("prompt"), Mapping):
        raise UnknownNameError(f"{name} has no prompt: it is no language model")
    return config


def prompted_spec(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the spec whose prompt is meant: of a two-stage recommender, that of its ranker."""
    ranker = model.get("ranker")
    return ranker if isinstance(ranker, Mapping) and "prompt" not in model else model


def _conversation(
    model: HostedLanguageModel, split: Split, queries: Queries, user: str, chosen: str | None
) -> str:
    """Return the messages that an endpoint would get; nothing is sent."""
    dataset = split.test
    candidates = (
        [] if model.mode == "generate" else [_candidate(split, int(queries.users[0]), user, chosen)]
    )
    if model.mode == "rank":
        targets = Targets(Ragged.from_rows([candidates], np.int64))
        drawn = sampled(queries, targets, dataset.n_items, n=SHOWN_CANDIDATES).candidates
        assert drawn is not None
        candidates = drawn[0].tolist()
    model.fit(split.train)
    (body,) = model.requests(queries, np.array([candidates], np.int64))
    fields = {key: value for key, value in body.items() if key != "messages"}
    lines = [
        f"{model.info.weights}, mode {model.mode}, user {user} of {dataset.name} "
        f"({split.protocol}; history: train and validation); nothing was sent",
        f"about {likely_tokens(body):,} tokens; {json.dumps(fields)}",
    ]
    for message in body["messages"]:
        lines += ["", f"{message['role']}:", message["content"]]
    return "\n".join(lines)


def _history(known: Dataset, user: int) -> Queries:
    rows = known.rows_by_user.take(np.array([user]))
    log = known.interactions
    ratings = None if log.rating is None else rows.with_values(log.rating[rows.values])
    items = rows.with_values(log.item[rows.values])
    return Queries(np.array([user], np.int64), items, ratings)


def _candidate(split: Split, user: int, name: str, chosen: str | None) -> int:
    if chosen is not None:
        return split.test.item_index(chosen)
    held = split.test.histories[user]
    if not len(held):
        raise DataError(f"user {name} has no held-out item in the test; name one with --item")
    return int(held[0])


def _review(split: Split, user: int, item: int, name: str) -> str:
    """Return what a user wrote of a held-out item.

    Raises:
        DataError: if nothing is held out of that item.
    """
    log = split.test.interactions
    rows = split.test.rows_by_user[user]
    rows = rows[log.item[rows] == item]
    if not len(rows) or log.text is None:
        raise DataError(
            f"this prompt reads the review, and the test holds none by user {name} of item "
            f"{split.test.item_ids[item]}; leave out --item"
        )
    return str(log.text[rows[0]] or "")


def _words_and_tokens(
    model: Any, train: Dataset, queries: Queries, asked: int | None, review: str | None
) -> list[str]:
    from llmrec.recommenders.assembly import tokenizer_of
    from llmrec.recommenders.identifiers import records_of
    from llmrec.training.batches import TextBatches

    prompt, backbone = model._prompt, model._backbone
    records = records_of(model, train)
    candidates = None if asked is None else np.array([asked])
    if candidates is not None and model.lists_candidates:  # and the first others
        size = min(model._head.list_size, len(records))
        others = [item for item in range(size) if item != asked][: size - 1]
        candidates = np.sort([*others, asked])[None]
    reviews = None if review is None else [review]
    text = joined(
        *prompt.parts(records, queries.histories, queries.ratings, candidates, reviews)[0]
    )
    tokenizer = tokenizer_of(model, train, records)
    prefix, suffix = frame = backbone.frame(tokenizer, model._head.needs("text"))
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    batches = TextBatches(prompt, tokenizer, records, frame)
    rows, (n_cut,) = batches.tokens_and_cuts(
        queries.histories, queries.ratings, candidates, reviews
    )
    read = rows[0].tolist()
    shown = min(int(queries.histories.lengths[0]), prompt.history_length)
    left_out = int(queries.histories.lengths[0]) - shown
    return [
        f"items shown: the latest {shown}, {left_out} older ones left out "
        f"(history_length={prompt.history_length})",
        f"tokens: {len(read)} of at most {prompt.max_length}, {len(prefix) + len(suffix)} of them "
        "added by the backbone",
        _cut(tokenizer, whole, n_cut, review is not None),
        "",
        "rendered:",
        text,
        "",
        "read by the model:",
        tokenizer.decode(read),
    ]


def _cut(tokenizer: Any, tokens: list[int], n: int, reviewed: bool) -> str:
    if reviewed and n:
        return f"cut: {n} tokens, of the history first, then of the review's end"
    return (
        f'cut from the front: {n} tokens, "{tokenizer.decode(tokens[:n])}"'
        if n
        else ("cut from the front: nothing")
    )


def _item_tokens(model: Any, dataset: Dataset, queries: Queries, asked: int | None) -> list[str]:
    prompt = model._prompt
    room = prompt.max_length - (asked is not None)
    shown = queries.histories.tail(room)[0]
    titles = item_titles(dataset)
    ratings = queries.ratings.tail(room)[0] if queries.ratings is not None else None
    left_out = int(queries.histories.lengths[0]) - len(shown)
    each = "one per item" if prompt.kind == "items" else "as the tokens of their identifiers"
    lines = [
        f"tokens: {len(shown) + (asked is not None)} of at most {prompt.max_length}, {each}",
        f"cut from the front: {left_out} older items",
        "",
        "read by the model, oldest first:",
    ]
    for place, item in enumerate(shown):
        rating = f"  rated {ratings[place]:g}" if prompt.use_ratings and ratings is not None else ""
        lines.append(f"  item {dataset.item_ids[item]}  {titles[item]}{rating}")
    if asked is not None:
        lines.append(f"  item {dataset.item_ids[asked]}  {titles[asked]}  (candidate)")
    return lines
