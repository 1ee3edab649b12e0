"""Two processes on the CPU (gloo) train one model: both end with the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import lm_cases
split = lm_cases.split()
model = lm_cases.model("gpt2", epochs=3, batch_size=4, learning_rate=0.01)
model.fit(split.train, split.valid)
scores = model.score(lm_cases.queries())
out = os.path.join(sys.argv[2], os.environ["RANK"] + ".json")
with open(out, "w") as file:
    json.dump({"scores": scores.tolist(), "best": model.info.details["best_epoch"]}, file)
"""


@pytest.mark.slow
def test_two_processes_end_with_the_same_best_weights(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(program), str(tests), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert "Could not locate the best model" not in done.stderr
