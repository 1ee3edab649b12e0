"""Low-rank adapters (Hu et al., 2022) and their variants, through peft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrec.adapters.base import BaseAdapter
from llmrec.adapters.peft_weights import (
    VISIBLE,
    read_plainly,
    restored,
    save_weights,
    wrapped_with,
)
from llmrec.adapters.targets import ATTENTION
from llmrec.core.extras import require


class LoRA(BaseAdapter):
    """LoRA: low-rank updates of the attention projections train, the rest is frozen.

    Args:
        rank: r, the rank of the update.
        alpha: the update is scaled by alpha / rank.
        dropout: on the input of the update.
        targets: names of the layers to adapt; None for the architecture's attention projections.
        rank_stabilized: scale by alpha / √rank instead (rsLoRA, Kalajdzievski, 2023).
        decomposed: learn the magnitude of each output apart from the direction (DoRA, Liu et al.,
            2024).
    """

    trains = True

    def __init__(
        self,
        *,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.05,
        targets: Sequence[str] | None = None,
        rank_stabilized: bool = False,
        decomposed: bool = False,
    ) -> None:
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets
        self.rank_stabilized = rank_stabilized
        self.decomposed = decomposed

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        found = []
        if params.get("rank", 8) < 1:
            found.append(("rank", "must be at least 1"))
        if params.get("alpha", 16.0) <= 0:
            found.append(("alpha", "must be above 0: it scales the update"))
        if not 0 <= params.get("dropout", 0.05) < 1:
            found.append(("dropout", "must be at least 0 and below 1"))
        return found

    def wrap(self, module: Any, architecture: str) -> Any:
        peft = require("peft", "lm", "adapter lora")
        kind = module.config.model_type
        targets = list(self.targets) if self.targets else ATTENTION.get(kind, "all-linear")
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            fan_in_fan_out=kind == "gpt2",  # its layers are Conv1D
            use_rslora=self.rank_stabilized,
            use_dora=self.decomposed,
        )
        return wrapped_with(module, config, "lora", architecture)

    def save(self, module: Any, folder: Path) -> None:
        save_weights(module, folder)

    def restore(self, module: Any, folder: Path) -> Any:
        return restored(module, folder, read_plainly, _is_trained)


def _is_trained(stored: Mapping[str, Any]) -> bool:
    # The update is B·A, and B starts at zero.
    return any(bool((w.abs() > VISIBLE).any()) for name, w in stored.items() if "lora_B" in name)
