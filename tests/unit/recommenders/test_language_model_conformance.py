"""Language models keep the contract of a recommender, and learn from others."""

from __future__ import annotations

import lm_cases
import pytest

from llmrec.core.errors import RunError
from llmrec.testing import RecommenderConformance


def items_preset(name: str, epochs: int) -> dict:
    prompt = {"max_length": 10, "scale": 0.1}
    backbone = {"dropout": 0.0, "attention_dropout": 0.0}
    return lm_cases.spec(
        name,
        parts={"prompt": prompt, "backbone": backbone},
        epochs=epochs,
        batch_size=8,
        learning_rate=0.02,
        early_stopping_patience=None,
    )


class NextItemConformance(RecommenderConformance):
    """What comes next cannot be learned from users with one interaction each: it says so."""

    tolerance = 1e-4

    def test_a_catalogue_of_one_item(self) -> None:
        with pytest.raises(RunError, match="no user has two interactions"):
            super().test_a_catalogue_of_one_item()


class TestGPT2Items(NextItemConformance):
    recommender = items_preset("gpt2", 20)


class TestBERTItems(NextItemConformance):
    recommender = items_preset("bert", 40)


class TestT5Items(NextItemConformance):
    recommender = items_preset("t5", 30)


class TestGPT2Text(NextItemConformance):
    recommender = lm_cases.spec("gpt2", prompt="text", epochs=1, examples_per_user=1)
    personalised = False  # one epoch over words teaches nothing: the contract alone is tested


class TestBERTLikes(RecommenderConformance):
    recommender = lm_cases.spec("bert", head="like", parts={"prompt": {"use_ratings": True}})
    # On this board likes and dislikes alternate in time: a model that reads a sequence learns that,
    # which says nothing about two candidates after the same history.
    personalised = False
    tolerance = 1e-4
