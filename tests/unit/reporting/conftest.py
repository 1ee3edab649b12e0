"""Small comparisons made by hand: the attributes only, so that every number is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from llmrec.core.protocols import Family, ModelInfo
from llmrec.core.types import Ragged
from llmrec.evaluation.comparison import Comparison, Versus
from llmrec.evaluation.result import Costs, ModelResult

METRICS = ("ndcg@10", "hr@10", "mrr@10", "coverage@10")
N_USERS = 200
N_ITEMS = 400

CHECKPOINT = "acme/bert-mini@0123456789abcdef0123"

# label, family, weights, strength of the ranks (0 random .. 1 perfect), fit seconds, parameters
ROWS: tuple[tuple[str, Family, str, float, float, int], ...] = (
    ("gpt2 items minilm", "language_model", "random init", 0.52, 131.0, 240_000),
    ("mean of best", "ensemble", "", 0.50, 0.2, 3_068_000),
    ("bert & text_100%", "language_model", CHECKPOINT, 0.44, 402.0, 11_200_000),
    ("ease", "baseline", "", 0.40, 1.4, 2_829_124),
    ("item_knn", "baseline", "", 0.36, 0.4, 168_200),
    ("popularity", "baseline", "", 0.2, 0.002, 1_682),
    ("random", "baseline", "", 0.0, 0.0, 0),
)  # fmt: skip


def _ranks(strength: float, seed: int) -> Ragged:
    """Return one rank per user; the stronger, the nearer to the top."""
    draws = np.random.default_rng(seed).random(N_USERS)
    ranks = np.ceil(N_ITEMS ** (1 - strength * 0.6) * draws ** (1 + 2 * strength)).astype(np.int64)
    return Ragged(np.maximum(ranks, 1), np.arange(N_USERS + 1))


def _result(label: str, family: Family, weights: str, strength: float, fit: float, size: int):
    ranks = _ranks(strength, seed=7)
    rank = ranks.values
    hit = rank <= 10
    per_user = {
        "ndcg@10": np.where(hit, 1 / np.log2(rank + 1), 0.0),
        "hr@10": hit.astype(float),
        "mrr@10": np.where(hit, 1 / rank, 0.0),
    }
    overall = {name: float(values.mean()) for name, values in per_user.items()}
    trainable = size // 5 if family == "language_model" and weights != "random init" else size
    return ModelResult(
        label=label,
        task="ranking",
        data="planted",
        fingerprint="abc",
        protocol="leave-one-out, full",
        metrics=METRICS,
        higher_is_better=dict.fromkeys(METRICS, True),
        overall=overall | {"coverage@10": 0.1 + 0.5 * strength},
        users=np.array([f"u{i}" for i in range(N_USERS)]),
        per_user=per_user,
        ranks=ranks,
        lists=np.zeros((N_USERS, 10), np.int64),
        info=ModelInfo(family, size, trainable, weights),
        costs=Costs(fit, 0.05 + fit / 50, int(2e6 + fit * 4e6)),
    )


def _versus(result: ModelResult, reference: ModelResult, p: float | None) -> dict[str, Versus]:
    found = {}
    for metric, values in result.per_user.items():
        difference = values - reference.per_user[metric]
        mean, error = float(difference.mean()), float(difference.std() / len(difference) ** 0.5)
        chance = (0.0002 if abs(mean) > 2 * error else 0.3) if p is None else p
        found[metric] = Versus(mean, mean - 1.96 * error, mean + 1.96 * error, chance, chance)
    return found


@pytest.fixture(scope="session")
def make_comparison() -> Callable[..., Comparison]:
    """Return a builder: rows by label (all by default), and the Holm p-value of every row."""

    def make(labels: list[str] | None = None, p: float | None = None) -> Comparison:
        results = [_result(*row) for row in ROWS if labels is None or row[0] in labels]
        results.sort(key=lambda result: -result.overall["ndcg@10"])
        baselines = [result for result in results if result.info.family == "baseline"]
        reference = baselines[0] if baselines else None
        intervals = {}
        for result in results:
            spread = {name: 1.96 * v.std() / N_USERS**0.5 for name, v in result.per_user.items()}
            intervals[result.label] = {
                name: (result.overall[name] - spread[name], result.overall[name] + spread[name])
                for name in spread
            }
        versus = {
            result.label: _versus(result, reference, p)
            for result in results
            if reference is not None and result is not reference
        }
        return Comparison(
            tuple(results), None if reference is None else reference.label, intervals, versus
        )

    return make


@pytest.fixture(scope="session")
def comparison(make_comparison: Callable[..., Comparison]) -> Comparison:
    """Return the comparison of all rows."""
    return make_comparison()
