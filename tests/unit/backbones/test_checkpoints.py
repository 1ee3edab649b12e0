"""Checkpoints: really those weights, of the right architecture, or a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lm_cases
import numpy as np
import pytest
import torch
import transformers

from llmrec.core.config import build, check
from llmrec.core.errors import ComponentError, MissingExtraError
from llmrec.core.types import Queries
from llmrec.recommenders.base import load_recommender


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("checkpoints")
    return {n: lm_cases.checkpoint(n, "token_logits", place / n) for n in lm_cases.BACKBONES}


def from_folder(name: str, folder: Path, *args):
    spec = lm_cases.spec(name, *args)
    return build("recommender", {**spec, "backbone": {"name": name, "checkpoint": str(folder)}})


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_the_weights_are_those_of_the_folder(name: str, folders: dict[str, Path]) -> None:
    part = build("backbone", {"name": name, "checkpoint": str(folders[name])})
    stored = build("backbone", lm_cases.backbone(name)).load("token_logits", folder=folders[name])
    for needs in part.provides:
        loaded = part.load(needs)
        ours = dict(loaded.base_model.named_parameters())
        theirs = dict(stored.base_model.named_parameters())
        assert len(set(ours) & set(theirs)) > 5
        assert all(torch.equal(ours[key], theirs[key]) for key in set(ours) & set(theirs))
        assert loaded.dtype == torch.float32
    assert part.width(loaded) == 16
    assert part.weights == str(folders[name])
    assert len(part.identity()) == 64


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_its_tokenizer_is_that_of_the_folder(name: str, folders: dict[str, Path]) -> None:
    part = build("backbone", {"name": name, "checkpoint": str(folders[name])})
    ours = part.tokenizer(["these words teach it nothing"])
    assert ours.get_vocab() == part.tokenizer([]).get_vocab()
    assert ours.pad_token_id is not None


def without_tokenizer(folder: Path, place: Path) -> Path:
    """Return a copy of a checkpoint that holds its weights and config alone."""
    place.mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        shutil.copy(folder / file, place / file)
    return place


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_folder_without_a_tokenizer_is_refused(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    bare = without_tokenizer(folders[name], tmp_path / "bare")
    with pytest.raises(ComponentError, match="has no tokenizer"):
        build("backbone", {"name": name, "checkpoint": str(bare)}).tokenizer(["The Red Rocket"])


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_saved_model_goes_on_with_the_tokenizer_beside_it(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    weights = without_tokenizer(folders[name], tmp_path / "model" / "backbone")
    beside = tmp_path / "model" / "tokenizer"
    original = build("backbone", {"name": name, "checkpoint": str(folders[name])}).tokenizer([])
    original.save_pretrained(beside)
    part = build("backbone", {"name": name, "checkpoint": str(weights)})
    text = "The Red Rocket"
    assert part.tokenizer([text])(text)["input_ids"] == original(text)["input_ids"]
    # A cached embedding is that of weights and tokenizer.
    before = part.identity()
    file = beside / "tokenizer.json"
    file.write_text(file.read_text() + " ")
    assert part.identity() != before


def test_a_tokenizer_that_knows_no_word_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    bare = without_tokenizer(folders["bert"], tmp_path / "bare")
    transformers.BertTokenizerFast().save_pretrained(bare)  # special tokens alone
    part = build("backbone", {"name": "bert", "checkpoint": str(bare)})
    with pytest.raises(ComponentError, match="knows no words"):
        part.tokenizer(["The Red Rocket"])


@pytest.mark.parametrize("adapter", ["full", "frozen", "lora"])
@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_it_is_fine_tuned_and_stored(
    name: str, adapter: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    split = lm_cases.split()
    model = from_folder(name, folders[name], adapter, "like", "text").fit(split.train, split.valid)
    scores = model.score(lm_cases.queries())
    assert model.info.weights == str(folders[name])
    model.save(tmp_path / "model")
    # What did not change is not stored again.
    assert (tmp_path / "model/backbone").is_dir() == (adapter == "full")
    loaded = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(lm_cases.queries()), scores)


@pytest.mark.parametrize(("name", "other"), [("gpt2", "bert"), ("bert", "t5"), ("t5", "gpt2")])
def test_another_architecture_is_a_sentence(
    name: str, other: str, folders: dict[str, Path]
) -> None:
    part = build("backbone", {"name": name, "checkpoint": str(folders[other])})
    with pytest.raises(ComponentError, match=f'it is a "{other}" model; allowed: {name}'):
        part.load("pooled")


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_a_hub_name_without_network_says_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    part = build("backbone", {"name": name, "checkpoint": "nobody/no-such-model"})
    for act in (lambda: part.load("pooled"), lambda: part.tokenizer(["a"])):
        with pytest.raises(ComponentError) as caught:
            act()
        sentence = str(caught.value)
        assert "nobody/no-such-model" in sentence
        assert "backbone.checkpoint=/path/to/folder" in sentence
        assert "backbone.checkpoint=null" in sentence
        assert "\n" not in sentence


def test_a_folder_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    part = build("backbone", {"name": "gpt2", "checkpoint": str(tmp_path)})
    with pytest.raises(ComponentError, match="cannot load the checkpoint"):
        part.load("pooled")


def test_too_little_memory_is_not_blamed_on_the_checkpoint(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("transformers.AutoModel.from_pretrained", greedy)
    part = build("backbone", {"name": "gpt2", "checkpoint": str(folders["gpt2"])})
    with pytest.raises(RuntimeError, match=r"DefaultCPUAllocator: can.t allocate"):
        part.load("pooled")


@pytest.mark.parametrize("keep", [0, 100])
def test_damaged_weights_are_a_sentence(
    keep: int, folders: dict[str, Path], tmp_path: Path
) -> None:
    for file in folders["gpt2"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:keep])
    part = build("backbone", {"name": "gpt2", "checkpoint": str(tmp_path)})
    with pytest.raises(ComponentError, match="cannot load the checkpoint"):
        part.load("pooled")


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_zero_shot_answers_without_training(name: str, folders: dict[str, Path]) -> None:
    split = lm_cases.split()
    model = from_folder(name, folders[name], "frozen", "yes_no", "text")
    model.fit(split.train, split.valid)
    assert model.info.trainable == 0
    assert model.info.weights == str(folders[name])
    assert model.info.details["epochs"] == 0
    assert np.isfinite(model.info.details["validation_log_loss"])
    scores = model.score(lm_cases.queries())
    assert np.isfinite(scores).all()
    assert scores.std() > 0


def test_zero_shot_titles(folders: dict[str, Path]) -> None:
    split = lm_cases.split()
    for name in ("gpt2", "t5"):
        model = from_folder(name, folders[name], "frozen", "title", "text")
        model.fit(split.train, split.valid)
        assert model.info.trainable == 0
        assert np.isfinite(model.score(Queries.from_histories([[0, 1], []]))).all()


@pytest.mark.parametrize("head", ["yes_no", "title"])
def test_zero_shot_of_random_weights_is_refused(head: str) -> None:
    (problem,) = check("recommender", lm_cases.spec("gpt2", "frozen", head, "text"))
    assert "nothing would be learned" in problem.what


def test_minilm_has_no_language_model_head() -> None:
    spec = lm_cases.spec("gpt2", "frozen", "yes_no", "text")
    (problem,) = check("recommender", {**spec, "backbone": {"name": "minilm"}})
    assert "provides only pooled, sequence" in problem.what


def test_minilm_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"llmrec\[minilm\]"):
        build("backbone", {"name": "minilm"}).load("pooled")


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_size": 15, "n_heads": 2},
        {"dropout": 1.0},
        {"attention_dropout": -0.1},
        {"size": "huge"},
        {"n_layers": "two"},
    ],
)
def test_sizes_are_checked_before_anything_loads(options: dict) -> None:
    assert len(check("backbone", {"name": "gpt2", **options})) == 1


@pytest.mark.parametrize("name", lm_cases.BACKBONES)
def test_named_sizes(name: str) -> None:
    part = build("backbone", {"name": name, "size": "tiny", "n_layers": 1})
    model = part.load("sequence")
    assert part.width(model) == 128
    assert part.dimensions == (1, 128, 2)


@pytest.mark.parametrize(
    ("name", "head", "prompt", "too_long"),
    [
        ("gpt2", "next", "items", 128),
        ("bert", "next", "items", 128),
        ("gpt2", "title", "text", 120),
    ],
)
def test_a_prompt_longer_than_the_model_is_a_sentence(
    name: str, head: str, prompt: str, too_long: int
) -> None:
    model = lm_cases.model(name, "full", head, prompt, parts={"prompt": {"max_length": too_long}})
    with pytest.raises(ComponentError, match=r"lower it or raise backbone\.max_positions"):
        model.fit(lm_cases.split().train)


@pytest.mark.parametrize("name", ["causal", "roberta", "t5"])
def test_a_reader_of_another_kind_says_who_reads_it(name: str, folders: dict[str, Path]) -> None:
    other = {"causal": "bert", "roberta": "gpt2", "t5": "bert"}[name]
    part = build("backbone", {"name": name, "checkpoint": str(folders[other])})
    with pytest.raises(ComponentError, match=f"backbone={other}"):
        part.load("pooled")


def test_a_decoder_is_read_by_the_general_backbone(folders: dict[str, Path]) -> None:
    general = build("backbone", {"name": "causal", "checkpoint": str(folders["gpt2"])})
    assert general.load("token_logits").config.model_type == "gpt2"


def test_a_tokenizer_with_more_tokens_than_the_model_is_a_sentence(
    folders: dict[str, Path],
) -> None:
    part = build("backbone", {"name": "gpt2", "checkpoint": str(folders["gpt2"])})
    tokenizer = part.tokenizer([])
    tokenizer.add_tokens(["surplus"])
    with pytest.raises(ComponentError, match="do not belong together"):
        part.load("pooled", tokenizer=tokenizer)


def test_rotary_positions_need_an_even_size_per_head() -> None:
    spec = lm_cases.backbone("causal", hidden_size=18, n_heads=2)
    (problem,) = check("backbone", spec)
    assert "positions rotate pairs" in problem.what
    assert check("backbone", {**spec, "name": "gpt2"}) == []


def test_the_dropout_of_a_llama_acts_while_training_only() -> None:
    spec = lm_cases.backbone("causal", dropout=0.5, attention_dropout=0.0)
    part = build("backbone", spec)
    model = part.load("sequence")
    given, mask = torch.randn(2, 4, 16), torch.ones(2, 4, dtype=torch.bool)

    def states() -> torch.Tensor:
        return part.encode(model, mask, embeddings=given).tokens

    with torch.no_grad():
        model.train()
        assert not torch.equal(states(), states())
        model.eval()
        assert torch.equal(states(), states())


def test_the_begin_token_is_put_where_the_tokenizer_puts_it(folders: dict[str, Path]) -> None:
    from tokenizers.processors import TemplateProcessing

    part = build("backbone", {"name": "causal", "checkpoint": str(folders["gpt2"])})
    tokenizer = part.tokenizer([])
    assert part.frame(tokenizer, "generate") == ([], [])
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", begin)]
    )
    assert part.frame(tokenizer, "generate") == ([begin], [])


def test_a_tokenizer_without_padding_and_end_gets_a_padding_token(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders["gpt2"], tmp_path / "model")
    config = tmp_path / "model/tokenizer_config.json"
    values = json.loads(config.read_text())
    for role in ("pad_token", "eos_token"):
        values.pop(role, None)
    values["padding_side"] = "left"
    config.write_text(json.dumps(values))
    (tmp_path / "model/special_tokens_map.json").unlink(missing_ok=True)
    tokenizer = build("backbone", {"name": "gpt2", "checkpoint": str(tmp_path / "model")})
    made = tokenizer.tokenizer([])
    assert made.eos_token is None
    assert made.pad_token_id == made.unk_token_id
    assert made.padding_side == "right"


def test_byte_fallback_of_a_sentencepiece_kind_survives(tmp_path: Path) -> None:
    import tokenizers

    letters = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    letters += [(f"<0x{byte:02X}>", -10.0) for byte in range(256)]
    letters += [(piece, -2.0) for piece in "\u2581abcdefghijklmnopqrstuvwxyz"]
    whole = tokenizers.Tokenizer(tokenizers.models.Unigram(letters, unk_id=0, byte_fallback=True))
    whole.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    fallback, meta = tokenizers.decoders.ByteFallback(), tokenizers.decoders.Metaspace()
    whole.decoder = tokenizers.decoders.Sequence([fallback, tokenizers.decoders.Fuse(), meta])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=whole, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tmp_path)
    config = transformers.LlamaConfig(
        vocab_size=len(letters), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    spec = lm_cases.spec("gpt2", "lora", "title", "text")
    model = build(
        "recommender", {**spec, "backbone": {"name": "causal", "checkpoint": str(tmp_path)}}
    )
    split = lm_cases.split()
    model.fit(split.train, split.valid)
    tokenizer = model._model.tokenizer
    assert tokenizer.pad_token == "</s>"
    ids = tokenizer("léon", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids).strip() == "léon"
    scores = model.score(lm_cases.queries())
    model.save(tmp_path / "saved")
    np.testing.assert_array_equal(
        load_recommender(tmp_path / "saved").score(lm_cases.queries()), scores
    )
