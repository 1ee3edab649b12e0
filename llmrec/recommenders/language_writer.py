"""A language model that writes: why this item, what it is, what to answer, what to say next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from llmrec.core.config import BackboneSpec, build, construct_check
from llmrec.core.errors import ComponentError, LlmrecError
from llmrec.core.extras import require
from llmrec.core.files import read_json, write_json
from llmrec.core.memory import tune_allocator
from llmrec.core.protocols import NO_CONTEXT, FitContext, ModelInfo
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Ragged
from llmrec.prompts.writing import filled, template_problems
from llmrec.recommenders.base import below
from llmrec.recommenders.passages import Passages
from llmrec.recommenders.writers import BaseWriter


class LanguageWriter(BaseWriter):
    """A GPT-2 or T5 that writes after soft prompts for user and item, a prompt of words, or both.

    With soft prompts alone it is PEPLER (Li, Zhang and Chen, TOIS 2023): a vector for the user and
    one for the item stand before the text, and the language model learns to go on. What differs:
    the texts are what users wrote, not sentences picked by a parser; there is no rating loss as
    regulariser. A user or item without training texts has the mean vector of the others.

    Decoding is greedy, or with beams; no sampling: the same weights write the same.

    Args:
        backbone: spec of the language model; ``causal`` or ``seq2seq``.
        soft_prompts: a learned vector for each user and each item stands first.
        template: Jinja prompt of words over ``item`` (its fields) and ``given``; "" for none.
        sequential: first train the soft prompts with the language model frozen, then both
            (PEPLER's sequential tuning, for pretrained weights); each for `epochs`.
        max_length: longest prompt of words in tokens; of a longer one the end is kept.
        max_new_tokens: longest text in tokens, in training and when writing.
        n_beams: 1 is greedy.
        length_penalty: exponent of the length by which beams are divided.
        repetition_penalty: above 1 makes written tokens less probable (Keskar et al., 2019).
        no_repeat_ngram_size: n-grams of this length are not written twice; 0 allows them.
        epochs: passes over the training texts, at most.
        batch_size: texts per step.
        learning_rate: highest learning rate.
        weight_decay: decoupled; not on biases, norms and soft prompts.
        early_stopping_patience: validations without a lower perplexity before the end; null never.
        validation_texts: at most so many are read after each epoch.
        write_batch_size: requests written at once.
        seed: of weights, batches and dropout.
    """

    fitted = "_net"

    def __init__(
        self,
        *,
        backbone: BackboneSpec,
        soft_prompts: bool = True,
        template: str = "",
        sequential: bool = False,
        max_length: int = 128,
        max_new_tokens: int = 40,
        n_beams: int = 1,
        length_penalty: float = 1.0,
        repetition_penalty: float = 1.0,
        no_repeat_ngram_size: int = 0,
        epochs: int = 5,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        early_stopping_patience: int | None = 2,
        validation_texts: int = 500,
        write_batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        self.backbone = backbone
        self.soft_prompts = soft_prompts
        self.template = template
        self.sequential = sequential
        self.max_length = max_length
        self.max_new_tokens = max_new_tokens
        self.n_beams = n_beams
        self.length_penalty = length_penalty
        self.repetition_penalty = repetition_penalty
        self.no_repeat_ngram_size = no_repeat_ngram_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.early_stopping_patience = early_stopping_patience
        self.validation_texts = validation_texts
        self.write_batch_size = write_batch_size
        self.seed = seed
        construct_check(self)
        self._backbone = build("backbone", backbone)
        self._net: Any = None
        self._tokenizer: Any = None
        self._facts: dict[str, Any] = {}

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what does not fit together: nothing is loaded for it."""
        found = below(
            params,
            max_length=1,
            max_new_tokens=1,
            n_beams=1,
            no_repeat_ngram_size=0,
            epochs=1,
            batch_size=1,
            weight_decay=0,
            early_stopping_patience=1,
            validation_texts=1,
            write_batch_size=1,
        )
        for key in ("learning_rate", "repetition_penalty"):
            if params.get(key, 1.0) <= 0:
                found.append((key, "must be above 0"))
        template, soft = params.get("template", ""), params.get("soft_prompts", True)
        found += [("template", problem) for problem in template_problems(template)]
        if not template and not soft:
            found.append(("template", "is needed where soft_prompts=false: nothing would be read"))
        if params.get("sequential") and not soft:
            found.append(("sequential", "trains soft prompts first, but soft_prompts=false"))
        try:
            backbone = build("backbone", params["backbone"])
        except LlmrecError:
            return found  # reported with its own place by the check of the nested spec
        if "generate" not in backbone.provides:
            what = f"{backbone.architecture} cannot write; choose gpt2, t5 or causal"
            found.append(("backbone", what))
        return found

    @property
    def info(self) -> ModelInfo:
        facts = dict(self._facts)
        return ModelInfo(
            family="language_model",
            parameters=facts.pop("parameters", 0),
            trainable=facts.pop("trainable", 0),
            weights=self._backbone.weights,
            details=facts,
        )

    def fit(
        self, train: Passages, valid: Passages | None = None, context: FitContext = NO_CONTEXT
    ) -> Self:
        if not self.template and not ((train.users >= 0).any() or (train.items >= 0).any()):
            raise ComponentError(
                "there is nothing to read: these texts are about no known user or item, and there "
                "is no template; set template='{{ given }}', or choose gpt2_prompt or t5_prompt"
            )
        require("torch", "lm", "a language model")
        tune_allocator()
        from llmrec.training.trainer import train as trained

        texts = [*train.texts, *(self._prompts(train)[:1000] if self.template else [])]
        self._tokenizer = self._backbone.tokenizer(texts)
        self._build(train.n_users, len(train.records), None)
        lengths, collate = self._examples(train)
        validate = None
        if valid is not None and len(valid):
            validate = self._validation(
                valid.take(np.arange(min(len(valid), self.validation_texts)))
            )
        stages = ["soft prompts", "all"] if self.sequential else ["all"]
        sizes = [p.numel() for p in self._net.parameters()]
        self._facts |= {"parameters": sum(sizes), "trainable": sum(sizes), "n_examples": len(train)}
        for stage in stages:
            self._net.model.requires_grad_(stage == "all")
            place = context.folder
            if place is not None and self.sequential:
                place = place / stage.replace(" ", "-")
            result = trained(
                self._net,
                lengths,
                collate,
                self._training(stage),
                validate,
                replace(context, folder=place),
            )
            self._facts |= {"best_epoch": result.best_epoch, "perplexity": result.best_value}
        self._settle(train)
        if self._backbone.commit is not None:
            self._facts["checkpoint_commit"] = self._backbone.commit
        return self

    def _training(self, stage: str) -> Any:
        from llmrec.training.trainer import TrainingOptions

        return TrainingOptions(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup_share=0.05,
            schedule="linear",
            gradient_accumulation_steps=1,
            max_gradient_norm=1.0,
            early_stopping_patience=self.early_stopping_patience,
            precision="fp32",
            metric="perplexity",
            higher_is_better=False,
            seed=derive_seed(self.seed, f"training {stage}"),
        )

    def _build(self, n_users: int, n_items: int, folder: Path | None) -> None:
        """Load the model and make the net; with a folder the saved weights."""
        import torch
        from transformers import GenerationConfig

        from llmrec.backbones.base import inner
        from llmrec.training.writing import WritingNet

        self._facts |= {"n_users": n_users, "n_items": n_items}
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(self.seed, "weights"))
            model = self._backbone.load("generate", tokenizer=self._tokenizer, folder=folder)
            # A checkpoint brings decoding options of its own: none of them is inherited.
            inner(model).generation_config = GenerationConfig()
            n_soft = n_users + n_items + 2 if self.soft_prompts else 0
            width = inner(model).get_input_embeddings().embedding_dim
            self._net = WritingNet(self._backbone, model, n_soft, width)
        causal = self._backbone.direction == "causal"
        room = self._backbone.max_tokens(model) - (self.max_new_tokens + 2 if causal else 0)
        needed = (self.max_length if self.template else 1) + 2 * self.soft_prompts
        if needed > room:
            raise ComponentError(
                f"max_length is {self.max_length} tokens, but this {self._backbone.architecture} "
                f"backbone has room for {room - 2 * self.soft_prompts} beside max_new_tokens; "
                "lower one of them or raise backbone.max_positions"
            )
        self._net.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def _soft(self, passages: Passages) -> np.ndarray:
        """Return (N, 2) rows of the soft prompts; one row is for all unknown users, one for items.

        The table has users, the unknown user, items, the unknown item, in this order.
        """
        if not self.soft_prompts:
            return np.empty((len(passages), 0), np.int64)
        n_users, n_items = self._facts["n_users"], self._facts["n_items"]
        users = np.where(passages.users < 0, n_users, passages.users)
        items = n_users + 1 + np.where(passages.items < 0, n_items, passages.items)
        return np.stack([users, items], 1).astype(np.int64)

    def _settle(self, train: Passages) -> None:
        """Give users and items without training texts the mean soft prompt of the others."""
        if not self.soft_prompts:
            return
        used = np.zeros(self._net.tokens.num_embeddings, bool)
        used[self._soft(train).ravel()] = True
        first = np.arange(self._facts["n_users"] + 1)
        rest = np.arange(len(first), len(used))
        self._net.fill_unseen(first, used[first])
        self._net.fill_unseen(rest, used[rest])

    def _prompts(self, passages: Passages) -> list[str]:
        return filled(self.template, passages.fields(), passages.given)

    def _prompt_tokens(self, passages: Passages) -> Ragged:
        """Return token ids of each prompt; a decoder's ends with its begin token."""
        tokenizer = self._tokenizer
        rows: list[list[int]] = [[] for _ in range(len(passages))]
        if self.template and rows:
            rows = tokenizer(self._prompts(passages), add_special_tokens=False)["input_ids"]
        end = tokenizer.eos_token_id
        if self._backbone.direction == "causal" and tokenizer.bos_token_id is not None:
            end = tokenizer.bos_token_id
        keep = self.max_length - 1
        return Ragged.from_rows([[*row[max(0, len(row) - keep) :], end] for row in rows], np.int64)

    def _examples(self, passages: Passages) -> tuple[np.ndarray, Callable[..., Any]]:
        """Return lengths and a collator of training (or validation) texts."""
        from llmrec.training.collate import WrittenCollator
        from llmrec.training.writing import PassageCollator

        rows = self._tokenizer(list(passages.texts), add_special_tokens=False)["input_ids"]
        end = self._tokenizer.eos_token_id
        answers = Ragged.from_rows([[*r[: self.max_new_tokens - 1], end] for r in rows], np.int64)
        prompts = self._prompt_tokens(passages)
        apart = self._backbone.direction == "seq2seq"
        written = WrittenCollator(prompts, answers, self._tokenizer.pad_token_id, apart)
        return prompts.lengths + answers.lengths, PassageCollator(written, self._soft(passages))

    def _validation(self, valid: Passages) -> Callable[[], dict[str, float]]:
        """Return a function that gives the perplexity per token of the current weights."""
        from torch.nn.functional import cross_entropy

        lengths, collate = self._examples(valid)
        order = np.argsort(lengths, kind="stable")
        device = next(self._net.parameters()).device

        def perplexity() -> dict[str, float]:
            total, count = 0.0, 0
            for start in range(0, len(order), self.write_batch_size):
                batch = collate(order[start : start + self.write_batch_size])
                logits, targets = self._net.predicted({k: v.to(device) for k, v in batch.items()})
                total += float(cross_entropy(logits.float(), targets, reduction="sum"))
                count += len(targets)
            return {"perplexity": math.exp(min(total / count, 50.0))}

        return perplexity

    def decoding(self) -> dict[str, Any]:
        """Return every field of how texts are decoded; nothing is inherited from a checkpoint."""
        return {
            "do_sample": False,
            "num_beams": self.n_beams,
            "num_return_sequences": 1,
            "max_new_tokens": self.max_new_tokens,
            "min_new_tokens": 0,
            "length_penalty": self.length_penalty,
            "early_stopping": self.n_beams > 1,
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
            "bos_token_id": self._tokenizer.bos_token_id,
            "eos_token_id": self._tokenizer.eos_token_id,
            "pad_token_id": self._tokenizer.pad_token_id,
            "use_cache": True,
        }

    def write(self, requests: Passages) -> list[str]:
        self.require_fitted()
        import torch
        from transformers import GenerationConfig

        from llmrec.backbones.base import quiet_loading
        from llmrec.training.batches import pad_tokens

        fields = self.decoding()
        if self._backbone.direction == "seq2seq":
            fields["decoder_start_token_id"] = self._net.model.config.decoder_start_token_id
        if self.n_beams == 1:  # beams' options, which transformers refuses for greedy decoding
            fields = {
                k: v for k, v in fields.items() if k not in ("length_penalty", "early_stopping")
            }
        config = GenerationConfig(**fields)
        prompts, soft = self._prompt_tokens(requests), self._soft(requests)
        order = np.argsort(prompts.lengths, kind="stable")
        device = next(self._net.parameters()).device
        written = [""] * len(requests)
        with quiet_loading():
            for start in range(0, len(order), self.write_batch_size):
                rows = order[start : start + self.write_batch_size]
                batch = pad_tokens(prompts.take(rows), self._tokenizer.pad_token_id)
                found = self._net.write(
                    batch["ids"].to(device),
                    batch["mask"].to(device),
                    torch.from_numpy(soft[rows]).to(device),
                    config,
                )
                texts = self._tokenizer.batch_decode(found, skip_special_tokens=True)
                for row, text in zip(rows.tolist(), texts, strict=True):
                    written[row] = text.strip()
        return written

    def save_state(self, folder: Path) -> None:
        from safetensors.torch import save_file

        from llmrec.backbones.base import quiet_loading

        write_json(folder / "fitted.json", self._facts)
        with quiet_loading():
            self._net.model.save_pretrained(folder / "backbone")
        self._tokenizer.save_pretrained(folder / "tokenizer")
        if self._net.tokens is not None:
            weight = self._net.tokens.weight.detach().cpu().contiguous()
            save_file({"weight": weight}, folder / "soft.safetensors")

    def load_state(self, folder: Path) -> None:
        from safetensors.torch import load_file
        from transformers import PreTrainedTokenizerFast

        self._facts = read_json(folder / "fitted.json")
        self._backbone.commit = self._facts.get("checkpoint_commit")
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
        self._build(self._facts["n_users"], self._facts["n_items"], folder / "backbone")
        if self._net.tokens is not None:
            self._net.tokens.load_state_dict(load_file(folder / "soft.safetensors"))
