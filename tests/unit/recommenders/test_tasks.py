"""Several heads on one backbone: learned together, asked one at a time, stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch

from llmrec.core.config import build, check
from llmrec.core.protocols import FitContext
from llmrec.core.types import Dataset, Interactions
from llmrec.recommenders.assembly import assemble
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.fitting import training_batches, training_net
from llmrec.recommenders.tasks import JointCollator, joint_batches

RATED = {**lm_cases.PROMPTS["items"], "use_ratings": True}
RATING: dict[str, Any] = {"head": {"name": "regression"}, "weight": 0.5, "prompt": RATED}
LIKE: dict[str, Any] = {"head": {"name": "classification", "target": "like"}, "weight": 0.3}


def rated_cycles(n_users: int = 40) -> tuple[Dataset, Dataset]:
    """Everybody walks around a cycle of ten items and likes the even ones; train and last step."""
    user, step = (part.ravel() for part in np.indices((n_users, 6)))
    item = (user + step) % 10
    rating = np.where(item % 2 == 0, 5.0, 2.0).astype(np.float32)
    log = Interactions(user.astype(np.int32), item.astype(np.int32), rating)
    whole = Dataset("cycles", log, np.arange(n_users).astype(str), np.arange(10).astype(str))
    return whole.select(step < 5), whole.select(step == 5)


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_both_tasks_are_learned(name: str) -> None:
    train, valid = rated_cycles()
    options: dict[str, Any] = {
        "parts": {"prompt": {"scale": 0.3}},
        "epochs": 15,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "early_stopping_patience": None,
        "examples_per_user": None,
    }
    prompt = {**RATED, "scale": 0.3}
    tasks = {"stars": {**RATING, "prompt": prompt}}
    both = lm_cases.model(name, **options, auxiliary=tasks).fit(train, valid)
    stars = both.info.details["tasks"]["stars"]
    assert stars["weight"] == 0.5
    assert len(stars["losses"]) == len(stars["rmse"]) == 15
    untrained = float(np.std(valid.interactions.rating))
    assert min(stars["rmse"]) < 0.3 * untrained, "well below what the mean rating gives"
    assert stars["losses"][-1] < 0.1 * stars["losses"][0]
    alone = lm_cases.model(name, **options).fit(train, valid)
    one, two = (m.info.details["validation_ndcg@10"] for m in (alone, both))
    assert two > 0.8 * one > 0.5
    assert both.info.parameters > alone.info.parameters


def scores_of(**options: Any) -> np.ndarray:
    split = lm_cases.split()
    made = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, **options}
    return lm_cases.model(**made).fit(split.train, split.valid).score(lm_cases.queries())


@pytest.mark.parametrize(
    ("head", "prompt", "task"),
    [("next", "items", {**RATING, "prompt": None}), ("rating", "text", LIKE)],
)
def test_without_weight_the_numbers_are_those_of_one_head(
    head: str, prompt: str, task: dict[str, Any]
) -> None:
    alone = scores_of(head=head, prompt=prompt)
    idle = scores_of(head=head, prompt=prompt, auxiliary={"more": {**task, "weight": 0.0}})
    np.testing.assert_array_equal(idle, alone)
    busy = scores_of(head=head, prompt=prompt, auxiliary={"more": {**task, "weight": 1}})
    assert not np.array_equal(busy, alone)


CASES: dict[str, tuple[tuple[str, ...], dict[str, Any], tuple[str, str]]] = {
    "next+rating": (("gpt2", "full", "next", "items"), {"stars": RATING}, ("ranking", "rating")),
    "next+like": (("bert", "lora", "next", "items"), {"like": LIKE}, ("ranking", "preference")),
    "rating+like": (("gpt2", "full", "rating", "text"), {"like": LIKE}, ("rating", "preference")),
    "next+title": (
        ("t5", "full", "next", "text"),
        {"title": {"head": lm_cases.HEADS["title"]}},
        ("ranking", "generation"),
    ),
    "yes_no+rating": (
        ("bert", "full", "yes_no", "text"),
        {"stars": {"head": {"name": "regression", "averages": True}}},
        ("preference", "rating"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_head_can_be_asked_and_is_stored(case: str, tmp_path: Path) -> None:
    which, tasks, (first, second) = CASES[case]
    split, queries = lm_cases.split(), lm_cases.queries()
    model = lm_cases.model(*which, auxiliary=tasks).fit(split.train, split.valid)
    assert first in model.tasks
    scores = model.score(queries)
    model.answer_for(second)
    assert second in model.tasks
    others = model.score(queries)
    assert not np.array_equal(scores, others)
    model.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    assert second in loaded.tasks
    np.testing.assert_array_equal(loaded.score(queries), others)
    loaded.answer_for(first)
    np.testing.assert_array_equal(loaded.score(queries), scores)
    model.answer_for(first)  # how many items a beam search ranks is told of the head that answers
    assert loaded.info == model.info


def test_who_answers_does_not_change_what_is_learned() -> None:
    split = lm_cases.split()
    asked = []
    for answers in (None, "stars"):
        model = lm_cases.model(auxiliary={"stars": RATING}, answers=answers)
        model.fit(split.train, split.valid).answer_for("ranking")
        asked.append(model.score(lm_cases.queries()))
    np.testing.assert_array_equal(*asked)


def assembled(*which: str, **options: Any):
    owner = lm_cases.model(*which, **options)
    train = lm_cases.split().train
    owner._model = assemble(owner, train)
    lengths, main = training_batches(owner, owner._model, train)
    collate = joint_batches(
        owner, lengths, main, lambda view, model: training_batches(view, model, train)
    )
    return owner, training_net(owner, owner._model), collate


@pytest.mark.parametrize("prompt", ["items", "text"])
def test_heads_that_judge_the_same_candidates_share_a_pass(prompt: str, monkeypatch) -> None:
    no_dropout = {"backbone": {"dropout": 0.0, "attention_dropout": 0.0}}
    which = ("gpt2", "full", "rating", prompt)
    owner, net, collate = assembled(*which, parts=no_dropout, auxiliary={"like": LIKE})
    batch = collate(list(range(5)))
    passes = []
    for part in (net.main, net.net_of("like")):
        read = part.read
        monkeypatch.setattr(part, "read", lambda b, read=read: passes.append(1) or read(b))
    ours = float(net.train()(**batch)["loss"])
    assert len(passes) == 1
    # The same as two nets on their own batches.
    own = {k: v for k, v in batch.items() if k != "others"}
    other = owner._others["like"]._model.net
    apart = (
        float(net.main(**own)["loss"]),
        float(other(**{**own, **batch["others"]["like"]})["loss"]),
    )
    assert ours == pytest.approx(apart[0] + 0.3 * apart[1], abs=1e-6)
    likes = batch["others"]["like"]["targets"]
    assert torch.equal(likes, (batch["targets"] >= 4).float())
    losses = net.take_losses()
    assert losses == pytest.approx({"loss_main": apart[0], "loss_like": apart[1]}, abs=1e-6)
    assert net.take_losses() == {}


LEARNED: dict[str, Any] = {"task_weighting": "uncertainty"}


@pytest.mark.parametrize("which", [("rating", "text"), ("next", "items")])
def test_learned_weights_start_from_the_given_ones(which: tuple[str, str]) -> None:
    no_dropout = {"backbone": {"dropout": 0.0, "attention_dropout": 0.0}}
    tasks = {"like": LIKE} if which[0] == "rating" else {"stars": RATING}
    options: dict[str, Any] = {"parts": no_dropout, "auxiliary": tasks}
    _, fixed, collate = assembled("gpt2", "full", *which, **options)
    _, net, _ = assembled("gpt2", "full", *which, **options, **LEARNED)
    batch = collate(list(range(5)))
    s = net.uncertainty.log_variances
    # ½ of a mean squared error, and 1 of other losses, where the variance is 1.
    main, other = (0.5, 1 / 0.3) if which[0] == "rating" else (1.0, 0.5 / 0.5)
    assert s.tolist() == pytest.approx(np.log([main, other]), abs=1e-6)
    with torch.no_grad():
        weighed, plain = (float(n.eval()(**batch)["loss"]) for n in (net, fixed))
    assert weighed == pytest.approx(plain + float(s.sum()) / 2, abs=1e-5)
    with torch.no_grad():
        s.zero_()
    losses = net.take_losses()
    names = ("main", *tasks)
    factors = [0.5, 1.0] if which[0] == "rating" else [1.0, 0.5]
    expected = sum(f * losses[f"loss_{name}"] for f, name in zip(factors, names, strict=True))
    assert float(net(**batch)["loss"].detach()) == pytest.approx(expected, abs=1e-5)


def test_learned_weights_are_told_and_stored_with_the_run(tmp_path: Path) -> None:
    split, queries = lm_cases.split(), lm_cases.queries()
    options: dict[str, Any] = {
        "auxiliary": {"stars": RATING, "idle": {**LIKE, "weight": 0.0}},
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 0.02,
        **LEARNED,
    }
    model = lm_cases.model(**options).fit(split.train, split.valid)
    facts = model.info.details["tasks"]
    for label, start in (("main", 1.0), ("stars", 0.5)):
        weights, losses = facts[label]["weights"], facts[label]["losses"]
        assert facts[label]["weight"] == start
        assert len(weights) == len(losses) == 3
        best = 1 / (2 * np.mean(losses))
        assert abs(weights[-1] - best) < abs(start - best)
    assert "weights" not in facts["idle"]
    fixed = lm_cases.model(**{**options, "task_weighting": "fixed"}).fit(split.train, split.valid)
    assert fixed.info.parameters == model.info.parameters
    assert not np.array_equal(fixed.score(queries), model.score(queries))
    model.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    assert loaded.info == model.info
    np.testing.assert_array_equal(loaded.score(queries), model.score(queries))


def test_learned_weights_go_on_where_a_killed_training_stopped(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def kill(share: float, _: str) -> None:
        if share > 0.6:
            raise StopError

    split = lm_cases.split()
    options: dict[str, Any] = {"auxiliary": {"stars": RATING}, "epochs": 4, "batch_size": 4}
    made = [lm_cases.model(**options, **LEARNED) for _ in range(3)]
    whole = made[0].fit(split.train, split.valid)
    with pytest.raises(StopError):
        made[1].fit(split.train, split.valid, FitContext(folder=tmp_path, progress=kill))
    again = made[2].fit(split.train, split.valid, FitContext(folder=tmp_path, resume=True))
    assert again.info.details["tasks"] == whole.info.details["tasks"]
    queries = lm_cases.queries()
    np.testing.assert_array_equal(again.score(queries), whole.score(queries))


@pytest.mark.parametrize("regularizer", ["r_drop", "fgm"])
def test_learned_weights_go_with_regularizers_and_a_teacher(regularizer: str) -> None:
    split = lm_cases.split()
    model = lm_cases.model(
        auxiliary={"stars": RATING},
        regularizer={"name": regularizer},
        distillation={"name": "soft_scores", "teacher": {"name": "popularity"}},
        **LEARNED,
    ).fit(split.train, split.valid)
    for facts in model.info.details["tasks"].values():
        assert np.isfinite(facts["weights"]).all()


def test_a_regularizer_acts_on_all_tasks() -> None:
    options = {"auxiliary": {"stars": RATING}, "regularizer": {"name": "r_drop", "weight": 0.0}}
    _, plain, collate = assembled(**options)
    assert plain.regularizer is None
    _, net, collate = assembled(**{**options, "regularizer": {"name": "r_drop"}})
    drawn = net.train().drawn(collate(list(range(5))))
    kinds = [(w, p.kind) for w, p in net.outcome(drawn, predict=True).predictions]
    assert kinds == [(1.0, "choice"), (0.5, "number")]
    _, net, _ = assembled(**{**options, "regularizer": {"name": "r_drop"}}, **LEARNED)
    found = net.train().outcome(drawn, predict=True).predictions
    assert [float(w) for w, _ in found] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(("n", "m"), [(7, 7), (7, 20), (20, 7), (1, 5)])
def test_an_epoch_passes_over_all_examples_of_every_task(n: int, m: int) -> None:
    joint = JointCollator(
        lambda rows: {"rows": rows}, n, {"x": (lambda rows: {"rows": rows}, m)}, {}
    )
    order = np.random.default_rng(0).permutation(n)
    seen: list[int] = []
    for start in range(0, n, 3):
        batch = joint(order[start : start + 3].tolist())
        assert batch["others"]["x"]["rows"]
        seen += batch["others"]["x"]["rows"]
    assert set(seen) == set(range(m))
    assert len(seen) == m or m < n


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"answers": "stars"}, "answers", "no auxiliary task is called"),
        ({"auxiliary": {"a.b": LIKE}}, "auxiliary.a.b", "named by a word"),
        ({"auxiliary": {"like": {**LIKE, "weight": -1.0}}}, "auxiliary.like.weight", "at least 0"),
        (LEARNED, "task_weighting", "only the head's own is trained"),
        (
            {"auxiliary": {"like": {**LIKE, "weight": 0.0}}, **LEARNED},
            "task_weighting",
            "a weight above 0",
        ),
        ({"auxiliary": {"like": {"weight": 1.0}}}, "auxiliary.like.head", "needs a value"),
        ({"auxiliary": {"t": {"head": lm_cases.HEADS["title"]}}}, "auxiliary.t.head", "one token"),
        (
            {"auxiliary": {"t": {**LIKE, "prompt": lm_cases.PROMPTS["text"]}}},
            "auxiliary.t.prompt",
            "one kind of input",
        ),
        (
            {"auxiliary": {"t": {**RATING, "prompt": {**RATED, "scale": 0.5}}}},
            "auxiliary.t.prompt",
            "starts its item tokens otherwise",
        ),
    ],
)
def test_what_cannot_share_is_refused(changes: dict[str, Any], where: str, what: str) -> None:
    (problem,) = check("recommender", {**lm_cases.spec(), **changes})
    assert problem.where == where
    assert what in problem.what


def test_a_run_asks_the_head_that_serves_its_task() -> None:
    from llmrec.experiment.schema import serve

    model = build("recommender", lm_cases.spec(auxiliary={"stars": RATING}), seed=1)
    serve(model, "rating")
    assert model.answers == "stars"
    serve(model, "ranking")
    assert model.answers is None
    serve(model, "classes")
    assert model.tasks == {"ranking"}


def test_how_many_items_are_written_is_told_of_the_task_that_answers() -> None:
    title = {"head": lm_cases.HEADS["title"], "weight": 1.0}
    writes = lm_cases.model(head="title", prompt="text")
    assert writes.info.details["n_beams"] == 4
    assert "n_beams" not in lm_cases.model(head="yes_no", prompt="text").info.details
    queries = lm_cases.model(head="title", prompt="text", parts={"head": {"mode": "query"}})
    assert "n_beams" not in queries.info.details, "what queries find is ordered beyond it"
    both = lm_cases.model(prompt="text", auxiliary={"title": title})
    assert "n_beams" not in both.info.details
    both.answers = "title"
    assert both.info.details["n_beams"] == 4
