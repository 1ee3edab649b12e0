"""Putting a language model together."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from llmrec.backbones.base import quiet_loading
from llmrec.core.errors import ComponentError
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
    codes_of,
    identifier_parts,
    records_of,
    start_codes,
    tokenised_identifiers,
)
from llmrec.recommenders.item_texts import embedded_items, texts_or_refuse
from llmrec.recommenders.listwise import lists_candidates
from llmrec.recommenders.reviews import reading, training_reviews
from llmrec.recommenders.tasks import widest
from llmrec.training.batches import IdentifierBatches, ItemBatches, TextBatches
from llmrec.training.net import Net
from llmrec.training.statistics import shapes_of, training_statistics

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
    purpose = "head classification with item_weights=text"
    return embedded_items(train_side, head.text_encoder, head.fields, purpose)


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
        values: torch.Tensor | None = getattr(module, "values", None)
        texts = head.answers([] if values is None else values.tolist())
        known = answer_tokens(tokenizer, texts)
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
    asking = [owner._prompt, *(view._prompt for view in owner._others.values())]
    seen: list[str] = []
    if any(prompt.reads_items for prompt in asking):
        texts = texts_or_refuse(train_side, None, "prompt text")
        seen = [texts[item] for item in np.flatnonzero(train_side.item_counts)]
    if reading(asking):
        seen += training_reviews(train_side)
    users = np.flatnonzero(train_side.histories.lengths)[:100]
    shown = train_side.histories.take(users)
    rating = train_side.interactions.rating
    stars = None
    if rating is not None:
        stars = shown.with_values(rating[train_side.rows_by_user.take(users).values])
    asked = shown.values[shown.offsets[1:] - 1]
    head = owner._head
    if lists_candidates(head):
        asked = np.tile(asked[: head.list_size], (len(shown), 1))
    written = [""] * len(shown)  # what was written is among the texts already
    prompts: list[str] = owner._prompt.render(records, shown, stars, asked, written)
    numbers = [record["identifier"] for record in records if "identifier" in record]
    for view in owner._others.values():
        if dict(view.prompt) != dict(owner.prompt):
            prompts += view._prompt.render(records, shown, stars, asked, written)
    heads = [owner._head, *(view._head for view in owner._others.values())]
    values = [] if rating is None else np.unique(rating).tolist()
    answers = [text for each in heads if hasattr(each, "answers") for text in each.answers(values)]
    return owner._backbone.tokenizer([*seen, *prompts, *answers, *numbers])


@contextlib.contextmanager
def seeded(seed: int) -> Any:
    """Seed torch's generators within the block and give them back as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
