"""What a generative head writes: the token ids of each item's identifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmrec.core.errors import ComponentError
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset, Ragged
from llmrec.heads.identifiers import Codes
from llmrec.prompts.identifiers import Vocabulary, started
from llmrec.prompts.records import item_records
from llmrec.recommenders.item_texts import embedded_items
from llmrec.training.batches import Batch, IdentifierBatches
from llmrec.training.collate import IdentifierCollator
from llmrec.training.examples import positions, windows
from llmrec.training.objectives import DECODER_CONTEXT

if TYPE_CHECKING:
    from llmrec.recommenders.language_model import LanguageModel


def records_of(owner: LanguageModel, train_side: Dataset) -> list[dict[str, str]]:
    """Return what a text prompt may say of each item, numbers that the head writes included."""
    if owner._identifier is None:
        return item_records(train_side)
    return item_records(train_side, owner._identifier.texts(train_side))


def codes_of(owner: LanguageModel, train_side: Dataset) -> Codes:
    """Return the identifiers of an identifiers prompt, made from the training side."""
    identifier, vectors = owner._identifier, None
    if identifier.text_encoder is not None:
        read = (identifier.text_encoder, identifier.fields)
        vectors = embedded_items(train_side, *read, "identifier semantic")
    codes: Codes = identifier.codes(train_side, vectors)
    return codes


def start_codes(owner: LanguageModel, model: Any, vocabulary: Any, codes: Codes | None) -> None:
    """Put the embeddings of codes, if there are any, where the prompt says that they start."""
    if codes is None or owner._prompt.init == "random" or not codes.centres:
        return
    weights = model.get_input_embeddings().weight.detach()
    own = weights[vocabulary.first_code : vocabulary.first_code + codes.size]
    rng = np.random.default_rng(derive_seed(owner.seed, "levels of codes"))
    own.copy_(torch.from_numpy(started(own.numpy(), codes.centres, rng)))


def closed(identifiers: Ragged, end: int) -> Ragged:
    """Return identifiers with the end token after each."""
    ends = Ragged(np.full(len(identifiers), end, np.int64), np.arange(len(identifiers) + 1))
    return identifiers.concat(ends)


def identifier_parts(
    owner: LanguageModel, model: Any, vocabulary: Vocabulary, codes: Codes
) -> tuple[IdentifierBatches, Ragged]:
    """Return what makes batches of identifiers, and the token ids of each item.

    Raises:
        ComponentError: if the backbone has no room for the longest history.
    """
    prompt, backbone = owner._prompt, owner._backbone
    table = codes.table + vocabulary.first_code
    n_items, length = table.shape
    needed, limit = 1 + (prompt.max_length + 1) * length, backbone.max_tokens(model)
    if needed > limit:
        raise ComponentError(
            f"prompt.max_length is {prompt.max_length} items of {length} tokens each, which needs "
            f"room for {needed} tokens, but this {backbone.architecture} backbone has room for "
            f"{limit}; lower it or raise backbone.max_positions"
        )
    rest = backbone.direction == "seq2seq" and prompt.targets == "rest"
    context = DECODER_CONTEXT if rest else 0
    batches = IdentifierBatches(vocabulary, table, prompt.max_length, context)
    return batches, Ragged(table.reshape(-1), np.arange(n_items + 1) * length)


def identifier_examples(
    owner: LanguageModel, batches: IdentifierBatches, direction: str, train_side: Dataset
) -> tuple[np.ndarray, Callable[[Sequence[int]], Batch]]:
    """Return the lengths of the training examples and the function that makes a batch of some."""
    users, length = train_side.histories.row_of, owner._prompt.max_length
    if direction == "seq2seq" and owner._prompt.targets == "next":
        examples = positions(
            train_side,
            length=length,
            per_user=owner.examples_per_user,
            with_history=True,
            seed=derive_seed(owner.seed, "examples"),
        )
        return examples.lengths, IdentifierCollator(examples, batches, users, apart=True)
    examples = windows(train_side, length + 1)
    reader = IdentifierBatches(batches.vocabulary, batches.table, length + 1)
    return examples.lengths, IdentifierCollator(examples, reader, users, apart=False)


def tokenised_identifiers(tokenizer: Any, catalogue: list[dict[str, str]], head: Any) -> Ragged:
    """Return the token ids of each item's identifier: its number if it has one, or a field.

    Raises:
        ComponentError: if the items lack the field.
    """
    name = "identifier" if catalogue and "identifier" in catalogue[0] else head.identifier
    if catalogue and name not in catalogue[0]:
        fields = ", ".join(catalogue[0])
        raise ComponentError(
            f'head.identifier "{head.identifier}" is no field of the items; allowed: {fields}'
        )
    texts = [" " + record[name] for record in catalogue]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    # A title that spells the end token would close its identifier too early.
    end = tokenizer.eos_token_id
    kept = [[token for token in row if token != end][: head.max_identifier_length] for row in rows]
    return Ragged.from_rows(kept, np.int64)


def first_token(tokenizer: Any, text: str) -> int:
    """Return the id of the first token of an answer.

    Raises:
        ComponentError: if the tokenizer knows no token for it.
    """
    ids = [
        token
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]
        if tokenizer.decode([token]).strip()
    ]
    if not ids or ids[0] == tokenizer.unk_token_id:
        raise ComponentError(f'the tokenizer has no token for the answer "{text}"')
    return int(ids[0])


def answer_tokens(tokenizer: Any, answers: Sequence[str]) -> list[int]:
    """Return the token ids of the answers that a head compares: the first of each.

    Raises:
        ComponentError: if two answers begin with the same token.
    """
    tokens = [first_token(tokenizer, text) for text in answers]
    for place, token in enumerate(tokens):
        other = tokens.index(token)
        if other != place:
            raise ComponentError(
                f'the answers "{answers[other]}" and "{answers[place]}" begin with the same '
                "token of this tokenizer; choose other words (of ratings: head.labels)"
            )
    return tokens
