"""What a state may know: never what it should predict, never what comes later."""

from __future__ import annotations

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.config import build
from llmrec.prompts.item_tokens import ItemTokens
from llmrec.training import objectives
from llmrec.training.objectives import candidate_states, draw, query_states, training_states

N_ITEMS = 12


def parts(name: str):
    component = build("backbone", lm_cases.backbone(name))
    torch.manual_seed(0)
    model = component.load("sequence").eval()
    table = np.random.default_rng(0).standard_normal((N_ITEMS + 3, 16)).astype(np.float32)
    return component, model, ItemTokens(table, None)


def rows(*histories: list[int], width: int | None = None):
    width = width or max(map(len, histories))
    items = torch.full((len(histories), max(width, 1)), N_ITEMS)
    mask = torch.zeros(items.shape, dtype=torch.bool)
    for row, history in enumerate(histories):
        items[row, : len(history)] = torch.tensor(history, dtype=torch.long)
        mask[row, : len(history)] = True
    return items, mask


def training(component, model, tokens, items, mask):
    batch = {"items": items, "mask": mask, **draw(component, mask)}
    return training_states(component, model, tokens, batch)


class Spy:
    """Stands in for a backbone component and notes what the model is given."""

    def __init__(self, component):
        self.component = component
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.written: list[torch.Tensor] = []

    def __getattr__(self, name):
        return getattr(self.component, name)

    def encode(self, model, mask, **inputs):
        self.seen.append((mask, inputs["embeddings"]))
        return self.component.encode(model, mask, **inputs)

    def decode(self, model, encoded, embeddings):
        self.written.append(embeddings)
        return self.component.decode(model, encoded, embeddings)


def test_a_causal_state_does_not_change_with_later_items() -> None:
    component, model, tokens = parts("gpt2")
    first, mask = rows([1, 2, 3, 4, 5])
    other, _ = rows([1, 2, 3, 9, 8])
    with torch.no_grad():
        states, targets = training(component, model, tokens, first, mask)
        changed, _ = training(component, model, tokens, other, mask)
    assert targets.tolist() == [2, 3, 4, 5]
    torch.testing.assert_close(states[:3], changed[:3], rtol=0, atol=0)
    assert not torch.allclose(states[3], changed[3])


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_t5_reads_up_to_the_cut_and_writes_without_looking_ahead(cut: int) -> None:
    component, model, tokens = parts("t5")
    spy = Spy(component)
    history = [1, 2, 3, 4, 5]
    items, mask = rows(history)
    cuts = torch.tensor([[cut]])

    def states(items: torch.Tensor):
        with torch.no_grad():
            return objectives._decode_after(spy, model, tokens, items, mask, cuts, whole=False)

    before, targets, kept = states(items)
    assert targets[kept].tolist() == history[cut:]
    assert spy.seen[0][0].tolist() == [[place < cut for place in range(5)]]
    for later in range(cut, 5):
        changed = items.clone()
        changed[0, later] = 11
        after, _, _ = states(changed)
        place = later - cut  # the state that predicts this item, and those before, must not move
        torch.testing.assert_close(after[0, : place + 1], before[0, : place + 1], rtol=0, atol=0)
        assert later == 4 or not torch.allclose(after[0, place + 1 :], before[0, place + 1 :])


def test_t5_training_cuts_leave_something_to_read_and_to_write() -> None:
    component, model, tokens = parts("t5")
    spy = Spy(component)
    items, mask = rows([1, 2], [1, 2, 3, 4, 5, 6, 7, 8])
    lengths = mask.sum(1)
    for seed in range(10):
        torch.manual_seed(seed)
        with torch.no_grad():
            _, targets = training(spy, model, tokens, items, mask)
        read = spy.seen[-1][0].sum(1)
        assert (read >= 1).all()
        assert (read < lengths).all()
        assert len(targets) == int((lengths - read).sum())


def test_hidden_items_never_appear_in_the_input_of_a_cloze() -> None:
    component, model, tokens = parts("bert")
    items, mask = rows([1, 2, 3, 4, 5, 6], [7, 8], [9, 10, 11, 0])
    masked_last = 0
    for seed in range(20):
        spy = Spy(component)
        torch.manual_seed(seed)
        with torch.no_grad():
            states, targets = training(spy, model, tokens, items, mask)
        (_, embedded), *_ = spy.seen
        shown = torch.cdist(embedded, tokens.weight.detach().expand(3, -1, -1)).argmin(-1)
        hidden = (shown == tokens.mask) & mask
        assert hidden.any(1).all()  # every row teaches something
        assert targets.tolist() == items[hidden].tolist()
        assert states.shape == (len(targets), 16)
        assert torch.equal(shown[~hidden], items[~hidden])
        masked_last += int(hidden[0].tolist() == [False] * 5 + [True])
    assert 0 < masked_last < 20


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_an_empty_history_has_a_state_of_its_own(name: str) -> None:
    component, model, tokens = parts(name)
    items, mask = rows([], [1, 2, 3], [])
    with torch.no_grad():
        states = query_states(component, model, tokens, items, mask)
        alone = query_states(component, model, tokens, *rows([], width=1))
    assert torch.isfinite(states).all()
    torch.testing.assert_close(states[0], states[2])
    torch.testing.assert_close(states[0], alone[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(states[0], states[1])


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_query_does_not_depend_on_its_padding_and_sees_every_item(name: str) -> None:
    component, model, tokens = parts(name)
    history = [4, 5, 6]
    with torch.no_grad():
        exact = query_states(component, model, tokens, *rows(history))
        padded = query_states(component, model, tokens, *rows(history, [1] * 9))[:1]
        torch.testing.assert_close(exact, padded, rtol=1e-5, atol=1e-5)
        for place in range(3):
            other = [*history[:place], 9, *history[place + 1 :]]
            changed = query_states(component, model, tokens, *rows(other))
            assert not torch.allclose(exact, changed, atol=1e-4)


def test_the_state_of_a_causal_query_is_the_one_trained_to_predict_the_next() -> None:
    component, model, tokens = parts("gpt2")
    with torch.no_grad():
        states, _ = training(component, model, tokens, *rows([1, 2, 3, 4]))
        query = query_states(component, model, tokens, *rows([1, 2, 3]))
    torch.testing.assert_close(states[-1], query[0])


def test_the_state_of_a_bert_query_is_that_of_a_row_whose_last_item_is_hidden() -> None:
    component, model, tokens = parts("bert")
    items, mask = rows([1, 2, 3, 4])
    with torch.no_grad():
        query = query_states(component, model, tokens, *rows([1, 2, 3]))
        for seed in range(50):
            torch.manual_seed(seed)
            states, targets = training(component, model, tokens, items, mask)
            if targets.tolist() == [4]:
                torch.testing.assert_close(states[0], query[0])
                return
    pytest.fail("no draw of fifty hid the last item alone")


def test_long_histories_of_t5_are_read_and_the_last_ones_written() -> None:
    component, model, tokens = parts("t5")
    spy = Spy(component)
    n = objectives.DECODER_CONTEXT + 5
    history = [i % N_ITEMS for i in range(n)]
    with torch.no_grad():
        query_states(spy, model, tokens, *rows(history))
    assert spy.seen[0][0].sum() == 5
    assert spy.written[0].shape[1] == objectives.DECODER_CONTEXT + 1
    torch.testing.assert_close(spy.written[0][0, -1], tokens.weight[history[-1]])


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_candidate_is_judged_after_its_history_whatever_the_padding(name: str) -> None:
    component, model, tokens = parts(name)
    history = [4, 5, 6, 7]

    def judged(*all_rows: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return candidate_states(component, model, tokens, *rows(*all_rows), None)[0]

    exact = judged(history)
    torch.testing.assert_close(judged(history, [1] * 9), exact, rtol=1e-5, atol=1e-5)
    for place in range(4):  # the candidate is the last
        changed = judged([*history[:place], 9, *history[place + 1 :]])
        assert not torch.allclose(changed, exact, atol=1e-4)
    assert torch.isfinite(judged([3])).all()  # no history, only a candidate
