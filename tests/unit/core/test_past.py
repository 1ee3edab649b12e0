"""The two names of what a transformer has read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmrec.core.errors import ComponentError
from llmrec.core.past import past_in, past_name, takes_past


def until_5_23(input_ids: Any = None, past_key_values: Any = None) -> None:
    """Take it by its old name."""


def from_5_24(input_ids: Any = None, cache: Any = None, **kwargs: Any) -> None:
    """Take it by its new name, the old one among other things."""


def both(past_key_values: Any = None, cache: Any = None) -> None:
    """Take it by either."""


def encoder(input_ids: Any = None, **kwargs: Any) -> None:
    """Take none."""


@pytest.mark.parametrize(
    ("forward", "name"),
    [(until_5_23, "past_key_values"), (from_5_24, "cache"), (both, "cache")],
)
def test_the_module_says_its_name(forward: Any, name: str) -> None:
    module = SimpleNamespace(forward=forward)
    assert takes_past(module)
    assert past_name(module) == name


def test_a_module_without_one_is_refused() -> None:
    module = SimpleNamespace(forward=encoder)
    assert not takes_past(module)
    with pytest.raises(ComponentError, match="takes no cache or past_key_values"):
        past_name(module)


def test_it_is_found_by_either_name() -> None:
    from transformers.modeling_outputs import BaseModelOutputWithPast

    made = object()
    assert past_in({"input_ids": 1, "cache": made}) is made
    assert past_in({"past_key_values": made, "input_ids": 1}) is made
    assert past_in({"input_ids": 1}) is None
    assert past_in(BaseModelOutputWithPast(1, made)) is made
    assert past_in(BaseModelOutputWithPast(1)) is None
