"""Low-rank adapters (Hu et al., 2022) through peft."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrec.core.errors import ComponentError
from llmrec.core.extras import require

WEIGHTS = "adapter_model.safetensors"

# Attention projections by transformers' model type; GPT-2 and ModernBERT keep query, key and value
# in one layer. Of any other architecture all linear layers are adapted.
_ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert")
_DECODERS = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3")
TARGETS: dict[str, list[str]] = {
    "gpt2": ["c_attn"],
    "distilbert": ["q_lin", "v_lin"],
    "mpnet": ["q", "v"],
    "modernbert": ["Wqkv"],
    **{name: ["query", "value"] for name in _ENCODERS},
    **{name: ["q", "v"] for name in ("t5", "mt5", "umt5")},
    **{name: ["q_proj", "v_proj"] for name in _DECODERS},
}


class LoRA:
    """LoRA: low-rank updates of the attention projections train, the rest is frozen.

    Args:
        rank: r, the rank of the update.
        alpha: the update is scaled by alpha / rank.
        dropout: on the input of the update.
        targets: names of the layers to adapt; None for the architecture's attention projections.
    """

    trains_base = False
    trains = True

    def __init__(
        self,
        *,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.05,
        targets: Sequence[str] | None = None,
    ) -> None:
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is out of range."""
        found = []
        if params.get("rank", 8) < 1:
            found.append(("rank", "must be at least 1"))
        if not 0 <= params.get("dropout", 0.05) < 1:
            found.append(("dropout", "must be at least 0 and below 1"))
        return found

    def load_options(self) -> dict[str, Any]:
        return {}

    def wrap(self, module: Any, architecture: str) -> Any:
        peft = require("peft", "lm", "adapter lora")
        targets = list(self.targets) if self.targets else TARGETS.get(architecture, "all-linear")
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            fan_in_fan_out=architecture == "gpt2",
        )
        try:
            with _without_deprecations():
                return peft.get_peft_model(module, config)
        except ValueError as error:
            raise ComponentError(
                f"adapter lora cannot adapt {targets} of a {architecture} backbone: {error}"
            ) from error

    def save(self, module: Any, folder: Path) -> None:
        # Embeddings are never changed, so peft need not ask the hub whether they were.
        module.save_pretrained(folder, save_embedding_layers=False)

    def restore(self, module: Any, folder: Path) -> Any:
        peft = require("peft", "lm", "adapter lora")
        from safetensors import SafetensorError

        for name in ("adapter_config.json", WEIGHTS):
            # peft would look for an absent file on the hub.
            if not (folder / name).is_file():
                raise ComponentError(f"the adapter in {folder} cannot be read: {name} is missing")
        with _without_deprecations():
            # Weights that are missing are an error below.
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            try:
                wrapped = peft.PeftModel.from_pretrained(module, str(folder), is_trainable=True)
            except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
                raise ComponentError(
                    f"the adapter in {folder} does not fit its backbone: {error}"
                ) from error
        self._assert_present(wrapped, folder)
        return wrapped

    def _assert_present(self, wrapped: Any, folder: Path) -> None:
        """Prove that the stored adapter weights are the ones in the model.

        Raises:
            ComponentError: if one is absent or different (an adapter that silently did not load).
        """
        import peft
        import torch
        from safetensors.torch import load_file

        stored = load_file(folder / WEIGHTS)
        present = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        wrong = [
            name
            for name in sorted({*stored, *present})
            if name not in present
            or name not in stored
            or not torch.equal(present[name].cpu(), stored[name])
        ]
        if wrong or not stored:
            raise ComponentError(
                f"the adapter in {folder} did not load: {len(wrong)} of {len(present)} weights are "
                f"missing or different{', e.g. ' + wrong[0] if wrong else ''}"
            )


@contextlib.contextmanager
def _without_deprecations() -> Iterator[None]:
    """Silence what peft is told by transformers: it still asks for a name that has changed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        yield
