"""Regularisers: the same losses as torch code written by hand, in every kind of model."""

from __future__ import annotations

import itertools
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmrec.core.config import build, check
from llmrec.heads.predictions import Prediction, disagreement
from llmrec.recommenders.assembly import assemble
from llmrec.recommenders.fitting import training_batches, training_net
from llmrec.training.adversarial import moving
from llmrec.training.training_net import TrainingNet

NO_DROPOUT = {"backbone": {"dropout": 0.0, "attention_dropout": 0.0}}
R_DROP = {"name": "r_drop", "weight": 0.7}
FGM = {"name": "fgm", "epsilon": 0.05, "weight": 0.5}
PGD = {"name": "pgd", "epsilon": 0.05, "n_steps": 3, "step_size": 0.03}


def parts(regularizer: dict[str, Any], *args: str, rows: int = 6, **options: Any):
    """Return the assembled model, what trains, and a batch."""
    owner = lm_cases.model(*args, **options)
    owner._regularizer = build("regularizer", regularizer)
    assembled = owner._model = assemble(owner, lm_cases.split().train)
    _, collate = training_batches(owner, assembled, lm_cases.split().train)
    net = TrainingNet(assembled.net, owner._regularizer).train()
    return assembled, net, collate(list(range(rows)))


def gradients(net: torch.nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    net.zero_grad()
    loss.backward()
    found = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    assert found
    return found


def assert_same_step(net: torch.nn.Module, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)
    for mine, other in zip(gradients(net, ours), gradients(net, theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def next_item_logits(assembled: Any, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the logits of a GPT-2 over item tokens, from transformers' own model."""
    weight, net = assembled.net.tokens.weight, assembled.net
    states = net.model(inputs_embeds=embedded).last_hidden_state
    return (states @ weight[: assembled.n_items].T)[mask[:, 1:]]


def test_r_drop_is_that_of_the_paper() -> None:
    assembled, net, batch = parts(R_DROP)
    items, mask = batch["items"], batch["mask"]
    targets = items[:, 1:][mask[:, 1:]]
    torch.manual_seed(3)
    ours = net(**batch)["loss"]
    torch.manual_seed(3)
    first, second = (
        next_item_logits(assembled, F.embedding(items[:, :-1], assembled.net.tokens.weight), mask)
        for _ in range(2)
    )
    cross = 0.5 * (F.cross_entropy(first, targets) + F.cross_entropy(second, targets))
    p, q = first.log_softmax(1), second.log_softmax(1)
    both = F.kl_div(p, q, reduction="sum", log_target=True)
    both = both + F.kl_div(q, p, reduction="sum", log_target=True)
    theirs = cross + 0.7 * both / 2 / len(targets)
    assert float(both) > 0
    assert_same_step(net, ours, theirs)


@pytest.mark.parametrize("spec", [FGM, PGD], ids=["fgm", "pgd"])
def test_attacks_on_item_tokens_are_those_of_the_papers(spec: dict[str, Any]) -> None:
    assembled, net, batch = parts(spec, parts=NO_DROPOUT)
    items, mask = batch["items"], batch["mask"]
    targets = items[:, 1:][mask[:, 1:]]
    embedded = F.embedding(items[:, :-1], assembled.net.tokens.weight)

    def loss(added: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(next_item_logits(assembled, embedded + added, mask), targets)

    epsilon, length = spec["epsilon"], spec.get("step_size", spec["epsilon"])
    delta = torch.zeros_like(embedded)
    for _ in range(spec.get("n_steps", 1)):
        delta = delta.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(delta), delta, retain_graph=True)
        for row in range(len(delta)):
            moved = delta[row].detach() + length * slope[row] / slope[row].norm()
            with torch.no_grad():
                delta[row] = moved * min(1.0, epsilon / float(moved.norm()))
    theirs = loss(torch.zeros_like(embedded)) + spec.get("weight", 1.0) * loss(delta.detach())
    assert_same_step(net, net(**batch)["loss"], theirs)


def test_an_attack_on_words_moves_their_embeddings() -> None:
    assembled, net, batch = parts(FGM, "bert", "full", "yes_no", "text", parts=NO_DROPOUT)
    model, mask = assembled.net.model, batch["mask"]
    words = model.get_input_embeddings()(batch["ids"])
    last = mask.sum(1) - 1

    def loss(added: torch.Tensor) -> torch.Tensor:
        logits = model(inputs_embeds=words + added, attention_mask=mask.long()).logits
        asked = logits[torch.arange(len(last)), last][:, assembled.net.answers]
        odds = asked[:, 0] - asked[:, 1]
        return F.binary_cross_entropy_with_logits(odds, batch["targets"])

    delta = torch.zeros_like(words, requires_grad=True)
    clean = loss(delta)
    (slope,) = torch.autograd.grad(clean, delta, retain_graph=True)
    norms = slope.flatten(1).norm(dim=1)[:, None, None]
    theirs = clean + 0.5 * loss(0.05 * slope / norms)
    assert_same_step(net, net(**batch)["loss"], theirs)


KINDS = [
    kind
    for kind in itertools.product(lm_cases.BACKBONES, lm_cases.HEADS, lm_cases.PROMPTS)
    if not check("recommender", lm_cases.spec(kind[0], "full", kind[1], kind[2]))
]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_every_kind_of_model_takes_every_regularizer(kind: tuple[str, str, str]) -> None:
    name, head, prompt = kind
    _, net, batch = parts(R_DROP, name, "full", head, prompt, parts=NO_DROPOUT)
    drawn = net.main.drawn(batch)
    plain = net.outcome(drawn).loss
    # Without dropout both passes are the same, and nothing is to be said against it.
    assert float(net.regularizer.loss(net, drawn)) == pytest.approx(float(plain), abs=1e-6)
    for other in ({"name": "fgm", "epsilon": 1e-3}, {"name": "pgd", "epsilon": 1e-3}):
        loss = build("regularizer", other).loss(net, drawn)
        assert float(loss) > 2 * float(plain), "a step uphill"
        assert float(loss) == pytest.approx(2 * float(plain), rel=0.05)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_t5_reads_and_writes_words_through_modules_of_their_own() -> None:
    _, net, batch = parts(FGM, "t5", "full", "title", "text")
    with moving(net.embedding_modules()) as calls:
        net.outcome(batch)
    assert [tuple(call.shape[:2]) for call in calls] == [batch["ids"].shape, batch["labels"].shape]


def test_an_attack_is_one_example_at_a_time() -> None:
    """So accumulated batches, and any batch size, take the same step."""
    train = lm_cases.dataset([[(u + s) % 7 for s in range(5)] for u in range(8)])
    owner = lm_cases.model(parts=NO_DROPOUT)
    assembled = owner._model = assemble(owner, train)
    _, collate = training_batches(owner, assembled, train)
    net = TrainingNet(assembled.net, build("regularizer", PGD)).train()
    whole = net(**collate(list(range(8))))["loss"]
    halves = [net(**collate(list(rows)))["loss"] for rows in (range(4), range(4, 8))]
    assert float(sum(halves) / 2) == pytest.approx(float(whole), abs=1e-6)


@pytest.mark.parametrize(
    "spec",
    [{**R_DROP, "weight": 0.0}, {**FGM, "epsilon": 0.0}, {**PGD, "weight": 0}],
    ids=["r_drop", "fgm", "pgd"],
)
def test_switched_off_is_bit_for_bit_none(spec: dict[str, Any]) -> None:
    _, net, batch = parts(spec)
    owner = lm_cases.model(regularizer=spec)
    owner._model = assemble(owner, lm_cases.split().train)
    assert training_net(owner, owner._model) is owner._model.net
    torch.manual_seed(5)
    with_it = owner._model.net.train()(**batch)["loss"]
    torch.manual_seed(5)
    assert float(with_it) == float(net.main(**batch)["loss"])


@pytest.mark.parametrize("spec", [R_DROP, FGM], ids=["r_drop", "fgm"])
def test_a_seed_decides_every_bit_of_a_regularized_training(spec: dict[str, Any]) -> None:
    split, queries = lm_cases.split(), lm_cases.queries()

    def scores(regularizer: dict[str, Any] | None) -> np.ndarray:
        made = lm_cases.model(
            regularizer=regularizer,
            epochs=2,
            batch_size=4,
            gradient_accumulation_steps=2,
            learning_rate=0.01,
        )
        return made.fit(split.train, split.valid).score(queries)

    first = scores(spec)
    np.testing.assert_array_equal(first, scores(spec))
    assert not np.array_equal(first, scores(None))


def test_disagreements_computed_by_hand() -> None:
    third, half = np.log(2.0), 0.0  # logits (log 2, 0): probabilities 2/3 and 1/3
    a = Prediction("choice", torch.tensor([[third, 0.0]]))
    b = Prediction("choice", torch.tensor([[half, 0.0]]))
    forth = 2 / 3 * np.log(4 / 3) + 1 / 3 * np.log(2 / 3)
    back = 0.5 * np.log(3 / 4) + 0.5 * np.log(3 / 2)
    expected = pytest.approx((forth + back) / 2, abs=1e-6)
    assert float(disagreement(a, b)) == expected
    odds = [Prediction("odds", torch.tensor([value], dtype=torch.float32)) for value in (third, 0)]
    assert float(disagreement(*odds)) == expected
    steps = [Prediction("odds", part.values[:, None].expand(1, 3)) for part in odds]
    assert float(disagreement(*steps)) == pytest.approx(3 * (forth + back) / 2, abs=1e-6)
    numbers = [Prediction("number", torch.tensor([value])) for value in (1.0, 3.0)]
    assert float(disagreement(*numbers)) == 4.0


@pytest.mark.parametrize(
    ("name", "adapter", "head", "prompt", "changes", "regularizer", "what"),
    [
        ("gpt2", "full", "next", "items", NO_DROPOUT, "r_drop", "drops nothing"),
        ("gpt2", "full", "next", "items", {"head": {"loss": "gbce"}}, "r_drop", "never makes"),
        ("gpt2", "full", "next", "items", {"head": {"block_size": 4}}, "r_drop", "never makes"),
        ("gpt2", "frozen", "rating", "text", {}, "fgm", "trains none of it"),
        ("bert", "frozen", "next", "text", {}, "r_drop", "trains none of it"),
        ("gpt2", "full", "next", "items", {}, {"name": "pgd", "n_steps": 0}, "at least 1"),
        ("gpt2", "full", "next", "items", {}, {"name": "fgm", "epsilon": -1.0}, "at least 0"),
    ],
)
def test_what_cannot_work_is_refused(
    name: str, adapter: str, head: str, prompt: str, changes: Any, regularizer: Any, what: str
) -> None:
    spec = {"name": regularizer} if isinstance(regularizer, str) else regularizer
    made = lm_cases.spec(name, adapter, head, prompt, parts=changes, regularizer=spec)
    (problem,) = check("recommender", made)
    assert problem.where.startswith("regularizer")
    assert what in problem.what
