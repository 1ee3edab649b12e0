"""What does not fit together in a language model, said before anything loads."""

from __future__ import annotations

from typing import Any


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
