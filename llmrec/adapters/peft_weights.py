"""Wrapping with peft, storing its weights, and proving that what was stored is back in place."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmrec.core.errors import ComponentError
from llmrec.core.extras import require

WEIGHTS = "adapter_model.safetensors"
# A change of a weight below it may be lost to rounding, and then proves nothing.
VISIBLE = 1e-4


def wrapped_with(module: Any, config: Any, name: str, architecture: str) -> Any:
    """Return the module with the adapter layers of a peft config in it.

    Raises:
        ComponentError: if peft finds no such layers, or cannot adapt them.
    """
    peft = require("peft", "lm", f"adapter {name}")
    try:
        with without_deprecations():
            return peft.get_peft_model(module, config)
    except (ValueError, TypeError) as error:
        layers = config.target_modules
        targets = "the default layers" if layers is None else layers
        targets = sorted(layers) if isinstance(layers, set) else targets
        raise ComponentError(
            f"adapter {name} cannot adapt {targets} of a {architecture} backbone: {error}"
        ) from error


def save_weights(module: Any, folder: Path) -> None:
    """Write the adapter's own weights."""
    # Embeddings are never changed, so peft need not ask the hub whether they were.
    module.save_pretrained(folder, save_embedding_layers=False)


def read_plainly(module: Any, folder: str) -> Any:
    """Put a stored adapter into a module as peft does it, to train on or to score."""
    peft = require("peft", "lm", "a stored adapter")
    return peft.PeftModel.from_pretrained(module, folder, is_trainable=True)


def restored(
    module: Any,
    folder: Path,
    read: Callable[[Any, str], Any],
    is_trained: Callable[[dict[str, Any]], bool],
) -> Any:
    """Return the module with the stored adapter in it, proven present and at work.

    Args:
        module: the bare transformers model.
        folder: what `save_weights` wrote.
        read: puts the stored adapter into a module.
        is_trained: whether stored weights must change the outputs.

    Raises:
        ComponentError: if a file or a weight is missing or does not fit, or if the outputs are
            those of the bare model although the adapter was trained.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in ("adapter_config.json", WEIGHTS):
        # peft would look for an absent file on the hub.
        if not (folder / name).is_file():
            raise ComponentError(f"the adapter in {folder} cannot be read: {name} is missing")
    bare = probe(module)
    with without_deprecations():
        # Weights that are missing are an error below.
        warnings.filterwarnings("ignore", message="Found missing adapter keys")
        try:
            wrapped = read(module, str(folder))
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
            raise ComponentError(
                f"the adapter in {folder} does not fit its backbone: {error}"
            ) from error
    stored = load_file(folder / WEIGHTS)
    _assert_present(wrapped, stored, folder)
    _assert_at_work(wrapped, bare, stored, is_trained, folder)
    return wrapped


def probe(module: Any) -> Any:
    """Return the outputs of a transformers model for a fixed input of four embeddings."""
    import torch

    base = module.get_base_model() if hasattr(module, "get_base_model") else module
    table = base.get_input_embeddings().weight
    given = torch.linspace(-1, 1, 4 * table.shape[1]).reshape(1, 4, -1).to(table)
    inputs = {"inputs_embeds": given}
    if hasattr(base, "decoder"):
        inputs["decoder_inputs_embeds"] = given
    training = module.training
    with torch.inference_mode():
        output = module.eval()(**inputs)[0].clone()
    module.train(training)
    return output


def _assert_present(wrapped: Any, stored: dict[str, Any], folder: Path) -> None:
    """Prove that the stored adapter weights are the ones in the model."""
    import peft
    import torch

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


def _assert_at_work(
    wrapped: Any,
    bare: Any,
    stored: dict[str, Any],
    is_trained: Callable[[dict[str, Any]], bool],
    folder: Path,
) -> None:
    """Prove that a trained adapter changes the outputs of its backbone."""
    import torch

    if is_trained(stored) and torch.equal(probe(wrapped), bare):
        raise ComponentError(
            f"the adapter in {folder} was trained and its weights are loaded, but the outputs are "
            "those of the backbone without it; look at its adapter_config.json (a scale of 0?)"
        )


@contextlib.contextmanager
def without_deprecations() -> Iterator[None]:
    """Silence what peft is told by transformers: it still asks for a name that has changed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        yield
