"""A fitted teacher beside the hard targets: its scores, or its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmrec.core.config import RecommenderSpec, build
from llmrec.core.errors import LlmrecError

# What a teacher must serve, by what the student's head learns.
SERVES = {"next": "ranking", "like": "preference", "number": "rating"}


def taught(head: Any) -> str | None:
    """Return what a head can be taught: ``next``, ``like`` or ``number``; None for none."""
    if getattr(head, "lists_candidates", False):
        return None
    if not head.judges_candidates:
        return "next" if getattr(head, "target", None) == "next_item" else None
    if "preference" in head.tasks:
        return "like"
    smooth = getattr(head, "loss", None) in ("mse", "huber") and "rating" in head.tasks
    return "number" if smooth else None


def _wrong_teacher(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a problem unless there is exactly one teacher."""
    given = [params.get(key) is not None for key in ("teacher", "teacher_folder")]
    if sum(given) == 1:
        return []
    if all(given):
        what = (
            "give this or teacher_folder, not both; ~model@model.distillation.teacher takes it away"
        )
    else:
        what = "give a recommender here, or the folder of a fitted one: teacher_folder"
    return [("teacher", what)]


def _teacher_misfit(teacher: RecommenderSpec | None, head: Any) -> str | None:
    """Return why a teacher, as configured, cannot teach a head."""
    kind = taught(head)
    if kind is None:
        return (
            "teaches the next item, a like or a number (mse, huber), and this head learns none of "
            "them; choose another head, or distillation=null"
        )
    if teacher is None:
        return None
    try:
        tasks = build("recommender", teacher).tasks
    except LlmrecError:
        return None  # reported with its own place by the check of the nested spec
    if SERVES[kind] not in tasks:
        return f"needs a teacher that serves {SERVES[kind]}; this one serves {', '.join(tasks)}"
    return None


class SoftScores:
    """The student learns the teacher's scores too (Hinton, Vinyals and Dean, 2015).

    The loss is (1 − `weight`) times that of the head and `weight` times T² KL(teacher, student),
    of softmaxes at temperature T: over the catalogue for the next item, where the teacher's mass
    lies on its best `top_k` items; of yes and no for likes. For numbers it is the squared
    difference. The teacher is asked once for each training example, with what came before its
    target, as an unknown user.

    Args:
        teacher: spec of a recommender that is fitted first, on the same training side.
        teacher_folder: folder of a fitted one in a run (``RUN/models/LABEL``), instead.
        temperature: T.
        weight: share of the teacher's part; 0 switches it off.
        top_k: items kept for each example; null for the whole catalogue.
        scale: the teacher's scores of items as ``zscore`` over those asked about, which suits any
            recommender, or as they are: ``logits`` of a teacher trained by cross-entropy.
        exclude_seen: the teacher's mass does not lie on items of the history.
    """

    reads = "scores"

    def __init__(
        self,
        *,
        teacher: RecommenderSpec | None = None,
        teacher_folder: str | None = None,
        temperature: float = 1.0,
        weight: float = 0.5,
        top_k: int | None = 100,
        scale: Literal["zscore", "logits"] = "zscore",
        exclude_seen: bool = True,
    ) -> None:
        self.teacher = teacher
        self.teacher_folder = teacher_folder
        self.temperature = temperature
        self.weight = weight
        self.top_k = top_k
        self.scale = scale
        self.exclude_seen = exclude_seen

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        found = _wrong_teacher(params)
        if params.get("temperature", 1.0) <= 0:
            found.append(("temperature", "must be above 0"))
        if not 0 <= params.get("weight", 0.5) <= 1:
            found.append(("weight", "must be from 0 to 1"))
        if params.get("top_k") is not None and params["top_k"] < 1:
            found.append(("top_k", "must be at least 1"))
        return found

    def misfit(self, prompt: Any, head: Any, adapter: Any) -> str | None:  # noqa: ARG002
        """Return why it cannot work with the parts of a language model, None if it can."""
        wrong = _teacher_misfit(self.teacher, head)
        if wrong is None and not getattr(head, "predicts_all", True):
            return (
                "compares scores over the whole catalogue, which this head's loss never makes; "
                "choose loss=cross_entropy or loss=focal with block_size=null"
            )
        return wrong


class HiddenStates:
    """A learned projection of the student's states learns the states of a language model.

    The loss is that of the head and `weight` times the mean squared error (or 1 − cosine) between
    the projected state of each example and the teacher's, which are standardised once. The
    projection is given up after training.

    Args:
        teacher: spec of a language model that is fitted first, on the same training side.
        teacher_folder: folder of a fitted one in a run (``RUN/models/LABEL``), instead.
        weight: of the distance; 0 switches it off.
        distance: ``mse`` or ``cosine``.
    """

    reads = "states"

    def __init__(
        self,
        *,
        teacher: RecommenderSpec | None = None,
        teacher_folder: str | None = None,
        weight: float = 1.0,
        distance: Literal["mse", "cosine"] = "mse",
    ) -> None:
        self.teacher = teacher
        self.teacher_folder = teacher_folder
        self.weight = weight
        self.distance = distance

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range, and a teacher without states."""
        found = _wrong_teacher(params)
        if params.get("weight", 1.0) < 0:
            found.append(("weight", "must be at least 0"))
        teacher = params.get("teacher")
        if teacher is not None and teacher.get("name") != "language_model":
            found.append(("teacher", "only a language model has states; choose soft_scores"))
        return found

    def misfit(self, prompt: Any, head: Any, adapter: Any) -> str | None:
        """Return why it cannot work with the parts of a language model, None if it can."""
        if prompt.kind == "text" and not adapter.trains:
            return "teaches states, but a frozen backbone never changes those of a text prompt"
        if head.needs(prompt.kind) not in ("pooled", "sequence"):
            return "teaches states, but this head reads logits of words; choose soft_scores"
        return _teacher_misfit(self.teacher, head)
