"""Recurrent networks against packed sequences, bags of words against gensim and numpy."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from llmrec.backbones.embed import embed_texts
from llmrec.core.config import build
from llmrec.core.errors import DataError

pytestmark = pytest.mark.reference

TEXTS = ["the red fox", "a blue owl and a red fox", "an owl", "the old blue river", "a red owl"]


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_states_are_those_of_packed_sequences(cell: str) -> None:
    spec = {"name": "recurrent", "cell": cell, "hidden_size": 8, "n_layers": 2}
    part = build("backbone", spec)
    torch.manual_seed(0)
    model = part.load("sequence").eval()
    given, lengths = torch.randn(3, 6, 8), torch.tensor([6, 2, 4])
    mask = torch.arange(6)[None] < lengths[:, None]
    with torch.inference_mode():
        ours = part.encode(model, mask, embeddings=given)
        packed = pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
        states, last = model.recurrent(packed)
        theirs, _ = pad_packed_sequence(states, batch_first=True)
    torch.testing.assert_close(ours.tokens[mask], theirs[mask], rtol=1e-5, atol=1e-6)
    hidden = last[0] if cell == "lstm" else last
    torch.testing.assert_close(ours.pooled, hidden[-1], rtol=1e-5, atol=1e-6)


def test_a_gru_step_by_hand() -> None:
    part = build("backbone", {"name": "recurrent", "hidden_size": 3, "dropout": 0.0})
    torch.manual_seed(1)
    model = part.load("sequence").eval()
    layer = model.recurrent
    x = torch.randn(1, 2, 3)
    with torch.inference_mode():
        states = part.encode(model, torch.ones(1, 2).bool(), embeddings=x).tokens[0]
        h = torch.zeros(3)
        for step in range(2):
            of_x = layer.weight_ih_l0 @ x[0, step] + layer.bias_ih_l0
            of_h = layer.weight_hh_l0 @ h + layer.bias_hh_l0
            reset = torch.sigmoid(of_x[:3] + of_h[:3])
            update = torch.sigmoid(of_x[3:6] + of_h[3:6])
            new = torch.tanh(of_x[6:] + reset * of_h[6:])
            h = (1 - update) * new + update * h
            torch.testing.assert_close(states[step], h, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_bag_is_pooled_from_the_vectors_of_gensim(pooling: str) -> None:
    models = pytest.importorskip("gensim.models", reason="what trains the vectors")
    theirs = models.Word2Vec(
        [text.split() for text in TEXTS], vector_size=8, window=5, min_count=2, sg=1,
        negative=5, epochs=3, alpha=0.025, seed=4, workers=1,
    ).wv  # fmt: skip
    spec = {"name": "word_vectors", "embedding_size": 8, "epochs": 3, "seed": 4}
    part = build("backbone", {**spec, "pooling": pooling})
    tokenizer = part.tokenizer(TEXTS)
    model = part.load("pooled", tokenizer=tokenizer)
    asked = ["The RED fox, unheard-of!", "nothing known here"]
    rows = [torch.tensor(row) for row in tokenizer(asked)["input_ids"]]
    ids = torch.nn.utils.rnn.pad_sequence(rows, True, tokenizer.pad_token_id)
    mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]
    with torch.inference_mode():
        pooled = part.encode(model, mask, ids=ids).pooled.numpy()
    known = np.stack([theirs[word] for word in ("the", "red", "fox")])
    expected = known.mean(0) if pooling == "mean" else known.max(0)
    np.testing.assert_allclose(pooled[0], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(pooled[1], 0)


def test_a_file_of_vectors_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "glove.txt.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("red 1 0\nfox 0 1\nowl -1 3\n")
    spec = {"name": "word_vectors", "path": str(path)}
    vectors = embed_texts(spec, ["Red fox", "owl!", "unknown", "fox red owl"])
    mean = np.array([0.0, 4.0]) / 3
    expected = [[0.5**0.5] * 2, np.array([-1, 3]) / 10**0.5, [0, 0], mean / np.linalg.norm(mean)]
    np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-7)
    few = embed_texts({**spec, "vocabulary_size": 2}, ["Red fox", "owl"])
    np.testing.assert_allclose(few, [[0.5**0.5] * 2, [0, 0]], rtol=1e-6)
    assert build("backbone", spec).weights == "glove.txt.gz"


def test_a_damaged_file_of_vectors_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("red 1 0\nfox 0\n")
    with pytest.raises(DataError, match="line 2"):
        build("backbone", {"name": "word_vectors", "path": str(path)}).tokenizer([])
    with pytest.raises(DataError, match="cannot read the word vectors"):
        embed_texts({"name": "word_vectors", "path": str(tmp_path / "no.txt")}, ["a"])
