"""Full-catalogue evaluation beside a plain numpy loop and ranx, in one run.

    python benchmarks/evaluation.py [--no-ranx]

6,040 users × 3,417 items, as in MovieLens-1M, scored by a product of 64 factors. The plain loop
does the least that top-20 evaluation can do: matmul, mask, argpartition, sort of the twenty, hits.
llmrec does that and also the full rank of every held-out item, ties, the check for NaN, eight
metrics, and values per user. Best of five, interleaved.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from llmrec.core.protocols import ModelInfo
from llmrec.core.types import Dataset, Interactions, Split
from llmrec.evaluation.evaluate import Exam, evaluate, make_exam
from llmrec.evaluation.options import EvaluationOptions

N_USERS, N_ITEMS, N_FACTORS, HISTORY, K, BATCH = 6040, 3417, 64, 160, 20, 1024
METRICS = [f"{name}@10" for name in ("ndcg", "hr", "mrr", "precision", "map", "coverage")]
METRICS += ["recall@20", "ndcg@20"]


class Factors:
    """Scores by a product of random factors."""

    tasks = frozenset({"ranking"})
    info = ModelInfo()

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.users = rng.standard_normal((N_USERS, N_FACTORS), dtype=np.float32)
        self.items = rng.standard_normal((N_FACTORS, N_ITEMS), dtype=np.float32)

    def score(self, queries, items=None):  # noqa: ARG002
        return self.users[queries.users] @ self.items


def make_split(n_test: int) -> Split:
    rng = np.random.default_rng(1)
    drawn = np.stack(
        [rng.choice(N_ITEMS, HISTORY + n_test, replace=False) for _ in range(N_USERS)]
    ).astype(np.int32)

    def part(items: np.ndarray) -> Dataset:
        user = np.repeat(np.arange(N_USERS, dtype=np.int32), items.shape[1])
        users, catalogue = np.arange(N_USERS).astype(str), np.arange(N_ITEMS).astype(str)
        return Dataset("random", Interactions(user, items.ravel()), users, catalogue)

    train, test = part(drawn[:, :HISTORY]), part(drawn[:, HISTORY:])
    return Split(train, part(drawn[:, :0]), test, "random")


def plain(model: Factors, exam: Exam) -> float:
    """Recall@20 by the plain loop."""
    truth = exam.targets.items
    found = 0.0
    for start in range(0, N_USERS, BATCH):
        place = slice(start, min(start + BATCH, N_USERS))
        scores = model.users[place] @ model.items
        seen = exam.queries.histories.take(place)
        scores[seen.row_of, seen.values] = -np.inf
        best = np.argpartition(scores, N_ITEMS - K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        best = np.take_along_axis(best, order, axis=1)
        wanted = truth.take(place)
        hit = (best[wanted.row_of] == wanted.values[:, None]).any(axis=1)
        found += (hit / wanted.lengths[wanted.row_of]).sum()
    return found / N_USERS


def with_ranx(model: Factors, exam: Exam) -> tuple[float, float, float]:
    """Recall@20 by ranx on lists of 100, and its seconds to build and to evaluate."""
    from ranx import Qrels, Run
    from ranx import evaluate as judge

    lists, values = np.empty((N_USERS, 100), int), np.empty((N_USERS, 100))
    for start in range(0, N_USERS, BATCH):
        place = slice(start, min(start + BATCH, N_USERS))
        scores = model.users[place] @ model.items
        seen = exam.queries.histories.take(place)
        scores[seen.row_of, seen.values] = -np.inf
        lists[place] = np.argsort(-scores, axis=1)[:, :100]
        values[place] = np.take_along_axis(scores, lists[place], axis=1)
    names = ["ndcg@10", "mrr@10", "recall@20", "hit_rate@10"]
    began = time.perf_counter()
    truth = exam.targets.items
    qrels = Qrels({str(u): {str(i): 1 for i in row.tolist()} for u, row in enumerate(truth)})
    run = Run(
        {
            str(u): dict(zip(map(str, items), scores, strict=True))
            for u, (items, scores) in enumerate(zip(lists.tolist(), values.tolist(), strict=True))
        }
    )
    built = time.perf_counter()
    found = judge(qrels, run, names)
    return float(found["recall@20"]), built - began, time.perf_counter() - built


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-ranx", action="store_true", help="leave ranx out (it compiles long)")
    arguments = parser.parse_args()
    model = Factors()
    for n_test in (1, 20):
        exam = make_exam(make_split(n_test), EvaluationOptions(task="ranking", metrics=METRICS))
        result = evaluate(model, exam, label="factors")
        assert abs(result.overall["recall@20"] - plain(model, exam)) < 1e-12
        ours, theirs = [], []
        for _ in range(5):
            theirs.append(timed(lambda exam=exam: plain(model, exam)))
            ours.append(timed(lambda exam=exam: evaluate(model, exam, label="factors")))
        print(
            f"{n_test} held out per user: plain numpy {min(theirs):.3f} s, "
            f"llmrec {min(ours):.3f} s, ratio {min(ours) / min(theirs):.2f}"
        )
        if not arguments.no_ranx:
            with_ranx(model, exam)  # compiles
            recall, build, judge = with_ranx(model, exam)
            assert abs(result.overall["recall@20"] - recall) < 1e-6
            print(f"  ranx on given lists of 100: build {build:.2f} s, four metrics {judge:.3f} s")


if __name__ == "__main__":
    main()
