"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from llmrec.core.types import Dataset

# No test fails because the machine is busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def ml100k() -> Dataset:
    """MovieLens-100K, from LLMREC_DATA/ml-100k or the cache; never downloaded by a test."""
    from llmrec.data.downloads import cached_files
    from llmrec.data.movielens import ORIGINS, MovieLens100K

    folder = Path(os.environ.get("LLMREC_DATA", "")) / "ml-100k"
    if os.environ.get("LLMREC_DATA") and folder.is_dir():
        return MovieLens100K(folder=str(folder)).load()
    if cached_files("ml-100k", ORIGINS) is None:
        pytest.skip("MovieLens-100K is not cached: llmrec data ml-100k fetches it")
    return MovieLens100K().load()


@pytest.fixture
def transformers_says() -> Iterator[list[str]]:
    """What transformers logs during a test, also what it logs once per process."""
    from transformers.utils import logging as transformers_logging

    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    transformers_logging.warning_once.cache_clear()
    transformers_logging.add_handler(handler)
    yield said
    transformers_logging.remove_handler(handler)
