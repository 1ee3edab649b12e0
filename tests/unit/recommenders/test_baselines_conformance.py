"""Every baseline keeps the contract of a recommender."""

# ruff: noqa: RUF012  (specs are constants)
from __future__ import annotations

from llmrec.testing import RecommenderConformance


class TestRandom(RecommenderConformance):
    recommender = {"name": "random", "seed": 3}
    personalised = False


class TestPopularity(RecommenderConformance):
    recommender = {"name": "popularity"}
    personalised = False


class TestBiasOfRatings(RecommenderConformance):
    recommender = {"name": "bias"}
    personalised = False


class TestBiasOfLikes(RecommenderConformance):
    recommender = {"name": "bias", "task": "preference"}
    personalised = False


class TestMarkovKNN(RecommenderConformance):
    recommender = {"name": "markov_knn", "n_neighbors": 5}


class TestItemKNN(RecommenderConformance):
    recommender = {"name": "item_knn", "n_neighbors": 10, "shrinkage": 1.0}


class TestUserKNN(RecommenderConformance):
    recommender = {"name": "user_knn", "n_neighbors": 8}


class TestEASE(RecommenderConformance):
    recommender = {"name": "ease", "regularization": 10.0}


class TestEASEThatForgets(RecommenderConformance):
    recommender = {"name": "ease", "regularization": 10.0, "decay": 0.9}


class TestImplicitALS(RecommenderConformance):
    recommender = {"name": "implicit_als", "embedding_size": 8, "alpha": 2.0}


class TestMFOfRatings(RecommenderConformance):
    recommender = {"name": "biased_mf", "embedding_size": 4, "regularization": 0.5}


class TestMFOfLikes(RecommenderConformance):
    recommender = {
        "name": "biased_mf",
        "loss": "logistic",
        "embedding_size": 4,
        "regularization": 0.5,
    }


class TestMFOfOrder(RecommenderConformance):
    recommender = {"name": "biased_mf", "loss": "bpr", "embedding_size": 8, "batch_size": 16}
