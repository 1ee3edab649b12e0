"""Several adapters, one after the other: quantize while loading, then add LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmrec.core.config import AdapterSpec, build

# Adapters that decide about every weight of the backbone, and those that peft wraps around it.
BASES = ("int8", "nf4", "full", "frozen", "last_k")
WRAPPERS = ("lora", "ia3", "prefix", "prompt_tuning")


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
        names = {key: step.get("name") for key, step in steps.items()}
        found = [
            (f"steps.{key}", f"{name} decides about all weights: it must come first")
            for key, name in list(names.items())[1:]
            if name in BASES
        ]
        wrappers = [key for key, name in names.items() if name in WRAPPERS]
        found += [
            (f"steps.{key}", f"{names[key]} on top of {names[wrappers[0]]}: peft wraps once")
            for key in wrappers[1:]
        ]
        if wrappers and "last_k" in names.values():
            found.append(
                (f"steps.{wrappers[0]}", f"{names[wrappers[0]]} freezes what last_k would train")
            )
        return found

    @property
    def trains_base(self) -> bool:
        return all(adapter.trains_base for adapter in self._adapters.values())

    @property
    def trains(self) -> bool:
        return any(adapter.trains for adapter in self._adapters.values())

    @property
    def quantizes(self) -> bool:
        return any(adapter.quantizes for adapter in self._adapters.values())

    @property
    def virtual_tokens(self) -> int:
        return sum(adapter.virtual_tokens for adapter in self._adapters.values())

    @property
    def dropout(self) -> float:
        """The highest dropout of the steps."""
        return max(getattr(adapter, "dropout", 0.0) for adapter in self._adapters.values())

    def misfit(self, architecture: str, direction: str, needs: str) -> str | None:
        adapters = self._adapters.values()
        found = (adapter.misfit(architecture, direction, needs) for adapter in adapters)
        return next((sentence for sentence in found if sentence), None)

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
