"""Compare language-model recommenders with collaborative filtering, honestly, on your own data."""

from __future__ import annotations

__version__ = "0.1.0"
