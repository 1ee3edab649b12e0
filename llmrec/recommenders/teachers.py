"""Teachers of a language model: fitted or read, asked once about every training example."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, RunError
from llmrec.core.files import read_json
from llmrec.core.protocols import FitContext, serve
from llmrec.core.ranking import mask_items, top_k, zscore
from llmrec.core.seeding import derive_seed
from llmrec.core.types import UNKNOWN_USER, Dataset, Queries, Ragged
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.parts import added_usage
from llmrec.training.batches import Batch
from llmrec.training.collate import WindowCollator
from llmrec.training.distillation import SERVES, taught
from llmrec.training.examples import Examples, ratings_by_user
from llmrec.training.packed import PackedCollator
from llmrec.training.statistics import standardised
from llmrec.training.teaching import ScoreTeacher, StateTeacher, Teacher

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled
    from llmrec.recommenders.language_model import LanguageModel

ASKED_AT_ONCE = 512
RECEIPT, TRAINED_ON = "fit.json", "train_fingerprint"


@dataclass(frozen=True, eq=False)
class PlacedCollator:
    """Batches with the place of what each example predicts in the training histories.

    Attributes:
        collate: makes the batches.
        examples: of text prompts and judged candidates; None where the collator has its own.
    """

    collate: Callable[[Sequence[int]], Batch]
    examples: Examples | None

    def __call__(self, numbers: Sequence[int]) -> Batch:
        rows, inner = np.asarray(numbers), self.collate
        batch = inner(numbers)
        if isinstance(inner, WindowCollator):
            own = inner.examples.places(rows)
            places = own.padded(batch["items"].shape[1], -1)
        elif isinstance(inner, PackedCollator):
            values = inner.windows.places(rows).values
            places = values[inner.asked[values]]
        else:
            assert self.examples is not None
            assert self.examples.targets is not None
            places = self.examples.targets[rows]
        return {**batch, "places": torch.from_numpy(places.astype(np.int64))}


def find_teacher(
    owner: LanguageModel, train: Dataset, valid: Dataset | None, context: FitContext
) -> tuple[Any, dict[str, Any]]:
    """Return the fitted teacher of a language model, and what it cost.

    Raises:
        RunError: if the folder does not say that it was fitted on this training side.
        ComponentError: if the teacher does not serve what the student learns.
    """
    how: Any = owner._distillation
    began = time.perf_counter()
    if how.teacher_folder is not None:
        folder = Path(how.teacher_folder)
        receipt = read_json(folder / RECEIPT) if (folder / RECEIPT).is_file() else {}
        if receipt.get(TRAINED_ON) != train.fingerprint:
            known = (
                "was fitted on another training side"
                if TRAINED_ON in receipt
                else f"does not say what it was fitted on (it has no {RECEIPT} of a run; the "
                "folder of one row is RUN/models/LABEL)"
            )
            raise RunError(
                f"the teacher in {folder} {known}: a student learns from a teacher that was fitted "
                "on the same rows; fit it in a run with this data and split, or give "
                "distillation.teacher"
            )
        teacher, seconds = load_recommender(folder), float(receipt["fit_seconds"])
    else:
        seed = derive_seed(owner.seed, "teacher")
        teacher = build("recommender", how.teacher, seed=seed)
        place = None if context.folder is None else context.folder / "teacher"
        inner = FitContext(folder=place, resume=context.resume)
        teacher.fit(train, valid, inner)
        seconds = time.perf_counter() - began
    kind = taught(owner._head)
    assert kind is not None
    serve(teacher, SERVES[kind])
    if SERVES[kind] not in teacher.tasks:
        raise ComponentError(
            f"the teacher serves {', '.join(sorted(teacher.tasks))}, but this student learns from "
            f"one that serves {SERVES[kind]}"
        )
    info = teacher.info
    facts = {
        "name": type(teacher).__name__,
        "weights": info.weights,
        "parameters": info.parameters,
        "fit_seconds": seconds,
    }
    return teacher, facts


def teach(
    owner: LanguageModel,
    assembled: Assembled,
    collate: Callable[[Sequence[int]], Batch],
    examples: Callable[[], Examples],
    train: Dataset,
    valid: Dataset | None,
    context: FitContext,
) -> tuple[Teacher, dict[str, Any], PlacedCollator]:
    """Return the teacher of a student, what it cost, and batches that say what it is asked.

    Args:
        owner: the student.
        assembled: of the student.
        collate: makes the student's batches.
        examples: makes those of prompts, for batches that do not know their own.
        train: the training side.
        valid: of validation, for a teacher that stops early.
        context: of the student's fit.
    """
    made: Examples | None = None
    if isinstance(collate, WindowCollator):
        own = collate.examples
        if assembled.net.backbone.direction == "bidirectional":
            places = np.unique(own.ends - 1)
        else:  # all but each user's first, which nothing precedes
            places = np.delete(np.arange(len(own.items)), np.unique(_firsts(train)))
    elif isinstance(collate, PackedCollator):
        places = np.flatnonzero(collate.asked)
    else:
        made = examples()
        assert made.targets is not None
        places = np.unique(made.targets)
    teacher, facts = make_teacher(owner, assembled, train, valid, context, places)
    return teacher, facts, PlacedCollator(collate, made)


def _firsts(train: Dataset) -> np.ndarray:
    """Return the places where users' histories begin."""
    histories = train.histories
    begins: np.ndarray = histories.offsets[:-1][histories.lengths > 0]
    return begins


def make_teacher(
    owner: LanguageModel,
    assembled: Assembled,
    train: Dataset,
    valid: Dataset | None,
    context: FitContext,
    places: np.ndarray,
) -> tuple[Teacher, dict[str, Any]]:
    """Return what a fitted teacher says of training examples, and what that cost.

    Args:
        owner: the student.
        assembled: of the student.
        train: the training side.
        valid: of validation, for a teacher that stops early.
        context: of the student's fit.
        places: (R,) what the examples predict, as places in the training histories.
    """
    how: Any = owner._distillation
    fitted, facts = find_teacher(owner, train, valid, context)
    began = time.perf_counter()
    row_of = np.full(len(train.histories.values), -1, np.int64)
    row_of[places] = np.arange(len(places))
    rows = torch.from_numpy(row_of)
    judges = owner._head.judges_candidates
    around = owner.training_history == "others"
    asked = train.histories.values[places].astype(np.int64)[:, None]

    def over(answer: Callable[[Queries, np.ndarray | None], list[np.ndarray]]) -> list[np.ndarray]:
        parts = []
        for start in range(0, len(places), ASKED_AT_ONCE):
            chosen = slice(start, start + ASKED_AT_ONCE)
            queries = before(train, places[chosen], around)
            parts.append(answer(queries, asked[chosen] if judges else None))
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    made: Teacher
    if how.reads == "states":
        (states,) = over(lambda q, items: [states_of(fitted, q, items)])
        states = standardised(states, np.ones(len(states), bool))
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(owner.seed, "projection"))
            width = owner._backbone.width(assembled.net.model)
            table = torch.from_numpy(states)
            made = StateTeacher(rows, how.weight, how.distance, table, width)
        n_bytes = states.nbytes
    elif judges:
        (scores,) = over(lambda q, items: [fitted.score(q, items)[:, 0]])
        table = torch.from_numpy(scores.astype(np.float32))
        made, n_bytes = ScoreTeacher(rows, how.weight, how.temperature, table, None), scores.nbytes
    else:
        kept, values = over(lambda q, _: best_of(how, fitted, q))
        items = None if how.top_k is None else torch.from_numpy(kept)
        table = torch.from_numpy(values)
        made = ScoreTeacher(rows, how.weight, how.temperature, table, items)
        n_bytes = values.nbytes + (0 if items is None else kept.nbytes)
    facts |= {
        "ask_seconds": time.perf_counter() - began,
        "table_bytes": int(n_bytes),
        "n_asked": len(places),
    }
    if usage := added_usage([fitted]):
        facts["usage"] = usage
    return made.to(assembled.net.device), facts


def before(train: Dataset, places: np.ndarray, around: bool) -> Queries:
    """Return queries of unknown users with what came before each place of the histories.

    Args:
        train: the training side.
        places: (B,) in the values of its histories.
        around: take all other interactions of the user instead.
    """
    histories = train.histories
    users = histories.row_of[places]
    begin, end = histories.offsets[:-1][users], histories.offsets[1:][users]
    spans = Ragged.spans(begin, (end if around else places) - begin)
    spans = spans.keep(spans.values != places[spans.row_of])
    ratings, times = ratings_by_user(train), train.interactions.timestamp
    moments = None
    if times is not None:
        by_user = times[train.rows_by_user.values]
        moments, times = by_user[places], by_user[spans.values]
    return Queries(
        np.full(len(places), UNKNOWN_USER, np.int64),
        spans.with_values(histories.values[spans.values]),
        None if ratings is None else spans.with_values(ratings[spans.values]),
        None if times is None else spans.with_values(times),
        moments,
    )


def best_of(how: Any, teacher: Any, queries: Queries) -> list[np.ndarray]:
    """Return (B, K) int32 items and float32 scores of a teacher's best, −inf for none."""
    scores = np.array(teacher.score(queries), np.float32)
    if how.exclude_seen:
        mask_items(scores, queries.histories)
    allowed = np.isfinite(scores)
    if how.scale == "zscore":
        scores = np.where(allowed, zscore(scores, allowed), -np.inf).astype(np.float32)
    if how.top_k is None:
        return [np.zeros((len(queries), 0), np.int32), scores]
    best = top_k(scores, min(how.top_k, scores.shape[1]), queries.users)
    safe = np.maximum(best, 0)
    values = np.where(best >= 0, np.take_along_axis(scores, safe, axis=1), -np.inf)
    return [safe.astype(np.int32), values.astype(np.float32)]


@torch.inference_mode()
def states_of(teacher: Any, queries: Queries, items: np.ndarray | None) -> np.ndarray:
    """Return the (B, H) states by which a language model answers queries.

    Args:
        teacher: a fitted language model.
        queries: B of them.
        items: (B, 1) candidates that are judged, or None.

    Raises:
        ComponentError: if the teacher has no such states.
    """
    model: Any = getattr(teacher, "_model", None)
    net: Any = getattr(model, "net", None)
    needs = getattr(net, "needs", None)
    if needs not in ("pooled", "sequence") or (items is not None) != model.head.judges_candidates:
        raise ComponentError(
            "this teacher has no state of what the student predicts; choose a language model with "
            "a head of the same kind, or distillation=soft_scores"
        )
    net.eval()
    asked = None if items is None else items[:, 0]
    batch = model.batches.make(queries.histories, queries.ratings, asked)
    moved = {name: tensor.to(net.device) for name, tensor in batch.items()}
    states: np.ndarray = net.states(**moved).float().cpu().numpy()
    return states
