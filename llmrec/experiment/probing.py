"""``llmrec probe``: what the numbers of a fitted model rest on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, RunError
from llmrec.core.files import write_json
from llmrec.core.types import Split
from llmrec.evaluation.evaluate import make_exam
from llmrec.evaluation.options import EvaluationOptions
from llmrec.evaluation.probes import Probed, probe, sample_exam
from llmrec.experiment.context import item_titles
from llmrec.experiment.store import load_run


def probe_text(
    folder: str | Path,
    *,
    label: str | None = None,
    users: int = 200,
    memory: int = 100,
    output: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """Return the probes of one fitted model of a run as text.

    Args:
        folder: a run folder.
        label: which recommender, by default the first of the table.
        users: test users that are asked, a fixed sample of all.
        memory: questions of each kind to an untrained checkpoint; 0 asks none.
        output: a JSON file for the same.
        progress: called with what is being done.

    Raises:
        RunError: if the folder is no run, or the model was not kept.
    """
    stored = load_run(folder)
    label = label or stored.comparison().results[0].label
    model = stored.model(label)
    dataset = stored.dataset()
    split: Split = build("split", stored.config["split"]).split(dataset)
    options = EvaluationOptions.from_config(stored.config["evaluation"])
    seed = int(stored.config["seed"])
    exam = sample_exam(make_exam(split, options), users, seed)
    if exam.fingerprint != stored.result(label).fingerprint:
        raise RunError(f"the test of {folder} is no longer the one that its results are of")
    found = probe(model, exam, label=label, seed=seed, progress=progress)
    lines = _table(found)
    recited: list[dict[str, Any]] = []

    def save() -> None:
        if output is not None:
            write_json(Path(output), {**_plain(found), "memorisation": recited})

    save()  # what was asked is kept, whatever a checkpoint does
    for name, backbone in backbones_of(model).items() if memory else []:
        from llmrec.recommenders.memorisation import memorisation

        try:
            progress("memorisation")
            answers = memorisation(backbone, split, item_titles(dataset), n=memory, seed=seed)
        except ComponentError as error:
            lines.append(f"note: {name}{': ' if name else ''}{error}")
        else:
            recited += [{**asdict(answer), "part": name} for answer in answers]
            whose = f"the checkpoint of {name}" if name else "the checkpoint"
            lines += ["", f"{whose}, before any training here, completes word for word"]
            lines += [f"  {each.name:<28} {each.share:6.1%}  of {each.n}" for each in answers]
    save()
    return "\n".join(lines)


def backbones_of(model: Any, name: str = "") -> dict[str, Any]:
    """Return the backbones of a recommender and of all it is made of, by the part's name."""
    found: dict[str, Any] = {}
    if getattr(model, "backbone", None) is not None:
        found[name] = model.backbone
    for label, part in getattr(model, "parts", {}).items():
        found |= backbones_of(part, f"{name}.{label}" if name else label)
    return found


def _table(found: Probed) -> list[str]:
    lines = [
        f"{found.label}: {found.metric} = {found.value:.4f} on {found.n_users} test users",
        "",
        f"{'changed':<12} {'how':<28} {'value':>7} {'difference':>11}  {'95% CI':<18} "
        f"{'lists':>6} {'drift':>8}",
    ]
    for each in found.probes:
        scored = not math.isnan(each.value)
        value = f"{each.value:7.4f} {each.difference:+11.4f}" if scored else f"{'':7} {'':11}"
        span = f"[{each.low:+.4f}, {each.high:+.4f}]" if scored else ""
        changed = "" if math.isnan(each.changed) else f"{each.changed:6.0%}"
        drift = "" if math.isnan(each.drift) else f"{each.drift:8.1e}"
        lines.append(
            f"{each.group:<12} {each.name:<28} {value}  {span:<18} {changed:>6} {drift:>8}"
        )
    lines += [
        "",
        "difference: mean over users, with its bootstrap interval; lists: share of users whose "
        "top 10 differs;\ndrift: largest absolute difference of a score",
    ]
    return lines + [f"note: {note}" for note in found.notes]


def _plain(found: Probed) -> dict[str, Any]:
    """Return it as JSON knows it: what is not defined is null."""

    def value(x: Any) -> Any:
        return None if isinstance(x, float) and math.isnan(x) else x

    plain = asdict(found)
    plain["probes"] = [{k: value(v) for k, v in each.items()} for each in plain["probes"]]
    return plain
