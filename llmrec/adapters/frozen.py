"""No weight of the backbone trains: only the head and the item tokens do."""

from __future__ import annotations

from llmrec.adapters.base import BaseAdapter


class Frozen(BaseAdapter):
    """Frozen backbone: only the head (and item tokens) train."""
