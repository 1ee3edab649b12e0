"""A writer behind an endpoint: it is asked for texts, never trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from llmrec.backbones.chat import CHARACTERS_PER_TOKEN
from llmrec.core.config import BackboneSpec, build, construct_check
from llmrec.core.errors import LlmrecError
from llmrec.core.files import read_json, write_json
from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo
from llmrec.core.seeding import derive_seed
from llmrec.prompts.writing import filled, template_problems
from llmrec.recommenders.answers import talk
from llmrec.recommenders.base import below
from llmrec.recommenders.passages import Passages
from llmrec.recommenders.writers import BaseWriter

SYSTEM = "You write texts for a recommender system. You answer with the text alone."
OWN = (
    "{% if texts %}What the user wrote of other items:\n"
    "{% for each in texts %}- {{ each.title }}: {{ each.text }}\n{% endfor %}{% endif %}"
)
ITEM = "Item: {{ item.values() | select | join('; ') }}"
# What is asked for, by what the passages are about: the template, and the instruction after it.
TASKS = {
    "explanation": (
        OWN + ITEM,
        "Write what this user would write of this item, in about {n_words} words.",
    ),
    "description": ("Item: {{ given }}", "Describe this item in about {n_words} words."),
    "reply": ("{{ given }}", "Write the reply to this text, in about {n_words} words."),
    "conversation": (
        "{{ given }}",
        "Write the next turn of the recommender, in about {n_words} words, without a name before "
        "it. Write the title of a film as [[title]].",
    ),
}


class HostedWriter(BaseWriter):
    """A hosted language model that writes, zero- or few-shot, from prompts alone.

    From the training side it takes how long such texts are, the worked examples, and what a user
    wrote before. Requests are deterministic, as far as the endpoint is.

    Args:
        backbone: spec of the endpoint, backbone=api.
        template: Jinja prompt over ``item`` (its fields), ``given``, and ``texts`` (what the user
            wrote before: ``title`` and ``text`` of each); null: that of what is asked for.
        instruction: what to write, after the prompt; ``{n_words}`` is the median length of the
            training texts; null: that of what is asked for.
        system: message before everything; null for models that take none.
        own_texts: latest training texts of the user that the prompt shows; 0 shows none.
        n_examples: worked examples from training before the question; 0: zero-shot.
        max_length: longest prompt in tokens, four characters each; of a longer one the end is kept.
        max_new_tokens: longest text in tokens.
        seed: of worked examples.
    """

    fitted = "_state"

    def __init__(
        self,
        *,
        backbone: BackboneSpec,
        template: str | None = None,
        instruction: str | None = None,
        system: str | None = SYSTEM,
        own_texts: int = 3,
        n_examples: int = 0,
        max_length: int = 1024,
        max_new_tokens: int = 128,
        seed: int = 0,
    ) -> None:
        self.backbone = backbone
        self.template = template
        self.instruction = instruction
        self.system = system
        self.own_texts = own_texts
        self.n_examples = n_examples
        self.max_length = max_length
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        construct_check(self)
        self._backbone = build("backbone", backbone)
        self._state: dict[str, Any] | None = None
        self._facts: dict[str, int] = {}

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range or does not fit together."""
        found = below(params, own_texts=0, n_examples=0, max_length=1, max_new_tokens=1)
        template, instruction = params.get("template"), params.get("instruction")
        if template is not None:
            problems = template_problems(template, frozenset({"item", "given", "texts"}))
            found += [("template", problem) for problem in problems]
        if instruction is not None:
            try:
                instruction.format(n_words=1)
            except (KeyError, IndexError, ValueError):
                found.append(("instruction", "may hold {n_words} in braces and nothing else"))
        try:
            backbone = build("backbone", params["backbone"])
        except LlmrecError:
            return found  # reported with its own place by the check of the nested spec
        if backbone.architecture != "api":
            found.append(
                (
                    "backbone",
                    f"is {backbone.architecture}, a model of this machine; choose backbone=api "
                    "for an endpoint, or the writer language_writer",
                )
            )
        return found

    @property
    def info(self) -> ModelInfo:
        shown = 0 if self._state is None else len(self._state["examples"])
        details = {"worked_examples": shown, **self._facts}
        return ModelInfo(family="language_model", weights=self._backbone.weights, details=details)

    def warm_up(self) -> None:
        """Look for the key before anything is fitted."""
        _ = self._backbone.chat

    def fit(
        self,
        train: Passages,
        valid: Passages | None = None,  # noqa: ARG002  nothing is selected
        context: FitContext = NO_CONTEXT,  # noqa: ARG002  nothing takes long
    ) -> Self:
        own: dict[str, list[dict[str, str]]] = {}
        for row in np.flatnonzero(train.users >= 0).tolist() if self.own_texts else []:
            item = int(train.items[row])
            title = train.records[item].get("title", "") if item >= 0 else ""
            kept = own.setdefault(str(int(train.users[row])), [])
            kept.append({"item": str(item), "title": title, "text": train.texts[row]})
            # One more than is shown: an example leaves the text out that it asks for.
            del kept[: -self.own_texts - 1]
        lengths = [len(text.split()) for text in train.texts]
        self._state = {
            "task": _task(train),
            "n_words": max(1, round(float(np.median(lengths)))),
            "own": own,
            "examples": [],
        }
        rng = np.random.default_rng(derive_seed(self.seed, "worked examples"))
        drawn = rng.choice(len(train), min(self.n_examples, len(train)), replace=False)
        examples = train.take(np.sort(drawn))
        questions = self._questions(examples)
        self._facts = {}  # a cut example is cut once, not for each request
        self._state["examples"] = [
            {"question": question, "answer": text}
            for question, text in zip(questions, examples.texts, strict=True)
        ]
        return self

    def _questions(self, requests: Passages) -> list[str]:
        """Return what is asked of each request: the prompt, cut at its front, and what to write."""
        assert self._state is not None
        template, instruction = TASKS[self._state["task"]]
        shown = [
            [
                text
                for text in self._state["own"].get(str(user), [])
                if text["item"] != str(item)  # never the text that is asked for
            ][-self.own_texts :]
            for user, item in zip(requests.users.tolist(), requests.items.tolist(), strict=True)
        ]
        chosen = template if self.template is None else self.template
        texts = filled(chosen, requests.fields(), requests.given, texts=shown)
        longest = CHARACTERS_PER_TOKEN * self.max_length
        cut = sum(len(text) > longest for text in texts)
        self._facts["cut_prompts"] = self._facts.get("cut_prompts", 0) + cut
        asked = instruction if self.instruction is None else self.instruction
        asked = asked.format(n_words=self._state["n_words"])
        return [f"{text[-longest:].strip()}\n\n{asked}".strip() for text in texts]

    def requests(self, requests: Passages) -> list[dict[str, Any]]:
        """Return what is sent for each request; nothing is sent."""
        self.require_fitted()
        assert self._state is not None
        return [
            self._backbone.body(
                talk(self.system, self._state["examples"], question),
                max_tokens=self.max_new_tokens,
            )
            for question in self._questions(requests)
        ]

    def write(self, requests: Passages) -> list[str]:
        """Return one text per request; all of them are counted against the limits first.

        Raises:
            RunError: before `fit` or `load`; if a limit would be passed, or the endpoint fails.
        """
        self._facts = {}
        replies = self._backbone.complete(self.requests(requests))
        self._facts["cut_answers"] = sum(reply.finish == "length" for reply in replies)
        return [reply.text.strip() for reply in replies]

    def decoding(self) -> dict[str, Any]:
        """Return every field of a request but the messages."""
        body: dict[str, Any] = self._backbone.body([], max_tokens=self.max_new_tokens)
        return {key: value for key, value in body.items() if key != "messages"}

    def endpoint_usage(self) -> dict[str, Any]:
        """Return requests, tokens and money of this process so far."""
        usage: dict[str, Any] = self._backbone.usage()
        return usage

    def save_state(self, folder: Path) -> None:
        write_json(folder / "state.json", self._state)

    def load_state(self, folder: Path) -> None:
        self._state = read_json(folder / "state.json")


def _task(train: Passages) -> str:
    """Return what is asked for, by what the passages are about."""
    if (train.users >= 0).any():
        return "explanation"
    if (train.items >= 0).any():
        return "description"
    return "conversation" if train.records else "reply"
