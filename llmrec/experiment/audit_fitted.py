"""``llmrec audit RUN``: which saved recommenders of a run were fitted on more than train."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmrec.core.config import build
from llmrec.core.errors import RunError
from llmrec.core.files import read_json
from llmrec.core.types import Split
from llmrec.data.audit import Finding, errors, findings_text
from llmrec.data.audit.statistics import compared, held_out_statistic, piece_finding
from llmrec.ensembles.ensemble import Ensemble
from llmrec.evaluation.evaluate import make_exam
from llmrec.evaluation.options import EvaluationOptions
from llmrec.experiment.audits import audit_run, rendered_prompts
from llmrec.experiment.folder import slugs
from llmrec.experiment.members import teach
from llmrec.experiment.store import StoredRun, load_run
from llmrec.recommenders.base import load_recommender
from llmrec.recommenders.refits import refits_of

# A fit that took longer is not repeated, up to three times, to look at its numbers.
REFIT_SECONDS = 300.0


@dataclass
class FittedAudit:
    """What was found in the saved recommenders of a run, and what was looked at.

    Attributes:
        findings: errors of `held-out-statistic`.
        whole: rows of which everything that they learned was fitted again.
        counted: rows of which the statistics were counted again, but no weights trained.
        skipped: why others were not looked at, by label.
    """

    findings: list[Finding] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        told = []
        if self.whole:
            told.append(f"fitted again on train and compared: {', '.join(self.whole)}")
        if self.counted:
            told.append(
                "rows of training, vocabulary, codes and statistics compared, weights not trained "
                "again: " + ", ".join(self.counted)
            )
        told += [f"not looked at: {label}: {why}" for label, why in self.skipped.items()]
        return "\n".join(told)


def audit_folder_text(folder: Path) -> tuple[str, bool]:
    """Audit the split, prompts and saved recommenders of a run; return the text and whether it
    leaks.

    Raises:
        RunError: if the folder holds no run, or its data or split is no longer the same.
        DataError: if the data cannot be loaded or divided.
    """
    run = load_run(folder)
    split = split_again(run)
    fitted = audit_fitted(run, split)
    findings = (*audit_run(run.config, split), *fitted.findings)
    prompts = ", ".join(each.name for each in rendered_prompts(run.config, split)) or "none"
    head = f"{split.train.name}, {split.protocol}; text prompts: {prompts}"
    text = "\n".join(part for part in (head, str(fitted), findings_text(findings)) if part)
    return text, bool(errors(findings))


def split_again(run: StoredRun) -> Split:
    """Return the split of a run, made again from its config.

    Raises:
        RunError: if the data or the split is no longer what the run saw.
    """
    split: Split = build("split", run.config["split"]).split(run.dataset())
    exam = make_exam(split, EvaluationOptions.from_config(run.config["evaluation"]))
    if exam.fingerprint != run.data["fingerprint"]:
        raise RunError(
            f"the split of {run.folder} comes out differently now, by another version of llmrec "
            "perhaps; its models cannot be audited with it"
        )
    return split


def audit_fitted(
    run: StoredRun, split: Split, *, refit_seconds: float = REFIT_SECONDS
) -> FittedAudit:
    """Compare what the saved recommenders of a run learned with what train alone gives.

    Args:
        run: with saved models.
        split: its data, divided.
        refit_seconds: recommenders whose fit took longer are skipped.
    """
    done = FittedAudit()
    names = slugs(run.labels)
    for result in run.results:
        label, folder = result.label, run.folder / "models" / names[result.label]
        if not folder.is_dir():
            done.skipped[label] = "its model was not kept (save_models was false)"
        elif label in (run.config.get("ensembles") or {}):
            _audit_ensemble(done, label, folder, run.config, split)
        else:
            _audit_recommender(done, label, folder, split, refit_seconds)
    return done


def _audit_recommender(
    done: FittedAudit, label: str, folder: Path, split: Split, refit_seconds: float
) -> None:
    seconds = read_json(folder / "fit.json")["fit_seconds"]
    for refit in refits_of(label, folder, split.valid):
        name = refit.piece.name
        if refit.whole and seconds > refit_seconds:
            done.skipped[name] = f"its fit took {seconds:.0f} s, more than {refit_seconds:.0f}"
        elif not refit.piece.value:
            done.skipped[name] = "it stores no arrays or numbers that could be compared"
        else:
            found = piece_finding(split, refit.piece)
            done.findings += [] if found is None else [found]
            (done.whole if refit.whole else done.counted).append(name)


def _audit_ensemble(done: FittedAudit, label: str, folder: Path, config: Any, split: Split) -> None:
    """Let the combiner learn again, from the saved members on validation."""
    ensemble = load_recommender(folder)
    if not (isinstance(ensemble, Ensemble) and getattr(ensemble.joined, "learns", True)):
        done.skipped[label] = "its combiner learns nothing; its members are rows of their own"
        return
    names = getattr(ensemble.joined, "state", ())
    used = {name: getattr(ensemble.joined, name) for name in names}
    exam = make_exam(split, EvaluationOptions.from_config(config["evaluation"]), "valid")
    teach(ensemble, exam, split)
    again = {name: getattr(ensemble.joined, name) for name in names}
    wrong, examples = compared(used, again, split.train)
    done.whole.append(f"{label} (combiner, on validation)")
    if wrong:
        told = "something else than the validation side; fit the combiner again on it"
        total = sum(map(len, used.values()))
        said = f"the combiner of {label}"
        done.findings.append(held_out_statistic(said, told, wrong, total, examples))
