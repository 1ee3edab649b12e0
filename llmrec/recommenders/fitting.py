"""Training a language model that is put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmrec.core.errors import ComponentError
from llmrec.core.protocols import FitContext
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset, Ragged
from llmrec.recommenders.identifiers import closed, identifier_examples
from llmrec.recommenders.listwise import METRIC as LIST_METRIC
from llmrec.recommenders.listwise import (
    ListCollator,
    list_batches,
    lists_candidates,
    validated_lists,
    validation_lists,
)
from llmrec.recommenders.reviews import reading, training_reviews
from llmrec.recommenders.simple import likes_of
from llmrec.recommenders.tasks import added_parameters, joint_batches, reads_alike, trained
from llmrec.recommenders.teachers import teach
from llmrec.recommenders.validation import (
    beside_facts,
    validated,
    validated_tasks,
    validation_metric,
)
from llmrec.training.batches import Batch, IdentifierBatches, ItemBatches, TextBatches
from llmrec.training.collate import (
    JudgedCollator,
    PromptCollator,
    StateCollator,
    WindowCollator,
    WrittenCollator,
)
from llmrec.training.examples import Examples, others, positions, windows
from llmrec.training.packed import PackedCollator, chunks
from llmrec.training.teaching import Teacher
from llmrec.training.trainer import Fitted, TrainingOptions, Validate, train
from llmrec.training.training_net import MAIN, TrainingNet
from llmrec.training.uncertainty import Uncertainty, is_squared

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled
    from llmrec.recommenders.language_model import LanguageModel


def fit_assembled(
    owner: LanguageModel, train_side: Dataset, valid: Dataset | None, context: FitContext
) -> dict[str, Any]:
    """Train the assembled net in place and return what a table says of it."""
    assembled: Assembled = owner._model
    judged = owner.validation(train_side, valid)
    metric, higher = validation_metric(owner._head.tasks)
    if lists_candidates(assembled.head):
        metric, higher = LIST_METRIC, True
    options = TrainingOptions(
        epochs=owner.epochs,
        batch_size=owner.batch_size,
        learning_rate=owner.learning_rate,
        weight_decay=owner.weight_decay,
        warmup_share=owner.warmup_share,
        schedule=owner.schedule,
        gradient_accumulation_steps=owner.gradient_accumulation_steps,
        max_gradient_norm=owner.max_gradient_norm,
        early_stopping_patience=owner.early_stopping_patience,
        precision=owner.precision,
        metric=metric,
        higher_is_better=higher,
        seed=derive_seed(owner.seed, "training"),
        trainer_arguments=owner.trainer_arguments or {},
    )
    if assembled.frozen is not None:
        assembled.frozen.remember(True)
    lengths, main = training_batches(owner, assembled, train_side)
    teacher, taught, placed = None, None, main
    if owner._distillation is not None and owner._distillation.weight > 0:
        sides = (train_side, valid, context)
        examples = partial(judged_examples, owner, train_side)
        teacher, taught, placed = teach(owner, assembled, main, examples, *sides)
    collate = placed
    if trained(owner):
        joint = joint_batches(
            owner, lengths, main, lambda view, model: training_batches(view, model, train_side)
        )
        collate = replace(joint, main=placed)
    read = reading_facts(assembled)
    validate: Validate | None = None
    if judged is not None and lists_candidates(assembled.head):
        lists = validation_lists(owner, assembled, *judged, train_side)
        size = owner.score_batch_size
        validate = partial(validated_lists, assembled, judged[0], lists, size)
    elif judged is not None:
        validate = partial(validated, assembled, *judged, metric, owner.score_batch_size)
        if owner._others:
            validate = partial(validated_tasks, validate, owner, *judged)
    parameters, trainable = (n + added_parameters(owner) for n in assembled.net.parameter_counts())
    if not trainable:  # a pretrained language model used as it is
        value = math.nan if validate is None else validate()[metric]
        fitted = Fitted(best_epoch=0.0, best_value=value, epochs=0.0, curve=())
    else:
        net = training_net(owner, assembled, teacher)
        fitted = train(net, lengths, collate, options, validate, context)
        assembled.net.eval()
    if assembled.frozen is not None:
        assembled.frozen.remember(False)
    facts: dict[str, Any] = {
        "parameters": parameters,
        "trainable": trainable,
        "best_epoch": fitted.best_epoch,
        "epochs": fitted.epochs,
        f"validation_{metric}": fitted.best_value,
        "n_examples": len(lengths),
    }
    if assembled.codes is not None:
        facts |= assembled.codes.facts
    facts |= beside_facts(owner, taught, fitted.curve)
    if isinstance(main, ListCollator):
        read["prompts_cut"] = len(main.cut)  # its lists were drawn while training
    facts |= read
    if owner.reads_review:
        facts["reads_review"] = True
    if owner._backbone.commit is not None:
        facts["checkpoint_commit"] = owner._backbone.commit
    return facts


def reading_facts(assembled: Assembled) -> dict[str, Any]:
    """Return what the training prompts lost; call it before those of validation are made."""
    batches = assembled.batches
    if not isinstance(batches, TextBatches):
        return {}
    facts: dict[str, Any] = {"prompts_cut": batches.n_cut}
    if batches.unknown_share is not None:
        facts["unknown_share"] = round(batches.unknown_share, 4)
    return facts


def training_net(
    owner: LanguageModel, assembled: Assembled, teacher: Teacher | None = None
) -> torch.nn.Module:
    """Return what the trainer trains: the net itself, if nothing is added to its head's loss."""
    regularizer = owner._regularizer
    if regularizer is not None and not regularizer.active:
        regularizer = None
    tasks = trained(owner)
    if regularizer is None and teacher is None and not tasks:
        return assembled.net
    nets = {label: view._model.net for label, view in tasks.items()}
    weights = {label: view.weight for label, view in tasks.items()}
    uncertainty = None
    if owner.task_weighting == "uncertainty":
        every = {MAIN: assembled.net, **nets}
        squared = {label for label, net in every.items() if is_squared(net.head)}
        uncertainty = Uncertainty({MAIN: 1.0, **weights}, squared)
    return TrainingNet(
        assembled.net,
        regularizer,
        nets,
        weights,
        frozenset(label for label, view in tasks.items() if reads_alike(owner, view)),
        teacher,
        uncertainty,
    )


def training_batches(
    owner: LanguageModel, assembled: Assembled, train_side: Dataset
) -> tuple[np.ndarray, Callable[[Sequence[int]], Batch]]:
    """Return the lengths of the training examples and the function that makes a batch of some."""
    head, batches, prompt = assembled.head, assembled.batches, owner._prompt
    if lists_candidates(head):
        return list_batches(owner, assembled, train_side)
    if assembled.net.needs == "sequence":
        assert assembled.net.tokens is not None
        examples = windows(train_side, prompt.max_length + 1)
        reader = ItemBatches(assembled.net.tokens, prompt.max_length + 1)
        return examples.lengths, WindowCollator(examples, reader)
    around = owner.training_history == "others"
    if assembled.net.packs and head.judges_candidates:
        return packed_batches(owner, assembled, train_side)
    if isinstance(batches, IdentifierBatches):
        return identifier_examples(owner, batches, assembled.net.backbone.direction, train_side)
    examples = judged_examples(owner, train_side)
    targets = example_targets(head, examples)
    candidates = examples.items[examples.targets] if head.judges_candidates else None
    offsets = None
    if assembled.averages is not None:
        assert examples.targets is not None
        offsets = assembled.averages.of_places(train_side, examples.targets, others=around)
    reviews: list[str] | None = None
    if reading([prompt]):
        written = training_reviews(train_side)
        assert examples.targets is not None
        reviews = [written[place] for place in examples.targets.tolist()]
    if isinstance(batches, TextBatches) and head.judges_candidates:
        # The question about any item has to fit: better known now than after the training.
        everything = np.arange(train_side.n_items)
        nothing = None if reviews is None else [""] * len(everything)
        batches.tokens_and_cuts(Ragged.empty(len(everything)), None, everything, nothing)
    if isinstance(batches, ItemBatches):
        return examples.lengths, JudgedCollator(examples, batches, candidates, targets, offsets)
    # All prompts are tokenised once; a batch only pads.
    shown = examples.histories(np.arange(len(examples)))
    tokens = batches.tokens(*shown, candidates, reviews)
    if assembled.frozen is not None:
        states = assembled.frozen.of(*shown, candidates, tokens, reviews)
        return tokens.lengths, StateCollator(states.cpu(), targets, offsets)
    padding = assembled.tokenizer.pad_token_id
    if assembled.identifiers is None:
        return tokens.lengths, PromptCollator(tokens, targets, padding, offsets)
    answers = closed(assembled.identifiers, assembled.tokenizer.eos_token_id)
    apart = assembled.net.backbone.direction == "seq2seq"
    return tokens.lengths, WrittenCollator(tokens, answers.take(targets), padding, apart)


def judged_examples(owner: LanguageModel, train_side: Dataset) -> Examples:
    """Return the examples of prompts: one for each interaction that is predicted."""
    prompt = owner._prompt
    around = owner.training_history == "others"
    return (others if around else positions)(
        train_side,
        length=prompt.max_length if prompt.kind == "items" else prompt.history_length,
        per_user=owner.examples_per_user,
        with_history=not owner._head.judges_candidates,
        seed=derive_seed(owner.seed, "examples"),
    )


def packed_batches(
    owner: LanguageModel, assembled: Assembled, train_side: Dataset
) -> tuple[np.ndarray, Callable[[Sequence[int]], Batch]]:
    """Return the same for candidates that are judged many over one history."""
    assert isinstance(assembled.batches, ItemBatches)
    histories = train_side.histories
    every = np.arange(len(histories.values))
    asked = np.ones(len(every), bool)
    if owner.examples_per_user is not None:
        asked = every >= histories.offsets[1:][histories.row_of] - owner.examples_per_user
    pieces = chunks(train_side, owner._prompt.max_length)
    kept = asked[pieces.ends - 1]  # if any of a piece is asked, then its last
    offsets = None
    if assembled.averages is not None:
        others = assembled.net.others
        offsets = assembled.averages.of_places(train_side, every, others=others)
    targets = example_targets(assembled.head, replace(pieces, targets=every))
    pieces = replace(pieces, starts=pieces.starts[kept], ends=pieces.ends[kept])
    collate = PackedCollator(pieces, assembled.batches, targets, asked, offsets)
    return pieces.lengths, collate


def example_targets(head: Any, examples: Examples) -> np.ndarray:
    """Return what each example should predict: an item id, a like (0 or 1), or a rating.

    Raises:
        ComponentError: if the head learns from ratings and the data has none.
        DataError: if all are likes, or none is.
    """
    if not head.judges_candidates:
        return examples.items[examples.targets].astype(np.int64)
    if examples.ratings is None:
        raise ComponentError(
            "this head learns from ratings (or likes), but the data has none; choose "
            "head=classification with target=next_item, or head=generative with mode=item"
        )
    ratings = examples.ratings[examples.targets].astype(np.float32)
    if "preference" in head.tasks and len(ratings):
        return likes_of(ratings, head.threshold, "this head").astype(np.float32)
    return ratings
