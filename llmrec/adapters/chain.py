"""Several adapters, one after the other: quantize while loading, then add LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmrec.core.config import AdapterSpec, build


class Chain:
    """Adapters applied in order, e.g. 8-bit weights with LoRA on top.

    Args:
        steps: adapter specs by name, in order; a mapping so that each can be overridden.
    """

    def __init__(self, *, steps: Mapping[str, AdapterSpec]) -> None:
        self.steps = steps
        self._adapters = {name: build("adapter", spec) for name, spec in steps.items()}

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong with the steps."""
        steps = params["steps"]
        if not steps:
            return [("steps", "a chain needs at least one adapter")]
        return [
            (f"steps.{key}", f"{name} decides about all weights: it must come first")
            for key, name in [(key, steps[key].get("name")) for key in list(steps)[1:]]
            if name in ("int8", "full", "frozen")
        ]

    @property
    def trains_base(self) -> bool:
        return all(adapter.trains_base for adapter in self._adapters.values())

    @property
    def trains(self) -> bool:
        return any(adapter.trains for adapter in self._adapters.values())

    def load_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for adapter in self._adapters.values():
            options |= adapter.load_options()
        return options

    def wrap(self, module: Any, architecture: str) -> Any:
        for adapter in self._adapters.values():
            module = adapter.wrap(module, architecture)
        return module

    def save(self, module: Any, folder: Path) -> None:
        for name, adapter in self._adapters.items():
            adapter.save(module, folder / name)

    def restore(self, module: Any, folder: Path) -> Any:
        for name, adapter in self._adapters.items():
            module = adapter.restore(module, folder / name)
        return module
