"""What is wrong with a text prompt for a data set, found before anything is trained.

The template is read as a program: fields are checked in branches too that no user may reach.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import nodes

from llmrec.core.errors import DataError, unknown
from llmrec.core.types import Ragged
from llmrec.prompts.text import Text, parsed

# Filters that keep a list of items, that pick one of them, and that read a field of each.
KEEP = frozenset({"reverse", "sort", "unique", "list", "batch", "selectattr", "rejectattr"})
KEEP |= {"select", "reject"}
PICK = frozenset({"first", "last", "random", "min", "max"})
READ = frozenset({"map", "sort", "unique", "groupby", "sum", "min", "max"})
READ_FIRST = frozenset({"selectattr", "rejectattr", "groupby"})
OWN = frozenset(dir(dict))
TEXT = frozenset(dir(str))
TRIED = 20


def lint(
    prompt: Text, items: Sequence[Mapping[str, str]], *, rated: bool, asks: bool = False
) -> list[str]:
    """Return the problems of a prompt, a sentence each.

    Args:
        prompt: its templates compile and name nothing but history and candidate: that is checked
            when it is made.
        items: the fields of every item, as `llmrec.prompts.records.item_records` makes them.
        rated: whether the interactions have ratings.
        asks: whether a head judges candidates, so that the question is used.
    """
    known = set(items[0]) if items else set()
    found = []
    for key in ("template", "question") if asks else ("template",):
        reader = _Reader(known)
        reader.read(parsed(getattr(prompt, key)))
        found += [f"{key}: {problem}" for problem in reader.problems]
        if not reader.problems and items:
            found += [f"{key}: {problem}" for problem in _fails(prompt, key, items, rated)]
    names = {key: _names(getattr(prompt, key)) for key in ("template", "question")}
    if asks and not {"candidate", "candidates", "review"} & names["question"]:
        found.append("question: it never names the candidate, so all candidates get one answer")
    read = names["template"] | (names["question"] if asks else set())
    if not {"history", "review"} & read:  # who reads what was written may leave the rest out
        found.append("template: it never names the history, so all users get one prompt")
    return list(dict.fromkeys(found))


def _names(template: str) -> set[str]:
    return {each.name for each in parsed(template).find_all(nodes.Name)}


def _fails(
    prompt: Text, key: str, items: Sequence[Mapping[str, str]], rated: bool
) -> Iterator[str]:
    """Try it on histories of no, one, two and more of the first items."""
    for length in sorted({min(length, len(items)) for length in (0, 1, 2, TRIED)}):
        rows = Ragged.from_rows([list(range(length))])
        ratings = rows.with_values(np.ones(length, np.float32)) if rated else None
        asked = None if key == "template" else np.array([len(items) - 1])
        if asked is not None and "candidates" in prompt.question_names:
            asked = asked[None]
        written = ["Fine. It works."] if prompt.reads_review else None
        try:
            prompt.render(items, rows, ratings, asked, written)
        except DataError as error:
            yield f"{error} (tried with a history of {length} items)"
            return


class _Reader:
    """Walks through a template and follows which names stand for items."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = {*known, "rating"}
        self._candidate = set(known)
        self._kinds: dict[str, str] = {
            "history": "items",
            "candidate": "candidate",
            "candidates": "candidates",
            "review": "review",
        }
        self.problems: list[str] = []

    def read(self, node: nodes.Node) -> None:
        if isinstance(node, nodes.For):
            kind = self._kind(node.iter)
            if kind in ("items", "candidates") and isinstance(node.target, nodes.Name):
                self._kinds[node.target.name] = "item" if kind == "items" else "lettered"
        elif isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name):
            kind = self._kind(node.node)
            if kind is not None:
                self._kinds[node.target.name] = kind
        elif isinstance(node, nodes.Getattr):
            self._access(node.node, node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            self._access(node.node, node.arg.value)
        elif isinstance(node, nodes.Filter):
            self._filter(node)
        for child in node.iter_child_nodes():
            self.read(child)

    def _kind(self, node: Any) -> str | None:
        """Return whether an expression is ``items``, an ``item``, the ``candidate`` or neither."""
        if isinstance(node, nodes.Name):
            return self._kinds.get(node.name)
        if isinstance(node, nodes.Getitem) and self._kind(node.node) == "items":
            return "items" if isinstance(node.arg, nodes.Slice) else "item"
        if isinstance(node, nodes.Filter) and self._kind(node.node) == "items":
            if node.name in PICK:
                return "item"
            return "items" if node.name in KEEP else None
        if isinstance(node, nodes.CondExpr):
            return self._kind(node.expr1)
        return None

    def _access(self, owner: Any, name: Any) -> None:
        kind = self._kind(owner)
        if kind == "review" and name not in TEXT:
            self.problems.append(f'a review is plain text and has no field "{name}"')
        if kind not in ("item", "candidate", "lettered") or not isinstance(name, str):
            return
        lettered = {*self._candidate, "letter"}
        known = {"candidate": self._candidate, "lettered": lettered}.get(kind, self._known)
        self._check(name, known)

    def _filter(self, node: nodes.Filter) -> None:
        if self._kind(node.node) != "items":
            return
        given = [each.value for each in node.kwargs if each.key == "attribute"]
        if node.name in READ_FIRST and node.args:
            given.append(node.args[0])
        if node.name in READ or node.name in READ_FIRST:
            for value in given:
                if isinstance(value, nodes.Const) and isinstance(value.value, str):
                    for name in value.value.split(","):
                        self._check(name.strip().partition(".")[0], self._known)

    def _check(self, name: str, known: Collection[str]) -> None:
        if name not in known and name not in OWN:
            self.problems.append(unknown("field of an item", name, known))
