"""Item tokens that are a learned map of the items' texts: a model of any catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from llmrec.core.config import BackboneSpec
from llmrec.core.errors import ComponentError
from llmrec.core.extras import require
from llmrec.core.files import read_json
from llmrec.core.seeding import derive_seed
from llmrec.core.text_encoders import text_encoder_problems
from llmrec.core.types import Ragged
from llmrec.prompts.items import principal_directions


class ItemTexts:
    """The history as item tokens that are computed from texts, with no weights of single items.

    The map is the mixture-of-experts adaptor of UniSRec (Hou et al., KDD 2022). New items need no
    training, and a fitted model can go on with another catalogue: give `start_from` its folder,
    and the backbone its ``backbone`` folder as checkpoint. Each expert starts from the leading
    principal directions of the training items' embeddings instead of random ones.

    Args:
        init: ``text``; ``shuffled`` gives each item the text of another one, a control.
        text_encoder: pretrained backbone that embeds the texts.
        fields: item fields that make up the text, None for all.
        n_experts: linear maps that are mixed.
        dropout: of the text embeddings, while training.
        scale: standard deviation of the tokens at the start.
        max_length: items of the history that are read, the latest ones.
        start_from: folder of a fitted model with this prompt whose map is the start.
        seed: of the noise between the experts and of the shuffling.
    """

    kind: ClassVar[Literal["items", "text"]] = "items"
    reads_text: ClassVar[bool] = True
    use_ratings: ClassVar[bool] = False

    def __init__(
        self,
        *,
        text_encoder: BackboneSpec,
        init: Literal["text", "shuffled"] = "text",
        fields: Sequence[str] | None = None,
        n_experts: int = 8,
        dropout: float = 0.2,
        scale: float = 0.1,
        max_length: int = 50,
        start_from: str | None = None,
        seed: int = 0,
    ) -> None:
        self.text_encoder = text_encoder
        self.init = init
        self.fields = fields
        self.n_experts = n_experts
        self.dropout = dropout
        self.scale = scale
        self.max_length = max_length
        self.start_from = start_from
        self.seed = seed

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong between options."""
        found = []
        encoder = params.get("text_encoder")
        if encoder is not None:
            found += text_encoder_problems(encoder, "prompt=item_texts")
        found += [
            (key, "must be at least 1")
            for key in ("n_experts", "max_length")
            if params.get(key, 1) < 1
        ]
        if params.get("scale", 0.1) <= 0:
            found.append(("scale", "must be above 0"))
        if not 0 <= params.get("dropout", 0.2) < 1:
            found.append(("dropout", "must be at least 0 and below 1"))
        return found

    def tokens(
        self,
        histories: Ragged,
        n_items: int,
        width: int,
        texts: np.ndarray | None,
        rating_values: np.ndarray | None,  # noqa: ARG002
    ) -> Any:
        """Return the torch module that turns item ids into input embeddings; see `Items.tokens`.

        Raises:
            ComponentError: if `start_from` is no model with this prompt, encoder and width.
        """
        require("torch", "lm", "prompt item_texts")
        import torch

        from llmrec.prompts.text_tokens import TextTokens

        assert texts is not None
        rng = np.random.default_rng(derive_seed(self.seed, "item texts"))
        if self.init == "shuffled":
            texts = texts[rng.permutation(n_items)]
        module = TextTokens(texts, width, self.n_experts, self.dropout)
        if self.start_from is not None:
            own = module.state_dict()
            found = self._other(own)
            module.load_state_dict({**found, "texts": own["texts"]})
            return module
        known = np.bincount(histories.values, minlength=n_items) > 0
        mean, directions, spread = principal_directions(texts, known, width)
        start = rng.standard_normal((self.n_experts, texts.shape[1], width)) * START_NOISE
        start /= np.sqrt(texts.shape[1])
        start[:, :, : len(directions)] += directions.T / max(spread, 1e-12)
        with torch.no_grad():
            module.centres.copy_(torch.from_numpy(np.tile(mean, (self.n_experts, 1))))
            module.experts.copy_(torch.from_numpy(start * self.scale))
        return module

    def restored(self, state: Mapping[str, Any]) -> Any:
        """Return the module whose state this is."""
        from llmrec.prompts.text_tokens import TextTokens

        width = state["experts"].shape[2]
        module = TextTokens(state["texts"].numpy(), width, self.n_experts, self.dropout)
        module.load_state_dict(state)
        return module

    def _other(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the map of the model in `start_from`."""
        from safetensors.torch import load_file

        folder = Path(str(self.start_from)).expanduser()
        header, weights = folder / "recommender.json", folder / "parts.safetensors"
        if not header.is_file() or not weights.is_file():
            raise ComponentError(
                f"prompt.start_from: {folder} is no fitted language model; give the folder of one, "
                "such as RUN/models/NAME"
            )
        prompt = read_json(header).get("params", {}).get("prompt", {})
        if prompt.get("name") != "item_texts" or prompt.get("text_encoder") != self.text_encoder:
            raise ComponentError(
                f"prompt.start_from: the model in {folder} reads items by another prompt or text "
                "encoder; only a map of the same embeddings can be carried over"
            )
        found = {
            key.removeprefix("tokens."): value
            for key, value in load_file(weights).items()
            if key.startswith("tokens.")
        }
        for key, value in own.items():
            if key != "texts" and found[key].shape != value.shape:
                raise ComponentError(
                    f"prompt.start_from: {key} of the model in {folder} is "
                    f"{tuple(found[key].shape)}, here it would be {tuple(value.shape)}; keep "
                    "n_experts and the backbone's width as they were"
                )
        return found


# Of the experts at the start, beside directions whose components have unit spread together.
START_NOISE = 0.1
