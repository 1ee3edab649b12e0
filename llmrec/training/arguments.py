"""The check of arguments for transformers' trainer, without loading it."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from llmrec.core.errors import unknown

# Validation scores outside the wrapped forward pass, and checkpoints hold whole weights.
SHARDED = {"fsdp", "fsdp_config", "deepspeed"}

# Set by our own options, or without effect here: own sampler, own validation.
OURS = {
    "data_seed",
    "train_sampling_strategy",
    "length_column_name",
    "per_device_eval_batch_size",
    "eval_steps",
    "eval_delay",
    "eval_on_start",
    "eval_accumulation_steps",
    "eval_do_concat_batches",
    "batch_eval_metrics",
    "include_for_metrics",
    "prediction_loss_only",
    "label_names",
    "label_smoothing_factor",
    "disable_tqdm",
    "logging_strategy",
    "save_total_limit",
    "auto_find_batch_size",
    "output_dir",
    "num_train_epochs",
    "per_device_train_batch_size",
    "learning_rate",
    "weight_decay",
    "warmup_steps",
    "lr_scheduler_type",
    "gradient_accumulation_steps",
    "max_grad_norm",
    "bf16",
    "fp16",
    "metric_for_best_model",
    "greater_is_better",
    "seed",
    "eval_strategy",
    "save_strategy",
    "load_best_model_at_end",
    "report_to",
    "remove_unused_columns",
}


def check_trainer_arguments(values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the names of arguments for transformers' TrainingArguments.

    Names are unknown to nobody where transformers is not installed: the run says so anyway.
    """
    known = trainer_arguments() - OURS - SHARDED
    problems = []
    for key in values:
        if key in SHARDED:
            what = "sharded training is not supported yet; torchrun (DDP) and one GPU are"
            problems.append(f"{key}: {what}")
        elif key in OURS:
            what = "is set by an option of the language model, or has no effect here"
            problems.append(f"{key} {what}")
        elif known and key not in known:
            problems.append(unknown("trainer argument", key, known))
    return problems


@cache
def trainer_arguments() -> frozenset[str]:
    """Return the names of TrainingArguments, read from its source: importing it loads torch.

    Empty where transformers is not installed.
    """
    found = importlib.util.find_spec("transformers")
    if found is None or found.origin is None:
        return frozenset()
    source = Path(found.origin).with_name("training_args.py").read_text(encoding="utf-8")
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    (body,) = (each.body for each in classes if each.name == "TrainingArguments")
    fields = [node for node in body if isinstance(node, ast.AnnAssign)]
    return frozenset(node.target.id for node in fields if isinstance(node.target, ast.Name))
