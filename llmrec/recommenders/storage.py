"""A language model in a folder: weights, adapter, tokenizer, catalogue."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from llmrec.backbones.base import quiet_loading
from llmrec.core.files import read_json, write_json
from llmrec.core.seeding import derive_seed
from llmrec.heads.averages import Averages
from llmrec.heads.identifiers import Codes
from llmrec.prompts.identifiers import Vocabulary
from llmrec.recommenders.assembly import Assembled, Shared, put_together, seeded
from llmrec.recommenders.tasks import all_assembled, widest
from llmrec.training.batches import TextBatches
from llmrec.training.statistics import blank

if TYPE_CHECKING:
    from llmrec.recommenders.language_model import LanguageModel


def save_assembled(owner: LanguageModel, folder: Path) -> None:
    """Write weights, adapter, tokenizer and catalogue."""
    assembled: Assembled = owner._model
    net = assembled.net
    if assembled.base is not None:
        shutil.copytree(assembled.base.name, folder / "backbone")
    elif owner._adapter.trains_base or owner._backbone.location is None:
        with quiet_loading():
            net.model.save_pretrained(folder / "backbone")
    owner._adapter.save(net.model, folder / "adapter")
    if assembled.codes is not None:
        codes = assembled.codes
        np.savez(folder / "codes.npz", table=codes.table, size=codes.size)
        write_json(folder / "codes.json", dict(codes.facts))
    elif assembled.tokenizer is not None:
        assembled.tokenizer.save_pretrained(folder / "tokenizer")
    parts = {f"head.{k}": v for k, v in net.head.state_dict().items()}
    if net.tokens is not None:
        parts |= {f"tokens.{k}": v for k, v in net.tokens.state_dict().items()}
    if assembled.averages is not None:
        parts |= assembled.averages.state()
    shapes = {}
    for label, other in all_assembled(owner).items():
        parts |= {f"others.{label}.head.{k}": v for k, v in other.net.head.state_dict().items()}
        if other.averages is not None:
            parts |= {f"others.{label}.{k}": v for k, v in other.averages.state().items()}
        shapes[label] = other.shapes
    if parts:
        save_file({k: v.cpu().contiguous() for k, v in parts.items()}, folder / "parts.safetensors")
    catalogue = assembled.batches.items if isinstance(assembled.batches, TextBatches) else []
    header = {"n_items": assembled.n_items, "items": catalogue, "shapes": assembled.shapes}
    write_json(folder / "tasks.json", shapes)
    write_json(folder / "catalogue.json", header)


def load_assembled(owner: LanguageModel, folder: Path) -> Assembled:
    """Read what `save_assembled` wrote."""
    from transformers import PreTrainedTokenizerFast

    prompt, backbone = owner._prompt, owner._backbone
    header = read_json(folder / "catalogue.json")
    parts = {}
    if (folder / "parts.safetensors").is_file():
        parts = load_file(folder / "parts.safetensors")
    saved = folder / "backbone"
    with seeded(derive_seed(owner.seed, "weights")):
        model = backbone.load(
            widest(owner),
            folder=saved if saved.is_dir() else None,
            load_options=owner._adapter.load_options(),
        )
        model = owner._adapter.restore(model, folder / "adapter")
    tokens = None
    if prompt.kind == "items":
        tokens = prompt.restored(_below(parts, "tokens."))
    tokenizer, codes = None, None
    if prompt.kind == "identifiers":
        with np.load(folder / "codes.npz", allow_pickle=False) as arrays:
            codes = Codes(arrays["table"], int(arrays["size"]), read_json(folder / "codes.json"))
        tokenizer = Vocabulary(prompt.user_tokens, codes.size)
    if (folder / "tokenizer").is_dir():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    catalogue = header["items"] or [{}] * header["n_items"]
    shared = Shared(model, tokens, tokenizer, catalogue, codes)
    assembled = _restored(owner, parts, header["shapes"], shared)
    if saved.is_dir() and not owner._adapter.trains_base and owner._backbone.location is None:
        assembled.base = tempfile.TemporaryDirectory()
        shutil.copytree(saved, assembled.base.name, dirs_exist_ok=True)
    for label, view in owner._others.items():
        own, shapes = _below(parts, f"others.{label}."), read_json(folder / "tasks.json")[label]
        view._model = _restored(view, own, shapes, shared)
    return assembled


def _restored(
    owner: Any, parts: dict[str, torch.Tensor], shapes: dict[str, list[int]], shared: Shared
) -> Assembled:
    """Return the model of one task with what its head has learned."""
    with seeded(0):  # drawn, then overwritten
        width, tied = owner._backbone.width(shared.model), shared.tokens is not None
        module = owner._head.build(width, len(shared.catalogue), tied, blank(shapes))
    module.load_state_dict(_below(parts, "head."))
    assembled = put_together(owner, module, shared)
    assembled.shapes = shapes
    if "averages.items" in parts:
        assembled.averages = Averages.from_state(parts)
    assembled.net.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return assembled


def _below(parts: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in parts.items() if k.startswith(prefix)}
