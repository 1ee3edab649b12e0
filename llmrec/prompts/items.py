"""Item tokens: one embedding per item, started from the embedding of its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.config import BackboneSpec, build
from llmrec.core.extras import require
from llmrec.core.seeding import derive_seed

# Rows of the table after the items.
SPECIAL_TOKENS = ("padding", "mask", "start")


class Items:
    """The history as item tokens, one embedding per item, started from the items' texts.

    Starting a sequence model's item embeddings from language-model embeddings of the titles is
    the idea of LLM2BERT4Rec and LLMSeqSim (Harte et al., RecSys 2023). The leading principal
    components (fitted on the items of the training interactions) fill the table, scaled to `scale`.

    Args:
        init: ``text``; ``random`` (no text at all) and ``shuffled`` (each item gets the text of
            another one) are the controls that show what the text contributes.
        text_encoder: pretrained backbone that embeds the texts.
        fields: item fields that make up the text, None for all.
        scale: standard deviation of the embeddings at the start.
        max_length: items of the history that are read, the latest ones.
        use_ratings: add a learned embedding of each history item's rating (rating tasks).
        seed: of the random rows and of the shuffling.
    """

    kind: ClassVar[Literal["items", "text"]] = "items"

    def __init__(
        self,
        *,
        init: Literal["text", "random", "shuffled"] = "text",
        text_encoder: BackboneSpec | None = None,
        fields: Sequence[str] | None = None,
        scale: float = 0.1,
        max_length: int = 100,
        use_ratings: bool = False,
        seed: int = 0,
    ) -> None:
        self.init = init
        self.text_encoder = text_encoder
        self.fields = fields
        self.scale = scale
        self.max_length = max_length
        self.use_ratings = use_ratings
        self.seed = seed

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong between options."""
        found = []
        encoder = params.get("text_encoder")
        if params.get("init", "text") != "random":
            if encoder is None:
                found.append(("text_encoder", "init=text and init=shuffled need a backbone here"))
            elif build("backbone", encoder).weights == "random init":
                found.append(
                    (
                        "text_encoder",
                        "a randomly initialised backbone knows nothing about the texts; give it a "
                        "checkpoint, choose name=minilm, or use init=random",
                    )
                )
        if params.get("init") == "random":
            found += [
                (key, "is not read with init=random; leave it null")
                for key in ("text_encoder", "fields")
                if params.get(key) is not None
            ]
        if params.get("scale", 0.1) <= 0:
            found.append(("scale", "must be above 0"))
        if params.get("max_length", 100) < 1:
            found.append(("max_length", "must be at least 1"))
        return found

    def table(
        self, n_items: int, width: int, vectors: np.ndarray | None, known: np.ndarray
    ) -> np.ndarray:
        """Return the (n_items + 3, width) float32 starting values of the item tokens.

        Args:
            n_items: size of the catalogue.
            width: of the backbone.
            vectors: (n_items, H) text embeddings, None for ``random``.
            known: (n_items,) bool, the items of the training interactions: the components are
                fitted on them alone.
        """
        rng = np.random.default_rng(derive_seed(self.seed, "item tokens"))
        table = rng.standard_normal((n_items + len(SPECIAL_TOKENS), width)) * self.scale
        if vectors is not None:
            components = principal_components(vectors, known, width) * self.scale
            if self.init == "shuffled":
                components = components[rng.permutation(n_items)]
            table[:n_items, : components.shape[1]] = components
        return table.astype(np.float32)

    def build(self, table: np.ndarray, rating_values: np.ndarray | None) -> Any:
        """Return the torch module that turns item ids into input embeddings.

        Args:
            table: what `table` returned.
            rating_values: sorted distinct ratings of the training data, or None.
        """
        require("torch", "lm", "prompt items")
        from llmrec.prompts.item_tokens import ItemTokens

        return ItemTokens(table, rating_values if self.use_ratings else None)


def principal_components(vectors: np.ndarray, known: np.ndarray, width: int) -> np.ndarray:
    """Return (N, min(width, rank)) leading principal components, overall standard deviation 1.

    Mean and directions come from the `known` rows only; each direction's sign is fixed by its
    largest entry so that the result does not depend on the LAPACK in use.
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
    components = (vectors - mean) @ directions.T
    if not rank:
        return components
    spread = components[known].std() if known.any() else components.std()
    return components / max(float(spread), 1e-12)
