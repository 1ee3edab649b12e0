"""The text prompt of a writer: a template over the item and the text that is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmrec.core.errors import DataError
from llmrec.prompts.text import _environment

NAMES = frozenset({"item", "given"})


def template_problems(template: str, names: frozenset[str] = NAMES) -> list[str]:
    """Return what is wrong: the syntax, or names that a writer's template does not have."""
    from jinja2 import TemplateSyntaxError, meta

    try:
        strange = set(meta.find_undeclared_variables(_environment().parse(template))) - names
    except TemplateSyntaxError as error:
        return [f"not a valid Jinja template: {error.message} (line {error.lineno})"]
    allowed = ", ".join(sorted(names))
    return [f'unknown name "{name}"; allowed: {allowed}' for name in sorted(strange)]


def filled(
    template: str,
    items: Sequence[Mapping[str, str]],
    given: Sequence[str],
    **more: Sequence[Any],
) -> list[str]:
    """Return one prompt per row.

    Args:
        template: Jinja over ``item``, the fields of an item, and ``given``, a text.
        items: N rows of fields, empty where a request is about no item.
        given: N texts: what is answered, "" where there is nothing.
        more: N values of each other name.

    Raises:
        DataError: if the template names a field that an item lacks.
    """
    compiled: Any = _environment().from_string(template)
    try:
        return [
            str(compiled.render(item=item, given=text, **{k: v[row] for k, v in more.items()}))
            for row, (item, text) in enumerate(zip(items, given, strict=True))
        ]
    except Exception as error:  # whatever an expression of the template may do
        fields = ", ".join(items[0]) or "none"
        raise DataError(
            f"the writer's template cannot be filled: {error}; fields of an item: {fields}"
        ) from error
