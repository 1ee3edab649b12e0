"""transformers has no reason to warn of padding that a GPT-2 never sees."""

from __future__ import annotations

import lm_cases
import numpy as np
import pytest

from llmrec.training import trainer


@pytest.mark.parametrize("head", ["yes_no", "like", "title"])
def test_no_padding_is_suspected(
    head: str, transformers_says: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is logged while a model loads and trains is silenced there; here it is heard.
    monkeypatch.setattr(trainer.hf_logging, "set_verbosity", lambda level: None)
    split, queries = lm_cases.split(), lm_cases.queries()
    model = lm_cases.model("gpt2", "full", head, "text", batch_size=8)
    model.fit(split.train, split.valid)
    model.score(queries)
    model.score(queries, np.zeros((len(queries), 1), np.int64))
    assert not [said for said in transformers_says if "attention_mask" in said]
