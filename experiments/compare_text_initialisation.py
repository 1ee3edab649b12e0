"""Does the text help? One backbone with item texts, without, and with the texts shuffled.

    python experiments/compare_text_initialisation.py                     # MovieLens-100K
    python experiments/compare_text_initialisation.py --data synthetic --epochs 2

The three differ in nothing but where the item tokens start (the scale of each start is the one that
suits it on validation). Text that helps is above both others; a gain over *no text* alone may come
from the scale or structure of the start.
"""

from __future__ import annotations

import argparse
from typing import Any

import llmrec

METRIC = "ndcg@10"
# As in configs/model/gpt2_items.yaml and its controls.
BACKBONE = {
    "size": "nano",
    "feedforward_size": 128,
    "initializer_range": 0.12,
    "dropout": 0.1,
    "attention_dropout": 0.0,
}
STARTS: dict[str, dict[str, Any]] = {
    "text": {"init": "text"},
    "no text": {"init": "random", "scale": 0.02},
    "shuffled text": {"init": "shuffled"},
}


def recommender(backbone: str, start: str, epochs: int, seed: int, encoder: str) -> Any:
    """Return an unfitted language model whose item tokens start as `start` says."""
    prompt = {"name": "items", **STARTS[start]}
    if prompt["init"] != "random":
        prompt["text_encoder"] = {"name": encoder}
    return llmrec.build(
        "recommender",
        "language_model",
        backbone={"name": backbone, **BACKBONE},
        prompt=prompt,
        head={"name": "classification"},
        epochs=epochs,
        seed=seed,
    )


def main(arguments: list[str] | None = None) -> None:
    """Fit the three, print their values and the paired test against each control."""
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
    for test in llmrec.compare(results, seed=options.seed).controls:
        versus = test.versus
        print(
            f"{test.model} − {test.control}: {versus.difference:+.4f} {METRIC}, 95% interval "
            f"[{versus.low:+.4f}, {versus.high:+.4f}], p = {versus.p_holm:.4f} (paired, Holm)"
        )


if __name__ == "__main__":
    main()
