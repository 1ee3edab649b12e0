"""Optional dependencies: imported when used, with an error that names the extra."""

from __future__ import annotations

import importlib
from types import ModuleType

from llmrec.core.errors import MissingExtraError


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: what to import.
        extra: the extra of llmrec that installs it.
        purpose: who needs it, for the message, e.g. ``implicit ALS``.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs the package {module.partition('.')[0]}, which is not installed: "
            f"pip install 'llmrec[{extra}]'"
        ) from error
