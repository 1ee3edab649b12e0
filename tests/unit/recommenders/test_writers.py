"""Writers learn, write the same again, and are asked without the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrec.core.config import build
from llmrec.core.errors import ComponentError, ConfigError, DataError
from llmrec.data.splits import LeaveOneOut
from llmrec.data.synthetic import Synthetic
from llmrec.recommenders.language_writer import LanguageWriter
from llmrec.recommenders.passages import Passages, descriptions, explanations, pairs
from llmrec.recommenders.writers import FrequentSentence, NearestReview

TINY = {
    "name": "gpt2",
    "hidden_size": 32,
    "n_layers": 1,
    "n_heads": 2,
    "max_positions": 64,
    "vocabulary_size": 400,
    "dropout": 0.0,
}
COLOURS = ("red", "blue", "green", "white")


def colours(n: int = 4) -> Passages:
    """User u always writes of her colour, item i has its own noun: both prompts are needed."""
    users, items = (grid.ravel() for grid in np.meshgrid(np.arange(n), np.arange(n)))
    nouns = ("fox", "owl", "cat", "dog")
    texts = [f"{COLOURS[u]} {nouns[i]}" for u, i in zip(users, items, strict=True)]
    records = [{"title": f"The {noun}"} for noun in nouns]
    return Passages(users.astype(np.int64), items.astype(np.int64), [""] * n**2, texts, records, n)


def writer(**options: Any) -> LanguageWriter:
    defaults = {"backbone": TINY, "epochs": 60, "learning_rate": 1e-2, "max_new_tokens": 8}
    return LanguageWriter(**{**defaults, "batch_size": 16, **options})


def test_soft_prompts_carry_user_and_item_and_survive_saving(tmp_path: Path) -> None:
    passages = colours()
    kept = np.flatnonzero(passages.users != passages.items)  # four pairs are never seen
    fitted = writer().fit(passages.take(kept))
    asked = passages.without_texts()
    texts = fitted.write(asked)
    right = [text == truth for text, truth in zip(texts, passages.texts, strict=True)]
    assert np.mean(np.array(right)[kept]) > 0.9
    fitted.save(tmp_path / "writer")
    assert LanguageWriter.load(tmp_path / "writer").write(asked) == texts
    fitted.write_batch_size = 3
    assert fitted.write(asked) == texts
    nobody = Passages(np.array([-1]), np.array([-1]), [""], [""], passages.records, 4)
    assert len(fitted.write(nobody)) == 1


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_words_are_answered_and_padding_changes_nothing(name: str) -> None:
    given = ["a", "b b b b b", "c c", "d d d d"]
    nobody = np.full(4, -1, np.int64)
    passages = Passages(nobody, nobody, given, list(COLOURS), [], 0)
    options = {"soft_prompts": False, "template": "{{ given }}", "max_length": 24}
    fitted = writer(backbone={**TINY, "name": name}, **options).fit(passages)
    together = fitted.write(passages.without_texts())
    assert together == list(COLOURS)
    alone = [fitted.write(passages.take(np.array([row])).without_texts())[0] for row in range(4)]
    assert alone == together


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="nothing would be read"):
        writer(soft_prompts=False)
    with pytest.raises(ConfigError, match='unknown name "truth"'):
        writer(template="{{ truth }}")
    with pytest.raises(ConfigError, match="cannot write"):
        build("writer", {"name": "language_writer", "backbone": {"name": "bert"}})


def test_soft_prompts_about_nobody_and_nothing_are_refused() -> None:
    """Replies have neither user nor item: without a template every request would be the same."""
    nobody = np.full(4, -1, np.int64)
    passages = Passages(nobody, nobody, list("abcd"), list(COLOURS), [], 0)
    with pytest.raises(ComponentError, match=r"template='\{\{ given \}\}', or choose gpt2_prompt"):
        writer().fit(passages)
    about = Passages(nobody, np.zeros(4, np.int64), [""] * 4, list(COLOURS), [{}], 0)
    assert len(writer(epochs=1).fit(about).write(about.without_texts())) == 4


def test_baselines_copy_what_they_say(tmp_path: Path) -> None:
    users, items = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 2, 2, 0])
    texts = [
        "The plot is fine. Nice.",
        "Plot plot.",
        "Lovely music. Nice!",
        "A clever plot.",
        "Music.",
    ]
    train = Passages(users, items, [""] * 5, texts, [{}] * 3, 3)
    asked = Passages(np.array([0, 1]), np.array([2, 0]), [""] * 2, [""] * 2, [{}] * 3, 3)
    near = NearestReview().fit(train)
    assert near.write(asked) == ["A clever plot.", "Music."]
    near.save(tmp_path / "near")
    assert NearestReview.load(tmp_path / "near").write(asked) == near.write(asked)
    assert FrequentSentence().fit(train).write(asked) == ["Nice."] * 2


def test_passages_keep_sides_apart_and_hide_the_description() -> None:
    split = LeaveOneOut().split(
        Synthetic(n_users=8, n_items=60, n_interactions_per_user=5, texts=True).load()
    )
    written = explanations(split, 4)
    assert len(written["test"]) == 8
    assert all(len(text.split()) <= 4 for text in written["train"].texts)
    described = descriptions(split, None, "description")
    items = [set(described[side].items.tolist()) for side in ("train", "valid", "test")]
    assert sum(map(len, items)) == len(set().union(*items)) == 60
    assert "description" not in described["test"].records[0]
    assert not set(described["test"].texts) & set(described["test"].given)
    bare = LeaveOneOut().split(Synthetic(n_users=8, n_interactions_per_user=5).load())
    with pytest.raises(DataError, match="no texts that users wrote"):
        explanations(bare, None)


def test_dialogues_become_turns_with_marked_titles(tmp_path: Path) -> None:
    rows = []
    for number in range(40):
        messages = [
            {"senderWorkerId": 1, "text": "Hi, I liked @7"},
            {"senderWorkerId": 2, "text": "Then see @9!"},
        ]
        rows.append(
            {
                "conversationId": number,
                "initiatorWorkerId": 1,
                "movieMentions": {"7": "Heat", "9": "Red Fox"},
                "messages": messages,
            }
        )
    path = tmp_path / "dialogues.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    sides = pairs(path, "conversation", None)
    assert sum(len(side) for side in sides.values()) == 40
    assert sides["test"].given[0] == "Seeker: Hi, I liked [[Heat]]"
    assert sides["test"].texts[0] == "Then see [[Red Fox]]!"
    path.write_text('{"given": 3}', "utf-8")
    with pytest.raises(DataError, match="line 1"):
        pairs(path, "reply", None)
