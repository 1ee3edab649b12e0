"""Many candidates over one history answer as each would alone, and none sees its own rating."""

from __future__ import annotations

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.types import Queries, Ragged
from llmrec.recommenders import scoring
from llmrec.training.packed import PackedCollator, chunks

RATED = {"prompt": {"use_ratings": True, "scale": 0.5}}


def fitted(name: str, history: str):
    model = lm_cases.model(name, head="rating", parts=RATED, training_history=history)
    return model.fit(lm_cases.split().train)


def batch_of(model, train) -> dict[str, torch.Tensor]:
    n = len(train.histories.values)
    asked, targets = np.ones(n, bool), np.arange(n, dtype=np.float32)
    pieces = chunks(train, model._model.batches.max_length)
    collate = PackedCollator(pieces, model._model.batches, targets, asked, None)
    return collate(range(len(pieces)))


@pytest.mark.parametrize("name", ["gpt2", "bert"])
@pytest.mark.parametrize("history", ["past", "others"])
def test_alone_or_among_others_and_without_a_look_at_the_answer(name: str, history: str) -> None:
    model, queries = fitted(name, history), lm_cases.queries()
    scores = model.score(queries)
    alone = model.score(queries, np.full((len(queries), 1), 3))
    np.testing.assert_allclose(alone[:, 0], scores[:, 3], atol=1e-5)

    net, train = model._model.net, lm_cases.split().train
    torch.nn.init.normal_(net.tokens.ratings, generator=torch.Generator().manual_seed(0))
    batch = batch_of(model, train)
    with torch.inference_mode():
        before = net.judged(batch, own=True)
        row, place = int(batch["mask"].sum(1).argmax()), 1
        other = {**batch, "ratings": batch["ratings"].clone()}
        other["ratings"][row, place] = 1.0 if other["ratings"][row, place] > 3 else 5.0
        after = net.judged(other, own=True)
    changed = np.flatnonzero((before - after).abs().amax(1).numpy() > 1e-6)
    length, begin = int(batch["mask"][row].sum()), int(batch["mask"][:row].sum())
    expected = [i for i in range(length) if (i > place if history == "past" else i != place)]
    assert expected
    assert (changed - begin).tolist() == expected


def test_a_decoder_gives_the_numbers_of_a_prompt_for_each_candidate() -> None:
    model, queries = fitted("gpt2", "past"), lm_cases.queries()
    items = np.tile(np.arange(10), (len(queries), 1))
    with torch.inference_mode():
        plain = scoring._judge(model._model, queries, items, 64)
    np.testing.assert_allclose(model.score(queries), plain, atol=1e-5)


def test_training_sees_what_a_query_is_shown() -> None:
    model, train = fitted("bert", "others"), lm_cases.split().train
    net, rows = model._model.net, train.rows_by_user
    with torch.inference_mode():
        batch = batch_of(model, train)
        states = net.judged(batch, own=True)
        learned = net.head.scores(states, **net.given(batch)).numpy()
    user = int(np.argmax(rows.lengths == 2))
    history, log = train.histories[user], train.interactions
    # The last of two interactions: its query holds the first alone, with the same positions.
    query = Queries(
        np.array([-1]),
        Ragged.from_rows([history[:1]]),
        Ragged.from_rows([log.rating[rows[user][:1]]], np.float32),
    )
    place = rows.offsets[user] + 1
    assert model.score(query)[0, history[1]] == pytest.approx(learned[place], abs=1e-5)


def test_pieces_cover_every_interaction_once() -> None:
    train = lm_cases.split().train
    pieces = chunks(train, 2)
    assert pieces.lengths.max() == 2
    places = pieces.places(np.arange(len(pieces)))
    assert sorted(places.values.tolist()) == list(range(len(train)))
