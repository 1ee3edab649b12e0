"""What does not fit together in a language model, said before anything loads."""

from __future__ import annotations

from typing import Any

from llmrec.adapters.frozen import Frozen
from llmrec.adapters.full import Full
from llmrec.adapters.last_k import LastK
from llmrec.core.config import Spec, build
from llmrec.core.errors import LlmrecError


def identifier_misfits(
    backbone: Any, prompt: Any, head: Any, identifier: Any
) -> list[tuple[str, str]]:
    """Return why identifiers cannot be read or written as configured; empty if they can."""
    writes = head.needs(prompt.kind) == "generate" and head.mode == "item"
    if identifier is not None and not writes:
        return [("identifier", "is what a head=generative with mode=item writes; leave it null")]
    if prompt.kind != "identifiers":
        if identifier is None or (identifier.serves_text and prompt.kind == "text"):
            return []
        return [
            (
                "identifier",
                "these ids are codes, which a text prompt cannot spell; choose prompt=identifiers "
                "or identifier=numeric",
            )
        ]
    if not writes:
        return [("prompt", "prompt=identifiers is for head=generative with mode=item")]
    if identifier is None:
        return [("identifier", "prompt=identifiers needs one: identifier=semantic or numeric")]
    if backbone.location is not None:
        return [
            (
                "backbone",
                "prompt=identifiers has a vocabulary of its own, which a checkpoint does not know; "
                "leave backbone.checkpoint null, or choose prompt=text with identifier=numeric",
            )
        ]
    return []


def misfits(backbone: Any, prompt: Any, head: Any, adapter: Any) -> list[str]:
    """Return why a head cannot work with the other parts; empty if it can."""
    needs = head.needs(prompt.kind)
    if prompt.kind == "text" and getattr(head, "item_weights", None) == "tied":
        return [
            "ties its item weights to the prompt's item embeddings, but prompt=text has none; set "
            "head.item_weights to own or text"
        ]
    if needs == "sequence" and prompt.use_ratings:
        return [
            "predicts the next item from items alone, but prompt.use_ratings=true asks it to read "
            "ratings; set it to false, or choose a head that judges a candidate"
        ]
    if prompt.kind == "items" and needs == "generate":
        return [
            "generates titles token by token, but prompt=items gives each item one token, so that "
            "generating is next-item classification; choose prompt=text or head=classification"
        ]
    if getattr(prompt, "reads_review", False) and head.tasks != {"classes"}:
        return [
            f"serves {', '.join(sorted(head.tasks))}, but prompt.question reads the review, which "
            "only the task classes may; choose head=classes, or a question without `review`"
        ]
    lists = getattr(head, "lists_candidates", False)
    if prompt.kind == "items" and lists:
        return ["lists candidates in words, but prompt=items has no words; choose prompt=text_list"]
    if prompt.kind == "text" and lists and "candidates" not in prompt.question_names:
        return [
            "chooses from a list, but prompt.question does not name `candidates`; choose "
            "prompt=text_list"
        ]
    if prompt.kind == "text" and head.judges_candidates and "candidates" in prompt.question_names:
        return [
            "judges one candidate, but prompt.question names `candidates`; choose prompt=text or "
            "head=listwise"
        ]
    if prompt.kind == "items" and needs == "token_logits":
        return [
            f"answers with {_words(head)}, but prompt=items has no words; choose "
            f"prompt=text or {_wordless(head)}"
        ]
    if prompt.kind == "items" and "sequence" not in backbone.provides:
        return [
            f"reads item tokens, but backbone {backbone.architecture} reads words only; choose "
            "prompt=text, or another backbone with it as prompt.text_encoder"
        ]
    if not backbone.adaptable and not isinstance(adapter, (Full, Frozen)):
        return [
            f"cannot be used with this adapter: backbone {backbone.architecture} has no attention "
            "blocks for it to act on; choose adapter=full or adapter=frozen"
        ]
    misfit = adapter.misfit(backbone.architecture, backbone.direction, needs)
    if misfit is not None:
        return [misfit]
    if needs in backbone.provides:
        own_weights = needs in ("pooled", "sequence")
        if own_weights or adapter.trains or backbone.checkpoint is not None:
            return []
        return [
            "has no weights of its own, and this adapter trains none of a randomly initialised "
            "backbone: nothing would be learned; choose adapter=full or adapter=lora, or give a "
            "backbone.checkpoint to use as it is (zero-shot)"
        ]
    if needs == "generate":
        both = "reads in both directions and " if backbone.direction == "bidirectional" else ""
        return [
            f"needs a backbone that writes, but {backbone.architecture} {both}cannot generate; "
            "choose backbone=gpt2 or backbone=t5, or head=classification"
        ]
    return [
        f"needs {needs}, but this {backbone.architecture} backbone provides only "
        f"{', '.join(sorted(backbone.provides))}: it has no language-model head; "
        f"choose backbone=gpt2, bert or t5, or {_wordless(head)}"
    ]


def depth_misfits(backbone: Any, adapter: Any) -> list[tuple[str, str]]:
    """Return why a backbone whose size is known from its options has too few blocks to train."""
    if not isinstance(adapter, LastK) or not backbone.adaptable or backbone.location is not None:
        return []
    n_blocks = backbone.dimensions.n_layers
    if adapter.k <= n_blocks:
        return []
    what = (
        f"is {adapter.k}, but this {backbone.architecture} backbone has {n_blocks} blocks; lower "
        "it, or choose adapter=full"
    )
    return [("adapter.k", what)]


def _words(head: Any) -> str:
    """Return which words a head that judges a candidate answers with."""
    return "the words yes or no" if "preference" in head.tasks else "a word for each rating"


def _wordless(head: Any) -> str:
    """Return the head that predicts the same without words."""
    if "rating" in head.tasks:
        return "head=regression"
    target = "classes" if "classes" in head.tasks else "like"
    return f"head=classification with target={target}"


def addition_misfits(kind: str, spec: Spec | None, *parts: Any) -> list[tuple[str, str]]:
    """Return why what the training adds cannot work with the parts of a language model.

    Args:
        kind: ``regularizer`` or ``distillation``.
        spec: of the component, None for none.
        parts: what its `misfit` takes.
    """
    if spec is None:
        return []
    if kind == "distillation" and getattr(parts[0], "reads_review", False):
        return [(kind, "a teacher is shown no reviews, and prompt.question reads them")]
    try:
        what = build(kind, spec).misfit(*parts)
    except LlmrecError:
        return []  # reported with its own place by the check of the nested spec
    return [] if what is None else [(kind, what)]
