"""Removal of users from run folders, and a list of what may still hold them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.core.errors import LlmrecError, RunError
from llmrec.core.files import atomic_path, read_json, readable_os_errors, write_json
from llmrec.data.forget import forget
from llmrec.data.privacy import pseudonym, read_key
from llmrec.evaluation.result import HEADER, ModelResult
from llmrec.experiment.compose import read_yaml
from llmrec.experiment.context import EXAMPLES, LENGTHS
from llmrec.experiment.findings import AUDIT
from llmrec.experiment.folder import CONFIG, is_run, locked
from llmrec.experiment.store import load_run, write_tables

FITTED = ("models", "checkpoints", "work")


@dataclass(frozen=True)
class Cleaned:
    """What was taken out of one run folder, and what of it a person has to look after.

    Attributes:
        folder: the run.
        results: (label, rows) from which users were taken.
        examples: shown examples and quoted rows of the audit that named them.
        fitted: folders with models that were fitted on them, perhaps.
        unread: why pseudonyms could not be looked for, "" if all is well.
    """

    folder: Path
    results: tuple[tuple[str, int], ...]
    examples: int
    fitted: tuple[Path, ...]
    unread: str = ""

    def __str__(self) -> str:
        rows = ", ".join(f"{label} {n}" for label, n in self.results)
        told = [f"{self.folder}: " + (f"rows taken out: {rows}" if rows else "no row of theirs")]
        if self.examples:
            told.append(f"    {self.examples} examples that named them taken out")
        told += [
            f"    still holds what was learnt from them, perhaps: {path}" for path in self.fitted
        ]
        if self.unread:
            told.append(f"    not looked for under their pseudonyms: {self.unread}")
        return "\n".join(told)


def forget_text(users: Sequence[str], runs: Sequence[Path] = (), key: Path | None = None) -> str:
    """Delete users from caches and from run folders, and say what may still hold them.

    Args:
        users: external ids, as the source writes them.
        runs: run folders, or folders in which to look for them.
        key: file of the key that made pseudonyms of them in some runs; a run's own is used, too.

    Raises:
        DataError: for no user at all, or a key that cannot be read.
        RunError: if a folder holds no run, is being written, or cannot be written.
    """
    places = [place for folder in runs for place in run_folders(folder)]
    done = [str(forget(users, key))]
    secret = None if key is None else read_key(key)
    names = [*users, *(pseudonym(user, secret) for user in users if secret)]
    done += [str(forget_in_run(place, names)) for place in places]
    if runs:
        done.append(
            "overall numbers, tables and plots keep what they were computed as or from: they name "
            "nobody; models do not forget: fit them anew with privacy.removed_users, or delete them"
        )
    else:
        done.append("run folders were not looked at: --runs FOLDER takes the users out of them")
    return "\n".join(done)


def run_folders(folder: Path) -> list[Path]:
    """Return a run folder itself, or those below a folder.

    Raises:
        RunError: if there is none.
    """
    found = [folder] if is_run(folder) else sorted(p.parent for p in folder.rglob(CONFIG))
    found = [place for place in found if (place / "results").is_dir()]
    if not found:
        raise RunError(f"{folder} is no run folder, and there is none in it")
    return found


def forget_in_run(folder: Path, users: Collection[str]) -> Cleaned:
    """Take users out of the per-user results, the examples and the quoted audit rows of a run.

    The tables and the report are written again. Overall values stay as they were computed.

    Raises:
        RunError: if the folder is being written or cannot be.
    """
    with locked(folder):
        wanted, unread = _with_pseudonyms(read_yaml(folder / CONFIG), users)
        counts: dict[str, int] = {}
        judged: np.ndarray | None = None
        for header in sorted(folder.glob(f"results/*/{HEADER}")):
            result = ModelResult.load(header.parent)
            stays = ~np.isin(result.users, sorted(wanted))
            judged = stays if judged is None else judged
            if not stays.all():
                _without(result, stays).save(header.parent)
                counts[result.label] = int((~stays).sum())
        if judged is not None and not judged.all():
            _shorten(folder / LENGTHS, judged)
        examples = _quoted(folder, wanted)
        if counts or examples:
            run = load_run(folder)
            write_tables(folder, run.comparison(), run.context())
    fitted = tuple(path for name in FITTED if (path := folder / name).is_dir())
    return Cleaned(folder, tuple(counts.items()), examples, fitted, unread)


def _with_pseudonyms(config: Mapping[str, Any], users: Collection[str]) -> tuple[set[str], str]:
    """Return the users under their names and pseudonyms of a run, and why not under these."""
    wanted = {str(user) for user in users}
    key = (config.get("privacy") or {}).get("key")
    if not key:
        return wanted, ""
    try:
        secret = read_key(Path(key))
    except LlmrecError as error:
        return wanted, str(error)
    return wanted | {pseudonym(user, secret) for user in wanted}, ""


def _without(result: ModelResult, stays: np.ndarray) -> ModelResult:
    rows = np.flatnonzero(stays)
    return replace(
        result,
        users=result.users[stays],
        per_user={name: values[stays] for name, values in result.per_user.items()},
        ranks=None if result.ranks is None else result.ranks.take(rows),
        lists=None if result.lists is None else result.lists[stays],
        truth=None if result.truth is None else result.truth.take(rows),
        predicted=None if result.predicted is None else result.predicted.take(rows),
    )


def _shorten(path: Path, stays: np.ndarray) -> None:
    if path.is_file():
        lengths = np.load(path)
        if len(lengths) == len(stays):
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, lengths[stays])


def _quoted(folder: Path, users: Collection[str]) -> int:
    """Delete examples of the report and of the audit that name users; return how many."""
    n = 0
    with readable_os_errors(folder):
        if (folder / EXAMPLES).is_file():
            examples = read_json(folder / EXAMPLES)
            kept = [each for each in examples if each["user"] not in users]
            if len(kept) < len(examples):
                write_json(folder / EXAMPLES, kept)
            n += len(examples) - len(kept)
        if (folder / AUDIT).is_file():
            findings = read_json(folder / AUDIT)
            for finding in findings:
                told = finding["examples"]
                finding["examples"] = [text for text in told if not _names(text, users)]
                n += len(told) - len(finding["examples"])
            write_json(folder / AUDIT, findings)
    return n


def _names(text: str, users: Collection[str]) -> bool:
    """Whether an example of the audit is about one of some users."""
    return any(f"user {user}," in text or f"user {user}:" in text for user in users)
