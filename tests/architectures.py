"""Tiny random checkpoints of the architectures that the backbones read, made by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_cases
import torch
import transformers

from llmrec.backbones.tokenizers import train_tokenizer

TEXTS = [*lm_cases.TITLES, "The user liked, oldest first: Will Yes No", "x (1995) 12"]
NARROW = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
WIDE = {**NARROW, "intermediate_size": 24, "max_position_embeddings": 64, "pad_token_id": 0}
GROUPED = {**WIDE, "num_key_value_heads": 1, "head_dim": 8, "bos_token_id": 2, "eos_token_id": 3}
PADDED = {**WIDE, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
T5 = {
    "vocab_size": 300,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": 3,
    "decoder_start_token_id": 0,
}

# name: (backbone that reads it, transformers' config class, its values)
CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("causal", "LlamaConfig", GROUPED),
    "qwen2": ("causal", "Qwen2Config", {**GROUPED, "tie_word_embeddings": True}),
    "qwen3": ("causal", "Qwen3Config", GROUPED),
    "gemma": ("causal", "GemmaConfig", GROUPED),
    "gemma2": (
        "causal",
        "Gemma2Config",
        {**GROUPED, "sliding_window": 3, "final_logit_softcapping": 0.1},
    ),
    "gemma3": ("causal", "Gemma3TextConfig", {**GROUPED, "sliding_window": 3}),
    "mistral": ("causal", "MistralConfig", {**GROUPED, "sliding_window": 3}),
    "granite": ("causal", "GraniteConfig", {**GROUPED, "logits_scaling": 4.0}),
    "gpt_neox": ("causal", "GPTNeoXConfig", {**WIDE, "bos_token_id": 2, "eos_token_id": 3}),
    "bert": ("bert", "BertConfig", WIDE),
    "distilbert": (
        "bert",
        "DistilBertConfig",
        {"vocab_size": 300, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    ),
    "roberta": ("roberta", "RobertaConfig", PADDED),
    "xlm-roberta": ("bert", "XLMRobertaConfig", PADDED),
    "camembert": ("bert", "CamembertConfig", PADDED),
    "mpnet": ("bert", "MPNetConfig", PADDED),
    "modernbert": (
        "bert",
        "ModernBertConfig",
        {**WIDE, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 4, "sep_token_id": 5},
    ),
    "mt5": ("t5", "MT5Config", {**T5, "feed_forward_proj": "gated-gelu"}),
    "umt5": ("t5", "UMT5Config", {**T5, "feed_forward_proj": "gated-gelu"}),
}
DECODERS = [name for name, (reader, _, _) in CONFIGS.items() if reader == "causal"]
ENCODERS = [name for name, (reader, _, _) in CONFIGS.items() if reader in ("bert", "roberta")]
SEQ2SEQ = [name for name, (reader, _, _) in CONFIGS.items() if reader == "t5"]


def reader_of(name: str) -> str:
    """Return the backbone that reads such a checkpoint."""
    return CONFIGS[name][0]


def plain_class(name: str) -> Any:
    """Return transformers' class with the language-model head."""
    auto = {"causal": "CausalLM", "t5": "Seq2SeqLM"}.get(reader_of(name), "MaskedLM")
    return getattr(transformers, f"AutoModelFor{auto}")


def tokenizer_of(name: str) -> Any:
    """Return a tokenizer whose padding token is where the architecture expects it."""
    kind = {"causal": "bpe", "t5": "unigram"}.get(reader_of(name), "wordpiece")
    tokenizer = train_tokenizer(kind, TEXTS, 300)
    if CONFIGS[name][2] is PADDED:
        tokenizer.pad_token = "<unk>"
        tokenizer.unk_token = "<bos>"
    return tokenizer


def save(name: str, folder: Path) -> Path:
    """Write a random checkpoint with its tokenizer, with weights that tell states apart."""
    _, config_class, values = CONFIGS[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = getattr(transformers, config_class)(**values)
        model = plain_class(name).from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(folder)
    tokenizer_of(name).save_pretrained(folder)
    return folder
