"""8-bit and 4-bit weights through bitsandbytes."""

from __future__ import annotations

import logging
from typing import Any, Literal

from llmrec.adapters.base import BaseAdapter
from llmrec.core.extras import require

# The output layers stay in full precision: they are what the heads read or share.
OUTPUT_LAYERS = ["lm_head", "cls", "classifier", "score", "pooler"]


def _not_the_cast(record: logging.LogRecord) -> bool:
    return "inputs will be cast" not in record.getMessage()


class Int8(BaseAdapter):
    """8-bit weights (LLM.int8, Dettmers et al., 2022), frozen; saves memory, not time on a CPU.

    The base weights are quantized again while loading: nothing is stored beside them.

    Args:
        threshold: magnitude above which a hidden-state column is kept in 16 bits.
    """

    quantizes = True

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


class NF4(BaseAdapter):
    """4-bit weights (NormalFloat, QLoRA, Dettmers et al., 2023), frozen; the smallest in memory.

    The base weights are quantized again while loading: nothing is stored beside them.

    Args:
        double_quantization: quantize the scales of the blocks, too: about 0.4 bits a weight less.
        compute: precision of the products; bf16 and fp16 are for GPUs.
    """

    quantizes = True

    def __init__(
        self,
        *,
        double_quantization: bool = True,
        compute: Literal["fp32", "bf16", "fp16"] = "fp32",
    ) -> None:
        self.double_quantization = double_quantization
        self.compute = compute

    def load_options(self) -> dict[str, Any]:
        require("bitsandbytes", "llm8bit", "adapter nf4")
        transformers = require("transformers", "lm", "adapter nf4")
        dtypes = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
        config = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=self.double_quantization,
            bnb_4bit_compute_dtype=dtypes[self.compute],
            llm_int8_skip_modules=OUTPUT_LAYERS,
        )
        return {"quantization_config": config}
