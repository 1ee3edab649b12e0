"""Every adapter keeps the contract of an adapter, on every backbone."""

# ruff: noqa: RUF012  (specs are constants)
from __future__ import annotations

import lm_cases
import pytest

from llmrec.testing import AdapterConformance


class NeedsBitsAndBytes(AdapterConformance):
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("bitsandbytes", reason="adapter int8 needs the extra llm8bit")


class TestFull(AdapterConformance):
    adapter = lm_cases.ADAPTERS["full"]


class TestFrozen(AdapterConformance):
    adapter = lm_cases.ADAPTERS["frozen"]


class TestLoRA(AdapterConformance):
    adapter = lm_cases.ADAPTERS["lora"]


class TestLoRAOnBERT(AdapterConformance):
    adapter = lm_cases.ADAPTERS["lora"]
    backbone = lm_cases.backbone("bert")


class TestLoRAOnT5(AdapterConformance):
    adapter = lm_cases.ADAPTERS["lora"]
    backbone = lm_cases.backbone("t5")


class TestInt8(NeedsBitsAndBytes):
    adapter = lm_cases.ADAPTERS["int8"]


class TestInt8WithLoRA(NeedsBitsAndBytes):
    adapter = lm_cases.ADAPTERS["int8+lora"]


class TestInt8WithLoRAOnBERT(NeedsBitsAndBytes):
    adapter = lm_cases.ADAPTERS["int8+lora"]
    backbone = lm_cases.backbone("bert")


class TestChainOfOne(AdapterConformance):
    adapter = {"name": "chain", "steps": {"all": {"name": "full"}}}
