"""8-bit products for scoring on a CPU: faster than 32 bits, where bitsandbytes is only smaller.

Weights have one scale per output, activations one per row, found anew for each input (LLM.int8's
vector-wise scheme, Dettmers et al., 2022, without outliers). A row's scale depends on that row
alone, so that scores do not depend on the batch; torch's own dynamic quantization has one scale for
the whole batch. The kernel is FBGEMM's, the one behind `torch.ao.quantization.quantize_dynamic`.
Activations have 7 bits: with 8 its 16-bit sums overflow on a CPU without VNNI.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import nn

from llmrec.adapters.quantized import OUTPUT_LAYERS
from llmrec.core.errors import ComponentError

LEVELS = 63


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, for inference on a CPU.

    Args:
        weight: (out, in) float32.
        bias: (out,) float32, or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        scales = weight.abs().amax(1).clamp(min=1e-12).double() / 127
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            # FBGEMM's kernel takes torch's quantized tensors only; there is no newer one as fast.
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*")
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            self._packed = torch.ops.quantized.linear_prepack(rounded, None)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def weight(self) -> torch.Tensor:
        """Return the (out, in) weights that it stands for, rounded to 8 bits."""
        rounded: torch.Tensor = torch.ops.quantized.linear_unpack(self._packed)[0].dequantize()
        return rounded

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (…, out) of (…, in)."""
        sizes = inputs.abs().amax(-1, keepdim=True).clamp_(min=1e-12)
        product: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            inputs / sizes, 1 / LEVELS, LEVELS + 1, self._packed
        )
        if self.bias is None:
            return product.mul_(sizes)
        return torch.addcmul(self.bias, product, sizes)


def fast_int8(model: Any, architecture: str) -> Any:
    """Return a copy of a transformers model that multiplies in 8 bits; for inference on a CPU.

    LoRA and (IA)³ are merged into the weights first. Output layers stay in full precision, as do
    embeddings, norms and attention.

    Args:
        model: what an adapter returned, on the CPU and in float32; it is left as it is.
        architecture: of the backbone, for the message.

    Raises:
        ComponentError: if it has no layer to quantize.
    """
    model = copy.deepcopy(model).eval()
    if hasattr(model, "merge_and_unload") and not model.active_peft_config.is_prompt_learning:
        model = model.merge_and_unload()
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    output = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if not _replace(inner, output):
        raise ComponentError(
            f"inference=int8 finds no linear layer in this {architecture} backbone; "
            "choose inference=fp32"
        )
    inner.is_quantized = True
    return model.requires_grad_(False)


def _replace(module: Any, output: Any) -> int:
    """Replace the linear layers below a module, but output layers; return how many."""
    from transformers.pytorch_utils import Conv1D

    found = 0
    for name, child in module.named_children():
        if name in OUTPUT_LAYERS or child is output:
            continue
        if isinstance(child, nn.Linear | Conv1D):
            weight = child.weight.detach()
            weight = weight.T if isinstance(child, Conv1D) else weight  # GPT-2 keeps (in, out)
            bias = None if child.bias is None else child.bias.detach()
            setattr(module, name, Int8Linear(weight.contiguous(), bias))
            found += 1
        else:
            found += _replace(child, output)
    return found
