"""What most adapters have in common: nothing is loaded in another way, stored, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class BaseAdapter:
    """Base of the adapters: as it stands, it freezes the backbone.

    A subclass says what it does otherwise; see `llmrec.core.protocols.Adapter`.
    """

    trains_base = False
    trains = False
    quantizes = False
    virtual_tokens = 0

    def load_options(self) -> dict[str, Any]:
        return {}

    def misfit(self, architecture: str, direction: str, needs: str) -> str | None:  # noqa: ARG002
        return None

    def wrap(self, module: Any, architecture: str) -> Any:  # noqa: ARG002
        module.requires_grad_(False)
        return module

    def save(self, module: Any, folder: Path) -> None:
        """Nothing beside the base weights."""

    def restore(self, module: Any, folder: Path) -> Any:  # noqa: ARG002
        module.requires_grad_(False)
        return module
