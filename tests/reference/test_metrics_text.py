"""BLEU and ROUGE agree with sacrebleu and rouge-score."""

from __future__ import annotations

import numpy as np
import pytest

from llmrec.metrics.text import bleu_per_text, corpus_bleu, rouge_per_text


def _texts(seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    text = "the plot of this film was good bad slow and i liked it 5 stars"
    vocabulary = np.array(text.split(" "))

    def some() -> list[str]:
        return [" ".join(rng.choice(vocabulary, rng.integers(1, 14))) for _ in range(60)]

    return some(), some()


@pytest.mark.parametrize("max_n", [1, 2, 4])
def test_bleu_is_that_of_sacrebleu(max_n: int) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics", reason="sacrebleu is in the extra test")
    written, truth = _texts(max_n)
    # Each true text shares a piece with the written one, so that long n-grams match too.
    truth = [f"{t} {' '.join(w.split()[:5])}" for w, t in zip(written, truth, strict=True)]
    bleu = metrics.BLEU(max_ngram_order=max_n, smooth_method="none", tokenize="none", force=True)
    assert corpus_bleu(written, truth, max_n) == pytest.approx(
        bleu.corpus_score(written, [truth]).score / 100, abs=1e-9
    )
    each = metrics.BLEU(
        max_ngram_order=max_n, smooth_method="add-k", smooth_value=1, tokenize="none", force=True
    )
    theirs = [each.sentence_score(w, [t]).score / 100 for w, t in zip(written, truth, strict=True)]
    np.testing.assert_allclose(bleu_per_text(written, truth, max_n), theirs, atol=1e-9)


def test_rouge_is_that_of_rouge_score() -> None:
    scorer_module = pytest.importorskip(
        "rouge_score.rouge_scorer", reason="rouge-score is in the extra test"
    )
    scorer = scorer_module.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    written, truth = _texts(9)
    theirs = [scorer.score(t, w) for w, t in zip(written, truth, strict=True)]
    for kind in (1, 2, "L"):
        expected = [score[f"rouge{kind}"].fmeasure for score in theirs]
        np.testing.assert_allclose(rouge_per_text(written, truth, kind), expected, atol=1e-12)
