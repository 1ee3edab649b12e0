"""Does the text help? One backbone with item texts, without, and with the texts shuffled.

    python experiments/compare_text_initialisation.py                     # MovieLens-100K
    python experiments/compare_text_initialisation.py --data synthetic --epochs 2

The three differ in nothing but the embeddings that the item tokens start from. Text that helps is
above both others; a gain over *no text* alone may come from the scale or structure of the start.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from typing import Any

import llmrec
from llmrec.evaluation.statistics import (
    UserSums,
    bootstrap,
    holm,
    interval,
    paired,
    randomization_test,
)

STARTS = ("text", "no text", "shuffled text")
METRIC = "ndcg@10"


def recommender(backbone: str, start: str, epochs: int, seed: int, encoder: str) -> Any:
    """Return an unfitted language model whose item tokens start as `start` says."""
    prompt: dict[str, Any] = {"name": "items", "init": "random", "scale": 0.02}
    if start != "no text":
        init = "text" if start == "text" else "shuffled"
        prompt = {"name": "items", "init": init, "text_encoder": {"name": encoder}}
    return llmrec.build(
        "recommender",
        "language_model",
        backbone={"name": backbone, "size": "nano", "attention_dropout": 0.0},
        prompt=prompt,
        head={"name": "classification"},
        epochs=epochs,
        seed=seed,
    )


def test_pairs(pairs: list[tuple[Any, Any]], seed: int) -> list[str]:
    """Return a sentence per pair of results: difference, interval, p corrected by Holm."""
    sums = [
        paired(*(UserSums.of_mean(result.per_user[METRIC]) for result in pair)) for pair in pairs
    ]
    samples = bootstrap([side for pair in sums for side in pair], seed=seed)
    adjusted = holm(randomization_test(sums, seed=seed))
    lines = []
    for place, ((one, other), (a, b)) in enumerate(zip(pairs, sums, strict=True)):
        low, high = interval(samples[:, 2 * place] - samples[:, 2 * place + 1])
        lines.append(
            f"{one.label} − {other.label}: {a.value - b.value:+.4f} {METRIC}, 95% interval "
            f"[{low:+.4f}, {high:+.4f}], p = {adjusted[place]:.4f} (paired, Holm)"
        )
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Fit the three, print their values and the paired tests between them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="ml-100k", help="a registered source (ml-100k)")
    parser.add_argument("--users", type=int, help="of data=synthetic")
    parser.add_argument("--backbone", default="gpt2", choices=["gpt2", "bert", "t5"])
    parser.add_argument("--encoder", default="minilm", help="backbone that embeds the texts")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    given = {"n_users": options.users} if options.users else {}
    parts = llmrec.split(llmrec.load_data(options.data, **given), "leave_one_out")
    results = []
    for start in STARTS:
        model = recommender(options.backbone, start, options.epochs, options.seed, options.encoder)
        model.fit(parts.train, parts.valid)
        results.append(llmrec.evaluate(model, parts, label=start))
        value = results[-1].overall[METRIC]
        print(f"{start:<14} {value:.4f} {METRIC} ({results[-1].protocol})", flush=True)
    print(*test_pairs(list(combinations(results, 2)), options.seed), sep="\n")


if __name__ == "__main__":
    main()
