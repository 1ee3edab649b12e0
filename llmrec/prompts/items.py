"""Item tokens: one embedding per item, started from the embedding of its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.config import BackboneSpec
from llmrec.core.extras import require
from llmrec.core.seeding import derive_seed
from llmrec.core.text_encoders import text_encoder_problems
from llmrec.core.types import Ragged
from llmrec.data.co_occurrence import co_occurrence_vectors

# Rows of the table after the items.
SPECIAL_TOKENS = ("padding", "mask", "start")
TEXT_STARTS = frozenset({"text", "shuffled"})
WINDOW = 5


class Items:
    """The history as item tokens, one embedding per item, started from the items' texts.

    Starting a sequence model's item embeddings from language-model embeddings of the titles is
    the idea of LLM2BERT4Rec and LLMSeqSim (Harte et al., RecSys 2023). The leading principal
    components (fitted on the items of the training interactions) fill the table, scaled to `scale`.

    Args:
        init: ``text``; ``random`` (no text at all), ``co_occurrence`` (no text, but which items
            stood near each other in training histories) and ``shuffled`` (each item gets the text
            of another one) are the controls that show what the text contributes.
        text_encoder: pretrained backbone that embeds the texts.
        fields: item fields that make up the text, None for all.
        scale: standard deviation of the embeddings at the start.
        max_length: items of the history that are read, the latest ones.
        window: largest distance of two items that stand near each other, for the co-occurrence;
            None for 5.
        use_ratings: add a learned embedding of each history item's rating (rating tasks).
        seed: of the random rows and of the shuffling.
    """

    kind: ClassVar[Literal["items", "text"]] = "items"

    def __init__(
        self,
        *,
        init: Literal["text", "random", "shuffled", "co_occurrence"] = "text",
        text_encoder: BackboneSpec | None = None,
        fields: Sequence[str] | None = None,
        scale: float = 0.1,
        max_length: int = 100,
        window: int | None = None,
        use_ratings: bool = False,
        seed: int = 0,
    ) -> None:
        self.init = init
        self.text_encoder = text_encoder
        self.fields = fields
        self.scale = scale
        self.max_length = max_length
        self.window = window
        self.use_ratings = use_ratings
        self.seed = seed

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong between options."""
        found = []
        init = params.get("init", "text")
        if init in TEXT_STARTS:
            ways = "choose name=minilm, or use init=random"
            found += text_encoder_problems(params.get("text_encoder"), f"init={init}", ways)
        unread = [] if init in TEXT_STARTS else ["text_encoder", "fields"]
        unread += [] if init == "co_occurrence" else ["window"]
        found += [
            (key, f"is not read with init={init}; leave it null")
            for key in unread
            if params.get(key) is not None
        ]
        if params.get("window") is not None and params["window"] < 1:
            found.append(("window", "must be at least 1"))
        if params.get("scale", 0.1) <= 0:
            found.append(("scale", "must be above 0"))
        if params.get("max_length", 100) < 1:
            found.append(("max_length", "must be at least 1"))
        return found

    @property
    def reads_text(self) -> bool:
        """Whether the items' texts are embedded at all, be it those of other items."""
        return self.init in TEXT_STARTS

    def table(
        self, histories: Ragged, n_items: int, width: int, texts: np.ndarray | None
    ) -> np.ndarray:
        """Return the (n_items + 3, width) float32 starting values of the item tokens.

        An item that stands near no other keeps its random row under ``co_occurrence``.

        Args:
            histories: item ids of each user of the training side, in order. Components are fitted
                on its items alone.
            n_items: size of the catalogue.
            width: of the backbone.
            texts: (n_items, H) text embeddings, None where the start reads no text.
        """
        rng = np.random.default_rng(derive_seed(self.seed, "item tokens"))
        table = rng.standard_normal((n_items + len(SPECIAL_TOKENS), width)) * self.scale
        started = np.ones(n_items, bool)
        if self.init == "co_occurrence":
            window = self.window or WINDOW
            vectors = co_occurrence_vectors(histories, n_items, width, window, self.seed)
            started = (vectors != 0).any(axis=1)
            components = principal_components(vectors, started, width)
        elif texts is not None:
            known = np.bincount(histories.values, minlength=n_items) > 0
            components = principal_components(texts, known, width)
        else:
            return table.astype(np.float32)
        if self.init == "shuffled":
            components = components[rng.permutation(n_items)]
        table[:n_items, : components.shape[1]][started] = components[started] * self.scale
        return table.astype(np.float32)

    def tokens(
        self,
        histories: Ragged,
        n_items: int,
        width: int,
        texts: np.ndarray | None,
        rating_values: np.ndarray | None,
    ) -> Any:
        """Return the torch module that turns item ids into input embeddings.

        Args:
            histories: as in `table`, and so are the next three.
            n_items: size of the catalogue.
            width: of the backbone.
            texts: (n_items, H) text embeddings or None.
            rating_values: sorted distinct ratings of the training data, None where no prompt
                reads them.
        """
        require("torch", "lm", "prompt items")
        from llmrec.prompts.item_tokens import ItemTokens

        table = self.table(histories, n_items, width, texts)
        return ItemTokens(table, rating_values)

    def restored(self, state: Mapping[str, Any]) -> Any:
        """Return the module whose state this is."""
        from llmrec.prompts.item_tokens import ItemTokens

        stars = state.get("rating_values")
        module = ItemTokens(state["weight"].numpy(), None if stars is None else stars.numpy())
        module.load_state_dict(state)
        return module


def principal_directions(
    vectors: np.ndarray, known: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean (H,), directions (min(width, rank), H) and the components' standard deviation.

    All come from the `known` rows only (from all, if there is none); each direction's sign is fixed
    by its largest entry so that the result does not depend on the LAPACK in use.
    """
    basis = vectors[known].astype(np.float64)
    if not len(basis):
        basis = vectors.astype(np.float64)
    mean = basis.mean(0)
    _, strength, directions = np.linalg.svd(basis - mean, full_matrices=False)
    # A direction without any spread is arbitrary: it would differ between LAPACKs.
    rank = int((strength > strength.max(initial=0.0) * 1e-6).sum())
    directions = directions[: min(width, rank)]
    largest = np.abs(directions).argmax(1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    spread = float(((basis - mean) @ directions.T).std()) if rank else 0.0
    return mean, directions, spread


def principal_components(vectors: np.ndarray, known: np.ndarray, width: int) -> np.ndarray:
    """Return (N, min(width, rank)) leading principal components, overall standard deviation 1."""
    mean, directions, spread = principal_directions(vectors, known, width)
    components: np.ndarray = (vectors - mean) @ directions.T
    return components / max(spread, 1e-12)
