"""Learned tokens take effect wherever the model is called from, as peft's own wrappers have it."""

from __future__ import annotations

import itertools
from pathlib import Path

import lm_cases
import peft
import pytest
import torch

from llmrec.backbones.base import inner
from llmrec.backbones.writers import WRITERS
from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError
from llmrec.core.protocols import Encoded

N = 3
BOTH = ("prefix", "prompt_tuning")
PLACES = [
    (name, needs, adapter)
    for name, needs, adapter in itertools.product(
        lm_cases.BACKBONES, ("sequence", "token_logits", "generate"), BOTH
    )
    if (name, needs) not in {("bert", "generate"), ("t5", "sequence")}
]


def parts(name: str, needs: str, adapter: str, folder: Path, n_layers: int = 1):
    """Return backbone, bare model, adapted model, and prompts with their mask."""
    part = build("backbone", lm_cases.backbone(name, n_layers=n_layers))
    tokenizer = part.tokenizer(list(lm_cases.TITLES))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        part.load(needs, tokenizer=tokenizer).save_pretrained(folder / "base")
        made = build("adapter", lm_cases.ADAPTERS[adapter])
        wrapped = made.wrap(part.load(needs, folder=folder / "base"), name).eval()
        with torch.no_grad():
            for weight in wrapped.prompt_encoder.parameters():
                weight.add_(torch.randn_like(weight) * 0.3)
        ids = torch.randint(5, len(tokenizer), (2, 6))
    made.save(wrapped, folder / "adapter")
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    return part, part.load(needs, folder=folder / "base").eval(), wrapped, ids, mask


@torch.inference_mode()
@pytest.mark.parametrize(("name", "needs", "adapter"), PLACES)
def test_outputs_are_those_of_peft(name: str, needs: str, adapter: str, tmp_path: Path) -> None:
    part, bare, wrapped, ids, mask = parts(name, needs, adapter, tmp_path)
    base = part.load(needs, folder=tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    if (name, adapter) == ("bert", "prefix"):
        mask = torch.ones_like(mask)  # peft's mask for padded rows does not fit BERT's
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    kept = mask
    if name == "t5":
        inputs["decoder_input_ids"] = torch.zeros(2, 2, dtype=torch.long)
        kept = torch.ones(2, 2, dtype=torch.bool)
    ours, expected, without = (model(**inputs)[0] for model in (wrapped, theirs, bare))
    if expected.shape[1] != ours.shape[1]:
        expected = expected[:, N:]
    torch.testing.assert_close(ours[kept], expected[kept])
    assert not torch.allclose(ours[kept], without[kept], atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("adapter", BOTH)
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_padding_changes_nothing(name: str, adapter: str, tmp_path: Path) -> None:
    part, _, wrapped, ids, mask = parts(name, "sequence", adapter, tmp_path, n_layers=2)
    padded = part.encode(wrapped, mask, ids=ids).tokens[1, :4]
    alone = part.encode(wrapped, mask[1:, :4], ids=ids[1:, :4]).tokens[0]
    torch.testing.assert_close(padded, alone)


@torch.inference_mode()
@pytest.mark.parametrize("adapter", BOTH)
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_positions_move_up_by_the_learned_tokens(name: str, adapter: str, tmp_path: Path) -> None:
    part, _, wrapped, ids, mask = parts(name, "sequence", adapter, tmp_path)
    counted = torch.arange(6).expand(2, -1)
    plain = part.encode(wrapped, mask, ids=ids).tokens[mask]
    torch.testing.assert_close(
        part.encode(wrapped, mask, ids=ids, positions=counted).tokens[mask], plain
    )
    assert not torch.allclose(
        part.encode(wrapped, mask, ids=ids, positions=counted.flip(1)).tokens[mask], plain
    )
    assert part.max_tokens(wrapped) == 128 - N


@torch.inference_mode()
@pytest.mark.parametrize("adapter", BOTH)
@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_written_token_by_token_they_are_seen_at_every_step(
    name: str, adapter: str, tmp_path: Path
) -> None:
    part, bare, wrapped, ids, mask = parts(name, "generate", adapter, tmp_path, n_layers=2)
    model = wrapped.get_base_model()
    answer = ids[:, :3]
    writer = WRITERS[part.direction](part, wrapped, ids, mask)
    steps = [writer.start()]
    steps += [writer.step(answer[:, [i]], torch.zeros(2, 1, dtype=torch.long)) for i in (0, 1)]
    ours = writer.logits(torch.cat(steps, 1))
    for row, length in enumerate(mask.sum(1).tolist()):
        prompt = ids[row : row + 1, :length]
        if name == "t5":
            start = torch.zeros(1, 1, dtype=torch.long)
            inputs = {
                "input_ids": prompt,
                "decoder_input_ids": torch.cat([start, answer[row : row + 1, :2]], 1),
            }
            expected = model(**inputs).logits
            without = bare(**inputs).logits
        else:
            inputs = {"input_ids": torch.cat([prompt, answer[row : row + 1, :2]], 1)}
            expected = model(**inputs).logits[:, length - 1 :]
            without = bare(**inputs).logits[:, length - 1 :]
        torch.testing.assert_close(ours[row : row + 1], expected)
        assert not torch.allclose(ours[row : row + 1], without, atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("adapter", BOTH)
@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_beams_of_transformers_need_no_cache(name: str, adapter: str, tmp_path: Path) -> None:
    _, bare, wrapped, ids, _ = parts(name, "generate", adapter, tmp_path, n_layers=2)
    mask = torch.ones_like(ids)
    mask[1, :2] = 0  # left-padded, as transformers wants it
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "output_scores": True,
               "return_dict_in_generate": True, "pad_token_id": 0}  # fmt: skip

    def scores(model, use_cache: bool):
        return model.generate(
            input_ids=ids, attention_mask=mask, use_cache=use_cache, **options
        ).sequences_scores

    cached = scores(wrapped.get_base_model(), True)
    torch.testing.assert_close(scores(wrapped.get_base_model(), False), cached)
    assert not torch.allclose(scores(bare, True), cached, atol=1e-3)


@torch.inference_mode()
def test_the_decoder_attends_to_a_learned_prompt_of_the_encoder(tmp_path: Path) -> None:
    part, _, wrapped, ids, mask = parts("t5", "sequence", "prompt_tuning", tmp_path)
    encoded = part.encode(wrapped, mask, ids=ids)
    assert encoded.tokens.shape[1] == 6
    assert encoded.learned.shape == (2, N, 16)
    given = torch.ones(2, 2, 16)
    ours = part.decode(wrapped, encoded, given)
    blind = part.decode(wrapped, Encoded(encoded.tokens, encoded.pooled, encoded.mask), given)
    assert not torch.allclose(ours, blind, atol=1e-4)


def test_a_prefix_is_dropped_by_gradient_checkpointing_and_refused(tmp_path: Path) -> None:
    part, _, wrapped, ids, mask = parts("gpt2", "sequence", "prefix", tmp_path)
    wrapped.get_base_model().gradient_checkpointing_enable()
    with pytest.raises(ComponentError, match="does not work with gradient checkpointing"):
        part.encode(wrapped.train(), mask, ids=ids)


def test_a_prefix_needs_a_model_that_takes_past_keys() -> None:
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(vocab_size=10, dim=16, n_heads=2, n_layers=1, hidden_dim=16)
    with pytest.raises(ComponentError, match="takes past keys and values"):
        build("adapter", lm_cases.ADAPTERS["prefix"]).wrap(DistilBertModel(config), "bert")


@pytest.mark.filterwarnings("error:.*(past_key_values|cache)")
@torch.inference_mode()
@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_no_outdated_name_is_used(name: str, tmp_path: Path, transformers_says: list[str]) -> None:
    needs = "generate" if name != "bert" else "token_logits"
    part, _, wrapped, ids, mask = parts(name, needs, "prefix", tmp_path)
    part.encode(wrapped, mask, ids=ids)
    if needs == "generate":
        writer = WRITERS[part.direction](part, wrapped, ids, mask)
        writer.start()
        writer.step(ids[:, :1], torch.zeros(2, 1, dtype=torch.long))
        inner(wrapped).generate(input_ids=ids, attention_mask=mask.long(), max_new_tokens=2)
        inner(wrapped)(input_ids=ids, labels=ids, use_cache=False)
    assert not [said for said in transformers_says if "past_key_values" in said]


@pytest.mark.parametrize("adapter", BOTH)
def test_their_number_is_checked(adapter: str) -> None:
    (problem,) = check("adapter", {"name": adapter, "n_tokens": 0})
    assert problem.where == "n_tokens"
