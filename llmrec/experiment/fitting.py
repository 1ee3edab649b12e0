"""One recommender of a run: fitted, saved, judged on validation and test, never half kept."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llmrec.core.config import Spec, build
from llmrec.core.errors import LlmrecError, RunError
from llmrec.core.files import read_json, write_json, write_text
from llmrec.core.memory import PeakMemory, out_of_memory
from llmrec.core.protocols import FitContext, Recommender, Tracker, serve
from llmrec.core.seeding import derive_seed
from llmrec.core.types import Split
from llmrec.evaluation.evaluate import Exam, evaluate
from llmrec.evaluation.options import EvaluationOptions
from llmrec.evaluation.result import ModelResult
from llmrec.experiment.folder import FAILURES, VALIDATION, out_of_space
from llmrec.recommenders.base import load_recommender


class Watcher(Protocol):
    """Who is told how a run goes on, e.g. `llmrec.reporting.progress.Progress`."""

    def fitting(self, label: str, share: float = 0.0, text: str = "") -> None:
        """A model is being fitted: the share done (0..1) and a short text."""
        ...

    def scoring(self, label: str) -> None:
        """A model is being judged."""
        ...

    def done(self, result: ModelResult) -> None:
        """A model has its result."""
        ...

    def failed(self, label: str, sentence: str) -> None:
        """A model has none, and why."""
        ...


def _ignore(*_: object, **__: object) -> None:
    return None


class Silent:
    """A watcher that says nothing."""

    fitting = scoring = done = failed = staticmethod(_ignore)


@dataclass(frozen=True)
class Bench:
    """What all recommenders of a run share.

    Attributes:
        folder: the run folder.
        split: the data, divided.
        options: how they are judged.
        valid: what is asked for selection, None if the split has no validation rows.
        test: what is asked for the table.
        seed: of the run.
        slugs: folder name of each label.
        save_models: whether fitted recommenders are kept.
        resume: whether checkpoints of an earlier process may be used.
        tracker: where curves go.
        watcher: who is told.
    """

    folder: Path
    split: Split
    options: EvaluationOptions
    valid: Exam | None
    test: Exam
    seed: int
    slugs: Mapping[str, str]
    save_models: bool
    resume: bool
    tracker: Tracker
    watcher: Watcher

    def model_folder(self, label: str) -> Path:
        """Return where a fitted recommender is kept."""
        return self.folder / "models" / self.slugs[label]

    def result_folder(self, label: str) -> Path:
        """Return where its result is kept."""
        return self.folder / "results" / self.slugs[label]

    def finished(self, label: str) -> bool:
        """Whether a result is complete: it is the last thing written of a model."""
        return (self.result_folder(label) / "result.json").is_file()


Fit = Callable[[Bench, Any, FitContext], float]


def fit(bench: Bench, recommender: Recommender, context: FitContext) -> float:
    """Fit on the split; return the seconds that its parts took before (none here)."""
    recommender.fit(bench.split.train, bench.split.valid, context)
    return 0.0


def attempt(
    bench: Bench, label: str, make: Callable[[], Recommender], how: Fit = fit
) -> Recommender | None:
    """Fit and judge one recommender; a failure is recorded, and only a full disk stops the run.

    Args:
        bench: the run.
        label: the row.
        make: returns the recommender, not fitted.
        how: fits it.

    Raises:
        RunError: if nothing can be written any more.
    """
    try:
        return _complete(bench, label, make, how)
    except Exception as error:  # whatever a component does, the other rows go on
        if out_of_space(error):
            raise RunError(
                f"stopped at {label}: {error}. What was finished is kept; make room, then "
                f"llmrec run --resume {bench.folder}"
            ) from error
        sentence = str(error) if isinstance(error, LlmrecError) else _unexpected(error)
        write_text(bench.folder / "errors" / f"{bench.slugs[label]}.txt", traceback.format_exc())
        _update(bench.folder / FAILURES, label, sentence)
        bench.watcher.failed(label, sentence)
        return None


def _unexpected(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return out_of_memory(error) or f"{type(error).__name__}: {text}"


def _complete(bench: Bench, label: str, make: Callable[[], Recommender], how: Fit) -> Recommender:
    _reset_gpu_peak()
    with PeakMemory() as memory:
        recommender, receipt = _fitted(bench, label, make, how, memory)
        bench.watcher.scoring(label)
        if bench.valid is not None:
            validation = evaluate(recommender, bench.valid, label=label)
            values = dict(validation.overall)
            _update(bench.folder / VALIDATION, label, values)
            numbers = {k: v for k, v in values.items() if math.isfinite(v)}
            bench.tracker.log({f"{label}/validation/{k}": v for k, v in numbers.items()}, 0)
        result = evaluate(recommender, bench.test, label=label)
    peak = max(receipt["peak_memory_bytes"], memory.bytes + _gpu_peak())
    result = result.with_costs(fit_seconds=receipt["fit_seconds"], peak_memory_bytes=peak)
    result.save(bench.result_folder(label))
    bench.watcher.done(result)
    return recommender


def _fitted(
    bench: Bench, label: str, make: Callable[[], Recommender], how: Fit, memory: PeakMemory
) -> tuple[Recommender, dict[str, Any]]:
    """Return the fitted recommender and what fitting cost; a fit that is saved is read back."""
    folder = bench.model_folder(label)
    receipt_file = folder / "fit.json"
    if receipt_file.is_file():
        return load_recommender(folder), read_json(receipt_file)
    recommender = make()
    bench.watcher.fitting(label)
    _warm_up(recommender, memory)
    checkpoints = folder / "checkpoints"
    watch = Stopwatch(folder / "elapsed.json", goes_on=bench.resume and _holds_files(checkpoints))
    context = FitContext(
        folder=checkpoints,
        resume=bench.resume,
        log=_curve(bench, label, watch),
        progress=lambda share, text: bench.watcher.fitting(label, share, text),
    )
    before = how(bench, recommender, context)
    receipt = {
        "fit_seconds": watch.seconds + before,
        "peak_memory_bytes": memory.bytes + _gpu_peak(),
        "train_fingerprint": bench.split.train.fingerprint,  # for who learns from it
    }
    if bench.save_models:
        recommender.save(folder)  # takes the place of the folder: the checkpoints are gone
        write_json(receipt_file, receipt)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return recommender, receipt


class Stopwatch:
    """Seconds that a fit took, those of processes that were killed included.

    Args:
        path: where they are kept beside the checkpoints.
        goes_on: whether the fit goes on from checkpoints; else it begins at 0.
    """

    def __init__(self, path: Path, *, goes_on: bool) -> None:
        self.path = path
        self._before = float(read_json(path)["seconds"]) if goes_on and path.is_file() else 0.0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._start

    def keep(self) -> None:
        """Write how many seconds it is now."""
        write_json(self.path, {"seconds": self.seconds})


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _warm_up(recommender: Recommender, memory: PeakMemory) -> None:
    """Let it load its libraries first, if it can: that is no cost of the first row alone."""
    warm_up = getattr(recommender, "warm_up", None)
    if warm_up is not None:
        warm_up()
        memory.restart()


def fresh(bench: Bench, spec: Spec) -> Recommender:
    """Return an unfitted recommender; rows of the same component share a seed."""
    seed = derive_seed(bench.seed, "model", spec["name"])
    recommender: Recommender = build("recommender", spec, seed=seed)
    serve(recommender, bench.options.task)
    return recommender


def _curve(
    bench: Bench, label: str, watch: Stopwatch
) -> Callable[[Mapping[str, float], int], None]:
    """Return what a fit calls to log a curve: appended to a file at once, and to the tracker."""
    path = bench.folder / "curves" / f"{bench.slugs[label]}.jsonl"

    def log(values: Mapping[str, float], step: int) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        bench.tracker.log({f"{label}/{name}": value for name, value in numbers.items()}, step)
        watch.keep()

    return log


def _update(path: Path, label: str, value: Any) -> None:
    known = read_json(path) if path.is_file() else {}
    write_json(path, {**known, label: value})


def _reset_gpu_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _gpu_peak() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_allocated())
