"""What a teacher said of every training example, and the loss of a student that listens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from llmrec.heads.predictions import Prediction
from llmrec.training.batches import Batch
from llmrec.training.objectives import at_targets


class Teacher(nn.Module):
    """Base of both teachers: finds the rows of a table that a batch's examples have.

    Tables stand outside the weights, on the CPU: they may be large, and nothing of them trains.

    Args:
        row_of: (T,) row of the tables for each place in the training histories, −1 for none.
        weight: of the teacher's part.
    """

    def __init__(self, row_of: torch.Tensor, weight: float) -> None:
        super().__init__()
        self.row_of = row_of
        self.weight = weight

    def rows(self, net: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which of the N examples of a batch are taught, and their rows of the tables.

        Of items masked within a row nothing is: the student sees what comes after them.
        """
        places = batch["places"]
        if net.needs == "sequence":
            places = at_targets(net.backbone, batch, places)
        rows = torch.where(places >= 0, self.row_of[places.clamp(min=0).cpu()].to(places), -1)
        kept = rows >= 0
        return kept, rows[kept].cpu()


class ScoreTeacher(Teacher):
    """Teaches scores; see `llmrec.training.distillation.SoftScores`.

    Args:
        row_of: see `Teacher`.
        weight: share of the teacher's part.
        temperature: of both softmaxes.
        scores: (R, K) of items, −inf for none, or (R,) of the candidates that are judged.
        items: (R, K) whose scores they are; None for the whole catalogue, in order.
    """

    def __init__(
        self,
        row_of: torch.Tensor,
        weight: float,
        temperature: float,
        scores: torch.Tensor,
        items: torch.Tensor | None,
    ) -> None:
        super().__init__(row_of, weight)
        self.temperature = temperature
        self.scores = scores
        self.items = items

    def loss(
        self, net: Any, batch: Batch, states: torch.Tensor, prediction: Prediction
    ) -> torch.Tensor:
        """Return the mean distance of the student's prediction to the teacher's."""
        kept, rows = self.rows(net, batch)
        if not len(rows):
            return states.sum() * 0.0
        student = prediction.values.float()[kept]
        teacher = self.scores[rows].to(student.device)
        if prediction.kind == "number":
            return (student - teacher / net.head.spread).square().mean()
        t = self.temperature
        if prediction.kind == "odds":
            return _odds_divergence(teacher / t, student / t).mean() * t * t
        items = None if self.items is None else self.items[rows].to(student.device).long()
        return choice_divergence(teacher / t, student / t, items).mean() * t * t

    def mix(self, hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """Return the loss of both parts."""
        return (1 - self.weight) * hard + self.weight * soft


def choice_divergence(
    teacher: torch.Tensor, student: torch.Tensor, items: torch.Tensor | None
) -> torch.Tensor:
    """Return (N,) KL of the teacher's softmax over K items and the student's over all.

    Args:
        teacher: (N, K) logits, −inf for none.
        student: (N, n_items) logits.
        items: (N, K) whose the teacher's are; None for all, in order.
    """
    log_p, log_q = teacher.log_softmax(1), student.log_softmax(1)
    if items is not None:
        log_q = log_q.gather(1, items)
    terms = log_p.exp() * (log_p - log_q)
    return terms.masked_fill(log_p.isinf(), 0.0).sum(1)


def _odds_divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Return (N,) KL of two probabilities of yes, given as log-odds."""
    p = teacher.sigmoid()
    yes = functional.logsigmoid(teacher) - functional.logsigmoid(student)
    no = functional.logsigmoid(-teacher) - functional.logsigmoid(-student)
    return p * yes + (1 - p) * no


class StateTeacher(Teacher):
    """Teaches states; see `llmrec.training.distillation.HiddenStates`.

    Args:
        row_of: see `Teacher`.
        weight: of the distance.
        distance: ``mse`` or ``cosine``.
        states: (R, D) of the teacher.
        width: of the student's states.
    """

    def __init__(
        self,
        row_of: torch.Tensor,
        weight: float,
        distance: str,
        states: torch.Tensor,
        width: int,
    ) -> None:
        super().__init__(row_of, weight)
        self.distance = distance
        self.states = states
        self.projection = nn.Linear(width, states.shape[1])

    def loss(
        self,
        net: Any,
        batch: Batch,
        states: torch.Tensor,
        prediction: Prediction,  # noqa: ARG002  (it teaches what comes before)
    ) -> torch.Tensor:
        """Return the mean distance of the student's projected states to the teacher's."""
        kept, rows = self.rows(net, batch)
        if not len(rows):
            return states.sum() * 0.0
        student = self.projection(states[kept])
        teacher = self.states[rows].to(student.device)
        if self.distance == "cosine":
            return 1 - functional.cosine_similarity(student, teacher).mean()
        return functional.mse_loss(student, teacher)

    def mix(self, hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """Return the loss of both parts."""
        return hard + self.weight * soft
