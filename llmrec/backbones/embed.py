"""Text embeddings of a frozen backbone, cached on disk by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmrec.core.config import BackboneSpec, build
from llmrec.core.files import atomic_path, cache_folder


def embed_texts(
    backbone: BackboneSpec, texts: Sequence[str], *, batch_size: int = 64, max_length: int = 128
) -> np.ndarray:
    """Return one unit-length vector per text, mean-pooled from a frozen backbone.

    Each distinct text is encoded once, in order of length. The result of a pretrained backbone is
    kept in the cache under a hash of its weights and of all texts, so that a second run encodes
    nothing and sees the same bits.

    Args:
        backbone: spec of a backbone that provides ``pooled``.
        texts: (N,) texts; an empty one gives a zero vector.
        batch_size: texts encoded at once.
        max_length: tokens kept of each text.

    Returns:
        (N, H) float32.
    """
    encoder = build("backbone", backbone)
    distinct, places = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)
    identity = encoder.identity()
    path = None
    if identity is not None:
        digest = hashlib.sha256(f"1 {identity} {max_length} {encoder.pooling}".encode())
        for text in distinct:
            digest.update(text.encode() + b"\0")
        path = cache_folder() / "embeddings" / f"{digest.hexdigest()}.npy"
        if path.is_file():
            return np.load(path, allow_pickle=False)[places]
    vectors = _encode(encoder, [str(text) for text in distinct], batch_size, max_length)
    if path is not None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    return vectors[places]


def _encode(encoder: Any, texts: list[str], batch_size: int, max_length: int) -> np.ndarray:
    import torch

    tokenizer = encoder.tokenizer(texts)
    with torch.random.fork_rng():  # weights that a checkpoint lacks are drawn, and not used here
        model = encoder.load("pooled", tokenizer=tokenizer)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    rows = tokenizer(texts, truncation=True, max_length=max_length, add_special_tokens=True)
    ids = rows["input_ids"]
    vectors = np.zeros((len(texts), encoder.width(model)), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            width = max(1, *(len(ids[i]) for i in part))
            block = torch.full((len(part), width), tokenizer.pad_token_id, dtype=torch.long)
            mask = torch.zeros((len(part), width), dtype=torch.bool)
            for row, i in enumerate(part):
                block[row, : len(ids[i])] = torch.tensor(ids[i], dtype=torch.long)
                mask[row, : len(ids[i])] = True
            pooled = encoder.encode(model, mask.to(device), block.to(device)).pooled
            vectors[part] = torch.nn.functional.normalize(pooled.float(), dim=1).cpu().numpy()
    vectors[[not text.strip() for text in texts]] = 0
    return vectors
