"""Classification: the next item over the catalogue, or the class of one candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llmrec.core.config import BackboneSpec
from llmrec.core.errors import ComponentError
from llmrec.core.extras import require
from llmrec.core.protocols import Task
from llmrec.core.text_encoders import text_encoder_problems
from llmrec.heads.options import out_of_range, unread

Target = Literal["next_item", "like", "classes"]
Loss = Literal[
    "cross_entropy", "sampled_softmax", "gbce", "bce", "bpr", "contrastive", "focal", "ordinal"
]
NEXT = ("cross_entropy", "sampled_softmax", "gbce", "bce", "bpr", "contrastive", "focal")
LIKE = ("bce", "focal")
CLASSES = ("cross_entropy", "focal", "ordinal")
MOST_CLASSES = 100
SAMPLED = ("sampled_softmax", "gbce", "bce", "bpr")
# The losses of each target, its default first, and which of them read an option.
LOSSES: dict[str, tuple[str, ...]] = {"next_item": NEXT, "like": LIKE, "classes": CLASSES}
READ_BY: dict[str, dict[str, tuple[str, ...]]] = {
    "next_item": {
        "item_weights": NEXT,
        "text_encoder": NEXT,
        "fields": NEXT,
        "item_bias": NEXT,
        "label_smoothing": ("cross_entropy",),
        "block_size": ("cross_entropy", "focal"),
        "n_negatives": SAMPLED,
        "sampling": SAMPLED,
        "calibration": ("gbce",),
        "temperature": ("contrastive",),
        "focusing": ("focal",),
    },
    "like": {
        "focusing": ("focal",),
        "class_weights": LIKE,
        "averages": LIKE,
        "damping": LIKE,
        "threshold": LIKE,
    },
    "classes": {
        "label_smoothing": ("cross_entropy",),
        "focusing": ("focal",),
        "class_weights": ("cross_entropy", "focal"),
        "answer": CLASSES,
    },
}
# Values that say no more than leaving the option out.
UNSET = {
    "label_smoothing": 0.0,
    "item_bias": False,
    "threshold": 4.0,
    "averages": False,
    "answer": "class",
}


class Classification:
    """Classes over a state: the next item of the catalogue, like / dislike, or any few classes.

    The next item's logits are the products of the state and one weight vector per item. Its losses:
    ``cross_entropy`` over the whole catalogue (in blocks of `block_size` items: the same numbers in
    bounded memory), ``focal``, ``sampled_softmax`` and ``gbce`` on negatives that a batch shares,
    ``bce`` and ``bpr`` on negatives of each example's own, and ``contrastive`` (InfoNCE on cosines
    against the other targets of the batch). Those of a like are ``bce`` and ``focal``. ``classes``
    are the distinct values of the rating column in training (stars, or view / cart / buy as
    numbers), by ``cross_entropy``, ``focal`` or, where they have an order, ``ordinal`` (CORAL).

    Args:
        target: ``next_item`` (ranking), ``like`` (preference; ranking by the probability) or
            ``classes``.
        loss: null for cross_entropy (next item, classes) or bce (like).
        item_weights: ``tied`` to the item embeddings of the prompt, ``own``, or a projection of
            the items' frozen ``text`` embeddings, which scores an item that was never trained on
            (UniSRec, Hou et al., KDD 2022); null for tied under item prompts, else own.
        text_encoder: pretrained backbone that embeds the texts (item_weights=text).
        fields: item fields that make up the text (item_weights=text); null for all.
        item_bias: a learned bias per item (next item).
        label_smoothing: share of each target that is spread over all (cross_entropy).
        block_size: items whose logits exist at once (cross_entropy, focal); null for all.
        n_negatives: drawn items; null for 256 a batch (sampled_softmax, gbce) or 1 an example.
        sampling: how they are drawn; null for uniform.
        calibration: t of gBCE, from 0 (overconfident) to 1 (calibrated); null for 0.75.
        temperature: of the contrastive loss; null for 0.07.
        focusing: γ of the focal loss; null for 2.
        class_weights: ``balanced`` weighs likes and dislikes, or the classes, by their inverse
            training frequency; null for none.
        answer: what the scores of classes are: the most likely ``class`` (task classes), or the
            ``expected`` value of the class (task rating).
        averages: add the log-odds that the user's earlier ratings and the item's have on average.
        damping: imaginary average ratings added to each of those averages; null for 10.
        threshold: a rating at or above it is a like.
    """

    def __init__(
        self,
        *,
        target: Target = "next_item",
        loss: Loss | None = None,
        item_weights: Literal["tied", "own", "text"] | None = None,
        text_encoder: BackboneSpec | None = None,
        fields: Sequence[str] | None = None,
        item_bias: bool = False,
        label_smoothing: float = 0.0,
        block_size: int | None = None,
        n_negatives: int | None = None,
        sampling: Literal["uniform", "popularity"] | None = None,
        calibration: float | None = None,
        temperature: float | None = None,
        focusing: float | None = None,
        class_weights: Literal["balanced"] | None = None,
        answer: Literal["class", "expected"] = "class",
        averages: bool = False,
        damping: float | None = None,
        threshold: float = 4.0,
    ) -> None:
        self.target = target
        self.loss = loss
        self.item_weights = item_weights
        self.text_encoder = text_encoder
        self.fields = fields
        self.item_bias = item_bias
        self.label_smoothing = label_smoothing
        self.block_size = block_size
        self.n_negatives = n_negatives
        self.sampling = sampling
        self.calibration = calibration
        self.temperature = temperature
        self.focusing = focusing
        self.class_weights = class_weights
        self.answer = answer
        self.averages = averages
        self.damping = damping
        self.threshold = threshold

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range, and what the chosen target and loss do not read."""
        target = params.get("target", "next_item")
        found = unread(params, f"target={target}", LOSSES[target], READ_BY[target], UNSET)
        found += out_of_range(params)
        if params.get("item_weights") == "text":
            found += text_encoder_problems(params.get("text_encoder"), "item_weights=text")
        else:
            found += [
                (key, "is read with item_weights=text only; leave it null")
                for key in ("text_encoder", "fields")
                if params.get(key) is not None
            ]
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        if self.target == "next_item":
            return frozenset({"ranking"})
        if self.target == "classes":
            return frozenset({"classes"} if self.answer == "class" else {"rating"})
        return frozenset({"preference", "ranking"})

    @property
    def judges_candidates(self) -> bool:
        """Whether the model reads one candidate at a time."""
        return self.target != "next_item"

    @property
    def predicts_all(self) -> bool:
        """Whether the loss looks at all items (or classes) at once, not at some of them."""
        whole = self.loss in (None, "cross_entropy", "focal") and self.block_size is None
        return whole or self.target != "next_item"

    def needs(self, prompt_kind: str) -> str:
        """Return what the backbone must provide under a kind of prompt."""
        if self.target == "next_item" and prompt_kind == "items":
            return "sequence"
        return "pooled"

    def build(self, width: int, n_items: int, tied: bool, statistics: Mapping[str, Any]) -> Any:
        """Return the torch module with ``loss`` and ``scores``.

        Args:
            width: of the states.
            n_items: size of the catalogue.
            tied: the item embeddings are given with each call.
            statistics: of the training side, see `llmrec.training.statistics`.
        """
        require("torch", "lm", "head classification")
        from llmrec.heads.classes import Classes
        from llmrec.heads.judged import Like
        from llmrec.heads.next_item import NextItem

        if self.target == "like":
            return Like(self, width, statistics, tied)
        if self.target == "classes":
            require_few(len(statistics.get("values", ())), "these are no classes")
            return Classes(self, width, statistics)
        return NextItem(self, width, n_items, statistics, tied and self.item_weights != "own")


def require_few(n_values: int, otherwise: str) -> None:
    """Check that the distinct ratings of training are few enough to choose one.

    Args:
        n_values: how many they are.
        otherwise: what is said of more.

    Raises:
        ComponentError: if they are more than `MOST_CLASSES`.
    """
    if n_values > MOST_CLASSES:
        raise ComponentError(
            f"the rating column has {n_values} distinct values, more than {MOST_CLASSES}: "
            f"{otherwise}; choose head=regression"
        )
