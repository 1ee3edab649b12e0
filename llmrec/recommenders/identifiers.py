"""What a generative head writes: the token ids of each item's identifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmrec.core.errors import ComponentError
from llmrec.core.types import Ragged


def closed(identifiers: Ragged, end: int) -> Ragged:
    """Return identifiers with the end token after each."""
    ends = Ragged(np.full(len(identifiers), end, np.int64), np.arange(len(identifiers) + 1))
    return identifiers.concat(ends)


def tokenised_identifiers(tokenizer: Any, catalogue: list[dict[str, str]], head: Any) -> Ragged:
    """Return the token ids of each item's identifier.

    Raises:
        ComponentError: if the items lack the field.
    """
    if catalogue and head.identifier not in catalogue[0]:
        fields = ", ".join(catalogue[0])
        raise ComponentError(
            f'head.identifier "{head.identifier}" is no field of the items; allowed: {fields}'
        )
    texts = [" " + record[head.identifier] for record in catalogue]
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


def answer_tokens(tokenizer: Any, head: Any) -> list[int]:
    """Return the token ids of the answers that a head compares.

    Raises:
        ComponentError: if two answers begin with the same token.
    """
    tokens = [first_token(tokenizer, text) for text in head.answers]
    for place, token in enumerate(tokens):
        other = tokens.index(token)
        if other != place:
            raise ComponentError(
                f'the answers "{head.answers[other]}" and "{head.answers[place]}" begin with the '
                "same token of this tokenizer; choose other words"
            )
    return tokens
