from __future__ import annotations

import dataclasses

import pytest

from llmrec.evaluation.comparison import ControlTest, Versus
from llmrec.reporting.verdict import verdict

LM, BERT = "gpt2 items minilm", "bert & text_100%"


def test_better_and_significant(make_comparison):
    comparison = make_comparison([LM, "ease", "popularity"], p=0.0002)
    answer = verdict(comparison)
    assert answer.outcome == "better"
    assert f"{LM} (random init), reaches ndcg@10 (leave-one-out, full) = 0.2420" in answer.sentence
    assert "+41.1% [" in answer.sentence
    assert "over the best baseline, ease (0.1715) (p<.001 after Holm's" in answer.sentence


def test_better_but_not_significant(make_comparison):
    answer = verdict(make_comparison([LM, "ease"], p=0.21))
    assert answer.outcome == "better_unsure"
    assert "not significant (p=.21" in answer.sentence
    assert "not significantly" in answer.headline


def _swapped(comparison, p):
    """Return the comparison with the language model behind the baseline by as much."""
    ahead = comparison.versus[LM]["ndcg@10"]
    behind = Versus(-ahead.difference, -ahead.high, -ahead.low, p, p)
    return dataclasses.replace(
        comparison, versus={LM: {"ndcg@10": behind}}, results=comparison.results[::-1]
    )


@pytest.mark.parametrize(
    ("p", "outcome", "words"),
    [(0.0002, "worse", "is worse than"), (0.6, "worse_unsure", "is not better than")],
)
def test_worse(make_comparison, p, outcome, words):
    answer = verdict(_swapped(make_comparison([LM, "ease"]), p))
    assert answer.outcome == outcome
    assert words in answer.sentence
    assert "−41.1% [" in answer.sentence


def test_where_lower_is_better_a_fall_is_an_improvement(make_comparison):
    comparison = _swapped(make_comparison([LM, "ease"]), 0.0002)
    results = tuple(
        dataclasses.replace(r, higher_is_better=dict.fromkeys(r.metrics, False))
        for r in comparison.results
    )
    answer = verdict(dataclasses.replace(comparison, results=results))
    assert answer.outcome == "better"
    assert "(lower is better)" in answer.sentence


def test_without_language_model(make_comparison):
    answer = verdict(make_comparison(["ease", "item_knn"]))
    assert answer.outcome == "no_language_model"
    assert "ease, reaches" in answer.sentence


def test_without_baseline(make_comparison):
    answer = verdict(make_comparison([LM, BERT]))
    assert answer.outcome == "no_baseline"
    assert f"{LM} (random init)" in answer.sentence


def test_main_metric_without_a_test(make_comparison):
    comparison = dataclasses.replace(make_comparison([LM, "ease"]), versus={})
    assert verdict(comparison).outcome == "untested"


def test_equal(make_comparison):
    comparison = make_comparison([LM, "ease"])
    same = {LM: {"ndcg@10": Versus(0.0, 0.0, 0.0, 1.0, 1.0)}}
    assert verdict(dataclasses.replace(comparison, versus=same)).outcome == "equal"


def test_the_ensemble_is_named_only_where_it_leads(make_comparison):
    behind = make_comparison([LM, "mean of best", "ease"])
    assert "ensemble" not in verdict(behind).sentence
    ahead = make_comparison([BERT, "mean of best", "ease"])
    assert "The best ensemble, mean of best, reaches 0.2294" in verdict(ahead).sentence


def test_the_worth_of_the_text_is_said_with_its_control(make_comparison):
    comparison = make_comparison([LM, BERT, "ease"], p=0.0002)
    ahead = comparison.versus[LM]["ndcg@10"]
    control = ControlTest(LM, BERT, dataclasses.replace(ahead, p_holm=0.03))
    answer = verdict(dataclasses.replace(comparison, controls=(control,)))
    assert f" To {LM} (0.2420) its text is worth +" in answer.sentence
    assert f"over the control {BERT} (" in answer.sentence
    assert "p=.030" in answer.sentence
    assert "its text" not in verdict(comparison).sentence


def test_a_control_never_wins_the_verdict(make_comparison):
    comparison = make_comparison([LM, "ease"], p=0.0002)
    first = comparison.results[0]
    control = dataclasses.replace(first, info=dataclasses.replace(first.info, family="control"))
    answer = verdict(dataclasses.replace(comparison, results=(control, *comparison.results[1:])))
    assert answer.outcome == "no_language_model"
