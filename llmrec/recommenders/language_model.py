"""A language model as a recommender: prompt × backbone × adapter × head."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from llmrec.core.config import (
    AdapterSpec,
    BackboneSpec,
    DistillationSpec,
    HeadSpec,
    IdentifierSpec,
    PromptSpec,
    RegularizerSpec,
    build,
    options_of,
)
from llmrec.core.errors import (
    ComponentError,
    ConfigError,
    LlmrecError,
    Problem,
    RunError,
)
from llmrec.core.extras import require
from llmrec.core.files import read_json, write_json
from llmrec.core.memory import tune_allocator
from llmrec.core.protocols import NO_CONTEXT, Family, FitContext, ModelInfo, Task
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Dataset, Queries, make_queries
from llmrec.recommenders.base import BaseRecommender, below
from llmrec.recommenders.misfits import (
    addition_misfits,
    depth_misfits,
    identifier_misfits,
    misfits,
)
from llmrec.recommenders.reviews import reading
from llmrec.recommenders.tasks import AsTask, AuxiliaryTask, beams_of, shared_kinds, task_misfits
from llmrec.training.arguments import check_trainer_arguments

FULL: AdapterSpec = {"name": "full"}
RANDOM = "random init"


class LanguageModel(BaseRecommender):
    """A language model that recommends: prompt × backbone × adapter × head.

    Training runs on transformers' Trainer; with a validation side the weights of the best epoch are
    kept (NDCG@10, RMSE or log loss on validation).

    Args:
        backbone: spec of the language model.
        prompt: spec of how a history becomes its input.
        head: spec of what is predicted.
        adapter: spec of what trains.
        role: ``language_model``, or ``baseline``: a sequence model of item ids alone, such as
            SASRec, judged as what language models have to beat. A baseline sees no text and no
            pretrained weights.
        identifier: spec of what a generative head writes for an item; None for a text field.
        auxiliary: other tasks on the same backbone, by label, trained together with the head's:
            ``head``, ``weight`` of its loss (the head's own is 1) and perhaps another ``prompt``.
        task_weighting: ``fixed``, or ``uncertainty``: the weights of all tasks are learned, and
            start from the given ones (Kendall, Gal and Cipolla, 2018).
        answers: label of the auxiliary task whose head gives the scores; null for `head`. It does
            not change what is learned.
        distillation: spec of what a fitted teacher gives to learn from beside the data, or null.
        regularizer: spec of what the training loss takes beside the head's, or null.
        epochs: passes over the training examples, at most.
        batch_size: examples per step and device.
        learning_rate: highest learning rate.
        weight_decay: decoupled; not on biases, norms and item embeddings.
        warmup_share: share of all steps in which the rate rises.
        schedule: how the rate falls afterwards.
        gradient_accumulation_steps: batches per step.
        max_gradient_norm: gradients are clipped to it.
        early_stopping_patience: validations without improvement before the end; null never stops.
        precision: of the arithmetic while training; bf16 and fp16 are for GPUs.
        examples_per_user: training examples per user, the latest ones (text prompts, candidates).
        training_history: what an example's history holds where a candidate is judged: ``past``, the
            user's earlier interactions, or ``others``, all but the example's own: for splits that
            ignore time.
        validation_queries: at most this many users are validated after each epoch; null for all.
        score_batch_size: rows scored at once.
        inference: arithmetic of scoring; int8 is faster on a CPU, and not for GPUs. Training and
            the validation within it stay in 32 bits.
        trainer_arguments: anything else of transformers' TrainingArguments.
        seed: of weights, batches, dropout and masks.
    """

    def __init__(
        self,
        *,
        backbone: BackboneSpec,
        prompt: PromptSpec,
        head: HeadSpec,
        adapter: AdapterSpec = FULL,
        role: Literal["language_model", "baseline"] = "language_model",
        identifier: IdentifierSpec | None = None,
        auxiliary: Mapping[str, AuxiliaryTask] | None = None,
        task_weighting: Literal["fixed", "uncertainty"] = "fixed",
        answers: str | None = None,
        distillation: DistillationSpec | None = None,
        regularizer: RegularizerSpec | None = None,
        epochs: int = 20,
        batch_size: int = 16,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
        warmup_share: float = 0.05,
        schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear",
        gradient_accumulation_steps: int = 1,
        max_gradient_norm: float = 1.0,
        early_stopping_patience: int | None = 4,
        precision: Literal["fp32", "bf16", "fp16"] = "fp32",
        examples_per_user: int | None = 10,
        training_history: Literal["past", "others"] = "past",
        validation_queries: int | None = 5000,
        score_batch_size: int = 256,
        inference: Literal["fp32", "int8"] = "fp32",
        trainer_arguments: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.backbone = backbone
        self.prompt = prompt
        self.head = head
        self.adapter = adapter
        self.role = role
        self.identifier = identifier
        self.auxiliary = auxiliary
        self.task_weighting = task_weighting
        self.answers = answers
        self.distillation = distillation
        self.regularizer = regularizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_share = warmup_share
        self.schedule = schedule
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.max_gradient_norm = max_gradient_norm
        self.early_stopping_patience = early_stopping_patience
        self.precision = precision
        self.examples_per_user = examples_per_user
        self.training_history = training_history
        self.validation_queries = validation_queries
        self.score_batch_size = score_batch_size
        self.inference = inference
        self.trainer_arguments = trainer_arguments
        self.seed = seed
        problems = [Problem(key, what) for key, what in self.check_options(vars(self))]
        if problems:
            raise ConfigError(problems)
        self._backbone = build("backbone", backbone)
        self._prompt = build("prompt", prompt, seed=seed)
        self._head = build("head", head)
        self._adapter = build("adapter", adapter)
        self._identifier: Any = None
        if identifier is not None:
            self._identifier = build("identifier", identifier, seed=seed)
        self._distillation = None if distillation is None else build("distillation", distillation)
        self._regularizer = None if regularizer is None else build("regularizer", regularizer)
        self._others = {label: AsTask(self, label, s) for label, s in (auxiliary or {}).items()}
        self._model: Any = None
        self.candidates: Callable[[Queries], np.ndarray] | None = None
        self._scorer: Any = None  # the same, or its copy in 8 bits
        self._fitted: dict[str, Any] = {}
        self.trained_on: str | None = None  # fingerprint of the training side

    @classmethod
    def check_options(cls, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what does not fit together: nothing is loaded for it."""
        found: list[tuple[str, str]] = []
        found += below(
            params,
            epochs=1,
            batch_size=1,
            gradient_accumulation_steps=1,
            early_stopping_patience=1,
            examples_per_user=1,
            validation_queries=1,
            score_batch_size=1,
            weight_decay=0,
        )
        if params.get("learning_rate", 1.0) <= 0:
            found.append(("learning_rate", "must be above 0"))
        if not 0 <= params.get("warmup_share", 0.0) < 1:
            found.append(("warmup_share", "must be at least 0 and below 1"))
        given = params.get("trainer_arguments")
        found += [("trainer_arguments", what) for what in check_trainer_arguments(given or {})]
        try:
            backbone = build("backbone", params["backbone"])
            prompt = build("prompt", params["prompt"])
            head = build("head", params["head"])
            adapter = build("adapter", params.get("adapter", FULL))
        except LlmrecError:
            return found  # reported with its own place by the check of the nested spec
        if not backbone.provides:
            what = "has no weights on this machine to train or read; ask it with model=hosted"
            return [*found, ("backbone", what)]
        identifier = params.get("identifier")
        if identifier is not None:
            try:
                identifier = build("identifier", identifier)
            except LlmrecError:
                return found
        wrong = identifier_misfits(backbone, prompt, head, identifier)
        found += wrong or [("head", what) for what in misfits(backbone, prompt, head, adapter)]
        teaching = params.get("distillation")
        found += addition_misfits("distillation", teaching, prompt, head, adapter)
        found += depth_misfits(backbone, adapter)
        found += task_misfits(params, backbone, prompt, head, adapter)
        for _, own, other in [("", prompt, head), *shared_kinds(params)]:
            parts = (backbone, own, other, adapter)
            found += addition_misfits("regularizer", params.get("regularizer"), *parts)
        if params.get("training_history") == "others" and not head.judges_candidates:
            found.append(("training_history", "others is for heads that judge a candidate"))
        if params.get("role") == "baseline":
            ids_alone = prompt.kind == "items" and not prompt.reads_text
            if not ids_alone or backbone.weights != RANDOM:
                what = (
                    "a baseline knows item ids alone: it needs prompt=items_no_text and a backbone "
                    "that starts at random; leave role out to judge it as a language model"
                )
                found.append(("role", what))
        if params.get("inference") == "int8" and adapter.quantizes:
            found.append(
                (
                    "inference",
                    "int8 is for weights in 32 bits, and this adapter loads fewer; "
                    "leave inference=fp32, or choose an adapter that does not quantize",
                )
            )
        return found

    @property
    def tasks(self) -> frozenset[Task]:
        tasks: frozenset[Task] = self._asked._head.tasks
        return tasks

    @property
    def _asked(self) -> Any:
        """The task whose head gives the scores: this model's own, or an auxiliary one."""
        return self if self.answers is None else self._others[self.answers]

    def answer_for(self, task: Task) -> None:
        """Let the head that serves a task give the scores from now on, if there is one."""
        if task in self._head.tasks:
            self.answers = None
        elif task not in self.tasks:
            able = (label for label, view in self._others.items() if task in view._head.tasks)
            self.answers = next(able, self.answers)
        if self._model is not None:
            self._choose_scorer()

    def _choose_scorer(self) -> None:
        from llmrec.recommenders.assembly import for_inference

        self._scorer = for_inference(self._asked._model, self.inference)

    @contextlib.contextmanager
    def in_fp32(self) -> Iterator[None]:
        """Score with the same weights in 32 bits within the block."""
        self.require_fitted()
        own, self._scorer = self._scorer, self._asked._model
        try:
            yield
        finally:
            self._scorer = own

    @property
    def asks_about_candidates(self) -> bool:
        """Whether a prompt asks about candidates, so that its question is used."""
        return bool(self._head.judges_candidates) or self.lists_candidates

    @property
    def reads_review(self) -> bool:
        """Whether it reads what the user wrote in the interaction that is judged."""
        return reading([self._prompt, *(view._prompt for view in self._others.values())])

    @property
    def reads_texts(self) -> bool:
        """Whether it reads what users write, so that the audit looks at copies of it."""
        return self.reads_review

    @property
    def threshold(self) -> float | None:
        """The rating from which the head learns a like, None if it learns none."""
        learns = "preference" in self.tasks
        return float(self._asked._head.threshold) if learns else None

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            family=self.family,
            parameters=self._fitted.get("parameters", 0),
            trainable=self._fitted.get("trainable", 0),
            weights=self.weights,
            details={
                **{k: v for k, v in self._fitted.items() if k not in ("parameters", "trainable")},
                "twin": self.twin,
                "inference": self.inference,
                **beams_of(self._asked),
            },
        )

    @property
    def family(self) -> Family:
        """What it is in a comparison."""
        if self.role == "baseline":
            return "baseline"
        return "control" if self.is_control else "language_model"

    @property
    def is_control(self) -> bool:
        """Whether no language reaches the model: no text at all, that of other items, numbers."""
        if self._prompt.kind == "identifiers":
            return self._identifier.text_encoder is None
        if self.role == "baseline" or self._prompt.kind != "items":
            return False
        return not self._prompt.reads_text or self._prompt.init == "shuffled"

    @property
    def twin(self) -> str:
        """What a row and its control share: a hash of all options but where item tokens start."""
        same = ("seed", "answers")
        options = {name: getattr(self, name) for name in options_of(type(self)) if name not in same}
        start = ("init", "text_encoder", "fields", "scale", "window", "seed")
        options["prompt"] = {k: v for k, v in self.prompt.items() if k not in start}
        if self._prompt.kind == "identifiers":
            del options["identifier"]
        text = json.dumps(options, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def take_counts(self) -> dict[str, float]:
        """Return how many identifiers were generated since the last call, and which were no item.

        The evaluation calls it before and after an exam and keeps the answer with the result.
        """
        counts = {} if self._model is None else dict(self._model.facts)
        if not counts.get("generated"):
            return {}
        self._model.facts.update(dict.fromkeys(counts, 0))
        return {
            "generated": counts["generated"],
            "invalid_rate": counts["invalid"] / counts["generated"],
            "duplicate_rate": counts["duplicate"] / counts["generated"],
        }

    def endpoint_usage(self) -> dict[str, Any]:
        """Return what a hosted teacher was asked while this model was fitted."""
        return dict(self._fitted.get("teacher", {}).get("usage", {}))

    @property
    def weights(self) -> str:
        """The origin of the weights, as every table quotes it; that of a baseline is ""."""
        if self.role == "baseline":
            return ""
        origin: str = self._backbone.weights
        if self._prompt.kind == "identifiers":
            if self.is_control:
                return f"{origin}, no text"
            encoder = build("backbone", self._identifier.text_encoder).weights
            return f"{origin}, item text: {encoder}"
        if self._prompt.kind != "items":
            return origin
        if not self._prompt.reads_text:
            start = ", co-occurrence" if self._prompt.init == "co_occurrence" else ""
            return f"{origin}, no text{start}"
        encoder = build("backbone", self._prompt.text_encoder).weights
        shuffled = "shuffled " if self._prompt.init == "shuffled" else ""
        return f"{origin}, {shuffled}item text: {encoder}"

    @property
    def item_records(self) -> Sequence[Mapping[str, str]] | None:
        """The items' fields that a text prompt reads when it scores; None with item tokens."""
        self.require_fitted()
        return getattr(self._model.batches, "items", None)

    @contextlib.contextmanager
    def other_texts(self, records: Sequence[Mapping[str, str]]) -> Iterator[None]:
        """Score with other words for the items within the block; what is written stays."""
        batches = self._model.batches
        own = batches.items
        batches.read(records)
        try:
            yield
        finally:
            batches.read(own)

    def warm_up(self) -> None:
        """Import what a fit needs, so that the first fit of a process is not charged for it."""
        require("torch", "lm", "a language model")
        require("transformers", "lm", "a language model")
        for module in ("assembly", "fitting"):
            importlib.import_module(f"llmrec.recommenders.{module}")

    def fit(
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Self:
        self.warm_up()
        tune_allocator()
        from llmrec.recommenders.assembly import assemble
        from llmrec.recommenders.fitting import fit_assembled

        self.refuse_gpu()
        self._model = assemble(self, train)
        self._fitted = fit_assembled(self, train, valid, context)
        self.trained_on = train.fingerprint
        self._choose_scorer()
        return self

    @property
    def lists_candidates(self) -> bool:
        """Whether it reads lists of candidates, and so can learn from lists of a retriever."""
        return bool(getattr(self._head, "lists_candidates", False))

    def learn_from(self, candidates: Callable[[Queries], np.ndarray]) -> None:
        """Take the other items of training lists from a retriever; call it before `fit`.

        Args:
            candidates: returns (B, K) item ids of B queries, −1 where there are no more.

        Raises:
            ConfigError: if this model reads no lists.
        """
        if not self.lists_candidates:
            what = "only head=listwise learns from lists of candidates"
            raise ConfigError([Problem("head", what)])
        self.candidates = candidates

    def refuse_gpu(self) -> None:
        """Check that there is no GPU if scores shall come from 8-bit products of the CPU.

        Raises:
            ComponentError: if there is one.
        """
        torch = require("torch", "lm", "a language model")
        if self.inference == "int8" and torch.cuda.is_available():
            raise ComponentError(
                "inference=int8 is arithmetic of the CPU, and this machine would use its GPU; set "
                "inference=fp32 (adapter=int8 and nf4 save memory there), or hide the GPU: "
                "CUDA_VISIBLE_DEVICES="
            )

    def score_all(self, queries: Queries) -> np.ndarray:
        return self.score(queries)

    def require_fitted(self) -> None:
        if self._model is None:
            raise RunError("this language model is not fitted yet: call fit first, or load")

    def score(self, queries: Queries, items: np.ndarray | None = None) -> np.ndarray:
        self.require_fitted()
        from llmrec.recommenders.scoring import score

        return score(self._scorer, queries, items, self.score_batch_size)

    def save_state(self, folder: Path) -> None:
        from llmrec.recommenders.storage import save_assembled

        write_json(folder / "fitted.json", {**self._fitted, "trained_on": self.trained_on})
        save_assembled(self, folder)

    def load_state(self, folder: Path) -> None:
        from llmrec.recommenders.storage import load_assembled

        self.refuse_gpu()
        self._fitted = read_json(folder / "fitted.json")
        self.trained_on = self._fitted.pop("trained_on", None)
        self._backbone.commit = self._fitted.get("checkpoint_commit")
        self._model = load_assembled(self, folder)
        self._choose_scorer()

    def validation(self, train: Dataset, valid: Dataset | None) -> tuple[Queries, Any] | None:
        """Return validation queries and targets (a fixed sample of many), None without any."""
        if valid is None or not len(valid):
            return None
        queries, targets = make_queries(train, valid, reviews=self.reads_review)
        if self.validation_queries is not None and len(queries) > self.validation_queries:
            rng = np.random.default_rng(derive_seed(self.seed, "validation queries"))
            kept = np.sort(rng.choice(len(queries), self.validation_queries, replace=False))
            queries, targets = queries.take(kept), targets.take(kept)
        return queries, targets
