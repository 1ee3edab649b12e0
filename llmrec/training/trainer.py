"""Training on transformers' Trainer: early stopping on a validation metric, checkpoints, resume."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging as hf_logging

from llmrec.core.errors import RunError
from llmrec.core.protocols import FitContext
from llmrec.training.checkpoints import (
    finished_state,
    newest_checkpoint,
    processes,
    remove_checkpoints,
    restore,
    shared_folder,
    trainable_state,
)
from llmrec.training.processes import counted_once

Validate = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class TrainingOptions:
    """How a net is trained; the names are those of the language model's config.

    Attributes:
        epochs: passes over the examples, at most.
        batch_size: examples per step and device.
        learning_rate: highest learning rate.
        weight_decay: decoupled, not on biases, norms and item embeddings.
        warmup_share: share of all steps in which the rate rises from 0.
        schedule: how it falls afterwards.
        gradient_accumulation_steps: batches per step.
        max_gradient_norm: gradients are clipped to it.
        early_stopping_patience: validations without improvement before the end; None never stops.
        precision: of the arithmetic; bf16 and fp16 are for GPUs.
        metric: validation metric that picks the best epoch.
        higher_is_better: direction of `metric`.
        trainer_arguments: anything else of transformers' TrainingArguments (optim, …).
        seed: of batches, dropout and masks.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    schedule: Literal["linear", "cosine", "constant_with_warmup"]
    gradient_accumulation_steps: int
    max_gradient_norm: float
    early_stopping_patience: int | None
    precision: Literal["fp32", "bf16", "fp16"]
    metric: str
    higher_is_better: bool
    seed: int
    trainer_arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """What training found.

    Attributes:
        best_epoch: the epoch whose weights were kept.
        best_value: its validation metric, NaN without validation.
        epochs: how many were run.
        curve: one mapping per logged point: epoch, loss or validation metrics.
    """

    best_epoch: float
    best_value: float
    epochs: float
    curve: tuple[Mapping[str, float], ...]


CHECK_EVERY = 20  # steps; a loss that is no number makes all weights so, and does not come back


def require_finite(loss: float, step: int) -> None:
    """Check the training loss.

    Raises:
        RunError: if it is not finite.
    """
    if not math.isfinite(loss):
        raise RunError(
            f"the training loss became {loss} by step {step}; lower learning_rate, or use "
            "precision=fp32"
        )


class _Numbers(TorchDataset[int]):
    """The example numbers; the collator turns a list of them into a batch at once."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index


class BucketSampler(Sampler[int]):
    """A new order each epoch in which the examples of a batch have like lengths: little padding.

    Pools of `POOL` batches are drawn at random, sorted by length within, cut into batches, and the
    batches are shuffled. The order depends on seed and epoch alone, so a resumed run sees the same.

    Args:
        lengths: (N,) of the examples.
        batch_size: examples per step over all devices.
        seed: of the order.
    """

    POOL = 8

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the trainer calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))
        pool = np.arange(len(order)) // (self.POOL * self.batch_size)
        order = order[np.lexsort((self.lengths[order], pool))]
        starts = np.arange(0, len(order), self.batch_size)
        for start in rng.permutation(starts):
            yield from order[start : start + self.batch_size].tolist()


class _Trainer(Trainer):
    """transformers' Trainer with our validation and checkpoints of the trainable weights only."""

    validate: Validate | None = None
    lengths: np.ndarray

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:  # noqa: ARG002
        size = self.args.per_device_train_batch_size * max(1, self.args.world_size)
        return BucketSampler(self.lengths, size, self.args.seed)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        take = getattr(self.accelerator.unwrap_model(self.model), "take_losses", None)
        if take is not None and "loss" in logs:  # of each task, where there are several
            logs = {**logs, **take()}
        super().log(logs, *args, **kwargs)

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the loss; several processes count each target once, not each process's mean."""
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.state.global_step % CHECK_EVERY == 0:  # reading it makes a GPU wait
            require_finite(loss.item(), self.state.global_step + 1)
        if "n_targets" in outputs:
            loss = counted_once(loss, outputs["n_targets"])
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ARG002
        assert self.validate is not None
        assert self.model is not None
        self.model.eval()
        with torch.inference_mode():
            values = {f"eval_{name}": value for name, value in self.validate().items()}
        self.model.train()
        self.log(values)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, values
        )
        return values

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002
        # Frozen (perhaps quantized) weights come from the backbone; tied ones are saved once.
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        assert self.model is not None
        net = self.accelerator.unwrap_model(self.model)
        save_file(trainable_state(net), folder / "model.safetensors", metadata={"format": "pt"})

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Missing keys are the frozen weights; an unexpected one would be a real fault."""
        if load_result.unexpected_keys:
            raise RunError(
                f"the checkpoint holds weights this model lacks: {load_result.unexpected_keys[:3]}"
            )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:  # noqa: ARG002
        if self.optimizer is None:
            assert self.model is not None
            decayed: list[torch.nn.Parameter] = []
            free: list[torch.nn.Parameter] = []
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    plain = parameter.ndim < 2 or name.split(".")[-2:-1] == ["tokens"]
                    (free if plain else decayed).append(parameter)
            cls, options = self.get_optimizer_cls_and_kwargs(self.args)
            groups = [
                {"params": decayed, "weight_decay": self.args.weight_decay},
                {"params": free, "weight_decay": 0.0},
            ]
            self.optimizer = cls([group for group in groups if group["params"]], **options)
        return self.optimizer


class _Reporter(TrainerCallback):
    """Passes losses, validation values and progress on to the fit context."""

    def __init__(self, context: FitContext) -> None:
        self.context = context

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        numbers = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, int | float)}
        if "train_runtime" in numbers:
            return
        require_finite(numbers.get("loss", 0.0), state.global_step)
        self.context.log(numbers, int(state.global_step))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        share = state.global_step / max(1, state.max_steps)
        text = f"epoch {math.ceil(state.epoch or 0)}/{int(args.num_train_epochs)}"
        if state.best_metric is not None:
            text += f", best {state.best_metric:.4f}"
        self.context.progress(share, text)


def train(
    net: torch.nn.Module,
    lengths: np.ndarray,
    collate: Callable[[Sequence[int]], dict[str, torch.Tensor]],
    options: TrainingOptions,
    validate: Validate | None,
    context: FitContext,
) -> Fitted:
    """Train a net in place; the weights of the best validated epoch stay in it.

    Args:
        net: what to train.
        lengths: (N,) of the N examples that `collate` knows, to put like lengths together.
        collate: turns example numbers into a batch of tensors.
        options: the training options.
        validate: returns metrics of the current weights, or None to train all epochs.
        context: checkpoints folder, resume, logging.

    Raises:
        RunError: if the loss is not finite or nothing can be trained.
    """
    if not len(lengths):
        raise RunError(
            "there is nothing to train on: no user has two interactions in the training data"
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_own_randomness())
        stack.enter_context(_quiet_training())
        stack.enter_context(_spared_collector())
        folder = context.folder
        if folder is None:
            folder = stack.enter_context(shared_folder())
        resume = newest_checkpoint(folder) if context.resume else None
        if processes().is_main_process:
            remove_checkpoints(folder, after=resume)
        processes().wait_for_everyone()
        state = None if resume is None else finished_state(resume, options.early_stopping_patience)
        if state is not None:
            restore(net, folder / f"checkpoint-{state.best_global_step or state.global_step}")
        else:
            trainer = _build_trainer(net, lengths, collate, options, validate, context, folder)
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
            state = trainer.state
    net.eval()
    best = state.best_metric if validate is not None else math.nan
    epochs = float(state.epoch or 0.0)
    steps = state.best_global_step if state.best_global_step else state.global_step
    return Fitted(
        best_epoch=round(steps * epochs / max(1, state.global_step), 3),
        best_value=float(best if best is not None else math.nan),
        epochs=round(epochs, 3),
        curve=tuple(
            {k: float(v) for k, v in point.items() if isinstance(v, int | float)}
            for point in state.log_history
            if "train_runtime" not in point
        ),
    )


def _build_trainer(
    net: torch.nn.Module,
    lengths: np.ndarray,
    collate: Callable[[Sequence[int]], dict[str, torch.Tensor]],
    options: TrainingOptions,
    validate: Validate | None,
    context: FitContext,
    folder: Path,
) -> _Trainer:
    keeps_best = validate is not None
    arguments = TrainingArguments(
        **{
            "output_dir": str(folder),
            "num_train_epochs": options.epochs,
            "per_device_train_batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            "weight_decay": options.weight_decay,
            "warmup_steps": options.warmup_share,  # a share of all steps
            "lr_scheduler_type": options.schedule,
            "gradient_accumulation_steps": options.gradient_accumulation_steps,
            "max_grad_norm": options.max_gradient_norm,
            "bf16": options.precision == "bf16",
            "fp16": options.precision == "fp16",
            "seed": options.seed,
            "use_cpu": not torch.cuda.is_available(),
            "eval_strategy": "epoch" if keeps_best else "no",
            "save_strategy": "epoch" if keeps_best or context.folder is not None else "no",
            "save_total_limit": 2,
            "load_best_model_at_end": keeps_best,
            "metric_for_best_model": options.metric if keeps_best else None,
            "greater_is_better": options.higher_is_better if keeps_best else None,
            "restore_callback_states_from_checkpoint": True,
            "logging_strategy": "epoch",
            "logging_nan_inf_filter": False,
            "report_to": "none",
            "disable_tqdm": True,
            "remove_unused_columns": False,
            "label_names": [],
            "dataloader_pin_memory": torch.cuda.is_available(),
            **options.trainer_arguments,
        }
    )
    if arguments.n_gpu > 1:
        # One process with several GPUs would mean DataParallel: another batch size, unsaid. Several
        # GPUs are for torchrun; alone, a process takes the first.
        arguments._n_gpu = 1
    callbacks: list[TrainerCallback] = [_Reporter(context)]
    if keeps_best and options.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(options.early_stopping_patience))
    trainer = _Trainer(
        model=net,
        args=arguments,
        train_dataset=_Numbers(len(lengths)),
        # A stand-in: `evaluate` calls `validate` and reads no evaluation data set.
        eval_dataset=_Numbers(1) if keeps_best else None,
        data_collator=collate,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.validate = validate
    trainer.lengths = lengths
    trainer.model_accepts_loss_kwargs = False
    return trainer


@contextlib.contextmanager
def _own_randomness() -> Iterator[None]:
    """Give the global generators back as they were: the Trainer seeds them."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


@contextlib.contextmanager
def _spared_collector() -> Iterator[None]:
    """Leave what is there already out of garbage collection: accelerate runs a full one per fit."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _quiet_training() -> Iterator[None]:
    """Silence the trainer's own console lines; everything it says reaches the fit context."""
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # peft and bitsandbytes still ask transformers for a name it has renamed.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            yield
    finally:
        hf_logging.set_verbosity(level)
