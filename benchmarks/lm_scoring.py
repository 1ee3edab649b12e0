"""What scoring many candidates and padding cost: llmrec's way beside the plain one.

    python benchmarks/lm_scoring.py [--rounds 3]

*Candidates*: a GPT-2 answers yes or no to 100 candidates of 8 tokens after a history of 256. The
plain loop renders nothing and has its prompts as strings; it tokenises and reads each whole prompt,
alone or 25 at once. llmrec's side is `LanguageModel.score`, from item ids to scores.

*Padding*: a BERT reads prompts whose lengths spread as in texts (log-normal, median 40, at most
256 tokens) or as the histories of Amazon Beauty do, if LLMREC_DATA holds it; forward and backward
pass of an epoch in batches as llmrec makes them, in a random order with each batch as long as its
longest, and with all as long as the longest of all.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import HEADER, Row, alternated, machine, table

from llmrec.backbones.base import quiet_loading
from llmrec.core.config import build
from llmrec.core.memory import tune_allocator
from llmrec.core.types import Dataset, Interactions, Queries, Ragged
from llmrec.training.batches import pad_tokens
from llmrec.training.trainer import BucketSampler

N_ITEMS, N_CANDIDATES, HISTORY, TITLE = 300, 100, 32, 8  # 32 titles of 8 tokens: 256


def films(n_users: int, rng: np.random.Generator) -> Dataset:
    """Return random histories of items whose titles are eight words of one token each."""
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ano", "elu", "iro", "oma", "ust", "ine")]
    titles = [" ".join(rng.choice(words, TITLE)) for _ in range(N_ITEMS)]
    users = np.repeat(np.arange(n_users, dtype=np.int32), HISTORY + 1)
    items = np.concatenate([rng.permutation(N_ITEMS)[: HISTORY + 1] for _ in range(n_users)])
    ratings = rng.integers(1, 6, len(items)).astype(np.float32)
    times = np.arange(len(items), dtype=np.int64)
    return Dataset(
        "films",
        Interactions(users, items.astype(np.int32), ratings, times),
        np.arange(n_users).astype(str),
        np.arange(N_ITEMS).astype(str),
        {"title": np.array(titles, object)},
    )


def judge(size: str) -> Any:
    """Return a fitted GPT-2 that answers yes or no."""
    data = films(8, np.random.default_rng(0))
    titles = "{% for item in history %}{{ item.title }}{{ ' ' if not loop.last }}{% endfor %}"
    spec = {
        "name": "language_model",
        "backbone": {"name": "gpt2", "size": size, "max_positions": 512},
        "adapter": {"name": "full"},
        "head": {"name": "generative", "mode": "yes_no"},
        "prompt": {
            "name": "text",
            "template": titles,
            "question": "{{ candidate.title }}",
            "history_length": HISTORY,
            "max_length": 300,
        },
        "epochs": 1,
        "examples_per_user": 1,
    }
    return build("recommender", spec, seed=0).fit(data)


def candidates(rounds: int, size: str) -> list[Row]:
    """Score 100 candidates by the plain loop, by its batches, and by llmrec."""
    recommender = judge(size)
    rng = np.random.default_rng(1)
    history = rng.permutation(N_ITEMS)[:HISTORY]
    items = np.setdiff1d(np.arange(N_ITEMS), history)[:N_CANDIDATES]
    queries = Queries(np.array([0]), Ragged.from_rows([history], np.int64))
    assembled = recommender._model
    net, batches = assembled.net, assembled.batches
    tokenizer, model = batches.tokenizer, net.model.eval()
    many = queries.take(np.zeros(N_CANDIDATES, np.int64))
    prompts = batches.prompt.render(batches.items, many.histories, None, items)
    lengths = {len(row) for row in tokenizer(prompts, add_special_tokens=False)["input_ids"]}
    yes, no = net.answers.tolist()

    def plain(batch: int) -> Callable[[], np.ndarray]:
        @torch.inference_mode()
        def loop() -> np.ndarray:
            found = []
            for start in range(0, N_CANDIDATES, batch):
                part = prompts[start : start + batch]
                inputs = tokenizer(
                    part, return_tensors="pt", padding=True, add_special_tokens=False
                )
                inputs.pop("token_type_ids", None)
                ends = inputs["attention_mask"].sum(1) - 1
                # Only the logits of the last tokens, the faster way of transformers.
                states = model.transformer(**inputs).last_hidden_state[
                    torch.arange(len(part)), ends
                ]
                logits = model.lm_head(states)
                found.append((logits[:, yes] - logits[:, no]).numpy())
            return np.concatenate(found)

        return loop

    def ours() -> np.ndarray:
        scores: np.ndarray = recommender.score(queries, items[None])
        return scores[0]

    ways = {"alone": plain(1), "batched": plain(25), "ours": ours}
    timings, found = alternated(ways, rounds)
    given = found["ours"]
    expected = found["alone"]
    if given.min() >= 0 and given.max() <= 1:  # as a probability
        expected = 1 / (1 + np.exp(-expected))
    error = np.abs(given - expected).max()
    shape = f"{N_CANDIDATES} candidates after 1 history, prompts of {min(lengths)} tokens, {size}"
    check = f"largest difference {error:.0e} (scores spread {given.std():.0e})"
    return [
        Row(f"{shape}: one prompt at a time", timings["alone"], timings["ours"], "5", check),
        Row(f"{shape}: 25 at once", timings["batched"], timings["ours"], "5", check),
    ]


def beauty_lengths() -> np.ndarray | None:
    """Return the lengths of Beauty's histories, if the data is there."""
    path = Path(os.environ.get("LLMREC_DATA", "")) / "amazon-beauty" / "sequences.txt"
    if not path.is_file():
        return None
    rows = path.read_text().splitlines()
    return np.minimum([len(row.split()) - 1 for row in rows], 50)


def padded(name: str, lengths: np.ndarray, batch_size: int, rounds: int) -> list[Row]:
    """Read rows of these lengths in three orders; forward and backward pass of a tiny BERT."""
    rng = np.random.default_rng(2)
    rows = Ragged.from_rows([rng.integers(5, 1000, n) for n in lengths], np.int64)
    part = build("backbone", {"name": "bert", "size": "tiny", "dropout": 0, "attention_dropout": 0})
    torch.manual_seed(0)
    with quiet_loading():
        model = part.load("pooled", tokenizer=_Sizes()).train()
    longest = int(lengths.max())

    def epoch(order: np.ndarray, width: int | None) -> Callable[[], float]:
        def run() -> float:
            total = 0.0
            for start in range(0, len(order), batch_size):
                batch = pad_tokens(rows.take(order[start : start + batch_size]), 0)
                ids, mask = batch["ids"], batch["mask"]
                if width is not None:
                    room = (0, width - ids.shape[1])
                    ids = torch.nn.functional.pad(ids, room)
                    mask = torch.nn.functional.pad(mask, room)
                loss = part.encode(model, mask, ids=ids).pooled.square().sum()
                loss.backward()
                total += float(loss.detach())
            return total

        return run

    anyhow = rng.permutation(len(rows))
    bucketed = np.array(list(BucketSampler(lengths, batch_size, 0)))
    ways = {
        "fixed": epoch(anyhow, longest),
        "random": epoch(anyhow, None),
        "ours": epoch(bucketed, None),
    }
    timings, found = alternated(ways, rounds, warm=False)
    spread = max(found.values()) / min(found.values()) - 1
    check = f"sum of losses within {spread:.0e}"
    shape = f"{name} (mean {lengths.mean():.0f}, longest {longest}), batches of {batch_size}"
    return [
        Row(f"{shape}: longest of the batch", timings["random"], timings["ours"], "2", check),
        Row(f"{shape}: longest of all", timings["fixed"], timings["ours"], "2.5", check),
    ]


class _Sizes:
    """Stands for a tokenizer: sizes and special tokens."""

    pad_token_id, eos_token_id, bos_token_id, cls_token_id, sep_token_id, mask_token_id = range(6)

    def __len__(self) -> int:
        return 1000


def padding(rounds: int) -> list[Row]:
    """Compare paddings at the spread of texts and of histories."""
    rng = np.random.default_rng(3)
    texts = np.clip(np.exp(rng.normal(np.log(40), 0.8, 1024)), 3, 256).astype(np.int64)
    rows = padded("texts", texts, 32, rounds)
    histories = beauty_lengths()
    if histories is not None:
        rows += padded("Beauty histories", rng.choice(histories, 4096, replace=False), 32, rounds)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="mini", help="of the GPT-2: tiny, mini, small, base")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    print(machine())
    rows = candidates(options.rounds, options.size) + padding(options.rounds)
    print(table(HEADER, [row.cells() for row in rows]))


if __name__ == "__main__":
    main()
