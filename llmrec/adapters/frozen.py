"""No weight of the backbone trains: only the head and the item tokens do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Frozen:
    """Frozen backbone: only the head (and item tokens) train."""

    trains_base = False
    trains = False

    def load_options(self) -> dict[str, Any]:
        return {}

    def wrap(self, module: Any, architecture: str) -> Any:  # noqa: ARG002
        module.requires_grad_(False)
        return module

    def save(self, module: Any, folder: Path) -> None:
        """Nothing beside the base weights."""

    def restore(self, module: Any, folder: Path) -> Any:  # noqa: ARG002
        module.requires_grad_(False)
        return module
