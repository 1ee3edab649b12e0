"""Compare language-model recommenders with collaborative filtering, honestly, on your own data.

Everything that the command line does can be done from a script or a notebook:

    >>> import llmrec
    >>> data = llmrec.load_data("synthetic", n_users=100)
    >>> parts = llmrec.split(data, "leave_one_out")
    >>> results = []
    >>> for name in ["popularity", "ease"]:
    ...     recommender = llmrec.build("recommender", name).fit(parts.train, parts.valid)
    ...     results.append(llmrec.evaluate(recommender, parts, label=name, metrics=["ndcg@10"]))
    >>> llmrec.compare(results, n_resamples=200).reference
    'ease'

A whole run with a folder that can be resumed, from one mapping: `llmrec.run`.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Imported when first used: `import llmrec` stays instant, and no import goes upwards.
_PUBLIC = {
    "Dataset": "llmrec.core.types",
    "Interactions": "llmrec.core.types",
    "LlmrecError": "llmrec.core.errors",
    "Queries": "llmrec.core.types",
    "Ragged": "llmrec.core.types",
    "Split": "llmrec.core.types",
    "build": "llmrec.experiment.api",
    "compare": "llmrec.evaluation.comparison",
    "evaluate": "llmrec.experiment.api",
    "load": "llmrec.experiment.api",
    "load_data": "llmrec.experiment.api",
    "load_run": "llmrec.experiment.store",
    "load_table": "llmrec.data.typed",
    "recommend": "llmrec.recommenders.base",
    "register": "llmrec.core.registry",
    "run": "llmrec.experiment.run",
    "split": "llmrec.experiment.api",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module llmrec has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
