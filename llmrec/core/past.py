"""What a transformer has read already, which transformers calls by two names.

Until 5.23 the argument of ``forward`` and the field of the output that carry keys and values are
``past_key_values``, from 5.24 on ``cache``. The old name still works there, with a warning; code of
a checkpoint's author may keep it, so the module is asked, not the version.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from llmrec.core.errors import ComponentError

NAMES = ("cache", "past_key_values")


def takes_past(module: Any) -> bool:
    """Return whether a module's ``forward`` takes keys and values of earlier tokens."""
    return _name(module) is not None


def past_name(module: Any) -> str:
    """Return the name by which a module's ``forward`` takes keys and values of earlier tokens.

    Raises:
        ComponentError: if it takes none.
    """
    name = _name(module)
    if name is None:
        kind = type(module).__name__
        raise ComponentError(f"{kind}.forward takes no {' or '.join(NAMES)}; choose a decoder")
    return name


def past_in(values: Mapping[str, Any]) -> Any:
    """Return the keys and values among the arguments or the outputs of a ``forward``, or None."""
    return next((value for name, value in values.items() if name in NAMES), None)


def _name(module: Any) -> str | None:
    accepted = inspect.signature(module.forward).parameters
    return next((name for name in NAMES if name in accepted), None)
