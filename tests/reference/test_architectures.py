"""Each architecture against plain transformers calls: same ids and mask, same states."""

from __future__ import annotations

from pathlib import Path

import architectures
import lm_cases
import numpy as np
import pytest
import torch
import transformers

from llmrec.backbones.base import last_states
from llmrec.core.config import build
from llmrec.core.types import Queries

pytestmark = pytest.mark.reference

TEXTS = ["Red Fox", "The Old River runs through the night", "Blue Owl", "x"]
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("architectures")
    return {name: architectures.save(name, place / name) for name in architectures.CONFIGS}


def part_of(name: str, folders: dict[str, Path], **options):
    spec = {"name": architectures.reader_of(name), "checkpoint": str(folders[name]), **options}
    return build("backbone", spec)


def batch_of(tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [torch.tensor(r) for r in tokenizer(TEXTS, add_special_tokens=False)["input_ids"]]
    ids = torch.nn.utils.rnn.pad_sequence(rows, True, tokenizer.pad_token_id)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(ids.shape[1])[None] < lengths[:, None]


def plain_states(name: str, model, **inputs) -> torch.Tensor:
    model = model.get_encoder() if name in architectures.SEQ2SEQ else model
    return model(**inputs).last_hidden_state[0]


@pytest.mark.parametrize("name", architectures.CONFIGS)
def test_states_are_those_of_transformers(name: str, folders: dict[str, Path]) -> None:
    plain = transformers.AutoModel.from_pretrained(folders[name]).eval()
    part = part_of(name, folders)
    ids, mask = batch_of(part.tokenizer([]))
    given = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    items = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    with torch.inference_mode():
        model = part.load("sequence").eval()
        ours = part.encode(model, mask, ids=ids).tokens
        for row in range(len(ids)):
            n = int(mask[row].sum())
            expected = plain_states(name, plain, input_ids=ids[row : row + 1, :n])
            torch.testing.assert_close(ours[row, :n], expected, **CLOSE)
        ours = part.encode(model, items, embeddings=given).tokens
        for row, n in enumerate((5, 3)):
            expected = plain_states(name, plain, inputs_embeds=given[row : row + 1, :n])
            torch.testing.assert_close(ours[row, :n], expected, **CLOSE)


@pytest.mark.parametrize("name", architectures.CONFIGS)
def test_answer_logits_are_those_of_transformers(name: str, folders: dict[str, Path]) -> None:
    plain = architectures.plain_class(name).from_pretrained(folders[name]).eval()
    part = part_of(name, folders)
    ids, mask = batch_of(part.tokenizer([]))
    answers = torch.tensor([5, 9])
    with torch.inference_mode():
        ours = part.answer_logits(part.load("token_logits").eval(), mask, ids, answers)
        for row in range(len(ids)):
            one = ids[row : row + 1, : int(mask[row].sum())]
            if name in architectures.SEQ2SEQ:
                start = torch.tensor([[plain.config.decoder_start_token_id]])
                logits = plain(input_ids=one, decoder_input_ids=start).logits[0, 0]
            else:
                logits = plain(input_ids=one).logits[0, -1]
            torch.testing.assert_close(ours[row], logits[answers], **CLOSE)


@pytest.mark.parametrize("name", architectures.ENCODERS)
def test_positions_count_from_the_first_that_the_model_uses(
    name: str, folders: dict[str, Path]
) -> None:
    part = part_of(name, folders)
    model = part.load("sequence").eval()
    given = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 6, dtype=torch.bool)
    forward, backward = torch.arange(6)[None], torch.arange(5, -1, -1)[None]
    with torch.inference_mode():
        usual = part.encode(model, mask, embeddings=given).tokens
        same = part.encode(model, mask, embeddings=given, positions=forward).tokens
        other = part.encode(model, mask, embeddings=given, positions=backward).tokens
        most = part.max_tokens(model)
        long = torch.randn(1, most, 16)
        last = torch.arange(most)[None]
        part.encode(model, torch.ones(1, most).bool(), embeddings=long, positions=last)
    torch.testing.assert_close(same, usual, **CLOSE)
    assert not torch.allclose(other, usual, atol=1e-3)
    assert most == model.config.max_position_embeddings - (2 if name in OFFSET else 0)


OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet")


@pytest.mark.parametrize("name", [*architectures.DECODERS, *architectures.SEQ2SEQ])
def test_titles_are_written_alike_alone_and_in_company(name: str, folders: dict[str, Path]) -> None:
    split = lm_cases.split()
    spec = lm_cases.spec("gpt2", "frozen", "title", "text", score_batch_size=100)
    backbone = {"name": architectures.reader_of(name), "checkpoint": str(folders[name])}
    model = build("recommender", {**spec, "backbone": backbone}).fit(split.train, split.valid)
    asked = Queries.from_histories([[0], [1, 2, 3], [], [5, 4, 3]])
    together = model.score(asked)
    for row in range(len(asked)):
        alone = model.score(asked.take(np.array([row])))
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-4)
    assert together.std() > 0


@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "mistral", "granite", "mt5", "umt5"])
def test_beams_are_scored_as_transformers_scores_a_reply(
    name: str, folders: dict[str, Path]
) -> None:
    split = lm_cases.split()
    spec = lm_cases.spec("gpt2", "frozen", "title", "text", parts={"head": {"n_beams": 20}})
    backbone = {"name": architectures.reader_of(name), "checkpoint": str(folders[name])}
    model = build("recommender", {**spec, "backbone": backbone}).fit(split.train, split.valid)
    asked = Queries.from_histories([[0, 3]])
    scores = model.score(asked)[0]
    made = model._model
    plain = architectures.plain_class(name).from_pretrained(folders[name]).eval()
    prompt = made.batches.make(asked.histories, None, None)["ids"]
    end = made.tokenizer.eos_token_id
    for item in range(3):
        reply = torch.tensor([[*made.identifiers[item], end]])
        with torch.inference_mode():
            if name in architectures.SEQ2SEQ:
                logits = plain(input_ids=prompt, labels=reply).logits[0]
            else:
                whole = torch.cat([prompt, reply], 1)
                logits = plain(input_ids=whole).logits[0, prompt.shape[1] - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, reply[0][:, None]).sum()
        assert scores[item] == pytest.approx(float(expected), abs=1e-3)


def test_a_causal_batch_padded_on_the_left_has_the_same_last_states(
    folders: dict[str, Path],
) -> None:
    for name in architectures.DECODERS:
        part = part_of(name, folders)
        model = part.load("pooled").eval()
        ids, mask = batch_of(part.tokenizer([]))
        width = ids.shape[1]
        left = torch.zeros_like(ids)
        keep = torch.zeros_like(mask)
        for row, n in enumerate(mask.sum(1).tolist()):
            left[row, width - n :], keep[row, width - n :] = ids[row, :n], True
        with torch.inference_mode():
            ours = last_states(part.encode(model, mask, ids=ids).tokens, mask)
            theirs = model(
                input_ids=left,
                attention_mask=keep.long(),
                position_ids=(keep.long().cumsum(1) - 1).clamp(min=0),
            ).last_hidden_state[:, -1]
        torch.testing.assert_close(ours, theirs, **CLOSE)
