"""Several tasks on one backbone: a head of each, trained together with the main one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.core.config import HeadSpec, PromptSpec, build
from llmrec.core.errors import LlmrecError
from llmrec.recommenders.misfits import misfits

if TYPE_CHECKING:
    import torch

    from llmrec.recommenders.assembly import Assembled
    from llmrec.recommenders.language_model import LanguageModel
    from llmrec.training.batches import Batch

    Collate = Callable[[Sequence[int]], Batch]

RESERVED = ("main", "teacher")
# From what loads least to what loads most: each serves those before it.
WIDTH = ("pooled", "sequence", "token_logits", "generate")


@dataclass(frozen=True)
class AuxiliaryTask:
    """A head that is trained beside the main one.

    Attributes:
        head: spec of what else is predicted.
        weight: of its loss; that of the main head is 1. With 0 the head is there, untrained. Where
            weights are learned, they start from these.
        prompt: spec of what it reads; null for the main prompt.
    """

    head: HeadSpec
    weight: float = 1.0
    prompt: PromptSpec | None = None


class AsTask:
    """A language model as its auxiliary task sees it: with that task's head and prompt."""

    def __init__(self, owner: Any, label: str, spec: Any) -> None:
        self.owner = owner
        self.label = label
        self.weight = float(spec.get("weight", 1.0))
        self.prompt = spec.get("prompt") or owner.prompt
        self._head = build("head", spec["head"])
        self._prompt = build("prompt", self.prompt, seed=owner.seed)
        self._model: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.owner, name)

    @property
    def needs(self) -> str:
        """What its head takes from the backbone."""
        found: str = self._head.needs(self._prompt.kind)
        return found


def widest(owner: Any) -> Any:
    """Return what the backbone is loaded for, so that every head finds what it needs."""
    needs = [owner._head.needs(owner._prompt.kind), *(t.needs for t in owner._others.values())]
    return max(needs, key=WIDTH.index)


def beams_of(task: Any) -> dict[str, int]:
    """Return ``n_beams``, how many items a task writes for a query; empty if it writes none.

    Items that are found for written queries have scores beyond those, so they do not count here.
    """
    writes = task._head.needs(task._prompt.kind) == "generate" and task._head.mode == "item"
    return {"n_beams": task._head.n_beams} if writes else {}


def shared_kinds(params: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return label, prompt and head of each auxiliary task whose spec is right."""
    found = []
    for label, spec in (params.get("auxiliary") or {}).items():
        try:
            prompt = build("prompt", spec.get("prompt") or params["prompt"])
            found.append((label, prompt, build("head", spec["head"])))
        except LlmrecError:
            continue  # reported with its own place by the check of the nested spec
    return found


def task_misfits(
    params: Mapping[str, Any], backbone: Any, prompt: Any, head: Any, adapter: Any
) -> list[tuple[str, str]]:
    """Return why auxiliary tasks cannot share the backbone with the main one.

    Args:
        params: options of a language model.
        backbone: the component.
        prompt: of the main task.
        head: of the main task.
        adapter: the component.
    """
    tasks = params.get("auxiliary") or {}
    answers = params.get("answers")
    found: list[tuple[str, str]] = []
    if answers is not None and answers not in tasks:
        known = ", ".join(tasks) or "none"
        found.append(("answers", f'no auxiliary task is called "{answers}"; there are: {known}'))
    for label, spec in tasks.items():
        if not str(label).isidentifier() or label in RESERVED:
            what = "a task is named by a word, without dots or dashes, other than main and teacher"
            found.append((f"auxiliary.{label}", what))
        if spec.get("weight", 1.0) < 0:
            found.append((f"auxiliary.{label}.weight", "must be at least 0"))
    weighed = any(spec.get("weight", 1.0) > 0 for spec in tasks.values())
    if params.get("task_weighting") == "uncertainty" and not weighed:
        what = (
            "uncertainty weighs tasks against each other, and only the head's own is trained: name "
            "another under auxiliary, with a weight above 0, or leave task_weighting=fixed"
        )
        found.append(("task_weighting", what))
    if tasks and getattr(head, "lists_candidates", False):
        found.append(("auxiliary", "a head that reads lists of candidates trains alone"))
    for label, own, other in shared_kinds(params):
        place = f"auxiliary.{label}"
        if getattr(other, "lists_candidates", False):
            what = "a head that reads lists of candidates trains alone; make it model.head"
            found.append((f"{place}.head", what))
        elif own.kind != prompt.kind or own.kind == "identifiers":
            what = (
                f"reads {own.kind} where the main prompt reads {prompt.kind}; tasks share one kind "
                "of input, items or text: leave it null, or choose another prompt of that kind"
            )
            found.append((f"{place}.prompt", what))
        elif own.kind == "items" and _table(own) != _table(prompt):
            what = (
                "starts its item tokens otherwise than the main prompt, but tasks share them; only "
                "max_length and use_ratings may differ"
            )
            found.append((f"{place}.prompt", what))
        else:
            wrong = misfits(backbone, own, other, adapter)
            found += [(f"{place}.head", what) for what in wrong]
            if params.get("training_history") == "others" and not other.judges_candidates:
                what = "training_history=others is for heads that judge a candidate"
                found.append((f"{place}.head", what))
    return found


def _table(prompt: Any) -> dict[str, Any]:
    """Return the options of an items prompt that decide where its tokens start."""
    read = ("max_length", "use_ratings", "seed")
    return {key: value for key, value in vars(prompt).items() if key not in read}


@dataclass(frozen=True, eq=False)
class JointCollator:
    """A batch of the main task, with examples of the others.

    Each example of the main task takes its share of the other examples along, so that one epoch
    passes over all of every task (over those of a smaller task several times), whatever the order.

    Attributes:
        main: makes batches of the main task.
        n: its number of examples.
        apart: collator and number of examples of tasks that read something else, by label.
        alike: collators of tasks that read what the main task reads, by label: the examples are the
            same, and what to predict is added.
    """

    main: Collate
    n: int
    apart: Mapping[str, tuple[Collate, int]]
    alike: Mapping[str, Collate]

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        others: dict[str, Batch] = {}
        for label, collate in self.alike.items():
            batch = collate(numbers)
            others[label] = {k: v for k, v in batch.items() if k in ("targets", "offsets")}
        for label, (collate, n) in self.apart.items():
            others[label] = collate(self.carried(numbers, n))
        return {**self.main(numbers), "others": others}

    def carried(self, numbers: Sequence[int], n: int) -> list[int]:
        """Return which of the n examples of another task these examples take along."""
        rows = np.asarray(numbers, np.int64)
        first = rows * n // self.n
        after = np.maximum((rows + 1) * n // self.n, first + 1)
        taken = [np.arange(a, b) for a, b in zip(first, after, strict=True)]
        found: list[int] = np.unique(np.concatenate(taken)).tolist()
        return found


def joint_batches(
    owner: LanguageModel,
    lengths: np.ndarray,
    collate: Collate,
    of_task: Callable[[Any, Any], tuple[np.ndarray, Collate]],
) -> JointCollator:
    """Return what makes a batch of all tasks that are trained.

    Args:
        owner: the language model, assembled.
        lengths: of the main task's examples.
        collate: makes batches of the main task.
        of_task: returns lengths and collator of a task.
    """
    apart: dict[str, tuple[Collate, int]] = {}
    alike: dict[str, Collate] = {}
    for label, view in trained(owner).items():
        others, made = of_task(view, view._model)
        if reads_alike(owner, view):
            # The inputs are the main task's; what to predict is the task's own.
            alike[label] = replace(collate, targets=made.targets, offsets=made.offsets)  # type: ignore[type-var, attr-defined]
        else:
            apart[label] = (made, len(others))
    return JointCollator(collate, len(lengths), apart, alike)


def trained(owner: Any) -> dict[str, AsTask]:
    """Return the auxiliary tasks whose loss has a weight."""
    return {label: view for label, view in owner._others.items() if view.weight > 0}


def reads_alike(owner: Any, view: AsTask) -> bool:
    """Return whether a task judges what the main task judges, in the same prompts."""
    both = owner._head.judges_candidates and view._head.judges_candidates
    same_needs = owner._head.needs(owner._prompt.kind) == view.needs == "pooled"
    return bool(both and same_needs and dict(view.prompt) == dict(owner.prompt))


def all_assembled(owner: Any) -> dict[str, Assembled]:
    """Return what each auxiliary task scores with, by label."""
    return {label: view._model for label, view in owner._others.items()}


def added_parameters(owner: Any) -> int:
    """Return how many values the heads of auxiliary tasks have."""
    heads: list[torch.nn.Module] = [view._model.net.head for view in owner._others.values()]
    return sum(p.numel() for head in heads for p in head.parameters())
