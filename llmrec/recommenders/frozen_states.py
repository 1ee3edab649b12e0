"""States of text prompts under a backbone that nothing changes: every prompt is encoded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from llmrec.backbones.base import inner
from llmrec.core.files import cache_folder
from llmrec.core.types import Ragged
from llmrec.core.vectors import DIGEST, VectorStore
from llmrec.training.batches import TextBatches
from llmrec.training.net import Net

if TYPE_CHECKING:
    from llmrec.recommenders.assembly import Assembled
    from llmrec.recommenders.language_model import LanguageModel

VERSION = "1"  # raise it when the states of unchanged weights change
# More is no faster on a CPU, and a single prompt costs a whole block.
TOKENS_AT_ONCE = {"cpu": 256, "cuda": 8192}
WIDTHS = 8
KEPT_AT_ONCE = 4096
# Fewer new prompts than this are not kept on disk outside a fit: each call of a server would leave
# a file of its own.
FEWEST_KEPT = 16


class FrozenStates:
    """The pooled states of prompts, kept by content.

    Prompts are encoded in blocks of fixed shapes, so that the states of one do not depend on the
    others, nor on what was known before: with and without the cache the bits are the same. The
    backbone is in evaluation mode, so its own dropout is off even while the head trains.

    During a fit states are also kept in memory, by history and candidate: a prompt seen before
    is neither rendered nor tokenised again.

    Args:
        net: its backbone is frozen and its head reads one pooled state per prompt.
        batches: renders and tokenises.
        store: of the states on disk, or None to keep none.
    """

    def __init__(self, net: Net, batches: TextBatches, store: VectorStore | None) -> None:
        self.net = net
        self.batches = batches
        self.store = store
        self.n_encoded = 0
        self.remembering = False
        self._places: dict[bytes, int] = {}
        self._states: list[np.ndarray] = []

    def remember(self, on: bool) -> None:
        """Keep states in memory from now on, or give them up."""
        self.remembering = on
        if not on:
            self._places, self._states = {}, []

    def of(
        self,
        histories: Ragged,
        ratings: Ragged | None,
        candidates: np.ndarray | None,
        tokens: Ragged | None = None,
        reviews: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """Return the (N, H) states of N prompts, where the net is.

        Args:
            histories: N rows of item ids.
            ratings: their ratings, same rows, or None.
            candidates: (N,) items asked about, or None for no question.
            tokens: the prompts' token ids, if they are known already.
            reviews: N texts about the items, for a question that reads them.
        """
        if not self.remembering:
            if tokens is None:
                tokens = self.batches.tokens(histories, ratings, candidates, reviews)
            return self._moved(self.of_tokens(tokens))
        keys = self._keys(histories, ratings, candidates, reviews)
        new = np.array([row for row, key in enumerate(keys) if key not in self._places], np.int64)
        if len(new):
            if tokens is None:
                stars = None if ratings is None else ratings.take(new)
                asked = None if candidates is None else candidates[new]
                read = None if reviews is None else [reviews[row] for row in new.tolist()]
                made = self.batches.tokens(histories.take(new), stars, asked, read)
                found = self.of_tokens(made)
            else:
                found = self.of_tokens(tokens.take(new))
            for place, row in enumerate(new.tolist()):
                self._places[keys[row]] = len(self._states)
                self._states.append(found[place])
        rows = [self._states[self._places[key]] for key in keys]
        width = self.net.backbone.width(self.net.model)
        return self._moved(np.array(rows, np.float32).reshape(len(rows), width))

    def _keys(
        self,
        histories: Ragged,
        ratings: Ragged | None,
        candidates: np.ndarray | None,
        reviews: Sequence[str] | None,
    ) -> list[bytes]:
        """Return what a prompt is made of."""
        length = self.batches.prompt.history_length
        shown = histories.tail(length)
        stars = None if ratings is None else ratings.tail(length)
        asked = np.full(len(shown), -1) if candidates is None else candidates
        written = [b""] * len(shown)
        if reviews is not None:
            encoded = (review.encode("utf-8", "surrogatepass") for review in reviews)
            written = [hashlib.sha256(each).digest() for each in encoded]
        return [
            written[row]
            + b"%d " % asked[row]
            + shown[row].astype(np.int64).tobytes()
            + (b"" if stars is None else b" " + stars[row].astype(np.float32).tobytes())
            for row in range(len(shown))
        ]

    def of_tokens(self, rows: Ragged) -> np.ndarray:
        """Return the (N, H) float32 states of N rows of token ids."""
        width = self.net.backbone.width(self.net.model)
        if not len(rows):
            return np.zeros((0, width), np.float32)
        digests = [hashlib.sha256(row.astype(np.int64).tobytes()).digest() for row in rows]
        keys, first, places = np.unique(
            np.array(digests, DIGEST), return_index=True, return_inverse=True
        )
        known = np.zeros(len(keys), bool)
        states = np.zeros((len(keys), width), np.float32)
        if self.store is not None:
            known, stored = self.store.find(keys)
            if known.any():
                states[known] = stored
        missing = np.flatnonzero(~known)
        keeping = self.store is not None and (self.remembering or len(missing) >= FEWEST_KEPT)
        waiting: list[np.ndarray] = []
        for numbers, block in self._encoded(rows.take(first[missing])):
            states[missing[numbers]] = block
            waiting.append(missing[numbers])
            if keeping and sum(map(len, waiting)) >= KEPT_AT_ONCE:
                self._keep(keys, states, waiting)
                waiting = []
        if keeping and waiting:
            self._keep(keys, states, waiting)
        self.n_encoded += len(missing)
        return states[places.reshape(-1)]

    def _keep(self, keys: np.ndarray, states: np.ndarray, waiting: list[np.ndarray]) -> None:
        assert self.store is not None
        new = np.concatenate(waiting)
        self.store.add(keys[new], states[new])

    def _encoded(self, rows: Ragged) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield numbers of rows with their states; a block is filled up with copies of a row."""
        net, padding = self.net, self.batches.tokenizer.pad_token_id
        longest = self.batches.prompt.max_length
        steps = np.maximum(1, -(-rows.lengths // WIDTHS)) * WIDTHS
        widths = np.maximum(np.minimum(steps, longest), np.maximum(rows.lengths, 1))
        training = net.model.training
        net.model.eval()
        for width in np.unique(widths).tolist():
            numbers = np.flatnonzero(widths == width)
            height = max(1, TOKENS_AT_ONCE[net.device.type] // width)
            for start in range(0, len(numbers), height):
                part = numbers[start : start + height]
                filled = np.pad(part, (0, height - len(part)), mode="edge")
                block = rows.take(filled)
                ids = torch.from_numpy(block.padded(width, padding)).to(net.device)
                real = np.arange(width)[None, :] < block.lengths[:, None]
                mask = torch.from_numpy(real).to(net.device)
                with torch.inference_mode():
                    pooled = net.backbone.encode(net.model, mask, ids=ids).pooled
                yield part, pooled[: len(part)].float().cpu().numpy()
        net.model.train(training)

    def _moved(self, states: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(states).to(self.net.device)


def frozen_states(owner: LanguageModel, assembled: Assembled) -> FrozenStates | None:
    """Return where the states of prompts are kept; None if the backbone can change.

    On disk are those of pretrained weights. Products of 8- and 4-bit weights depend a little on
    what else is in a batch, so their states are kept for a fit alone.
    """
    net, batches = assembled.net, assembled.batches
    if owner._adapter.trains or net.needs != "pooled" or not isinstance(batches, TextBatches):
        return None
    store = None
    quantized = getattr(inner(net.model), "is_quantized", False)
    if owner._backbone.location is not None and not quantized:
        store = VectorStore(states_folder() / _identity(net)[:32])
    return FrozenStates(net, batches, store)


def states_folder() -> Path:
    """Return the folder of all cached states of prompts."""
    return cache_folder() / "prompts"


def _identity(net: Net) -> str:
    """Return a hash of the weights of the backbone and of how they are used."""
    model, backbone = inner(net.model), net.backbone
    config = {
        key: value
        for key, value in model.config.to_dict().items()
        if key not in ("_name_or_path", "transformers_version") and "drop" not in key
    }
    how = [VERSION, type(model).__name__, backbone.pooling or backbone.pooling_default, config]
    digest = hashlib.sha256(json.dumps(how, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
