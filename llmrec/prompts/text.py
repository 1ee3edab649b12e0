"""Text prompts: a template over the history (and a candidate), rendered and tokenised."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.errors import ComponentError, ConfigError, DataError, Problem, did_you_mean
from llmrec.core.types import Ragged

TEMPLATE = (
    "{% if history %}The user's history, oldest first: "
    "{% for item in history %}{{ (item.title | trim) or 'untitled' }}"
    "{% if item.rating is not none %} (rated {{ '%g' % (item.rating | round(2)) }}){% endif %}"
    "{{ '; ' if not loop.last else '.' }}{% endfor %}"
    "{% else %}The user is new.{% endif %}"
)
NAMES = ("history", "candidate", "candidates", "review")
LETTERS = string.ascii_uppercase
QUESTION = "Will the user like {{ candidate.title }}?"


class Text:
    """The history (and a candidate) as a sentence from a Jinja template.

    The template sees ``history``: items oldest first, each with the fields of the item file and
    ``rating`` (None if unknown); the question also sees ``candidate``, an item without a rating,
    or, for a head that chooses from a list, ``candidates``: items with a ``letter`` each. For the
    task classes it may see ``review``, what the user wrote of the candidate, if the evaluation says
    so (``reads_review``). A name that the data set lacks is an error. The history's oldest tokens
    go first when a prompt is too long, then the end of the review; how many prompts were cut is
    reported with the model. The rest of a question is never cut.

    Args:
        template: what the model reads of the history.
        question: added, after a blank, for heads that judge a candidate or choose from a list.
        history_length: latest items of the history that the template sees.
        max_length: longest prompt in tokens.
    """

    kind: ClassVar[Literal["items", "text"]] = "text"

    def __init__(
        self,
        *,
        template: str = TEMPLATE,
        question: str = QUESTION,
        history_length: int = 10,
        max_length: int = 256,
    ) -> None:
        self.template = template
        self.question = question
        self.history_length = history_length
        self.max_length = max_length
        problems = [Problem(key, what) for key, what in self.check_options(vars(self))]
        if problems:
            raise ConfigError(problems)
        self._render_history = _compile(template)
        self._render_question = _compile(question)

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong: template syntax, names, a candidate in the history's template."""
        found = []
        for key in ("template", "question"):
            if key in params:
                found += [(key, problem) for problem in _template_problems(params[key])]
        for key, least in (("history_length", 0), ("max_length", 1)):
            if params.get(key, least) < least:
                found.append((key, f"must be at least {least}"))
        asked = {"candidate", "candidates"}
        if not found and asked & _names(params.get("template", TEMPLATE)):
            found.append(("template", "names the candidate; only the question may"))
        if not found and "review" in _names(params.get("template", TEMPLATE)):
            found.append(("template", "names the review; only the question may"))
        if not found and asked <= _names(params.get("question", QUESTION)):
            found.append(("question", "names candidate and candidates; a head asks about one kind"))
        return found

    def render(
        self,
        items: Sequence[Mapping[str, str]],
        histories: Ragged,
        ratings: Ragged | None,
        candidates: np.ndarray | None,
        reviews: Sequence[str] | None = None,
    ) -> list[str]:
        """Return one prompt per row: history and question, joined by a blank.

        The arguments are those of `parts`.
        """
        parts = self.parts(items, histories, ratings, candidates, reviews)
        return [joined(history, question) for history, question in parts]

    def parts(
        self,
        items: Sequence[Mapping[str, str]],
        histories: Ragged,
        ratings: Ragged | None,
        candidates: np.ndarray | None,
        reviews: Sequence[str] | None = None,
    ) -> list[tuple[str, str | None]]:
        """Return what each row's prompt says of the history, and its question.

        Args:
            items: fields of every item of the catalogue, by item id.
            histories: N rows of item ids, oldest first.
            ratings: their ratings, same rows, or None.
            candidates: (N,) item ids the question is about, (N, C) for a list of candidates each
                (−1 for an empty place), or None for no question.
            reviews: N texts about the candidates, or None where none may be read.

        Raises:
            DataError: if a template names a field that the items lack, or fails otherwise.
            ComponentError: if the question reads a review and none is given.
        """
        if self.reads_review and candidates is not None and reviews is None:
            raise ComponentError(
                "prompt.question reads the review, and none is given here: it is for "
                "evaluation=classes with evaluation.reads_review=true"
            )
        shown = self.shown(items, histories, ratings)
        found: list[tuple[str, str | None]] = []
        for row, history in enumerate(shown):
            question = None
            if candidates is not None:
                review = "" if reviews is None else reviews[row]
                question = self._question(history, items, candidates[row], review)
            found.append((self.render_history(history), question))
        return found

    def shown(
        self, items: Sequence[Mapping[str, str]], histories: Ragged, ratings: Ragged | None
    ) -> list[list[dict[str, Any]]]:
        """Return what the template sees of each history: the fields and rating of each item."""
        latest = histories.tail(self.history_length)
        stars = None if ratings is None else ratings.tail(self.history_length)
        found = []
        for row in range(len(latest)):
            ids = latest[row].tolist()
            values: Sequence[Any] = [None] * len(ids) if stars is None else stars[row].tolist()
            found.append([{**items[i], "rating": r} for i, r in zip(ids, values, strict=True)])
        return found

    def render_history(self, history: Sequence[Mapping[str, Any]]) -> str:
        """Return what the model reads of one history, as `shown` gives it."""
        return _filled(self._render_history, history=history)

    def render_question(
        self,
        history: Sequence[Mapping[str, Any]],
        candidate: Mapping[str, str],
        review: str = "",
    ) -> str:
        """Return the question about one candidate; it follows the history after a blank."""
        given = {"history": history, "candidate": candidate}
        return _filled(self._render_question, **given, review=review)

    def _question(
        self,
        history: Sequence[Mapping[str, Any]],
        items: Sequence[Mapping[str, str]],
        asked: Any,
        review: str,
    ) -> str:
        if not np.ndim(asked):
            return self.render_question(history, items[int(asked)], review)
        listed = [items[item] for item in asked.tolist() if item >= 0]
        lettered = [
            {**item, "letter": letter} for item, letter in zip(listed, LETTERS, strict=False)
        ]
        return _filled(self._render_question, history=history, candidates=lettered)

    @property
    def question_names(self) -> frozenset[str]:
        """What the question reads: of ``history``, ``candidate``, ``candidates``, ``review``."""
        return _names(self.question)

    @property
    def reads_review(self) -> bool:
        """Whether the question shows what the user wrote of the candidate."""
        return "review" in _names(self.question)

    @property
    def reads_items(self) -> bool:
        """Whether anything of items is shown, be it of the history or of a candidate."""
        return bool((_names(self.template) | _names(self.question)) - {"review"})

    @property
    def question_reads_history(self) -> bool:
        """Whether the question's words depend on the history, not on the candidate alone."""
        return "history" in _names(self.question)

    def tokenise(
        self,
        tokenizer: Any,
        parts: Sequence[tuple[str, str | None]],
        prefix: Sequence[int],
        suffix: Sequence[int],
    ) -> tuple[Ragged, np.ndarray]:
        """Return token ids of each prompt, and (N,) how many tokens were cut off its history.

        Args:
            tokenizer: a transformers tokenizer.
            parts: N histories and questions, as `parts` returns them.
            prefix: token ids put before each, e.g. BERT's classification token.
            suffix: token ids put after each, e.g. the mask token or the end of the sentence.

        Raises:
            DataError: if a question alone is too long.
        """
        if not parts:
            return Ragged.empty(0, np.int64), np.zeros(0, np.int64)
        texts = [joined(history, question) for history, question in parts]
        rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
        room = self.max_length - len(prefix) - len(suffix)
        cuts = np.array([max(0, len(row) - room) for row in rows], np.int64)
        asked = [row for row in np.flatnonzero(cuts).tolist() if parts[row][1] is not None]
        if asked:
            shown = tokenizer([parts[row][0] for row in asked], add_special_tokens=False)
            for row, history in zip(asked, shown["input_ids"], strict=True):
                self.require_room(str(parts[row][1]), len(rows[row]) - len(history), room)
        whole = [
            [*prefix, *row[cut:], *suffix] for row, cut in zip(rows, cuts.tolist(), strict=True)
        ]
        return Ragged.from_rows(whole, np.int64), cuts

    def require_room(self, question: str, n_tokens: int, room: int) -> None:
        """Check that a question fits into a prompt without any history.

        Raises:
            DataError: if it does not.
        """
        if n_tokens > room:
            listed = "lower head.list_size, " if "candidates" in self.question_names else ""
            given_up = "the history and the review are" if self.reads_review else "the history is"
            raise DataError(
                f'a question of {n_tokens} tokens, "{question[:60]}...", does not fit into '
                f"prompt.max_length={self.max_length}, which leaves {max(0, room)}; only "
                f"{given_up} cut, so raise prompt.max_length, {listed}or shorten it in "
                "prompt.question, e.g. with {{ item.title | truncate(40) }}"
            )


def joined(history: str, question: str | None) -> str:
    """Return a prompt: the history, then, after a blank, the question, if there is one."""
    return history if question is None else f"{history} {question}"


def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


@lru_cache(maxsize=256)  # a check of a config builds its prompt several times
def _compile(template: str) -> Any:
    return _environment().from_string(template)


def _filled(template: Any, **values: Any) -> str:
    try:
        return str(template.render(**values))
    except Exception as error:  # whatever an expression of the template may do
        shown = (
            values.get("candidate") or (values["history"] or values.get("candidates") or [{}])[0]
        )
        fields = ", ".join(key for key in shown if key not in ("rating", "letter")) or "none"
        raise DataError(
            f"the prompt template cannot be filled: {error}; fields of an item: {fields}"
        ) from error


def _template_problems(template: str) -> list[str]:
    from jinja2 import TemplateSyntaxError

    try:
        strange = _names(template) - set(NAMES)
    except TemplateSyntaxError as error:
        return [f"not a valid Jinja template: {error.message} (line {error.lineno})"]
    allowed = ", ".join(NAMES)
    return [
        f'unknown name "{name}"{did_you_mean(name, NAMES)}; allowed: {allowed}{_hint(name)}'
        for name in sorted(strange)
    ]


def _hint(name: str) -> str:
    secret = name in ("target", "targets", "label", "answer", "truth", "next", "next_item")
    return " (a prompt cannot name what it asks for)" if secret else ""


def parsed(template: str) -> Any:
    """Return the syntax tree of a template that compiles."""
    return _environment().parse(template)


@lru_cache(maxsize=256)
def _names(template: str) -> frozenset[str]:
    from jinja2 import meta, nodes

    tree = parsed(template)
    # Jinja takes a name that is set in one branch for undeclared, because another may lack it.
    own = {each.name for each in tree.find_all(nodes.Name) if each.ctx == "store"}
    return frozenset(meta.find_undeclared_variables(tree) - own)
