"""Losses against formulas written another way: torch's, scikit-learn's, or a sum by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from llmrec.core.config import build, check
from llmrec.heads.losses import (
    balanced_weights,
    blocked_cross_entropy,
    bpr,
    coral,
    focal,
    gbce,
    gbce_power,
    sampled_softmax,
)
from llmrec.heads.next_item import NextItem

N, WIDTH, N_ITEMS = 7, 5, 23
STATISTICS = {"item_counts": np.arange(N_ITEMS)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def next_item(**options) -> NextItem:
    head = build("head", {"name": "classification", **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return head.build(WIDTH, N_ITEMS, False, STATISTICS)


@pytest.mark.parametrize("block_size", [1, 4, 23, 100])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("biased", [False, True])
def test_blocks_give_the_plain_loss_and_its_gradients(
    block_size: int, smoothing: float, biased: bool
) -> None:
    targets = torch.randint(N_ITEMS, (N,), generator=generator())
    upstream = some(N, seed=9)

    def run(blocked: bool) -> list[torch.Tensor]:
        states, weight, bias = some(N, WIDTH), some(N_ITEMS, WIDTH, seed=1), some(N_ITEMS, seed=2)
        leaves = [states, weight, *([bias] if biased else [])]
        for leaf in leaves:
            leaf.requires_grad_()
        given = bias if biased else None
        if blocked:
            losses = blocked_cross_entropy(states, weight, given, targets, block_size, smoothing)
        else:
            logits = functional.linear(states, weight, given)
            losses = functional.cross_entropy(
                logits, targets, reduction="none", label_smoothing=smoothing
            )
        (losses * upstream).sum().backward()
        return [losses.detach(), *(leaf.grad for leaf in leaves)]

    for mine, plain in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-6, rtol=1e-6)


def test_blocks_stand_large_logits() -> None:
    states, weight = 100 * some(N, WIDTH), 10 * some(N_ITEMS, WIDTH, seed=1)
    targets = torch.zeros(N, dtype=torch.long)
    mine = blocked_cross_entropy(states, weight, None, targets, 4)
    plain = functional.cross_entropy(states @ weight.T, targets, reduction="none")
    torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("extra", [{}, {"label_smoothing": 0.1}, {"item_bias": True}])
def test_the_head_may_work_in_blocks(extra: dict) -> None:
    states, targets = some(N, WIDTH), torch.arange(N)
    plain, blocked = next_item(**extra), next_item(block_size=6, **extra)
    blocked.load_state_dict(plain.state_dict())
    losses = [head.loss(states, targets, None) for head in (plain, blocked)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-6)


def test_a_sample_of_the_whole_catalogue_gives_the_full_softmax() -> None:
    logits, targets = some(N, N_ITEMS), torch.arange(N)
    drawn = torch.arange(N_ITEMS)
    positive, expected = logits[torch.arange(N), targets], torch.ones(N_ITEMS)
    mine = sampled_softmax(positive, logits, expected, drawn == targets[:, None])
    plain = functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(mine, plain)


@pytest.mark.parametrize("sampling", ["uniform", "popularity"])
def test_the_sampled_normalizer_is_right_on_average(sampling: str) -> None:
    head = next_item(loss="sampled_softmax", n_negatives=200_000, sampling=sampling)
    states, targets = some(N, WIDTH), torch.arange(N)
    torch.manual_seed(3)
    sampled = head.losses(states, targets, None)
    full = functional.cross_entropy(head.scores(states, None), targets, reduction="none")
    torch.testing.assert_close(sampled, full, atol=0.02, rtol=0.01)


def test_popular_items_are_drawn_by_their_counts_and_the_others_too() -> None:
    head = next_item(loss="sampled_softmax", sampling="popularity")
    torch.manual_seed(0)
    counts = torch.bincount(head.draw((500_000,)), minlength=N_ITEMS).numpy()
    expected = np.arange(1, N_ITEMS + 1) / np.arange(1, N_ITEMS + 1).sum()
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=2e-3)


def test_gbce_by_hand() -> None:
    # 11 items, 5 negatives: α = 1/2; t = 3/4: β = ½ (¾ (1 − 2) + 2) = 5/8.
    power = gbce_power(11, 5, 0.75)
    assert power == pytest.approx(0.625)
    assert gbce_power(11, 5, 0.0) == pytest.approx(1.0)
    assert gbce_power(11, 5, 1.0) == pytest.approx(0.5)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    scores = [0.3, -1.0, 2.0]
    by_hand = math.log(sigmoid(1.5) ** power) + sum(math.log(1 - sigmoid(s)) for s in scores)
    hits = torch.zeros(1, 3, dtype=torch.bool)
    mine = gbce(torch.tensor([1.5]), torch.tensor([scores]), hits, power)
    assert mine.item() == pytest.approx(-by_hand / 4)
    hits[0, 2] = True
    without = math.log(sigmoid(1.5) ** power) + sum(math.log(1 - sigmoid(s)) for s in scores[:2])
    mine = gbce(torch.tensor([1.5]), torch.tensor([scores]), hits, power)
    assert mine.item() == pytest.approx(-without / 3)


def test_calibrated_gbce_finds_the_probabilities_that_bce_overstates() -> None:
    # One context, target drawn from p; one uniform negative of three others. The optimum of the
    # positive term is the theorem of the paper: σ(s) = p with t = 1.
    truth = torch.tensor([0.6, 0.3, 0.1])
    found = {}
    for calibration in (0.0, 1.0):
        power = gbce_power(4, 1, calibration)
        scores = torch.zeros(3, requires_grad=True)
        optimizer = torch.optim.LBFGS([scores], max_iter=100)

        def closure(scores=scores, power=power, optimizer=optimizer):
            optimizer.zero_grad()
            # A negative is drawn among the other three items: each with probability 1/3.
            positive = power * functional.softplus(-scores)
            negative = functional.softplus(scores)
            loss = (truth * positive + (1 - truth) / 3 * negative).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        found[calibration] = torch.sigmoid(scores.detach())
    torch.testing.assert_close(found[1.0], truth, atol=1e-3, rtol=0)
    assert (found[0.0] > truth).all()


def test_bce_is_torchs_over_target_and_negatives() -> None:
    head = next_item(loss="bce", n_negatives=2)
    states, targets = some(1, WIDTH), torch.tensor([4])
    torch.manual_seed(8)
    loss = head.loss(states, targets, None)
    torch.manual_seed(8)
    drawn = head.draw((1, 2))
    assert 4 not in drawn.tolist()[0]
    scores = head.scores(states, None)[0, [4, *drawn[0].tolist()]]
    plain = functional.binary_cross_entropy(torch.sigmoid(scores), torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(loss, plain)


def test_bpr_by_hand() -> None:
    hits = torch.tensor([[False, False, True]])
    mine = bpr(torch.tensor([1.0]), torch.tensor([[0.0, 3.0, 9.0]]), hits).item()
    by_hand = -(math.log(1 / (1 + math.exp(-1))) + math.log(1 / (1 + math.exp(2)))) / 2
    assert mine == pytest.approx(by_hand)


def test_contrastive_is_a_softmax_of_cosines_over_the_targets_of_the_batch() -> None:
    head = next_item(loss="contrastive", temperature=0.5)
    states, targets = some(3, WIDTH), torch.tensor([2, 9, 2])
    cosines = functional.cosine_similarity(
        states[:, None], head.output.weight[torch.tensor([2, 9])][None], dim=-1
    )
    logs = torch.log_softmax(cosines / 0.5, 1)
    plain = [-logs[0, 0], -logs[1, 1], -logs[2, 0]]
    torch.testing.assert_close(head.loss(states, targets, None), torch.stack(plain).mean())
    best = functional.cosine_similarity(states[:, None], head.output.weight[None], dim=-1)
    torch.testing.assert_close(head.scores(states, None), best / 0.5)


def test_focal_takes_weight_off_the_easy() -> None:
    losses = torch.tensor([-math.log(0.9), -math.log(0.1)])
    expected = [0.1**2 * -math.log(0.9), 0.9**2 * -math.log(0.1)]
    torch.testing.assert_close(focal(losses, 2.0), torch.tensor(expected))
    torch.testing.assert_close(focal(losses, 0.0), losses)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.array([0, 0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(torch.tensor([4, 1, 2])), expected, rtol=1e-6)
    assert balanced_weights(torch.tensor([4, 0]))[1] == 0


def test_coral_by_hand() -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    mine = coral(torch.tensor([0.5]), torch.tensor([1.0, -1.0]), torch.tensor([1]))
    # Rank 1 of 0, 1, 2 is above the first threshold and not above the second.
    by_hand = -math.log(sigmoid(1.5)) - math.log(1 - sigmoid(-0.5))
    assert mine.item() == pytest.approx(by_hand)


LOSSES = ["cross_entropy", "sampled_softmax", "gbce", "bce", "bpr", "contrastive", "focal"]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss: str) -> None:
    head = next_item(loss=loss).double()
    head.probabilities = torch.full((N_ITEMS,), 1 / N_ITEMS, dtype=torch.float64)
    targets = torch.arange(3)

    def value(states: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return head.loss(states, targets, None)

    states = some(3, WIDTH).double().requires_grad_()
    assert torch.autograd.gradcheck(value, (states,))


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"loss": "bpr", "label_smoothing": 0.1}, "label_smoothing"),
        ({"loss": "cross_entropy", "n_negatives": 5}, "n_negatives"),
        ({"loss": "gbce", "temperature": 0.1}, "temperature"),
        ({"loss": "sampled_softmax", "block_size": 10}, "block_size"),
        ({"loss": "sampled_softmax", "calibration": 0.5}, "calibration"),
        ({"loss": "focal", "focusing": -1.0}, "focusing"),
        ({"loss": "gbce", "calibration": 1.5}, "calibration"),
        ({"loss": "contrastive", "temperature": 0.0}, "temperature"),
        ({"block_size": 0}, "block_size"),
        ({"target": "like", "loss": "gbce"}, "loss"),
        ({"target": "like", "item_bias": True}, "item_bias"),
        ({"class_weights": "balanced"}, "class_weights"),
        ({"item_weights": "text"}, "text_encoder"),
        ({"fields": ["title"]}, "fields"),
        ({"item_weights": "text", "text_encoder": {"name": "bert"}}, "text_encoder"),
    ],
)
def test_an_option_that_nothing_reads_is_an_error(spec: dict, key: str) -> None:
    problems = check("head", {"name": "classification", **spec})
    assert [problem.where for problem in problems] == [key]
