"""Ensembles keep the contract of a recommender, whatever they combine."""

# ruff: noqa: RUF012  (specs are constants)
from __future__ import annotations

from llmrec.testing import RecommenderConformance


class TestMeanForRanking(RecommenderConformance):
    recommender = {
        "name": "ensemble",
        "members": {"by items": {"name": "item_knn"}, "by users": {"name": "user_knn"}},
        "normalise": "rank",
    }
    candidates_agree = False


class TestWeightedForRanking(RecommenderConformance):
    recommender = {
        "name": "ensemble",
        "members": {
            "knn": {"name": "item_knn"},
            "ease": {"name": "ease", "regularization": 10.0},
            "als": {"name": "implicit_als", "embedding_size": 4},
            "random": {"name": "random"},
        },
        "combiner": {"name": "weighted", "step": 0.25},
        "normalise": "softmax",
    }
    candidates_agree = False


class TestWeightedForRating(RecommenderConformance):
    recommender = {
        "name": "ensemble",
        "members": {
            "mf": {"name": "biased_mf", "embedding_size": 4, "regularization": 0.5},
            "bias": {"name": "bias"},
        },
        "combiner": {"name": "weighted"},
        "task": "rating",
    }


class TestWeightedForPreference(RecommenderConformance):
    recommender = {
        "name": "ensemble",
        "members": {
            "mf": {"name": "biased_mf", "loss": "logistic", "embedding_size": 4},
            "bias": {"name": "bias", "task": "preference"},
        },
        "combiner": {"name": "weighted"},
        "task": "preference",
    }
