"""Candidates that share a history: the scores of one whole prompt each, with less work."""

from __future__ import annotations

from functools import wraps
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.backbones.base import inner
from llmrec.core.types import Queries, Ragged
from llmrec.recommenders import scoring
from llmrec.recommenders.shared_history import PACKED_TOKENS, can_share, packs

N_ITEMS = len(lm_cases.TITLES)
SHORT = {"prompt": {"max_length": 32}}
READS_HISTORY = {
    "prompt": {"question": "After {{ history | length }} films, {{ candidate.title }}? Yes or No:"}
}
BLANK_END = {"prompt": {"template": "{% for i in history %}{{ i.title }}\n{% endfor %} "}}
LISTED = np.array([[0, 3, -1, 7, 8, 9, 2, 5], [4, -1, -1, 1, 6, 2, 0, 3]])


def fitted(head: str, parts: dict[str, Any] | None = None, name: str = "gpt2", **options: Any):
    # Large weights: a wrong position or mask changes the scores by more than the tolerance.
    parts = {**(parts or {})}
    parts["prompt"] = {"max_length": 120, **parts.get("prompt", {})}
    parts["backbone"] = {"initializer_range": 0.3, **parts.get("backbone", {})}
    model = lm_cases.model(name, "full", head, "text", parts=parts, **options)
    return model.fit(lm_cases.split().train)


def by_hand(model: Any, queries: Queries, items: np.ndarray) -> np.ndarray:
    """Score each pair alone, from its whole prompt, with transformers' model and plain torch."""
    assembled = model._model
    net, batches = assembled.net.eval(), assembled.batches
    causal = inner(net.model)
    scores = np.zeros(items.shape, np.float32)
    for row, column in zip(*np.nonzero(items >= 0), strict=True):
        one = queries.take(np.array([row]))
        asked = items[row : row + 1, column]
        tokens = batches.tokens(one.histories, one.ratings, asked)
        ids = torch.from_numpy(tokens.values)[None]
        with torch.inference_mode():
            if net.needs == "token_logits":
                logits = causal(input_ids=ids).logits[0, -1]
                answers = logits[net.answers]
                value = answers[0] - answers[1]
                if model.tasks == {"rating"}:
                    value = answers.softmax(0) @ torch.arange(1.0, 6.0)
            else:
                states = causal(input_ids=ids).last_hidden_state[0]
                pooling = net.backbone.pooling or "last"
                pooled = {
                    "last": states[-1],
                    "first": states[0],
                    "mean": states.mean(0),
                    "max": states.amax(0),
                }[pooling]
                value = net.head.scores(pooled[None])[0]
        scores[row, column] = float(value)
    return scores


def seen_tokens(model: Any, queries: Queries, items: np.ndarray | None) -> int:
    """Return how many places the decoder computed while scoring."""
    assert can_share(model._model.net)  # the proof also reads some tokens, once
    seen = []
    stack = inner(model._model.net.model).base_model
    hook = stack.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(output.last_hidden_state[..., 0].numel()),
        with_kwargs=True,
    )
    model.score(queries, items)
    hook.remove()
    return sum(seen)


@pytest.mark.parametrize(
    ("head", "parts"),
    [
        ("yes_no", None),
        ("yes_no", SHORT),
        ("yes_no", READS_HISTORY),
        ("yes_no", BLANK_END),
        ("rating_tokens", None),
        ("rating_tokens", SHORT),
        ("like", None),
        ("rating", {"backbone": {"pooling": "mean"}}),
        ("rating", {"backbone": {"pooling": "max"}}),
        ("rating", {"backbone": {"pooling": "first"}}),
    ],
)
def test_the_scores_are_those_of_whole_prompts(head: str, parts: dict[str, Any] | None) -> None:
    model = fitted(head, parts)
    queries = lm_cases.queries().take(slice(0, 3))
    everything = np.broadcast_to(np.arange(N_ITEMS), (len(queries), N_ITEMS))
    expected = by_hand(model, queries, everything)
    if model._backbone.pooling != "first":  # all begin with the same token
        assert len(np.unique(expected.round(4))) > 3  # otherwise equality would say little
    np.testing.assert_allclose(model.score(queries), expected, rtol=1e-4, atol=1e-5)
    some = model.score(queries.take(slice(0, 2)), LISTED)
    listed = LISTED >= 0
    wanted = by_hand(model, queries.take(slice(0, 2)), LISTED)
    np.testing.assert_allclose(some[listed], wanted[listed], rtol=1e-4, atol=1e-5)


def test_the_history_is_read_once() -> None:
    model = fitted("yes_no")
    query = lm_cases.queries().take(slice(0, 1))
    batches = model._model.batches
    whole = batches.tokens(
        query.histories.take(np.zeros(N_ITEMS, int)),
        query.ratings.take(np.zeros(N_ITEMS, int)),
        np.arange(N_ITEMS),
    )
    (group,) = batches.groups(query.histories, query.ratings, Ragged.from_rows([range(N_ITEMS)]))
    tails = sum(map(len, group.tails))
    assert len(group.head) > 20
    assert seen_tokens(model, query, None) == len(group.head) + tails
    assert whole.lengths.sum() == N_ITEMS * len(group.head) + tails


@pytest.mark.parametrize("head", ["yes_no", "rating_tokens", "rating"])
@pytest.mark.parametrize("parts", [None, SHORT])
def test_nothing_depends_on_the_batch_size(head: str, parts: dict[str, Any] | None) -> None:
    model = fitted(head, parts)
    queries = lm_cases.queries()
    whole = model.score(queries)
    for size in (1, 3, 7):
        scores = scoring.score(model._model, queries, None, size)
        np.testing.assert_allclose(scores, whole, rtol=1e-4, atol=1e-5)
    asked = LISTED[:, [0, 3, 5]]  # too few to share a history
    few = model.score(queries.take(slice(0, 2)), asked)
    expected = np.take_along_axis(whole[:2], asked, axis=1)
    np.testing.assert_allclose(few, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_ratings", [False, True])
@pytest.mark.parametrize("head", ["like", "rating"])
def test_item_tokens_share_a_history_too(head: str, use_ratings: bool) -> None:
    parts = {"prompt": {"max_length": 4, "use_ratings": use_ratings}}
    split = lm_cases.split()
    model = lm_cases.model("gpt2", "full", head, "items", parts=parts).fit(split.train)
    queries = lm_cases.queries()
    together = model.score(queries)
    alone = [model.score(queries, np.full((len(queries), 1), item)) for item in range(N_ITEMS)]
    np.testing.assert_allclose(together, np.concatenate(alone, 1), rtol=1e-4, atol=1e-5)
    read = seen_tokens(model, queries, None)
    assert read == np.minimum(queries.histories.lengths, 3).sum() + len(queries) * N_ITEMS
    strangers = Queries.from_histories([[], [1]])
    assert np.isfinite(model.score(strangers)).all()


@pytest.mark.filterwarnings("error:.*past_key_values")
def test_no_outdated_name_is_used(transformers_says: list[str]) -> None:
    model = fitted("yes_no")
    model.score(lm_cases.queries())
    assert model._model.net.proven_to_share
    assert not [said for said in transformers_says if "past_key_values" in said]


def test_models_that_read_in_both_directions_share_only_the_tokens() -> None:
    queries = lm_cases.queries().take(slice(0, 3))
    for name in ("bert", "t5"):
        model = fitted("like", name=name)
        assert not can_share(model._model.net)
        together = model.score(queries)
        alone = [model.score(queries, np.full((3, 1), item)) for item in range(N_ITEMS)]
        np.testing.assert_allclose(together, np.concatenate(alone, 1), rtol=1e-4, atol=1e-5)
    assert can_share(fitted("like")._model.net)


def test_virtual_tokens_and_sliding_windows_take_the_plain_path() -> None:
    net = fitted("like")._model.net
    peft = {"is_prompt_learning": True, "num_virtual_tokens": 3}
    net.model.active_peft_config = type("Config", (), peft)()
    assert not can_share(net)
    del net.model.active_peft_config
    assert can_share(net)
    net.model.config.sliding_window = 8
    assert not can_share(net)


def test_packs_hold_few_enough_rows_and_tokens() -> None:
    lengths = [5] * 300 + [2 * PACKED_TOKENS, 1]
    parts = list(packs(lengths, 50))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(302))
    for part in parts:
        rows = part.stop - part.start
        assert rows <= 50
        assert rows == 1 or sum(lengths[part]) <= PACKED_TOKENS


def test_a_decoder_that_places_tokens_in_its_own_way_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = fitted("like")
    net = model._model.net
    before = model.score(lm_cases.queries())
    net.proven_to_share = None
    whole = type(net.model).forward

    @wraps(whole)
    def stubborn(self, *args, position_ids=None, **kwargs):
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(type(net.model), "forward", stubborn)
    assert not can_share(net)
    np.testing.assert_allclose(model.score(lm_cases.queries()), before, rtol=1e-4, atol=1e-5)
