"""Which layers an adapter changes by default, by transformers' model type."""

from __future__ import annotations

from typing import NamedTuple

_DECODERS = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3")
_BERTS = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
_T5S = ("t5", "mt5", "umt5")

# Query and value projections (Hu et al., 2022, section 4.2); some models keep query, key and value
# in one layer. Of any other architecture LoRA adapts all linear layers.
ATTENTION: dict[str, list[str]] = {
    "gpt2": ["c_attn"],
    "distilbert": ["q_lin", "v_lin"],
    "mpnet": ["q", "v"],
    "modernbert": ["Wqkv"],
    **{kind: ["query", "value"] for kind in _BERTS},
    **{kind: ["q", "v"] for kind in _T5S},
    **{kind: ["q_proj", "v_proj"] for kind in _DECODERS},
}


class Scaled(NamedTuple):
    """Where (IA)³ scales: regular expressions of all its layers and of those on whose input."""

    layers: str
    feedforward: str


def _scaled(attention: str, feedforward: str) -> Scaled:
    return Scaled(rf".*\.({attention}|{feedforward})", rf".*\.({feedforward})")


# Keys, values and the input of the last feed-forward layer (Liu et al., 2022, section 3.3).
SCALED: dict[str, Scaled] = {
    "gpt2": _scaled(r"c_attn", r"mlp\.c_proj"),
    "distilbert": _scaled(r"k_lin|v_lin", r"ffn\.lin2"),
    "mpnet": _scaled(r"attn\.(k|v)", r"layer\.\d+\.output\.dense"),
    "modernbert": _scaled(r"Wqkv", r"mlp\.Wo"),
    **dict.fromkeys(_BERTS, _scaled(r"key|value", r"layer\.\d+\.output\.dense")),
    **dict.fromkeys(_T5S, _scaled(r"k|v", r"wo")),
    **dict.fromkeys(_DECODERS, _scaled(r"k_proj|v_proj", r"down_proj")),
}
