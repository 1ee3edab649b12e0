"""What the transformer backbones share: sizes, loading, tokenizers, pooling."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from llmrec.backbones.tokenizers import (
    TokenizerKind,
    require_tokenizer,
    require_words,
    tokenizer_folder,
    train_tokenizer,
)
from llmrec.core.errors import ComponentError
from llmrec.core.extras import require
from llmrec.core.memory import out_of_memory
from llmrec.core.protocols import Encoded

Needs = Literal["pooled", "sequence", "token_logits", "generate"]
Direction = Literal["causal", "bidirectional", "seq2seq"]
SizeName = Literal["nano", "tiny", "mini", "small", "base"]
Pooling = Literal["mean", "max", "first", "last"]


class Size(NamedTuple):
    """Width and depth of a randomly initialised model."""

    n_layers: int
    hidden_size: int
    n_heads: int


# From tiny on: the miniatures of Turc et al. (2019), "Well-Read Students Learn Better", and base.
SIZES: dict[str, Size] = {
    "nano": Size(2, 64, 2),
    "tiny": Size(2, 128, 2),
    "mini": Size(4, 256, 4),
    "small": Size(4, 512, 8),
    "base": Size(12, 768, 12),
}


# Which backbone reads which checkpoints, by transformers' model type. `causal` reads any decoder.
READERS: dict[str, tuple[str, ...]] = {
    "gpt2": ("gpt2",),
    "bert": ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "mpnet", "modernbert"),
    "t5": ("t5", "mt5", "umt5"),
    "causal": ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3"),
}


class TransformerBackbone:
    """Base of the backbones that transformers implements; a subclass names its classes.

    `auto_classes` names transformers' class for each need, and `dropouts` the config values that
    the options `dropout` and `attention_dropout` set.

    With `checkpoint` (a hub name or a local folder) weights, tokenizer and sizes come from there.
    Without one the model has the given `size`, and its tokenizer is trained on training texts.

    Args:
        checkpoint: hub name or local folder, or None for random initialisation.
        revision: branch, tag or commit of a hub checkpoint.
        size: named size of a randomly initialised model.
        hidden_size: replaces the width of `size`.
        n_layers: replaces the depth of `size`.
        n_heads: replaces the number of attention heads of `size`.
        feedforward_size: width inside the feed-forward blocks, by default 4 × the hidden size.
        dropout: of hidden states and embeddings.
        attention_dropout: of attention weights.
        initializer_range: standard deviation of random weights.
        max_positions: longest input of a randomly initialised model, in tokens; also the limit
            of a T5 checkpoint, which knows none.
        vocabulary_size: of the tokenizer trained here.
        pooling: how token states become one vector.
    """

    architecture: ClassVar[str]
    model_types: ClassVar[frozenset[str]]
    direction: ClassVar[Direction]
    provides: ClassVar[frozenset[Needs]]
    tokenizer_kind: ClassVar[TokenizerKind]
    auto_classes: ClassVar[Mapping[str, str]]
    dropouts: ClassVar[Mapping[str, str]] = {}
    pooling_default: ClassVar[Pooling] = "mean"
    # Whether it has the layers that adapters such as LoRA and 8-bit weights act on.
    adaptable: ClassVar[bool] = True

    def __init__(
        self,
        *,
        checkpoint: str | None = None,
        revision: str | None = None,
        size: SizeName = "tiny",
        hidden_size: int | None = None,
        n_layers: int | None = None,
        n_heads: int | None = None,
        feedforward_size: int | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        initializer_range: float = 0.02,
        max_positions: int = 512,
        vocabulary_size: int = 4096,
        pooling: Pooling | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.revision = revision
        # The commit that a hub name without revision turned out to be; kept with a saved model.
        self.commit: str | None = None
        self.size = size
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.feedforward_size = feedforward_size
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.max_positions = max_positions
        self.vocabulary_size = vocabulary_size
        self.pooling = pooling

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is wrong between options: sizes that do not divide."""
        size = SIZES[params.get("size", "tiny")]
        width = size.hidden_size if params.get("hidden_size") is None else params["hidden_size"]
        heads = size.n_heads if params.get("n_heads") is None else params["n_heads"]
        found = []
        if params.get("checkpoint") is not None:
            found += [
                (key, f"is that of the checkpoint; set {key}=null, or leave checkpoint null")
                for key in ("hidden_size", "n_layers", "n_heads", "feedforward_size")
                if params.get(key) is not None
            ]
        if heads > 0 and width % heads:
            found.append(("hidden_size", f"{width} must be a multiple of n_heads ({heads})"))
        found += [
            (key, "must be at least 1")
            for key in (
                "hidden_size",
                "n_layers",
                "n_heads",
                "feedforward_size",
                "max_positions",
                "vocabulary_size",
            )
            if params.get(key) is not None and params[key] < 1
        ]
        if params.get("initializer_range", 0.02) <= 0:
            found.append(("initializer_range", "must be above 0"))
        if params.get("revision") is not None and params.get("checkpoint") is None:
            found.append(("revision", "is that of a checkpoint, but checkpoint is null"))
        found += [
            (key, "must be at least 0 and below 1")
            for key in ("dropout", "attention_dropout")
            if not 0 <= params.get(key, 0.1) < 1
        ]
        return found

    @property
    def dimensions(self) -> Size:
        """Depth, width and heads of a randomly initialised model."""
        named = SIZES[self.size]
        return Size(
            self.n_layers or named.n_layers,
            self.hidden_size or named.hidden_size,
            self.n_heads or named.n_heads,
        )

    @property
    def feedforward(self) -> int:
        """Width inside the feed-forward blocks of a randomly initialised model."""
        return self.feedforward_size or 4 * self.dimensions.hidden_size

    @property
    def location(self) -> str | None:
        """Where pretrained weights are, or None for random initialisation."""
        return self.checkpoint

    @property
    def weights(self) -> str:
        """The origin of the weights, as tables quote it."""
        if self.location is None:
            return "random init"
        revision = self.revision or (self.commit or "")[:12]
        return f"{self.location}@{revision}" if revision else self.location

    def _pinned(self) -> dict[str, str]:
        revision = self.revision or self.commit
        return {"revision": revision} if revision else {}

    def random_config(self, vocabulary_size: int, special: Mapping[str, int | None]) -> Any:
        """Return the transformers config of a randomly initialised model.

        Args:
            vocabulary_size: number of tokens (1 where the model reads item embeddings only).
            special: token ids by role (``pad_token_id``, ``eos_token_id``, …).
        """
        raise NotImplementedError

    def load(
        self,
        needs: Needs,
        *,
        tokenizer: Any | None = None,
        folder: Path | None = None,
        load_options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the transformers model with what a head needs.

        Random weights are drawn from torch's generator, which the caller seeds.

        Args:
            needs: ``pooled`` and ``sequence`` load no language-model head.
            tokenizer: gives a random model its vocabulary; None if it reads embeddings only.
            folder: saved weights to read instead of the checkpoint.
            load_options: of the adapter, e.g. a quantization config.

        Raises:
            ComponentError: if the checkpoint cannot be read or is of another architecture.
        """
        transformers = require("transformers", "lm", f"backbone {self.architecture}")
        import torch

        auto = getattr(transformers, self.auto_classes[needs])
        options = {"dtype": torch.float32, **(load_options or {})}
        place = folder or self.location
        if place is not None:
            revision = self._pinned() if folder is None else {}
            with self._readable_errors(place), quiet_loading():
                config = transformers.AutoConfig.from_pretrained(place, **revision)
                self._check_model_type(config, place)
                if folder is None:
                    self.commit = getattr(config, "_commit_hash", None)
                for name, value in self.config_overrides(needs, config).items():
                    setattr(config, name, value)
                model = auto.from_pretrained(place, config=config, **revision, **options)
            self._check_vocabulary(model, tokenizer, place)
            return model
        vocabulary_size, special = 1, {}
        if tokenizer is not None:
            vocabulary_size, special = len(tokenizer), special_ids(tokenizer)
        config = self.random_config(vocabulary_size, special)
        for name, value in self.config_overrides(needs, config).items():
            setattr(config, name, value)
        model = auto.from_config(config, dtype=torch.float32)
        if not load_options:
            return model
        with tempfile.TemporaryDirectory() as temporary, quiet_loading():
            model.save_pretrained(temporary)
            return auto.from_pretrained(temporary, **options)

    def config_overrides(self, needs: Needs, config: Any) -> dict[str, Any]:  # noqa: ARG002
        """Return config values set on any model, pretrained or not.

        Architectures name their dropouts differently: those that the config has are set.
        """
        known = {name: option for name, option in self.dropouts.items() if hasattr(config, name)}
        dropout = {name: getattr(self, option) for name, option in known.items()}
        return {"use_cache": False, **dropout}

    def _check_model_type(self, config: Any, place: Any) -> None:
        found = config.model_type
        if found in self.model_types:
            return
        allowed = sorted(self.model_types, key=lambda name: (name != self.architecture, name))
        reader = next((name for name, types in READERS.items() if found in types), None)
        hint = f"; choose backbone={reader}" if reader else ""
        raise ComponentError(
            f'backbone "{self.architecture}" cannot read {place}: it is a "{found}" model; '
            f"allowed: {', '.join(allowed)}{hint}"
        )

    def _check_vocabulary(self, model: Any, tokenizer: Any, place: Any) -> None:
        if tokenizer is None:
            return
        rows, largest = model.get_input_embeddings().num_embeddings, len(tokenizer) - 1
        if largest >= rows:
            raise ComponentError(
                f"the tokenizer of {place} has token {largest}, but the model has only {rows} "
                "embeddings: tokenizer and weights do not belong together"
            )

    @contextmanager
    def _readable_errors(self, place: Any) -> Iterator[None]:
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            if out_of_memory(error) is not None:
                raise
            reason = str(error).strip().partition("\n")[0]
            raise ComponentError(
                f'backbone "{self.architecture}" cannot load the checkpoint {place} ({reason}). '
                "Without a network give a local folder (backbone.checkpoint=/path/to/folder), or "
                "leave backbone.checkpoint=null for random initialisation"
            ) from error

    def tokenizer(self, texts: Sequence[str]) -> Any:
        """Return the checkpoint's tokenizer, or one trained on `texts` (training texts only).

        Raises:
            ComponentError: if the checkpoint has no tokenizer, or one without words.
        """
        transformers = require("transformers", "lm", f"backbone {self.architecture}")
        if self.location is None:
            return train_tokenizer(self.tokenizer_kind, texts, self.vocabulary_size)
        place = require_tokenizer(self.location)
        with self._readable_errors(self.location), quiet_loading():
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **self._pinned())
        require_words(tokenizer, self.location)
        if tokenizer.pad_token is None:
            # Which token pads does not matter: padding is masked, or comes after all that counts.
            usual = tokenizer.eos_token or tokenizer.unk_token
            tokenizer.pad_token = usual or tokenizer.convert_ids_to_tokens(0)
        # Rows are padded here, on the side that each use needs; texts are cut at their end.
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        return tokenizer

    def max_tokens(self, model: Any) -> int:
        """Return the longest input that the model takes, in tokens."""
        config = inner(model).config
        limit = getattr(config, "max_position_embeddings", None) or self.max_positions
        return int(limit) - self.first_position(model) - virtual_tokens(model)

    def first_position(self, model: Any) -> int:  # noqa: ARG002
        """Return the position id of the first token; RoBERTa keeps some for padding."""
        return 0

    def adapted_as(self, model: Any) -> str:
        """Return the name under which adapters look up the layers of a loaded model."""
        return str(inner(model).config.model_type)

    def width(self, model: Any) -> int:
        """Return the size of the hidden states of a loaded model."""
        return int(inner(model).config.hidden_size)

    def frame(self, tokenizer: Any, needs: Needs) -> tuple[list[int], list[int]]:  # noqa: ARG002
        """Return the token ids to put before and after a text prompt."""
        return [], []

    def encode(
        self,
        model: Any,
        mask: Any,
        ids: Any = None,
        embeddings: Any = None,
        positions: Any = None,
    ) -> Encoded:
        """Return hidden states of right-padded inputs.

        Args:
            model: what `load` returned, possibly wrapped by an adapter.
            mask: (B, L) bool, True for real tokens.
            ids: (B, L) token ids, or
            embeddings: (B, L, H) input embeddings.
            positions: (B, L) position ids where they do not count from the start.
        """
        if positions is not None:
            positions = positions + self.first_position(model)
        output = inner(model).base_model(
            input_ids=ids,
            inputs_embeds=embeddings,
            attention_mask=mask.long(),
            position_ids=positions,
        )
        tokens = output.last_hidden_state
        return Encoded(tokens, self.pool(tokens, mask), mask)

    def pool(self, tokens: Any, mask: Any) -> Any:
        """Return (B, H) from (B, L, H) by `pooling`."""
        how = self.pooling or self.pooling_default
        if how == "first":
            return tokens[:, 0]
        if how == "last":
            return last_states(tokens, mask)
        if how == "max":
            most = tokens.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(1)
            return most.masked_fill(~mask.any(1, keepdim=True), 0.0)
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)

    def answer_logits(self, model: Any, mask: Any, ids: Any, answers: Any) -> Any:
        """Return (B, A) logits of the answer tokens at the place where the answer goes.

        Args:
            model: a model loaded for ``token_logits``.
            mask: (B, L) bool.
            ids: (B, L) token ids of the prompts, right-padded.
            answers: (A,) token ids.
        """
        raise NotImplementedError

    def logits(self, model: Any, states: Any) -> Any:
        """Return (…, V) logits over the vocabulary from (…, H) last hidden states.

        Args:
            model: a model loaded for ``token_logits`` or ``generate``.
            states: of `encode`.
        """
        raise NotImplementedError

    def identity(self) -> str | None:
        """Return a hash of the pretrained weights for caches; None if they are not fixed."""
        if self.location is None or not Path(self.location).is_dir():
            return None
        digest = hashlib.sha256()
        folder = Path(self.location)
        places = dict.fromkeys([folder, tokenizer_folder(folder) or folder])
        for path in (path for place in places for path in sorted(place.glob("*"))):
            if path.suffix in (".safetensors", ".bin", ".json", ".txt"):
                digest.update(path.name.encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def inner(model: Any) -> Any:
    """Return the transformers model inside a peft wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def virtual_tokens(model: Any) -> int:
    """Return how many learned tokens an adapter puts before every input."""
    config = getattr(model, "active_peft_config", None)
    return config.num_virtual_tokens if config is not None and config.is_prompt_learning else 0


def memory_of(encoded: Encoded) -> tuple[Any, Any]:
    """Return what a decoder attends to, (B, n + L, H), learned tokens first, and its mask."""
    import torch

    if encoded.learned is None:
        return encoded.tokens, encoded.mask
    learned = encoded.mask.new_ones(encoded.learned.shape[:2])
    states = torch.cat([encoded.learned, encoded.tokens], 1)
    return states, torch.cat([learned, encoded.mask], 1)


def last_states(tokens: Any, mask: Any) -> Any:
    """Return (B, H): the state of the last real token of each right-padded row."""
    import torch

    last = (mask.long().sum(1) - 1).clamp(min=0)
    return tokens[torch.arange(len(tokens), device=tokens.device), last]


def special_ids(tokenizer: Any) -> dict[str, int | None]:
    """Return the special token ids of a tokenizer by config name."""
    roles = ("pad", "bos", "eos", "cls", "sep", "mask", "unk")
    return {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id", None) for role in roles}


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' progress bars and reports of head weights that are new."""
    from transformers.utils import logging as hf_logging

    bars, level = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
