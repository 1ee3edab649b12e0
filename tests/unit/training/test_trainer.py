"""Training: reproducible, self-contained, keeps the best epoch, and says what is wrong."""

# ruff: noqa: NPY002  (the legacy generators are what is watched)
from __future__ import annotations

import dataclasses
import pickle
import random
import subprocess
import sys
from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from llmrec.core.config import build
from llmrec.core.errors import ConfigError, RunError
from llmrec.core.protocols import FitContext
from llmrec.core.types import Dataset
from llmrec.heads.next_item import NextItem
from llmrec.recommenders.assembly import assemble
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.fitting import training_batches
from llmrec.recommenders.validation import validated
from llmrec.training import trainer as training
from llmrec.training.arguments import check_trainer_arguments, trainer_arguments
from llmrec.training.trainer import TrainingOptions

NO_DROPOUT = {"backbone": {"dropout": 0.0, "attention_dropout": 0.0}}


def fitted(
    context: FitContext | None = None,
    *,
    validate: bool = True,
    seed: int = 1,
    train: Dataset | None = None,
    **options,
):
    split = lm_cases.split()
    spec = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01, **options}
    made = build("recommender", lm_cases.spec(**spec), seed=seed)
    valid = split.valid if validate else None
    return made.fit(train or split.train, valid, context or FitContext())


def many_users(n: int) -> Dataset:
    """Return so many users with three items each."""
    return lm_cases.dataset([[user % 7, (user + 1) % 7, (user + 2) % 7] for user in range(n)])


class Curve:
    def __init__(self) -> None:
        self.points: list[tuple[dict[str, float], int]] = []
        self.shares: list[float] = []
        self.context = FitContext(
            log=lambda values, step: self.points.append((dict(values), step)),
            progress=lambda share, text: self.shares.append(share),
        )

    def values(self, name: str) -> list[float]:
        return [values[name] for values, _ in self.points if name in values]


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_seed_decides_every_bit(name: str) -> None:
    queries = lm_cases.queries()
    first = fitted(name=name).score(queries)
    torch.manual_seed(99)  # whatever the caller did before
    np.random.seed(99)
    again = fitted(name=name).score(queries)
    other = fitted(name=name, seed=2).score(queries)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("adapter", "head", "prompt"),
    [("full", "next", "items"), ("lora", "yes_no", "text"), ("frozen", "rating", "text")],
)
def test_the_generators_of_the_caller_are_left_alone(
    adapter: str, head: str, prompt: str, tmp_path: Path
) -> None:
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    model = fitted(adapter=adapter, head=head, prompt=prompt, epochs=1)
    model.score(lm_cases.queries())
    model.save(tmp_path / "model")
    load_recommender(tmp_path / "model")
    assert random.getstate() == before[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[1], strict=True))
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    curve = Curve()
    # So high a rate spoils what the first epochs learned.
    model = fitted(curve.context, epochs=6, learning_rate=0.3, early_stopping_patience=None)
    values = curve.values("eval_ndcg@10")
    assert len(values) == 6
    best = int(np.argmax(values))
    details = model.info.details
    assert details["best_epoch"] == best + 1
    assert details["validation_ndcg@10"] == values[best]
    split = lm_cases.split()
    now = validated(model._model, *model.validation(split.train, split.valid), "ndcg@10", 256)
    assert now["ndcg@10"] == values[best]
    assert values[best] != values[-1]


def test_a_metric_that_falls_is_best_where_it_is_lowest() -> None:
    curve = Curve()
    model = fitted(
        curve.context, head="rating", epochs=4, learning_rate=0.5, early_stopping_patience=None
    )
    values = curve.values("eval_rmse")
    assert model.info.details["validation_rmse"] == min(values)
    split = lm_cases.split()
    now = validated(model._model, *model.validation(split.train, split.valid), "rmse", 256)
    assert now["rmse"] == pytest.approx(min(values), abs=1e-6)


def test_it_stops_early() -> None:
    curve = Curve()
    # Nothing can improve where nothing is learned.
    model = fitted(curve.context, epochs=9, learning_rate=1e-12, early_stopping_patience=2)
    assert model.info.details["epochs"] == 3
    assert model.info.details["best_epoch"] == 1
    assert len(curve.values("eval_ndcg@10")) == 3


def test_curve_and_progress_reach_the_context() -> None:
    curve = Curve()
    fitted(curve.context)
    assert len(curve.values("loss")) == 3
    steps = [step for values, step in curve.points if "loss" in values]
    assert steps == [3, 6, 9]
    assert curve.shares == pytest.approx([step / 9 for step in range(1, 10)])


def test_without_validation_all_epochs_count() -> None:
    model = fitted(validate=False)
    assert model.info.details["epochs"] == 3
    assert model.info.details["best_epoch"] == 3
    assert np.isnan(model.info.details["validation_ndcg@10"])


@pytest.mark.parametrize(("head", "prompt"), [("next", "items"), ("title", "text")])
def test_accumulated_batches_equal_one_big_batch(head: str, prompt: str) -> None:
    # Histories (and titles) of one length: the mean of the halves is the mean of all.
    train = lm_cases.dataset([[(u + s) % 7 for s in range(5)] for u in range(16)])
    queries = lm_cases.queries().take(slice(0, 4))

    def scores(batch_size: int, steps: int) -> tuple[np.ndarray, list[float]]:
        curve = Curve()
        model = lm_cases.model(
            head=head,
            prompt=prompt,
            parts=NO_DROPOUT,
            examples_per_user=1,
            batch_size=batch_size,
            gradient_accumulation_steps=steps,
            epochs=3,
            learning_rate=0.01,
        ).fit(train, None, curve.context)
        rows = queries.histories.with_values(queries.histories.values % 7)
        # The norm, not only the direction: Adam would hide a gradient twice as large.
        return model.score(type(queries)(queries.users, rows)), curve.values("grad_norm")

    whole, norms = scores(16, 1)
    accumulated, same_norms = scores(8, 2)
    np.testing.assert_allclose(accumulated, whole, rtol=1e-3, atol=1e-4)
    assert same_norms == pytest.approx(norms, rel=1e-3)
    assert not np.allclose(scores(8, 1)[0], whole, atol=1e-2)


@pytest.mark.parametrize(("broken_from", "seen_at"), [(0, 1), (5, 21), (30, 41)])
def test_a_loss_that_is_no_number_ends_the_training_long_before_the_epoch_does(
    monkeypatch: pytest.MonkeyPatch, broken_from: int, seen_at: int
) -> None:
    usual, steps = NextItem.loss, []

    def loss(self, states, targets, items):
        steps.append(len(steps))
        return usual(self, states, targets, items) * (np.nan if steps[-1] >= broken_from else 1.0)

    monkeypatch.setattr(NextItem, "loss", loss)
    curve = Curve()
    assert training.CHECK_EVERY == 20
    with pytest.raises(RunError, match=f"loss became nan by step {seen_at}; lower learning_rate"):
        fitted(curve.context, validate=False, epochs=1, batch_size=1, train=many_users(60))
    assert len(steps) == seen_at
    assert curve.points == []


def test_a_loss_that_is_no_number_for_a_moment_is_found_when_it_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual, steps = NextItem.loss, []

    def loss(self, states, targets, items):
        steps.append(len(steps))
        found = usual(self, states, targets, items)
        return found + float("inf") if steps[-1] == 1 else found

    monkeypatch.setattr(NextItem, "loss", loss)
    with pytest.raises(RunError, match="loss became inf by step 3"):
        fitted()


def test_unknown_trainer_arguments_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match='did you mean "dataloader_num_workers"') as caught:
        fitted(trainer_arguments={"dataloader_num_worker": 1, "nonsense": 2})
    assert len(caught.value.problems) == 2
    assert {problem.where for problem in caught.value.problems} == {"trainer_arguments"}
    # What the model has an option for is not set twice.
    assert check_trainer_arguments({"learning_rate": 1.0, "seed": 3, "group_by_length": True})
    assert check_trainer_arguments({"dataloader_num_workers": 2}) == []


def test_the_names_read_from_the_source_are_those_of_the_class() -> None:
    assert trainer_arguments() == {each.name for each in dataclasses.fields(TrainingArguments)}


def test_trainer_arguments_are_checked_without_torch() -> None:
    code = (
        "import sys, llmrec.recommenders.language_model as m\n"
        "found = m.check_trainer_arguments({'max_step': 5})\n"
        "assert 'did you mean \"max_steps\"' in found[0], found\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("steps", "epochs"), [(2, 0.667), (3, 1.0), (7, 2.333)])
def test_epochs_are_counted_where_max_steps_ends_the_training(steps: int, epochs: float) -> None:
    options = {"epochs": 4, "trainer_arguments": {"max_steps": steps}}
    details = fitted(validate=False, **options).info.details
    assert details["epochs"] == details["best_epoch"] == epochs  # of three steps each
    details = fitted(**options).info.details
    assert details["best_epoch"] <= details["epochs"] == epochs


def test_trainer_arguments_reach_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    given = captured_arguments(monkeypatch, trainer_arguments={"adam_beta2": 0.5})
    assert given["adam_beta2"] == 0.5


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_precision_reaches_the_trainer(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    given = captured_arguments(monkeypatch, precision=precision)
    assert (given["bf16"], given["fp16"]) == (precision == "bf16", precision == "fp16")


class SeenError(Exception):
    pass


def captured_arguments(monkeypatch: pytest.MonkeyPatch, **options) -> dict:
    caught: dict = {}

    def arguments(**given):
        caught.update(given)
        raise SeenError

    monkeypatch.setattr(training, "TrainingArguments", arguments)
    with pytest.raises(SeenError):
        fitted(**options)
    return caught


@pytest.mark.parametrize("prompt", ["items", "text"])
def test_nothing_to_train_on_is_a_sentence(prompt: str) -> None:
    lonely = lm_cases.dataset([[0], [1], [2]])
    with pytest.raises(RunError, match="nothing to train on: no user has two interactions"):
        lm_cases.model(prompt=prompt).fit(lonely)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("early_stopping_patience", 0),
        ("examples_per_user", 0),
        ("learning_rate", 0.0),
        ("warmup_share", 1.0),
    ],
)
def test_options_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        lm_cases.model(**{key: value})


def test_each_epoch_has_its_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    whole = training.train

    def watched(net, lengths, collate, *rest):
        def noted(numbers):
            seen.append(tuple(numbers))
            return collate(numbers)

        return whole(net, lengths, noted, *rest)

    monkeypatch.setattr("llmrec.recommenders.fitting.train", watched)
    fitted(epochs=2)
    assert sorted(sum(seen[:3], ())) == sorted(sum(seen[3:], ())) == list(range(12))
    assert seen[:3] != seen[3:]


def test_weight_decay_spares_biases_norms_and_item_tokens(tmp_path: Path) -> None:
    model = lm_cases.model("bert")
    split = lm_cases.split()
    net = assemble(model, split.train).net
    options = TrainingOptions(
        epochs=1,
        batch_size=4,
        learning_rate=0.1,
        weight_decay=0.5,
        warmup_share=0.0,
        schedule="linear",
        gradient_accumulation_steps=1,
        max_gradient_norm=1.0,
        early_stopping_patience=None,
        precision="fp32",
        metric="ndcg@10",
        higher_is_better=True,
        seed=0,
    )
    made = training._build_trainer(
        net, np.ones(4, int), lambda rows: {}, options, None, FitContext(), tmp_path
    )
    groups = made.create_optimizer().param_groups
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    free = {names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]}
    assert "tokens.weight" in free
    assert all("bias" in n or "Norm" in n or n.startswith("tokens.") for n in free)
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed
    assert not any("bias" in n or "LayerNorm" in n for n in decayed)


@pytest.mark.parametrize("key", ["fsdp", "deepspeed"])
def test_sharded_training_is_refused(key: str) -> None:
    (problem,) = check_trainer_arguments({key: "full_shard"})
    assert "not supported yet" in problem


@pytest.mark.parametrize("key", ["learning_rate", "data_seed", "eval_steps"])
def test_arguments_without_effect_are_refused(key: str) -> None:
    (problem,) = check_trainer_arguments({key: 3})
    assert "has no effect here" in problem


@pytest.mark.parametrize(
    ("head", "prompt"),
    [("next", "items"), ("rating", "items"), ("next", "text"), ("title", "text")],
)
def test_batches_survive_the_way_to_another_process(head: str, prompt: str) -> None:
    model = lm_cases.model("gpt2", head=head, prompt=prompt)
    model._model = assemble(model, lm_cases.split().train)
    lengths, collate = training_batches(model, model._model, lm_cases.split().train)
    numbers = list(range(min(3, len(lengths))))
    for name, tensor in pickle.loads(pickle.dumps(collate))(numbers).items():
        torch.testing.assert_close(tensor, collate(numbers)[name], equal_nan=True)
