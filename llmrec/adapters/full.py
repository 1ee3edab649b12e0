"""Every weight trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmrec.adapters.base import BaseAdapter


class Full(BaseAdapter):
    """Full fine-tuning: every weight of the backbone trains."""

    trains_base = True
    trains = True

    def wrap(self, module: Any, architecture: str) -> Any:  # noqa: ARG002
        module.requires_grad_(True)
        return module

    def restore(self, module: Any, folder: Path) -> Any:  # noqa: ARG002
        return module
