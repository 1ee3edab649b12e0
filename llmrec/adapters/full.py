"""Every weight trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Full:
    """Full fine-tuning: every weight of the backbone trains."""

    trains_base = True
    trains = True

    def load_options(self) -> dict[str, Any]:
        return {}

    def wrap(self, module: Any, architecture: str) -> Any:  # noqa: ARG002
        module.requires_grad_(True)
        return module

    def save(self, module: Any, folder: Path) -> None:
        """Nothing beside the base weights."""

    def restore(self, module: Any, folder: Path) -> Any:  # noqa: ARG002
        return module
