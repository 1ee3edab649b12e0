"""Two processes on the CPU (gloo) train one model: both end with the weights of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import lm_cases
from llmrec.core.protocols import FitContext

curve = []
context = FitContext(log=lambda values, step: curve.append(dict(values)))
split = lm_cases.split()
quiet = {"backbone": {"dropout": 0.0, "attention_dropout": 0.0}}
size = int(sys.argv[3])
tasks = json.loads(sys.argv[4])
made = {"epochs": 3, "batch_size": size, "learning_rate": 0.01, **tasks}
model = lm_cases.model("gpt2", parts=quiet, **made)
model.fit(split.train, split.valid, context)
scores = model.score(lm_cases.queries())
out = os.path.join(sys.argv[2], os.environ.get("RANK", "alone") + ".json")
with open(out, "w") as file:
    told = {"scores": scores.tolist(), "best": model.info.details["best_epoch"]}
    json.dump({**told, "losses": [[v[k] for k in v if "loss" in k] for v in curve if "loss" in v],
               "ndcg": [v["eval_ndcg@10"] for v in curve if "eval_ndcg@10" in v]}, file)
"""


STARS = {"stars": {"head": {"name": "regression"}, "weight": 0.3}}


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [{}, {"auxiliary": STARS}], ids=["one task", "two tasks"])
def test_two_processes_learn_what_one_learns(tmp_path: Path, tasks: dict[str, Any]) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    tests, told = str(Path(__file__).parents[1]), json.dumps(tasks)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for launcher, batch_size in [([], "4"), (torchrun, "2")]:
        done = subprocess.run(
            [sys.executable, *launcher, str(program), tests, str(tmp_path), batch_size, told],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Could not locate the best model" not in done.stderr
    alone, first, second = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", 0, 1)
    )
    assert first["scores"] == second["scores"], "both ranks hold the same weights"
    assert first["best"] == alone["best"]
    # Histories differ in length, so each process has its own number of targets in a step.
    assert np.shape(first["losses"]) == (3, 3 if tasks else 1)
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-5)
    assert first["losses"] == second["losses"]
    assert first["ndcg"] == pytest.approx(alone["ndcg"], abs=1e-6)
    np.testing.assert_allclose(first["scores"], alone["scores"], atol=1e-4)
