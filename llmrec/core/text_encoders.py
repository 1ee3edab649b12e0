"""The check of options that name a backbone to embed texts."""

from __future__ import annotations

from llmrec.core.config import Spec, build


def text_encoder_problems(
    encoder: Spec | None, reader: str, ways: str = "or choose name=minilm"
) -> list[tuple[str, str]]:
    """Return what is wrong with a ``text_encoder``: it is missing, or knows no words.

    Args:
        encoder: its spec.
        reader: the setting that asks for one, for the message.
        ways: what to do instead of giving a random one a checkpoint.
    """
    if encoder is None:
        return [("text_encoder", f"{reader} needs a backbone here")]
    if build("backbone", encoder).weights != "random init":
        return []
    what = "a randomly initialised backbone knows nothing about the texts; give it a checkpoint, "
    return [("text_encoder", what + ways)]
