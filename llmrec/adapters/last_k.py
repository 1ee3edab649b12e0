"""The last blocks train, the rest is frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmrec.adapters.base import BaseAdapter
from llmrec.core.errors import ComponentError


class LastK(BaseAdapter):
    """The last k blocks and the norm after them train; embeddings and earlier blocks are frozen.

    Of an encoder-decoder the last k blocks of each train. The trained weights are part of the
    backbone, so the whole backbone is stored.

    Args:
        k: number of blocks that train.
    """

    trains_base = True
    trains = True

    def __init__(self, *, k: int = 2) -> None:
        self.k = k

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        return [("k", "must be at least 1")] if params.get("k", 2) < 1 else []

    def wrap(self, module: Any, architecture: str) -> Any:
        """Return the module with all but its last blocks frozen.

        Raises:
            ComponentError: if it has fewer blocks, or none that can be told apart.
        """
        module.requires_grad_(False)
        stacks = list(_stacks(module))
        if not stacks:
            raise ComponentError(
                f"adapter last_k finds no stack of blocks in this {architecture} backbone; choose "
                "adapter=full, frozen or lora"
            )
        for blocks, norms in stacks:
            if self.k > len(blocks):
                raise ComponentError(
                    f"adapter.k is {self.k}, but this {architecture} backbone has {len(blocks)} "
                    "blocks; lower it, or choose adapter=full"
                )
            for part in [*list(blocks)[-self.k :], *norms]:
                part.requires_grad_(True)
        return module

    def restore(self, module: Any, folder: Path) -> Any:  # noqa: ARG002
        return self.wrap(module, module.config.model_type)


def _stacks(module: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each stack of blocks with the norms that follow it: one, or encoder and decoder."""
    from torch import nn

    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            children = dict(module.named_children())
            later = list(children)[list(children).index(name) + 1 :]
            yield child, [children[key] for key in later if "Norm" in type(children[key]).__name__]
        else:
            yield from _stacks(child)
