"""The auditor: every check over one split and what was made for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from llmrec.core.types import Split
from llmrec.data.audit.findings import Finding
from llmrec.data.audit.interactions import future_findings, interaction_findings, sides_of
from llmrec.data.audit.order import code_ranks, id_ranks, order_findings
from llmrec.data.audit.prompts import RenderedPrompts, prompt_findings
from llmrec.data.audit.statistics import FittedPiece, field_findings, piece_finding
from llmrec.data.audit.texts import text_findings


def audit(
    split: Split,
    *,
    prompts: Sequence[RenderedPrompts] = (),
    pieces: Sequence[FittedPiece] = (),
    semantic_ids: Mapping[str, np.ndarray] | None = None,
    ids_are_read: bool = False,
    texts_are_read: bool = True,
) -> tuple[Finding, ...]:
    """Return the leaks of a split, and of what is fitted or written for it.

    Args:
        split: the sides.
        prompts: what models would read of held-out queries.
        pieces: fitted statistics, each with how to fit it again.
        semantic_ids: (n_items, L) codes of items by name, which models read.
        ids_are_read: whether a model reads the external item ids; numbering through held-out rows
            is then an error instead of a warning.
        texts_are_read: the same of the texts that users write: copies across sides are then an
            error if they are many.

    Example:
        >>> import llmrec
        >>> split = llmrec.split(llmrec.load_data("synthetic", n_users=50), "global_temporal")
        >>> audit(split)
        ()
    """
    reads = (ids_are_read, texts_are_read)
    return tuple(_findings(split, prompts, pieces, semantic_ids or {}, reads))


def _findings(
    split: Split,
    prompts: Sequence[RenderedPrompts],
    pieces: Sequence[FittedPiece],
    semantic_ids: Mapping[str, np.ndarray],
    reads: tuple[bool, bool],
) -> Iterator[Finding]:
    for sides in sides_of(split):
        yield from interaction_findings(sides)
        yield from future_findings(sides)
        yield from text_findings(sides, read=reads[1])
    yield from order_findings(split, id_ranks(split.train.item_ids), read=reads[0])
    for name, codes in semantic_ids.items():
        yield from order_findings(
            split, code_ranks(codes), what=f'semantic ids "{name}"', read=True
        )
    yield from field_findings(split)
    for rendered in prompts:
        yield from prompt_findings(rendered, split.train)
    for piece in pieces:
        found = piece_finding(split, piece)
        if found is not None:
            yield found
