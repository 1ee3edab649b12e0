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


class TestMajority(RecommenderConformance):
    recommender = {"name": "majority"}
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


class TestContentKNN(RecommenderConformance):
    recommender = {"name": "content_knn"}


class TestContentKNNOfDenseFeatures(RecommenderConformance):
    recommender = {
        "name": "content_knn",
        "feature": {"name": "word2vec", "min_count": 1, "embedding_size": 8, "epochs": 5},
    }
    personalised = False  # fifty words teach no word vectors


class TestContentKNNOfSeveral(RecommenderConformance):
    recommender = {
        "name": "content_knn",
        "feature": {
            "name": "combined",
            "features": {"words": {"name": "tfidf"}, "history": {"name": "history", "of": "item"}},
            "standardize": "none",
        },
    }
    personalised = False  # counts of the items, not scaled, drown their words


class TestFeatureModelOfOrder(RecommenderConformance):
    recommender = {"name": "feature_model", "n_negatives": 2}


class TestFeatureModelOfLikes(RecommenderConformance):
    recommender = {
        "name": "feature_model",
        "task": "preference",
        "decay": 1.0,  # likes and dislikes alternate in time on this board, which is no lesson
        "features": {"text": {"name": "tfidf"}, "moment": {"name": "context"}},
    }


class TestFeatureModelOfRatings(RecommenderConformance):
    recommender = {"name": "feature_model", "task": "rating"}


class TestTreesOfRatings(RecommenderConformance):
    recommender = {
        "name": "feature_model",
        "task": "rating",
        "estimator": "boosting",
        "epochs": 20,
        "example_share": 0.5,
    }
    # Likes and dislikes alternate in time on this board: trees learn the turn, which tells nothing
    # of two candidates after the same history.
    personalised = False


class TestTreesOfOrder(RecommenderConformance):
    recommender = {
        "name": "feature_model",
        "estimator": "boosting",
        "epochs": 20,
        "example_share": 0.5,
    }
