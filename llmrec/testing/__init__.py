"""For people who extend llmrec: conformance suites, and data sets whose answer is known.

A plugin proves that its recommender keeps the contract in three lines of a test file::

    class TestMine(RecommenderConformance):
        recommender = {"name": "mine", "epochs": 2}

So do backbones (`BackboneConformance`) and adapters (`AdapterConformance`).

Needs pytest (the extra ``test``), imported only when a test runs.
"""

from llmrec.testing.adapters import AdapterConformance
from llmrec.testing.backbones import BackboneConformance
from llmrec.testing.boards import checkerboard, rated_checkerboard
from llmrec.testing.recommenders import RecommenderConformance

__all__ = [
    "AdapterConformance",
    "BackboneConformance",
    "RecommenderConformance",
    "checkerboard",
    "rated_checkerboard",
]
