"""What a language model counts of its training side before it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.core.types import Dataset
from llmrec.heads.averages import Averages
from llmrec.recommenders.assembly import item_vectors, seeded, tokenizer_of
from llmrec.recommenders.identifiers import codes_of, records_of
from llmrec.training.statistics import training_statistics

if TYPE_CHECKING:
    from llmrec.recommenders.language_model import LanguageModel


def counted_by(saved: LanguageModel) -> dict[str, Any]:
    """Return the statistics in a fitted language model, by name."""
    model = saved._model
    found: dict[str, Any] = {}
    if saved.trained_on is not None:  # absent from folders of before it was kept
        found["training rows (fingerprint)"] = saved.trained_on
    if model.codes is not None and _repeats_codes(saved):
        found["codes"] = model.codes.table
    if saved._prompt.kind == "text" and saved._identifier is not None:
        found["numbers of items"] = _numbers_in(model.batches.items)
    if _makes_tokenizer(saved):
        found["vocabulary"] = _vocabulary(model.tokenizer)
    if hasattr(model.net.tokens, "rating_values"):
        found["rating values"] = model.net.tokens.rating_values.cpu().numpy()
    if model.averages is not None:
        found["averages"] = _numbers_of(model.averages)
    return found | _kept(model.net.head)


def counted_again(saved: LanguageModel, data: Dataset) -> dict[str, Any]:
    """Return the same statistics of other rows, without training."""
    model, head = saved._model, saved._head
    found: dict[str, Any] = {}
    if saved.trained_on is not None:
        found["training rows (fingerprint)"] = data.fingerprint
    if model.codes is not None and _repeats_codes(saved):
        found["codes"] = codes_of(saved, data).table
    records = records_of(saved, data) if saved._prompt.kind == "text" else []
    if saved._prompt.kind == "text" and saved._identifier is not None:
        found["numbers of items"] = _numbers_in(records)
    if _makes_tokenizer(saved):
        found["vocabulary"] = _vocabulary(tokenizer_of(saved, data, records))
    rating = data.interactions.rating
    if hasattr(model.net.tokens, "rating_values") and rating is not None:
        found["rating values"] = np.unique(rating)
    if model.averages is not None:
        threshold = model.averages.threshold
        found["averages"] = _numbers_of(Averages.fit(data, head.damping, threshold))
    counts = training_statistics(data, head, item_vectors(head, data))
    width, tied = saved._backbone.width(model.net.model), model.net.tokens is not None
    with seeded(0):  # weights are drawn, but only what is counted is compared
        return found | _kept(head.build(width, data.n_items, tied, counts))


def _makes_tokenizer(saved: LanguageModel) -> bool:
    return saved._prompt.kind == "text" and saved._backbone.location is None


def _repeats_codes(saved: LanguageModel) -> bool:
    """Return whether codes come out alike everywhere; RQ-VAE trains weights, whose bits vary."""
    return getattr(saved._identifier, "quantizer", None) != "rq_vae"


def _numbers_in(records: Sequence[Mapping[str, str]]) -> list[str]:
    return [record["identifier"] for record in records]


def _vocabulary(tokenizer: Any) -> list[str]:
    known: Mapping[str, int] = tokenizer.get_vocab()
    return sorted(known, key=known.__getitem__)


def _numbers_of(averages: Averages) -> dict[str, Any]:
    return {"mean": averages.mean, "items": averages.items}


def _kept(head: Any) -> dict[str, Any]:
    """Return the buffers of a head that are stored with it: counted, not trained."""
    stored = set(head.state_dict())
    buffers = {name: value.cpu().numpy() for name, value in head.named_buffers() if name in stored}
    return {"head": buffers} if buffers else {}
