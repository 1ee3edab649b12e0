"""The components keep the contracts of llmrec, by the suites that it ships."""

from __future__ import annotations

import pytest

from llmrec.testing import RecommenderConformance


class TestRecentPopularity(RecommenderConformance):
    recommender = {"name": "recent_popularity", "half_life_days": 10.0}  # noqa: RUF012
    personalised = False


class TestDistilBERT(RecommenderConformance):
    recommender = {  # noqa: RUF012
        "name": "language_model",
        "backbone": {"name": "distilbert", "hidden_size": 32, "n_heads": 2},
        "prompt": {"name": "items", "init": "random"},
        "head": {"name": "classification"},
        "epochs": 30,
        "learning_rate": 1e-2,
    }
    tolerance = 1e-4

    def test_a_catalogue_of_one_item(self) -> None:
        pytest.skip("a sequence model learns nothing where nobody has two interactions")
