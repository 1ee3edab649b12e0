"""Putting a language model together, and training it."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from llmrec.backbones.base import quiet_loading
from llmrec.backbones.embed import embed_texts
from llmrec.core.errors import ComponentError
from llmrec.core.protocols import FitContext
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset, Ragged
from llmrec.heads.averages import Averages
from llmrec.heads.bm25 import BM25
from llmrec.heads.identifiers import Codes
from llmrec.heads.trie import IdentifierTrie
from llmrec.prompts.identifiers import Vocabulary
from llmrec.prompts.item_tokens import ItemTokens
from llmrec.recommenders.frozen_states import FrozenStates, frozen_states
from llmrec.recommenders.identifiers import (
    answer_tokens,
    closed,
    codes_of,
    identifier_examples,
    identifier_parts,
    records_of,
    start_codes,
    tokenised_identifiers,
)
from llmrec.recommenders.item_texts import embedded_items, texts_or_refuse
from llmrec.recommenders.listwise import METRIC as LIST_METRIC
from llmrec.recommenders.listwise import (
    list_batches,
    lists_candidates,
    validated_lists,
    validation_lists,
)
from llmrec.recommenders.simple import likes_of
from llmrec.recommenders.tasks import (
    added_parameters,
    joint_batches,
    reads_alike,
    trained,
    widest,
)
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
from llmrec.training.net import Net
from llmrec.training.packed import PackedCollator, chunks
from llmrec.training.statistics import shapes_of, training_statistics
from llmrec.training.teaching import Teacher
from llmrec.training.trainer import Fitted, TrainingOptions, Validate, train
from llmrec.training.training_net import TrainingNet

if TYPE_CHECKING:
    from llmrec.recommenders.language_model import LanguageModel


@dataclass(eq=False)
class Assembled:
    """Everything a fitted or loaded language model needs to score.

    Attributes:
        head: the head component.
        net: backbone, item tokens and head modules.
        batches: makes tensors of histories.
        n_items: size of the catalogue.
        tokenizer: of the backbone, None under item prompts.
        identifiers: N rows of token ids, by item id (generative head), else None.
        trie: of the identifiers.
        facts: counts of generated, invalid and duplicate identifiers while scoring.
        shapes: of the statistics that the head was built with.
        averages: of users and items, None unless the head asks for them.
        frozen: states of prompts under a backbone that nothing changes, or None.
        base: folder that holds the base weights beside which an adapter is stored, or None.
        codes: the identifiers of an identifiers prompt, else None.
        index: finds items for the queries that a head writes, else None.
    """

    head: Any
    net: Net
    batches: ItemBatches | TextBatches | IdentifierBatches
    n_items: int
    tokenizer: Any = None
    identifiers: Ragged | None = None
    trie: IdentifierTrie | None = None
    facts: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    averages: Averages | None = None
    frozen: FrozenStates | None = None
    base: Any = None
    codes: Codes | None = None
    index: BM25 | None = None


class Shared(NamedTuple):
    """What all tasks of a language model have in common; see `Assembled`."""

    model: Any
    tokens: ItemTokens | None
    tokenizer: Any
    catalogue: list[dict[str, str]]
    codes: Codes | None


def assemble(owner: LanguageModel, train_side: Dataset) -> Assembled:
    """Build the net for a training side: weights, tokenizer, item embeddings.

    Nothing but the training side is read: tokenizer, principal components and rating statistics
    come from its items and ratings.
    """
    prompt, head, backbone = owner._prompt, owner._head, owner._backbone
    needs = widest(owner)
    catalogue: list[dict[str, str]] = [{}] * train_side.n_items  # read by text prompts only
    tokenizer, vectors, stars, codes = None, None, None, None
    if prompt.kind == "text":
        catalogue = records_of(owner, train_side)
        tokenizer = tokenizer_of(owner, train_side, catalogue)
    elif prompt.kind == "identifiers":
        codes = codes_of(owner, train_side)
        tokenizer = Vocabulary(prompt.user_tokens, codes.size)
    elif prompt.reads_text:
        purpose = f"prompt items with init={prompt.init}"
        vectors = embedded_items(train_side, prompt.text_encoder, prompt.fields, purpose)
    log = train_side.interactions
    if log.rating is not None and len(log):
        stars = np.unique(log.rating)
    statistics = training_statistics(train_side, head, item_vectors(head, train_side))
    with seeded(derive_seed(owner.seed, "weights")):
        options = owner._adapter.load_options()
        base = None
        if backbone.location is None and not owner._adapter.trains_base:
            # Random base weights are stored in full precision beside the adapter.
            base = tempfile.TemporaryDirectory()
            with quiet_loading():
                model = backbone.load(needs, tokenizer=tokenizer)
                start_codes(owner, model, tokenizer, codes)
                model.save_pretrained(base.name)
            model = backbone.load(needs, folder=Path(base.name), load_options=options)
        else:
            model = backbone.load(needs, tokenizer=tokenizer, load_options=options)
            start_codes(owner, model, tokenizer, codes)
        model = owner._adapter.wrap(model, backbone.adapted_as(model))
        width = backbone.width(model)
        tokens = None
        if prompt.kind == "items":
            tokens = prompt.tokens(
                train_side.histories,
                train_side.n_items,
                width,
                vectors,
                stars if reads_ratings(owner) else None,
            )
        module = head.build(width, train_side.n_items, tokens is not None, statistics)
    shared = Shared(model, tokens, tokenizer, catalogue, codes)
    assembled = _counted(owner, module, statistics, shared, train_side)
    assembled.base = base
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assembled.net.to(device)
    for label, view in owner._others.items():
        counts = training_statistics(train_side, view._head, item_vectors(view._head, train_side))
        with seeded(derive_seed(owner.seed, "weights", label)):
            module = view._head.build(width, train_side.n_items, tokens is not None, counts)
        view._model = _counted(view, module, counts, shared, train_side)
        view._model.net.to(device)
    return assembled


def _counted(
    owner: Any,
    module: torch.nn.Module,
    statistics: Mapping[str, Any],
    shared: Shared,
    train_side: Dataset,
) -> Assembled:
    """Return the model of one task with what its head reads of the training side."""
    head = owner._head
    assembled = put_together(owner, module, shared)
    assembled.shapes = shapes_of(statistics)
    rated = train_side.interactions.rating is not None and len(train_side)
    if getattr(head, "averages", False) and rated:
        threshold = head.threshold if "preference" in head.tasks else None
        assembled.averages = Averages.fit(train_side, head.damping, threshold)
    return assembled


def reads_ratings(owner: LanguageModel) -> bool:
    """Return whether the prompt of any task reads the ratings of histories."""
    prompts = [owner._prompt, *(view._prompt for view in owner._others.values())]
    return any(prompt.use_ratings for prompt in prompts)


def item_vectors(head: Any, train_side: Dataset) -> np.ndarray | None:
    """Return the text embeddings of the catalogue if the head's item weights come from them."""
    if getattr(head, "item_weights", None) != "text":
        return None
    texts = texts_or_refuse(train_side, head.fields, "head classification with item_weights=text")
    return embed_texts(head.text_encoder, texts)


def put_together(owner: Any, module: torch.nn.Module, shared: Shared) -> Assembled:
    """Return a head over what is shared, with what feeds it: batches, identifiers, answers.

    Args:
        owner: the language model, or one of its auxiliary tasks.
        module: the torch module of its head.
        shared: what all its tasks have in common.
    """
    model, tokens, tokenizer, catalogue, codes = shared
    prompt, head, backbone = owner._prompt, owner._head, owner._backbone
    needs = head.needs(prompt.kind)
    answers, identifiers, trie, index = None, None, None, None
    batches: ItemBatches | TextBatches | IdentifierBatches
    if codes is not None:
        batches, identifiers = identifier_parts(owner, model, tokenizer, codes)
        trie = IdentifierTrie(identifiers, None)
    elif tokens is not None:
        room = backbone.max_tokens(model) - 1  # one place is left for BERT's mask token
        if prompt.max_length > room:
            raise ComponentError(
                f"prompt.max_length is {prompt.max_length}, but this {backbone.architecture} "
                f"backbone reads at most {room} items; lower it or raise backbone.max_positions"
            )
        batches = ItemBatches(tokens, prompt.max_length)
        batches.with_ratings = prompt.use_ratings and batches.with_ratings
    else:
        limit = backbone.max_tokens(model)
        if needs == "generate" and backbone.direction == "causal":
            limit -= head.max_identifier_length + 1
        if prompt.max_length > limit:
            raise ComponentError(
                f"prompt.max_length is {prompt.max_length} tokens, but this "
                f"{backbone.architecture} backbone has room for {limit}; lower it or raise "
                "backbone.max_positions"
            )
        batches = TextBatches(prompt, tokenizer, catalogue, backbone.frame(tokenizer, needs))
    if needs == "token_logits":
        known = answer_tokens(tokenizer, head)
        answers = torch.tensor(known[: len(catalogue)] if lists_candidates(head) else known)
    if needs == "generate" and codes is None:
        identifiers = tokenised_identifiers(tokenizer, catalogue, head)
        if head.mode == "query":
            index = BM25([record[head.identifier] for record in catalogue])
        else:
            trie = IdentifierTrie(identifiers, tokenizer.eos_token_id)
    others = owner.training_history == "others"
    net = Net(backbone, model, module, tokens, needs, answers, others)
    assembled = Assembled(
        head,
        net,
        batches,
        len(catalogue),
        tokenizer,
        identifiers,
        trie,
        dict(NO_FACTS),
        codes=codes,
        index=index,
    )
    assembled.frozen = frozen_states(owner, assembled)
    return assembled


NO_FACTS = {"generated": 0, "invalid": 0, "duplicate": 0}


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
    # Of the training prompts: later ones, of validation and test, do not count.
    n_cut = assembled.batches.n_cut if isinstance(assembled.batches, TextBatches) else None
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
    if n_cut is not None:
        facts["prompts_cut"] = n_cut
    if owner._backbone.commit is not None:
        facts["checkpoint_commit"] = owner._backbone.commit
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
    return TrainingNet(
        assembled.net,
        regularizer,
        {label: view._model.net for label, view in tasks.items()},
        {label: view.weight for label, view in tasks.items()},
        frozenset(label for label, view in tasks.items() if reads_alike(owner, view)),
        teacher,
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
    if isinstance(batches, ItemBatches):
        return examples.lengths, JudgedCollator(examples, batches, candidates, targets, offsets)
    # All prompts are tokenised once; a batch only pads.
    shown = examples.histories(np.arange(len(examples)))
    tokens = batches.tokens(*shown, candidates)
    if assembled.frozen is not None:
        states = assembled.frozen.of(*shown, candidates, tokens)
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


def for_inference(assembled: Assembled, arithmetic: str) -> Assembled:
    """Return what scores: the model itself, or one whose backbone multiplies in 8 bits.

    Both share the head, the item tokens and the counts; the model in 32 bits is what is stored.
    States of prompts that are kept are those of 32 bits, so that 8 bits read every prompt.

    Args:
        assembled: a fitted or loaded language model.
        arithmetic: ``fp32`` or ``int8``.
    """
    if arithmetic == "fp32":
        return assembled
    from llmrec.adapters.fast_int8 import fast_int8

    net = assembled.net
    fast = net.with_model(fast_int8(net.model, net.backbone.architecture))
    return replace(assembled, net=fast.eval(), frozen=None)


def tokenizer_of(owner: LanguageModel, train_side: Dataset, records: list[dict[str, str]]) -> Any:
    """Return the backbone's tokenizer, trained, where it has none, on texts of the training side.

    The texts are those of the items that were trained on, some rendered prompts, and the answers.

    Args:
        owner: a language model with a text prompt.
        train_side: the training interactions.
        records: the fields of every item, as `item_records` makes them.
    """
    texts = texts_or_refuse(train_side, None, "prompt text")
    seen = [texts[item] for item in np.flatnonzero(train_side.item_counts)]
    users = np.flatnonzero(train_side.histories.lengths)[:100]
    shown = train_side.histories.take(users)
    asked = shown.values[shown.offsets[1:] - 1]
    head = owner._head
    if lists_candidates(head):
        asked = np.tile(asked[: head.list_size], (len(shown), 1))
    prompts: list[str] = owner._prompt.render(records, shown, None, asked)
    numbers = [record["identifier"] for record in records if "identifier" in record]
    for view in owner._others.values():
        if dict(view.prompt) != dict(owner.prompt):
            prompts += view._prompt.render(records, shown, None, asked)
    heads = [owner._head, *(view._head for view in owner._others.values())]
    answers = [text for each in heads for text in getattr(each, "answers", [])]
    return owner._backbone.tokenizer([*seen, *prompts, *answers, *numbers])


@contextlib.contextmanager
def seeded(seed: int) -> Any:
    """Seed torch's generators within the block and give them back as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
