"""The components keep the contracts of llmrec, by the suites that it ships."""

from __future__ import annotations

from llmrec.testing import BackboneConformance, RecommenderConformance


class TestRecentPopularity(RecommenderConformance):
    recommender = {"name": "recent_popularity", "half_life_days": 10.0}  # noqa: RUF012
    personalised = False


class TestDistilBERT(BackboneConformance):
    backbone = {"name": "small_distilbert", "hidden_size": 32, "n_heads": 2}  # noqa: RUF012
