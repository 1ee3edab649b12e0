"""A fit that is killed goes on where it was, and ends with the very same numbers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import lm_cases
import numpy as np
import pytest

from llmrec.core.config import build
from llmrec.core.errors import RunError
from llmrec.core.protocols import FitContext
from llmrec.training.trainer import newest_checkpoint

EPOCHS = 4

PROGRAM = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import lm_cases
from llmrec.core.config import build
from llmrec.core.protocols import FitContext

spec, folder, kill_at, half = json.loads(sys.argv[1])
folder = Path(folder)
steps = 0

def progress(share, text):
    global steps
    steps += 1
    if steps == kill_at:
        if half:  # died while it wrote the checkpoint of this step: weights, but no state
            torn = folder / "checkpoint-99"
            torn.mkdir()
            (torn / "model.safetensors").write_bytes(b"half of it")
            (folder / "checkpoint-98").mkdir()
            (folder / "checkpoint-98" / "trainer_state.json").write_text('{{"epoch": 1.0, "gl')
        os.kill(os.getpid(), signal.SIGKILL)

split = lm_cases.split()
context = FitContext(folder=folder, resume=True, progress=progress)
build("recommender", spec, seed=1).fit(split.train, split.valid, context)
raise SystemExit("was not killed")
"""


def spec(name: str, adapter: str, head: str, prompt: str, **options) -> dict:
    options = {"early_stopping_patience": None, "learning_rate": 0.01, **options}
    return lm_cases.spec(
        name, adapter, head, prompt, epochs=EPOCHS, batch_size=4, examples_per_user=1, **options
    )


def killed(model: dict, folder: Path, step: int, half: bool) -> None:
    """Fit in another process that kills itself after a number of steps."""
    program = PROGRAM.format(tests=str(Path(lm_cases.__file__).parent))
    call = [sys.executable, "-c", program, json.dumps([model, str(folder), step, half])]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def fitted(model: dict, folder: Path, resume: bool = False):
    split = lm_cases.split()
    points: list[tuple[int, dict]] = []
    context = FitContext(
        folder=folder, resume=resume, log=lambda values, step: points.append((step, dict(values)))
    )
    made = build("recommender", model, seed=1).fit(split.train, split.valid, context)
    return made, points


def curve(folder: Path) -> list[dict]:
    """Return the whole curve of a training, from its newest checkpoint."""
    newest = newest_checkpoint(folder)
    assert newest is not None
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return [point for point in history if "train_runtime" not in point]


CASES = [
    # With dropout and random masks, so that a wrong state of any generator would show.
    pytest.param(spec("bert", "full", "next", "items"), 8, True, id="bert-items-half-written"),
    pytest.param(spec("t5", "full", "next", "items"), 7, False, id="t5-items"),
    pytest.param(
        spec("gpt2", "lora", "title", "text", gradient_accumulation_steps=2),
        3,
        False,
        id="gpt2-lora-title",
    ),
]


@pytest.mark.parametrize(("model", "step", "half"), CASES)
def test_killed_in_the_middle_of_an_epoch(
    model: dict, step: int, half: bool, tmp_path: Path
) -> None:
    whole, points = fitted(model, tmp_path / "whole")
    killed(model, tmp_path / "killed", step, half)
    checkpoint = newest_checkpoint(tmp_path / "killed")
    assert checkpoint is not None
    done = int(checkpoint.name.partition("-")[2])
    assert 0 < done < step  # the steps after the last checkpoint are lost, and made again

    resumed, later = fitted(model, tmp_path / "killed", resume=True)
    assert [step for step, _ in later] == [step for step, _ in points if step > done]
    queries = lm_cases.queries()
    np.testing.assert_array_equal(resumed.score(queries), whole.score(queries))
    assert resumed.info == whole.info
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    model = spec("gpt2", "full", "next", "items")
    whole, _ = fitted(model, tmp_path / "whole")
    torn = tmp_path / "killed" / "checkpoint-3"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half of it")
    resumed, points = fitted(model, tmp_path / "killed", resume=True)
    assert points[0][0] == 3  # it began again
    queries = lm_cases.queries()
    np.testing.assert_array_equal(resumed.score(queries), whole.score(queries))


@pytest.mark.parametrize("patience", [None, 1])
def test_a_training_that_had_ended_is_not_trained_on(patience: int | None, tmp_path: Path) -> None:
    model = spec("gpt2", "full", "next", "items", early_stopping_patience=patience)
    if patience:
        model["learning_rate"] = 1e-12  # no epoch is better than the first: it stops early
    whole, points = fitted(model, tmp_path)
    again, more = fitted(model, tmp_path, resume=True)
    assert len(points) == 2 * (2 if patience else EPOCHS)
    assert more == []
    queries = lm_cases.queries()
    np.testing.assert_array_equal(again.score(queries), whole.score(queries))
    assert again.info == whole.info


def test_without_resume_it_begins_again(tmp_path: Path) -> None:
    model = spec("gpt2", "full", "next", "items")
    _, points = fitted(model, tmp_path)
    (tmp_path / "checkpoint-99").mkdir()  # of an earlier, longer fit
    _, again = fitted(model, tmp_path, resume=False)
    assert again == points
    assert newest_checkpoint(tmp_path).name == "checkpoint-12"
    assert not (tmp_path / "checkpoint-99").exists()


def test_checkpoints_of_another_model_are_refused(tmp_path: Path) -> None:
    fitted(spec("gpt2", "full", "next", "items"), tmp_path)
    with pytest.raises(RunError, match="cannot resume"):
        fitted(spec("bert", "full", "next", "items"), tmp_path, resume=True)
