"""Learned weights of tasks, beside the paper's formula and torch's Gaussian."""

from __future__ import annotations

import math

import pytest
import torch

from llmrec.training.uncertainty import Uncertainty


def test_at_variance_one_the_likelihoods_are_added_as_they_are() -> None:
    made = Uncertainty({"main": 1.0, "stars": 0.5}, {"stars"})
    assert made.log_variances.tolist() == [0.0, 0.0]
    # ½ of the squared error, as in the paper.
    added = made("main", torch.tensor(2.0)) + made("stars", torch.tensor(3.0))
    assert added.item() == 2.0 + 1.5


def test_by_hand() -> None:
    made = Uncertainty({"main": 1.0, "stars": 1.0}, {"stars"})
    assert made.weights() == pytest.approx({"main": 1.0, "stars": 1.0})
    with torch.no_grad():
        made.log_variances.copy_(torch.tensor([math.log(4), math.log(9)]))
    assert made.weights() == pytest.approx({"main": 1 / 4, "stars": 1 / 18})
    main, stars = made("main", torch.tensor(2.0)), made("stars", torch.tensor(3.0))
    assert main.item() == pytest.approx(2 / 4 + math.log(2))
    assert stars.item() == pytest.approx(3 / 18 + math.log(3))
    (main + stars).backward()
    slopes = made.log_variances.grad
    assert slopes is not None
    assert slopes.tolist() == pytest.approx([-2 / 4 + 0.5, -3 / 18 + 0.5])


def test_a_squared_error_is_that_of_a_gaussian() -> None:
    errors = torch.tensor([0.3, -1.0, 2.0])
    made = Uncertainty({"stars": 0.2}, {"stars"})
    variance = 0.5 / 0.2
    ours = made("stars", errors.square().mean())
    gaussian = torch.distributions.Normal(0.0, math.sqrt(variance))
    theirs = -gaussian.log_prob(errors).mean() - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(ours, theirs)


def test_the_best_weights_are_those_of_the_losses() -> None:
    losses = {"main": torch.tensor(5.0), "stars": torch.tensor(0.8)}
    made = Uncertainty({"main": 1.0, "stars": 0.3}, {"stars"})
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        sum(made(label, loss) for label, loss in losses.items()).backward()
        optimizer.step()
    best = {label: 1 / (2 * float(loss)) for label, loss in losses.items()}
    assert made.weights() == pytest.approx(best, rel=1e-3)
