"""`model=hosted` against a real server: `transformers serve` with a tiny random chat model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmrec.cli import main
from llmrec.core.files import read_json

pytestmark = pytest.mark.slow

KEY = "sk-a-key-of-nobody-000111222"
WAIT = 300.0
CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SMALL = [
    "experiment=none",
    "data=synthetic",
    "data.n_users=6",
    "data.n_items=30",
    "data.n_interactions_per_user=6",
    "+model@models.popularity=popularity",
    "model=hosted",
    "label=hosted",
    "model.n_examples=1",
]
SAMPLED = ["evaluation.candidates.name=sampled", "evaluation.candidates.n=3"]


def chat_model(folder: Path) -> Path:
    """Save a random Llama of one layer with a tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    marks = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({t: i for i, t in enumerate([*letters, *marks])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|end|>",
        pad_token="<|end|>",
        additional_special_tokens=marks[1:],
    )
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield the address and the model of a running `transformers serve`."""
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        pytest.skip("transformers serve needs more packages: pip install 'llmrec[serve]'")
    folder = chat_model(tmp_path_factory.mktemp("served") / "tiny-chat")
    port = free_port()
    log = folder.parent / "serve.log"
    code = "from transformers.cli.transformers import main; main()"
    words = ["serve", str(folder), "--port", str(port), "--host", "127.0.0.1", "--device", "cpu"]
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        until = time.monotonic() + WAIT
        while not healthy(port):
            text = log.read_text("utf-8")
            assert server.poll() is None, f"transformers serve ended: {text[-2000:]}"
            assert time.monotonic() < until, f"transformers serve did not start: {text[-2000:]}"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def run(served: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs `llmrec run` against the server, with replies kept in a folder."""
    url, model = served
    monkeypatch.setenv("NOBODYS_KEY", KEY)
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))

    def go(name: str, *overrides: str) -> tuple[int, Path]:
        folder = tmp_path / name
        code = main(
            [
                "run",
                *SMALL,
                f"folder={folder}",
                f"model.backbone.base_url={url}",
                f"model.backbone.model={model}",
                "model.backbone.key_variable=NOBODYS_KEY",
                "model.backbone.timeout_seconds=120",
                "model.backbone.concurrency=2",
                # a random model never stops by itself
                "model.backbone.request_options={max_tokens:24}",
                *overrides,
            ]
        )
        return code, folder

    return go


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder / "results" / "hosted" / "result.json")
    return found


def test_it_ranks_generates_and_scores_for_a_real_server(run: Any, tmp_path: Path) -> None:
    code, folder = run("rank", "model.mode=rank", *SAMPLED)
    assert code == 0
    ranked = result(folder)
    costs = ranked["costs"]
    assert costs["requests"] == 12, "validation and test of six users"
    assert costs["input_tokens"] > 12 * 100
    assert 12 <= costs["output_tokens"] <= 12 * 24
    assert costs["estimated_tokens"] is False
    assert ranked["info"]["details"]["answers"] == 6
    assert 0 <= ranked["info"]["details"]["missing_rate"] <= 1

    code, again = run("again", "model.mode=rank", *SAMPLED)
    assert code == 0
    assert result(again)["costs"]["requests"] == 0
    assert result(again)["costs"]["cached_requests"] == 12
    table = (folder / "comparison.csv").read_bytes()
    assert (again / "comparison.csv").read_bytes() == table

    code, folder = run("generate", "model.mode=generate")
    assert code == 0
    details = result(folder)["info"]["details"]
    assert details["answers"] == 6
    assert details["invalid_rate"] > 0, "a random model names no film"

    code, folder = run("number", "model.mode=score", "model.answer=number", *SAMPLED)
    assert code == 0
    assert result(folder)["info"]["details"]["answers"] == 6 * 4

    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes(), file


def test_it_writes_for_a_real_server(
    served: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Explanations of the generated data set; what a random model writes is no text of people."""
    url, model = served
    monkeypatch.setenv("NOBODYS_KEY", KEY)
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    options = [
        f"base_url={url}",
        f"model={model}",
        "key_variable=NOBODYS_KEY",
        "timeout_seconds=120",
        "concurrency=2",
        "input_price=1",
        "output_price=1",
        "budget=1",
    ]
    small = [word for word in SMALL if word.startswith("data")]
    words = [*small, "data.texts=true", "hosted.max_new_tokens=12", "hosted.n_examples=1"]
    words += [f"hosted.backbone.{option}" for option in options]
    for name in ("out", "again"):
        assert main(["write", "hosted", *words, "--output", str(tmp_path / name)]) == 0
    found = read_json(tmp_path / "out" / "writing.json")["fitted"]["hosted"]
    usage = found["usage"]
    assert usage["requests"] == 6, "one test text of each user"
    assert usage["estimated_tokens"] is False
    assert 6 <= usage["output_tokens"] <= 6 * 12
    assert usage["spent"] == pytest.approx((usage["input_tokens"] + usage["output_tokens"]) / 1e6)
    again = read_json(tmp_path / "again" / "writing.json")["fitted"]["hosted"]["usage"]
    assert (again["requests"], again["cached_requests"]) == (0, 6)
    samples = [tmp_path / name / "samples.jsonl" for name in ("out", "again")]
    assert samples[0].read_bytes() == samples[1].read_bytes()
    assert all(json.loads(line)["hosted"] for line in samples[0].read_text("utf-8").splitlines())
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes(), file


def test_a_server_without_log_probabilities_is_a_sentence(run: Any) -> None:
    """transformers serve passes over `logprobs`: the row stops at the first reply."""
    code, folder = run("logprobs", "model.mode=score", *SAMPLED)
    assert code == 1
    sentence = json.loads((folder / "failures.json").read_text("utf-8"))["hosted"]
    assert "gives no log-probabilities" in sentence
    assert "answer=number" in sentence


def test_a_wrong_address_is_a_sentence(run: Any, served: tuple[str, str]) -> None:
    code, folder = run("nowhere", f"model.backbone.base_url={served[0]}/nowhere", *SAMPLED)
    assert code == 1
    sentence = json.loads((folder / "failures.json").read_text("utf-8"))["hosted"]
    assert "status 404" in sentence
    assert "check model.backbone.base_url" in sentence
