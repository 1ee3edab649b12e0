"""What a saved recommender learned, by name, and how to learn it again from other rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.core.arrays import all_arrays
from llmrec.core.files import read_json
from llmrec.core.saving import unfitted
from llmrec.core.types import Dataset
from llmrec.data.audit import FittedPiece
from llmrec.recommenders.base import HEADER, load_recommender
from llmrec.recommenders.language_model import LanguageModel
from llmrec.recommenders.two_stage import TwoStage

# Options and costs, not learned.
NOT_LEARNED = (HEADER, "feature.json", "fit.json", "elapsed.json", "stages.json")


@dataclass(frozen=True, eq=False)
class Refit:
    """One recommender, or stage of one, of which something can be fitted again.

    Attributes:
        piece: its learned values and how to learn them again.
        whole: whether that is all it learned; of a language model it is not.
    """

    piece: FittedPiece
    whole: bool


def refits_of(label: str, folder: Path, valid: Dataset) -> Iterator[Refit]:
    """Yield what can be fitted again of a saved recommender; of two stages, of each.

    Args:
        label: its name in messages.
        folder: what `save` wrote.
        valid: the validation side, which a fit may use to stop.
    """
    saved = load_recommender(folder)
    if isinstance(saved, TwoStage):
        for stage in ("retriever", "ranker"):
            yield from refits_of(f"{label}: {stage}", folder / stage, valid)
        return
    if isinstance(saved, LanguageModel):
        value, refit = language_model_statistics(saved)
        yield Refit(FittedPiece(label, value, remembered(refit)), whole=False)
        return
    cls = type(saved)

    def again(data: Dataset) -> dict[str, Any]:
        fitted = unfitted(cls, folder, HEADER).fit(data, valid)
        with tempfile.TemporaryDirectory() as temporary:
            fitted.save(Path(temporary) / "again")
            return saved_values(Path(temporary) / "again")

    yield Refit(FittedPiece(label, saved_values(folder), remembered(again)), whole=True)


def remembered(refit: Callable[[Dataset], Any]) -> Callable[[Dataset], Any]:
    """Return the function, which is called once for each content of a data set."""
    known: dict[str, Any] = {}

    def ask(data: Dataset) -> Any:
        if data.fingerprint not in known:
            known[data.fingerprint] = refit(data)
        return known[data.fingerprint]

    return ask


def saved_values(folder: Path) -> dict[str, Any]:
    """Return the arrays, CSR matrices and numbers that a component stored, by file and name."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name in NOT_LEARNED or path.suffix not in (".npz", ".json"):
            continue
        place = path.relative_to(folder).with_suffix("").as_posix()
        where = "" if place == "state" else place.removesuffix("/state") + ": "
        values = all_arrays(path) if path.suffix == ".npz" else {"": read_json(path)}
        found |= {f"{where}{name}": value for name, value in values.items()}
    return found


def language_model_statistics(
    saved: LanguageModel,
) -> tuple[dict[str, Any], Callable[[Dataset], dict[str, Any]]]:
    """Return what a language model counted before it trained, and how to count it again.

    That is: which rows it was trained on (their fingerprint), the vocabulary of a tokenizer made
    here, the values of ratings, averages, the codes or numbers of items (not those of RQ-VAE), and
    what the head keeps of the training side.
    """
    from llmrec.recommenders.fitted_statistics import counted_again, counted_by

    return counted_by(saved), lambda data: counted_again(saved, data)
