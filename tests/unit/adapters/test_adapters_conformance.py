"""Every adapter keeps the contract of an adapter, on every backbone."""

from __future__ import annotations

import itertools

import lm_cases
import pytest

from llmrec.testing import AdapterConformance


class NeedsBitsAndBytes(AdapterConformance):
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("bitsandbytes", reason="adapters of few bits need the extra llm8bit")


def suite(adapter: str, backbone: str) -> type[AdapterConformance]:
    """Return the conformance tests of one adapter on one backbone."""
    base = NeedsBitsAndBytes if adapter.startswith(("int8", "nf4")) else AdapterConformance
    parts = {"adapter": lm_cases.ADAPTERS[adapter], "backbone": lm_cases.backbone(backbone)}
    return type(f"Test_{adapter}_{backbone}", (base,), parts)


# The suite reads the encoder of T5 alone, where no prefix is: test_virtual_tokens.py has it.
for _names in itertools.product(lm_cases.ADAPTERS, lm_cases.BACKBONES):
    if _names != ("prefix", "t5"):
        globals()["Test_" + "_".join(_names)] = suite(*_names)


class TestChainOfOne(AdapterConformance):
    adapter = {"name": "chain", "steps": {"all": {"name": "full"}}}  # noqa: RUF012
