"""A recommender of your own, on your own data, beside the shipped ones.

    python experiments/custom_baseline.py                                  # generated data
    python experiments/custom_baseline.py --interactions log.csv --timestamp time

The recommender is registered by a decorator, so that its name works wherever one is asked for, in
`llmrec.run` too.
"""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix

import llmrec
from llmrec.core.protocols import ModelInfo
from llmrec.recommenders.base import BaseRecommender


@llmrec.register("recommender", "second_order_markov")
class SecondOrderMarkov(BaseRecommender):
    """Scores an item by how often it followed the last item, or the one before that.

    Args:
        older: weight of what followed the item before the last.
    """

    state: ClassVar[tuple[str, ...]] = ("after_one", "after_two")

    def __init__(self, *, older: float = 0.5) -> None:
        self.older = older

    def learn(self, train: llmrec.Dataset) -> None:
        self.after_one, self.after_two = followers(train, 1), followers(train, 2)

    def score_all(self, queries: llmrec.Queries) -> np.ndarray:
        scores = np.zeros((len(queries), self.after_one.shape[1]), np.float32)
        steps = ((1, self.after_one, 1.0), (2, self.after_two, self.older))
        for step, counts, weight in steps:
            rows = np.flatnonzero(queries.histories.lengths >= step)
            items = [queries.histories[row][-step] for row in rows]
            if items:
                scores[rows] += weight * counts[items].toarray()
        return scores

    @property
    def info(self) -> ModelInfo:
        learned = self.after_one.nnz + self.after_two.nnz
        return ModelInfo(parameters=learned, trainable=learned)


def followers(train: llmrec.Dataset, step: int) -> csr_matrix:
    """Return (n_items, n_items) shares: of what came `step` places after an item of a history."""
    before = [item for history in train.histories for item in history[:-step]]
    after = [item for history in train.histories for item in history[step:]]
    shape = (train.n_items, train.n_items)
    counts = csr_matrix((np.ones(len(before), np.float32), (before, after)), shape)
    totals = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    return csr_matrix(counts.multiply(1 / totals[:, None]), dtype=np.float32)


def main(arguments: list[str] | None = None) -> None:
    """Compare, and print a line per recommender."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--interactions", help="a CSV or TSV file; without it data is generated")
    parser.add_argument("--user", default="user", help="its column of users")
    parser.add_argument("--item", default="item", help="its column of items")
    parser.add_argument("--timestamp", help="its column of times; without it the file is in order")
    parser.add_argument("--users", type=int, default=300, help="of the generated data")
    parser.add_argument("--folder", help="keep a run folder with report there")
    options = parser.parse_args(arguments)

    data: dict[str, Any] = {"name": "synthetic", "n_users": options.users}
    if options.interactions:
        data = {
            "name": "csv",
            "interactions": options.interactions,
            "user": options.user,
            "item": options.item,
            "timestamp": options.timestamp,
        }
    models: dict[str, dict[str, Any]] = {
        "mine": {"name": "second_order_markov"},
        "mine, last item only": {"name": "second_order_markov", "older": 0.0},
        "markov_knn": {"name": "markov_knn"},
        "ease": {"name": "ease"},
        "popularity": {"name": "popularity"},
    }
    if options.folder:
        comparison = llmrec.run(
            {
                "data": data,
                "split": {"name": "leave_one_out"},
                "evaluation": {"task": "ranking", "metrics": ["ndcg@10", "hr@10"]},
                "models": models,
            },
            folder=options.folder,
        )
    else:
        parts = llmrec.split(llmrec.load_data(**data))
        results = []
        for label, spec in models.items():
            fitted = llmrec.build("recommender", **spec).fit(parts.train, parts.valid)
            results.append(llmrec.evaluate(fitted, parts, label=label))
        comparison = llmrec.compare(results)
    for result in comparison.results:
        low, high = comparison.intervals[result.label]["ndcg@10"]
        line = f"{result.label:<21} {result.overall['ndcg@10']:.4f} [{low:.4f}, {high:.4f}]"
        versus = comparison.versus.get(result.label)
        p = f"  p = {versus['ndcg@10'].p_holm:.4f}" if versus else "  best baseline"
        print(line + p)
    print(
        f"ndcg@10 ({comparison.protocol}), 95% intervals, p against {comparison.reference} (Holm)"
    )


if __name__ == "__main__":
    main()
