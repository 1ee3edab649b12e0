"""Text embeddings of a frozen backbone, kept on disk text by text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llmrec.core.config import BackboneSpec, build
from llmrec.core.files import cache_folder
from llmrec.core.vectors import VectorStore, digests

STORE = "2"  # raise it when the numbers of an unchanged backbone change
TOKENS_AT_ONCE = 1024
WIDTHS = 8
KEPT_AT_ONCE = 4096

TextPooling = Literal["mean", "max"]


def embed_texts(
    backbone: BackboneSpec,
    texts: Sequence[str],
    *,
    max_length: int = 128,
    pooling: TextPooling | None = None,
    owners: Sequence[str] | None = None,
    training: Sequence[str] | None = None,
) -> np.ndarray:
    """Return one unit-length vector per text, pooled from a frozen backbone.

    Each distinct text is encoded once and for all: the vector of a pretrained backbone is kept in
    the cache under hashes of its weights and options and of the text, whatever data set or field
    the text is from. Texts are encoded in blocks of fixed shapes, so that a vector does not depend
    on the other texts; another number of threads or another machine may change its last bits, but
    what the cache holds is what everybody reads.

    Args:
        backbone: spec of a backbone that provides ``pooled``.
        texts: (N,) texts; an empty one gives a zero vector.
        max_length: tokens kept of each text.
        pooling: of the token states, instead of that of the backbone.
        owners: (N,) external ids of who wrote the texts, "" for nobody, so that `llmrec forget`
            finds them.
        training: the texts that a backbone without fixed weights (word vectors) is trained on, by
            default `texts`.

    Returns:
        (N, H) float32.
    """
    spec = {**backbone, "pooling": "mean"} if pooling == "mean" else backbone
    encoder = build("backbone", spec)
    distinct, places = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)
    words = [str(text) for text in distinct]
    full = np.array([bool(text.strip()) for text in words], bool)
    asked = [text for text in words if text.strip()]
    how = pooling or encoder.pooling or encoder.pooling_default
    store = _store(encoder, max_length, how)
    learned = texts if training is None else training
    found = _known_or_encoded(store, encoder, asked, max_length, pooling, learned)
    if store is not None and owners is not None:
        who = np.array([str(owner) for owner in owners], object)
        own = np.array([bool(owner) for owner in who], bool) & full[places]
        if own.any():
            keys = digests(words)
            store.own(keys[places[own]], digests(who[own]))
    vectors = np.zeros((len(words), found.shape[1]), np.float32)
    vectors[full] = found
    return vectors[places]


def _store(encoder: Any, max_length: int, pooling: str) -> VectorStore | None:
    """Return where the vectors of a pretrained backbone are kept; None for random weights."""
    identity = encoder.identity()
    if identity is None:
        return None
    name = hashlib.sha256(f"{STORE} {identity} {max_length} {pooling}".encode()).hexdigest()
    return VectorStore(embeddings_folder() / name[:32])


def embeddings_folder() -> Path:
    """Return the folder of all cached embeddings."""
    return cache_folder() / "embeddings"


def _known_or_encoded(
    store: VectorStore | None,
    encoder: Any,
    texts: list[str],
    max_length: int,
    pooling: TextPooling | None,
    training: Sequence[str],
) -> np.ndarray:
    """Return (N, H) vectors of N distinct texts; what was not known is kept."""
    keys = digests(texts)
    if store is not None and len(texts):
        known, vectors = store.find(keys)
        if known.all():
            return vectors
    else:
        known = np.zeros(len(texts), bool)
    missing = np.flatnonzero(~known)
    rows: list[int] = []
    blocks: list[np.ndarray] = []
    asked = [texts[i] for i in missing]
    for part, block in _encode(encoder, asked, max_length, pooling, training):
        rows += part
        blocks.append(block)
        if store is not None and len(rows) >= KEPT_AT_ONCE:
            store.add(keys[missing[rows]], np.concatenate(blocks))
            rows, blocks = [], []
    if store is None or not len(texts):
        return np.concatenate(blocks)[np.argsort(rows, kind="stable")]
    if rows:
        store.add(keys[missing[rows]], np.concatenate(blocks))
    return store.find(keys)[1]  # that of another process, if it was quicker


def _encode(
    encoder: Any,
    texts: list[str],
    max_length: int,
    pooling: TextPooling | None,
    training: Sequence[str],
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield numbers of texts with their vectors; (0, H) for no text at all.

    A block has a width of its own and as many rows as make `TOKENS_AT_ONCE`, filled up with
    copies: a matrix product of one shape gives a row the same bits whatever the other rows are.
    """
    import torch

    tokenizer = encoder.tokenizer(training)
    with torch.random.fork_rng():  # weights that a checkpoint lacks are drawn, and not used here
        model = encoder.load("pooled", tokenizer=tokenizer)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    if not texts:
        yield [], np.zeros((0, encoder.width(model)), np.float32)
        return
    ids = tokenizer(texts, truncation=True, max_length=max_length, add_special_tokens=True)
    by_width: dict[int, list[int]] = {}
    for number, row in enumerate(ids["input_ids"]):
        width = min(max(1, -(-len(row) // WIDTHS)) * WIDTHS, max(max_length, len(row)))
        by_width.setdefault(width, []).append(number)
    for width, numbers in sorted(by_width.items()):
        height = max(1, TOKENS_AT_ONCE // width)
        for start in range(0, len(numbers), height):
            part = numbers[start : start + height]
            block = torch.full((height, width), tokenizer.pad_token_id, dtype=torch.long)
            mask = torch.zeros((height, width), dtype=torch.bool)
            for place in range(height):
                row = ids["input_ids"][part[min(place, len(part) - 1)]]
                block[place, : len(row)] = torch.tensor(row, dtype=torch.long)
                mask[place, : len(row)] = True
            with torch.inference_mode():
                encoded = encoder.encode(model, mask.to(device), block.to(device))
                pooled = encoded.pooled
                if pooling == "max":
                    pooled = encoded.tokens.masked_fill(~encoded.mask[..., None], -torch.inf)
                    pooled = pooled.amax(1)
                unit = torch.nn.functional.normalize(pooled.float(), dim=1)
            yield part, unit[: len(part)].cpu().numpy()
