"""A small run of recommenders that misbehave on purpose."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from experiment_doubles import Counting, Fragile, RatesOnly, Recorder, Slow

from llmrec.core.registry import registry

Config = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _components() -> Iterator[None]:
    """Register the misbehaving ones for one test only."""
    chosen = {"counting": Counting, "fragile": Fragile, "rates_only": RatesOnly, "slow": Slow}
    for name, cls in chosen.items():
        registry("recommender").register(name)(cls)
        cls.fits.clear()
        cls.trouble = None
    registry("tracker").register("recorder")(Recorder)
    Recorder.events.clear()
    Slow.clock[0] = 0.0
    yield
    Slow.warmed.clear()
    for name in chosen:
        del registry("recommender")._objects[name]
    del registry("tracker")._objects["recorder"]


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report has its own tests, and its plots take most of a second."""

    def write(comparison: Any, folder: Any, *, context: Any) -> None:
        (folder / "report.html").write_text(comparison.protocol)

    monkeypatch.setattr("llmrec.experiment.store.write_report", write)


@pytest.fixture
def config() -> Config:
    """Return a function that makes the config of a small run, with changes."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "data": {"name": "synthetic", "n_users": 40, "n_items": 60},
            "split": {"name": "leave_one_out"},
            "evaluation": {"task": "ranking", "metrics": ["ndcg@10", "hr@5"], "n_resamples": 100},
            "tracker": {"name": "recorder"},
            "models": {"first": {"name": "counting"}, "second": {"name": "fragile"}},
            **changes,
        }

    return make


@pytest.fixture
def full_disk() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")
