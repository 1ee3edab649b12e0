"""Checkpoints of a training: which one is whole, which one ended it, what is read back."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainerState

from llmrec.core.errors import RunError
from llmrec.core.files import read_json

STATE = "trainer_state.json"


def trainable_state(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the trainable weights by name, on the CPU, tied ones once."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in net.named_parameters()
        if parameter.requires_grad
    }


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint: the trainer's state is the last file written."""
    found = [path.parent for path in Path(folder).glob(f"checkpoint-*/{STATE}") if _readable(path)]
    return max(found, key=_step, default=None)


def remove_checkpoints(folder: Path, after: Path | None) -> None:
    """Remove half-written checkpoints, newer than that to resume from, or all of an earlier fit.

    Otherwise the trainer, which keeps the newest few by number, would count them among its own.
    """
    for path in folder.glob("checkpoint-*"):
        if after is None or _step(path) > _step(after):
            shutil.rmtree(path)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])


def _readable(path: Path) -> bool:
    try:
        read_json(path)
    except RunError:  # the process died while it wrote the file
        return False
    return True


def finished_state(checkpoint: Path, patience: int | None) -> TrainerState | None:
    """Return the state of a training that had ended when its last checkpoint was written.

    None if it had not ended. The trainer itself forgets, when it resumes, that it stopped early.

    Args:
        checkpoint: the newest complete one.
        patience: of early stopping, None if it never stops.
    """
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    stopping = state.stateful_callbacks.get(EarlyStoppingCallback.__name__, {})
    waited = stopping.get("attributes", {}).get("early_stopping_patience_counter", 0)
    ended = state.global_step >= state.max_steps or (patience is not None and waited >= patience)
    return state if ended else None


def restore(net: torch.nn.Module, checkpoint: Path) -> None:
    """Put the trainable weights of a checkpoint into a net.

    Raises:
        RunError: if they are not there, or are of another model.
    """
    file = checkpoint / "model.safetensors"
    if not file.is_file():
        raise RunError(f"cannot resume: {file} is missing; start again without resume")
    stored = load_file(file)
    if set(stored) != set(trainable_state(net)):
        raise RunError(f"cannot resume: {checkpoint} is of another model")
    net.load_state_dict(stored, strict=False)


def processes() -> PartialState:
    """Return this process among those of torchrun; without a GPU they talk through gloo.

    Unless accelerate is told of the CPU before anything else, each process believes it is alone.
    """
    return PartialState(cpu=not torch.cuda.is_available())


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """Yield a temporary folder that is the same for all processes of a distributed training."""
    state = processes()
    with contextlib.ExitStack() as stack:
        names: list[Any] = [None]
        if state.is_main_process:
            names = [stack.enter_context(tempfile.TemporaryDirectory())]
        if state.num_processes > 1:
            broadcast_object_list(names)
        yield Path(names[0])
        state.wait_for_everyone()
