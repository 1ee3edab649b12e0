"""(IA)³ (Liu et al., 2022, "Few-shot parameter-efficient fine-tuning is better"), through peft."""

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
from llmrec.adapters.targets import SCALED
from llmrec.core.extras import require


class IA3(BaseAdapter):
    """(IA)³: one learned factor per key, value and feed-forward unit; the rest is frozen.

    Args:
        targets: names of the layers to scale; None for those of the paper.
        feedforward_targets: those of `targets` whose input is scaled, not their output.
    """

    trains = True

    def __init__(
        self,
        *,
        targets: Sequence[str] | None = None,
        feedforward_targets: Sequence[str] | None = None,
    ) -> None:
        self.targets = targets
        self.feedforward_targets = feedforward_targets

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what does not go together."""
        targets = params.get("targets")
        inputs = params.get("feedforward_targets")
        if inputs and not set(inputs) <= set(targets or ()):
            return [("feedforward_targets", "must be among targets: give both lists")]
        return []

    def wrap(self, module: Any, architecture: str) -> Any:
        peft = require("peft", "lm", "adapter ia3")
        kind = module.config.model_type
        layers: Any = None  # peft knows more model types
        inputs: Any = None
        if self.targets:
            layers, inputs = list(self.targets), list(self.feedforward_targets or [])
        elif kind in SCALED:
            layers, inputs = SCALED[kind]
        config = peft.IA3Config(
            target_modules=layers, feedforward_modules=inputs, fan_in_fan_out=kind == "gpt2"
        )
        return wrapped_with(module, config, "ia3", architecture)

    def save(self, module: Any, folder: Path) -> None:
        save_weights(module, folder)

    def restore(self, module: Any, folder: Path) -> Any:
        return restored(module, folder, read_plainly, _is_trained)


def _is_trained(stored: Mapping[str, Any]) -> bool:
    return any(bool(((factor - 1).abs() > VISIBLE).any()) for factor in stored.values())
