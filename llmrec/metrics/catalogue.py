"""Catalogue metrics: one value from all recommended lists together."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from llmrec.core.errors import ConfigError, Problem


class Coverage:
    """Coverage@k: the share of the catalogue that is in the first k of at least one list."""

    family: ClassVar[Literal["catalogue"]] = "catalogue"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, *, k: int) -> None:
        if type(k) is not int or k < 1:
            raise ConfigError([Problem("k", f"a list length is a whole number from 1, got {k!r}")])
        self.k = k

    def overall(self, lists: np.ndarray, n_items: int) -> float:
        shown = np.zeros(n_items, bool)
        top = lists[:, : self.k]
        shown[top[top >= 0]] = True
        return float(shown.mean()) if n_items else float("nan")
