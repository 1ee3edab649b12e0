"""8-bit weights through bitsandbytes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from llmrec.core.extras import require

# The output layers stay in full precision: they are what the heads read or share.
OUTPUT_LAYERS = ["lm_head", "cls", "classifier", "score", "pooler"]


def _not_the_cast(record: logging.LogRecord) -> bool:
    return "inputs will be cast" not in record.getMessage()


class Int8:
    """8-bit weights (LLM.int8, Dettmers et al., 2022), frozen; saves memory, not time on a CPU.

    Args:
        threshold: magnitude above which a hidden-state column is kept in 16 bits.
    """

    trains_base = False
    trains = False

    def __init__(self, *, threshold: float = 6.0) -> None:
        self.threshold = threshold

    def load_options(self) -> dict[str, Any]:
        require("bitsandbytes", "llm8bit", "adapter int8")
        # One line per layer and batch otherwise; docs/reference says that int8 computes in 16 bits.
        logging.getLogger("bitsandbytes.autograd._functions").addFilter(_not_the_cast)
        transformers = require("transformers", "lm", "adapter int8")
        config = transformers.BitsAndBytesConfig(
            load_in_8bit=True,
            llm_int8_threshold=self.threshold,
            llm_int8_skip_modules=OUTPUT_LAYERS,
        )
        return {"quantization_config": config}

    def wrap(self, module: Any, architecture: str) -> Any:  # noqa: ARG002
        module.requires_grad_(False)
        return module

    def save(self, module: Any, folder: Path) -> None:
        """Nothing: the base weights are quantized again while loading."""

    def restore(self, module: Any, folder: Path) -> Any:  # noqa: ARG002
        return self.wrap(module, "")
