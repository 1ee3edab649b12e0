"""Regularisers of a language model's training: what its loss takes beside that of the head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrec.core.extras import require

FIXED_STATES = (
    "acts inside the backbone, but this adapter trains none of it and prompt=text is encoded once "
    "and for all; choose adapter=full or adapter=lora, or regularizer=null"
)


def _below_zero(params: Mapping[str, Any], *keys: str) -> list[tuple[str, str]]:
    """Return a problem for each option that is negative."""
    return [(key, "must be at least 0") for key in keys if params.get(key, 0) < 0]


class RDrop:
    """R-Drop (Liang et al., NeurIPS 2021): two passes with other dropout, and they should agree.

    The loss is the mean of both passes' and `weight` times how far their predictions are from each
    other: the mean of both Kullback-Leibler divergences (of the next item, of classes, of yes and
    no, of each token that is written), or the squared difference of predicted numbers. A step
    takes about twice as long.

    Args:
        weight: α of the paper; 0 switches it off.
    """

    def __init__(self, *, weight: float = 1.0) -> None:
        self.weight = weight

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        return _below_zero(params, "weight")

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.weight > 0

    def misfit(self, backbone: Any, prompt: Any, head: Any, adapter: Any) -> str | None:
        """Return why it cannot work with the parts of a language model, None if it can."""
        if prompt.kind == "text" and not adapter.trains:
            return FIXED_STATES
        dropouts = (backbone.dropout, backbone.attention_dropout, getattr(adapter, "dropout", 0.0))
        if not any(dropouts):
            return (
                f"compares two passes with different dropout, but this {backbone.architecture} "
                "backbone drops nothing: the passes would be the same; set backbone.dropout above "
                "0, choose another backbone, or regularizer=fgm"
            )
        if not getattr(head, "predicts_all", True):
            return (
                "compares predictions over the whole catalogue, which this head's loss never "
                "makes; choose loss=cross_entropy or loss=focal with block_size=null, or "
                "regularizer=fgm"
            )
        return None

    def loss(self, net: Any, batch: Any) -> Any:
        """Return the loss of a drawn batch; see `llmrec.training.training_net`."""
        require("torch", "lm", "regularizer r_drop")
        from llmrec.training.consistency import two_passes

        return two_passes(net, batch, self.weight)


class Adversarial:
    """Base of those that move the input embeddings to where the loss is higher."""

    epsilon: float
    weight: float

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.epsilon > 0 and self.weight > 0

    def misfit(self, backbone: Any, prompt: Any, head: Any, adapter: Any) -> str | None:  # noqa: ARG002
        """Return why it cannot work with the parts of a language model, None if it can."""
        return FIXED_STATES if prompt.kind == "text" and not adapter.trains else None


class PGD(Adversarial):
    """Projected gradient descent (Madry et al., ICLR 2018) on the input embeddings.

    The embeddings of an example (item tokens, or words) are moved `n_steps` times in the direction
    in which its loss rises, and back into the ball of radius `epsilon` whenever they leave it:
    one Euclidean ball around all embeddings of the example together. The loss is that of the clean
    pass and `weight` times that at the place found. A step takes about 1 + `n_steps` times as long.

    Args:
        epsilon: radius, in the unit of the embeddings; 0 switches it off.
        n_steps: gradients taken.
        step_size: length of each move.
        weight: of the loss at the place found; 0 switches it off.
    """

    def __init__(
        self,
        *,
        epsilon: float = 1.0,
        n_steps: int = 3,
        step_size: float = 0.4,
        weight: float = 1.0,
    ) -> None:
        self.epsilon = epsilon
        self.n_steps = n_steps
        self.step_size = step_size
        self.weight = weight

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        found = _below_zero(params, "epsilon", "weight")
        if params.get("n_steps", 1) < 1:
            found.append(("n_steps", "must be at least 1"))
        if params.get("step_size", 1.0) <= 0:
            found.append(("step_size", "must be above 0"))
        return found

    def loss(self, net: Any, batch: Any) -> Any:
        """Return the loss of a drawn batch; see `llmrec.training.training_net`."""
        require("torch", "lm", "an adversarial regularizer")
        from llmrec.training.adversarial import attacked

        return attacked(net, batch, self.epsilon, self.n_steps, self.step_size, self.weight)


class FGM(Adversarial):
    """Adversarial training of the input embeddings in one step (Miyato et al., ICLR 2017).

    The embeddings of an example (item tokens, or words) are moved by `epsilon` · g / ‖g‖, g the
    gradient of its loss with respect to all of them together. The loss is that of the clean pass
    and `weight` times that of the moved one. Unlike in the paper embeddings are not normalised, so
    `epsilon` is in their own unit. A step takes about twice as long.

    Args:
        epsilon: length of the move; 0 switches it off.
        weight: of the loss of the moved pass; 0 switches it off.
    """

    def __init__(self, *, epsilon: float = 1.0, weight: float = 1.0) -> None:
        self.epsilon = epsilon
        self.weight = weight

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        return _below_zero(params, "epsilon", "weight")

    def loss(self, net: Any, batch: Any) -> Any:
        """Return the loss of a drawn batch; see `llmrec.training.training_net`."""
        require("torch", "lm", "regularizer fgm")
        from llmrec.training.adversarial import attacked

        return attacked(net, batch, self.epsilon, 1, self.epsilon, self.weight)
