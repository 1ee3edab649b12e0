"""What the trainer trains: a net, and all that its loss takes beside that of its head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from llmrec.heads.predictions import Prediction
from llmrec.training.net import Net
from llmrec.training.processes import counted_once, mean_of_processes
from llmrec.training.teaching import Teacher
from llmrec.training.uncertainty import Uncertainty

MAIN, TEACHER = "main", "teacher"

# What a collator makes, and `drawn`; the batches of other tasks stand under "others", by label.
DrawnBatch = dict[str, Any]
Weight = float | torch.Tensor


class Outcome(NamedTuple):
    """What one pass over a batch gives.

    Attributes:
        loss: scalar.
        predictions: each with its weight in the loss; empty unless they were asked for.
    """

    loss: torch.Tensor
    predictions: list[tuple[Weight, Prediction]]


class TrainingNet(nn.Module):
    """Computes the loss of one or several tasks under a regulariser; scoring never sees it.

    Args:
        main: the net of the main task.
        regularizer: the component, or None.
        others: nets of other tasks on the same backbone, by label.
        weights: of their losses; that of the main task is 1.
        alike: the tasks that read the states of the main task's pass.
        teacher: of the main task, or None.
        uncertainty: learns all weights, which start from the given ones, or None.
    """

    def __init__(
        self,
        main: Net,
        regularizer: Any = None,
        others: Mapping[str, Net] | None = None,
        weights: Mapping[str, float] | None = None,
        alike: frozenset[str] = frozenset(),
        teacher: Teacher | None = None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        super().__init__()
        self.main = main
        self.regularizer = regularizer
        self.others = nn.ModuleDict(dict(others or {}))
        self.weights = {MAIN: 1.0, **(weights or {})}
        self.alike = alike
        self.teacher = teacher
        self.uncertainty = uncertainty
        self._sums: dict[str, list[torch.Tensor]] = {}
        self._noting = False

    def forward(self, **batch: Any) -> dict[str, torch.Tensor]:
        """Return ``{"loss": scalar}`` of one batch made by the collator."""
        drawn = self.drawn(batch)
        self._noting = bool(self.others) or self.teacher is not None
        if self.regularizer is None:
            return {"loss": self.outcome(drawn).loss}
        return {"loss": self.regularizer.loss(self, drawn)}

    def drawn(self, batch: dict[str, Any]) -> DrawnBatch:
        """Return a batch with all that is drawn of what to predict."""
        own = {name: value for name, value in batch.items() if name != "others"}
        others = {
            label: part if label in self.alike else self.net_of(label).drawn(part)
            for label, part in batch.get("others", {}).items()
        }
        return {**self.main.drawn(own), "others": others}

    def net_of(self, label: str) -> Net:
        """Return the net of another task."""
        net = self.others[label]
        assert isinstance(net, Net)
        return net

    def outcome(self, batch: DrawnBatch, *, predict: bool = False) -> Outcome:
        """Return what one pass over a drawn batch gives."""
        own = {name: value for name, value in batch.items() if name != "others"}
        losses: dict[str, torch.Tensor] = {}
        predictions: list[tuple[Weight, Prediction]] = []

        def learn(label: str, net: Net, part: Any, states: Any, targets: Any) -> None:
            given = net.given(part)
            loss = net.head.loss(states, targets, net.item_weights, **given)
            losses[label] = counted_once(loss, len(targets))
            if predict:
                found = net.head.prediction(states, net.item_weights, **given)
                predictions.append((self.weight_of(label), found))

        states, targets = self.main.read(own)
        learn(MAIN, self.main, own, states, targets)
        loss = losses[MAIN]
        teacher: Any = self.teacher
        if teacher is not None:
            given = self.main.given(own)
            said = self.main.head.prediction(states, self.main.item_weights, **given)
            losses[TEACHER] = teacher.loss(self.main, own, states, said)
            loss = teacher.mix(loss, losses[TEACHER])
        loss = self._weighed(MAIN, loss)
        for label, part in batch.get("others", {}).items():
            net = self.net_of(label)
            if label in self.alike:
                inputs = {k: v for k, v in own.items() if k not in ("targets", "offsets")}
                learn(label, net, {**inputs, **part}, states, part["targets"])
            else:
                learn(label, net, part, *net.read(part))
        if self._noting:  # of a step's passes the first, which no attack has moved
            self._noting = False
            for label, value in losses.items():
                self._sums.setdefault(label, []).append(value.detach())
        for label, value in losses.items():
            if label in self.others:
                loss = loss + self._weighed(label, value)
        return Outcome(loss, predictions)

    def weight_of(self, label: str) -> Weight:
        """Return the weight of a task's loss."""
        return self.weights[label] if self.uncertainty is None else self.uncertainty.weight(label)

    def _weighed(self, label: str, loss: torch.Tensor) -> torch.Tensor:
        if self.uncertainty is None:
            return self.weights[label] * loss
        weighed: torch.Tensor = self.uncertainty(label, loss)
        return weighed

    def take_losses(self) -> dict[str, float]:
        """Return the mean loss of each task, unweighted, since the last call; of several tasks.

        Learned weights are there as well, as they are now. Several processes are asked together,
        and the losses are those of the batches of all.
        """
        found = {
            f"loss_{k}": mean_of_processes(torch.stack(v).mean()) for k, v in self._sums.items()
        }
        if self._sums and self.uncertainty is not None:
            found |= {f"weight_{k}": weight for k, weight in self.uncertainty.weights().items()}
        self._sums = {}
        return found

    def embedding_modules(self) -> list[nn.Module]:
        """Return the modules whose outputs are input embeddings of items or words."""
        return self.main.embedding_modules()
