"""Teachers: what they are asked, what a student learns of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmrec.core.config import build, check
from llmrec.core.errors import RunError
from llmrec.core.files import write_json
from llmrec.core.protocols import NO_CONTEXT
from llmrec.core.types import Queries
from llmrec.recommenders.assembly import assemble
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.fitting import judged_examples, training_batches, training_net
from llmrec.recommenders.teachers import before, teach

NO_DROPOUT = {"backbone": {"dropout": 0.0, "attention_dropout": 0.0}}
KNN = {"name": "markov_knn"}
SOFT: dict[str, Any] = {"name": "soft_scores", "teacher": KNN, "temperature": 2.0, "weight": 0.4}
STATES: dict[str, Any] = {"name": "hidden_states", "teacher": lm_cases.spec("gpt2"), "weight": 0.3}


def parts(distillation: dict[str, Any], *args: str, **options: Any):
    """Return the student, what trains, and a batch of it."""
    train = lm_cases.split().train
    owner = lm_cases.model(*args, parts=NO_DROPOUT, distillation=distillation, **options)
    owner._model = assemble(owner, train)
    _, collate = training_batches(owner, owner._model, train)
    sides = (train, lm_cases.split().valid, NO_CONTEXT)
    teacher, facts, placed = teach(
        owner, owner._model, collate, lambda: judged_examples(owner, train), *sides
    )
    net = training_net(owner, owner._model, teacher).train()
    return owner, net, placed(list(range(6))), facts


@pytest.mark.parametrize("top_k", [None, 4])
def test_soft_scores_are_those_of_the_paper(top_k: int | None) -> None:
    owner, net, batch, facts = parts({**SOFT, "top_k": top_k})
    ours = net(**batch)["loss"]
    items, mask, tokens = batch["items"], batch["mask"], net.main.tokens
    states = net.main.model(inputs_embeds=F.embedding(items[:, :-1], tokens.weight))
    logits = states.last_hidden_state @ tokens.weight[: owner._model.n_items].T
    teacher = build("recommender", KNN).fit(lm_cases.split().train)
    hard, soft = [], []
    for row, line in enumerate(items.tolist()):
        for place in range(1, int(mask[row].sum())):
            student = logits[row, place - 1]
            hard.append(F.cross_entropy(student, items[row, place]))
            history = line[:place]  # what came before, and no more
            scores = teacher.score(Queries.from_histories([history]))[0].astype(np.float64)
            unseen = np.setdiff1d(np.arange(len(scores)), history)
            z = np.full(len(scores), -np.inf)
            z[unseen] = (scores[unseen] - scores[unseen].mean()) / (scores[unseen].std() or 1)
            if top_k is not None:
                z[np.argsort(-z, kind="stable")[top_k:]] = -np.inf
                assert np.isfinite(z).sum() == min(top_k, len(unseen))
            p = torch.from_numpy(z / 2.0).softmax(0).float()
            soft.append(F.kl_div((student / 2.0).log_softmax(0), p, reduction="sum") * 4.0)
    theirs = 0.6 * torch.stack(hard).mean() + 0.4 * torch.stack(soft).mean()
    tied = top_k is not None  # equal scores at the edge of the list are broken by a hash
    assert float(ours) == pytest.approx(float(theirs), abs=0.05 if tied else 1e-5)
    assert facts["n_asked"] == sum(lm_cases.split().train.histories.lengths - 1)
    assert facts["fit_seconds"] > 0
    assert facts["table_bytes"] > 0


def test_states_are_learned_through_a_projection() -> None:
    owner, net, batch, _ = parts(STATES)
    torch.manual_seed(0)
    ours = float(net(**batch)["loss"])
    states, targets = net.main.read(batch)
    items = owner._model.net.item_weights
    hard = F.cross_entropy(states @ items.T, targets)
    places = batch["places"][:, 1:][batch["mask"][:, 1:]]
    table = net.teacher.states[net.teacher.row_of[places]]
    theirs = hard + 0.3 * F.mse_loss(net.teacher.projection(states), table)
    assert ours == pytest.approx(float(theirs), abs=1e-6)
    assert float(net.teacher.states.std(correction=0)) == pytest.approx(1.0, abs=1e-3)


def test_odds_and_numbers_are_taught_too() -> None:
    like = {**SOFT, "teacher": {"name": "bias", "task": "preference"}}
    _, net, batch, _ = parts(like, "gpt2", "full", "yes_no", "text")
    states, targets = net.main.read(batch)
    odds = states[:, 0] - states[:, 1]
    teacher = net.teacher.scores[net.teacher.row_of[batch["places"]]]
    p, q = torch.sigmoid(teacher / 2), torch.sigmoid(odds / 2)
    soft = F.binary_cross_entropy(q, p) - F.binary_cross_entropy(p, p)
    theirs = 0.6 * F.binary_cross_entropy_with_logits(odds, targets) + 0.4 * 4.0 * soft
    assert float(net(**batch)["loss"]) == pytest.approx(float(theirs), abs=1e-5)

    _, net, batch, _ = parts({**SOFT, "teacher": {"name": "bias"}}, "bert", "full", "rating")
    states, targets = net.main.read(batch)
    head = net.main.head
    said = head.predict(states, **net.main.given(batch)) / head.spread
    teacher = net.teacher.scores[net.teacher.row_of[batch["places"]]] / head.spread
    theirs = 0.6 * F.mse_loss(said, targets / head.spread) + 0.4 * F.mse_loss(said, teacher)
    assert float(net(**batch)["loss"]) == pytest.approx(float(theirs), abs=1e-5)


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_only_what_came_before_is_asked(name: str) -> None:
    """And each state is taught about the item that it predicts."""
    _, net, batch, _ = parts({**SOFT, "teacher": KNN}, name)
    train = lm_cases.split().train
    drawn = net.drawn(batch)
    kept, rows = net.teacher.rows(net.main, drawn)
    _, targets = net.main.read(drawn)
    place_of_row = {int(row): place for place, row in enumerate(net.teacher.row_of) if row >= 0}
    places = np.array([place_of_row[int(row)] for row in rows])
    assert train.histories.values[places].tolist() == targets[kept].tolist()
    queries = before(train, places, around=False)
    for query, place in zip(queries.histories, places, strict=True):
        begin = train.histories.offsets[train.histories.row_of[place]]
        assert query.tolist() == train.histories.values[begin:place].tolist()
    assert (queries.users == -1).all()


def test_a_student_comes_nearer_to_its_teacher() -> None:
    split, queries = lm_cases.split(), lm_cases.queries()
    teacher = build("recommender", KNN).fit(split.train)
    wanted = torch.from_numpy(teacher.score(queries)).log_softmax(1)

    def distance(**options: Any) -> float:
        student = lm_cases.model(epochs=15, batch_size=4, learning_rate=0.01, **options)
        scores = torch.from_numpy(student.fit(split.train).score(queries))
        apart = F.kl_div(scores.log_softmax(1), wanted, log_target=True, reduction="batchmean")
        return float(apart)

    soft = {**SOFT, "temperature": 1.0, "weight": 0.9, "top_k": None}
    soft |= {"scale": "logits", "exclude_seen": False}
    assert distance(distillation=soft) < 0.5 * distance()


def test_a_teacher_without_weight_changes_no_bit(tmp_path: Path) -> None:
    split, queries = lm_cases.split(), lm_cases.queries()

    def fitted(**options: Any) -> Any:
        return lm_cases.model(epochs=2, batch_size=4, **options).fit(split.train, split.valid)

    alone = fitted().score(queries)
    idle = fitted(distillation={**SOFT, "weight": 0.0})
    np.testing.assert_array_equal(idle.score(queries), alone)
    busy = fitted(distillation=SOFT)
    assert not np.array_equal(busy.score(queries), alone)
    np.testing.assert_array_equal(fitted(distillation=SOFT).score(queries), busy.score(queries))
    said = busy.info.details["teacher"]
    assert said["name"] == "MarkovKNN"
    assert len(said["losses"]) == 2
    busy.save(tmp_path / "model")
    again = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(again.score(queries), busy.score(queries))


def test_a_teacher_of_other_rows_is_refused(tmp_path: Path) -> None:
    split, folder = lm_cases.split(), tmp_path / "teacher"
    build("recommender", KNN).fit(split.train).save(folder)
    soft = {"name": "soft_scores", "teacher_folder": str(folder)}
    with pytest.raises(RunError, match="does not say what it was fitted on"):
        lm_cases.model(distillation=soft).fit(split.train)
    receipt = {"fit_seconds": 3.0, "train_fingerprint": split.train.fingerprint}
    write_json(folder / "fit.json", receipt)
    taught = lm_cases.model(distillation=soft).fit(split.train)
    assert taught.info.details["teacher"]["fit_seconds"] == 3.0
    with pytest.raises(RunError, match="fitted on another training side"):
        lm_cases.model(distillation=soft).fit(split.train.union(split.valid))


@pytest.mark.parametrize(
    ("which", "changes", "distillation", "what"),
    [
        (("gpt2", "full", "title", "text"), {}, SOFT, "learns none of them"),
        (("gpt2", "full", "rating", "items"), {}, SOFT, "a teacher that serves rating"),
        (("gpt2",), {"head": {"loss": "gbce"}}, SOFT, "never makes"),
        (("gpt2",), {}, {"name": "soft_scores"}, "give a recommender here"),
        (("gpt2",), {}, {**SOFT, "temperature": 0.0}, "must be above 0"),
        (("gpt2",), {}, {**SOFT, "weight": 1.5}, "from 0 to 1"),
        (("gpt2",), {}, {**STATES, "teacher": KNN}, "only a language model has states"),
        (("bert", "full", "yes_no", "text"), {}, STATES, "logits of words"),
        (("bert", "frozen", "next", "text"), {}, STATES, "never changes those"),
    ],
)
def test_what_cannot_be_taught_is_refused(
    which: tuple[str, ...], changes: Any, distillation: dict[str, Any], what: str
) -> None:
    made = lm_cases.spec(*which, parts=changes, distillation=distillation)
    (problem,) = check("recommender", made)
    assert problem.where.startswith("distillation")
    assert what in problem.what
