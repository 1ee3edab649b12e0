from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from llmrec.core.errors import ConfigError
from llmrec.experiment.compose import compose_config, config_folder, prepare_overrides, read_yaml
from llmrec.experiment.schema import check_config

FILES = {
    "run.yaml": """
        defaults: [_self_, {data: one}, {model: null}, {experiment: main}]
        seed: 0
        models: {}
        label: null
    """,
    "data/one.yaml": "{name: one, n: 1}",
    "data/two.yaml": "{name: two, file: '???'}",
    "model/ease.yaml": "{name: ease, regularization: 250}",
    "model/lm.yaml": "{defaults: [{backbone: bert}], name: lm, epochs: 1}",
    "model/backbone/bert.yaml": "{name: bert, size: tiny}",
    "model/backbone/gpt2.yaml": "{name: gpt2}",
    "experiment/main.yaml": """
        # @package _global_
        defaults: [{/model@models.ease: ease}, {/model@models.lm: lm}]
    """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    return tmp_path


def test_an_experiment_fills_the_models(folder: Path) -> None:
    composed = compose_config(folder=folder)
    assert composed["models"]["lm"] == {
        "name": "lm",
        "epochs": 1,
        "backbone": {"name": "bert", "size": "tiny"},
    }
    assert composed["data"] == {"name": "one", "n": 1}
    assert composed.get("model") is None


def test_a_swapped_component_does_not_inherit_the_options_of_the_old_one(folder: Path) -> None:
    composed = compose_config(["model/backbone@models.lm.backbone=gpt2"], folder=folder)
    assert composed["models"]["lm"]["backbone"] == {"name": "gpt2"}
    composed = compose_config(["model@models.ease=lm", "models.ease.epochs=3"], folder=folder)
    assert composed["models"]["ease"]["epochs"] == 3
    assert "regularization" not in composed["models"]["ease"]


def test_the_model_slot_takes_any_recommender_and_its_parts(folder: Path) -> None:
    composed = compose_config(["model=lm", "model/backbone=gpt2", "model.epochs=3"], folder=folder)
    assert composed["model"] == {"name": "lm", "epochs": 3, "backbone": {"name": "gpt2"}}


def test_a_word_at_the_place_of_a_component_chooses_by_group(folder: Path) -> None:
    """W&B allows no slash in the name of a sweep's parameter."""
    assert prepare_overrides(
        ["model.backbone=bert,t5", "models.lm.backbone=gpt2", "models.ease=lm", "ensembles.x=mean"]
    ) == [
        "model/backbone=bert,t5",
        "model/backbone@models.lm.backbone=gpt2",
        "model@models.ease=lm",
        "ensemble@ensembles.x=mean",
    ]
    composed = compose_config(["models.lm.backbone=gpt2", "models.ease=lm"], folder=folder)
    assert composed["models"]["lm"]["backbone"] == {"name": "gpt2"}
    assert "regularization" not in composed["models"]["ease"]


def test_a_mapping_at_the_place_of_a_component_is_refused() -> None:
    with pytest.raises(ConfigError, match="write model/backbone=NAME"):
        prepare_overrides(["model.backbone={size: mini, name: gpt2}"])
    assert prepare_overrides(["model.prompt.text_encoder={name: minilm}", "label=x"]) == [
        "++model.prompt.text_encoder={name: minilm}",
        "label=x",
    ]


@pytest.mark.parametrize("key", ["model", "data"])
def test_a_mapping_with_a_name_chooses_no_group(key: str) -> None:
    with pytest.raises(ConfigError, match=f"write {key}=NAME and its options one by one"):
        prepare_overrides([f"{key}={{name: ease, regularization: 1}}"])


@pytest.mark.parametrize("key", ["model/adapter", "model.adapter", "models.lm.adapter"])
def test_a_list_of_adapters_is_told_of_chains(key: str) -> None:
    """Hydra merges the files of a list: lora with the threshold of int8."""
    with pytest.raises(ConfigError, match=r"mix the options .* choose int8\+lora or nf4\+lora"):
        prepare_overrides([f"{key}=[int8,lora]"])
    with pytest.raises(ConfigError, match="write model/head=NAME"):
        prepare_overrides(["model/head=[classification,regression]"])


def test_a_name_where_no_group_is_can_be_set() -> None:
    composed = compose_config(["evaluation.candidates.name=sampled", "data=synthetic"])
    assert composed["evaluation"]["candidates"]["name"] == "sampled"


def test_a_misspelt_key_is_reported_with_all_other_problems() -> None:
    words = ["sead=1", "modle=ease", "experimnt=none", "evaluation.batch_size=0", "label=7"]
    words.append("evaluation.confidence=high")
    with pytest.raises(ConfigError) as caught:
        check_config(compose_config(["experiment=synthetic", *words]))
    assert [problem.where for problem in caught.value.problems] == [
        "sead",
        "modle",
        "experimnt",
        "label",
        "evaluation.confidence",
        "evaluation.batch_size",
    ]
    text = str(caught.value)
    for meant in ("seed", "model", "experiment"):
        assert f'(did you mean "{meant}"?)' in text
    assert "sweep" not in text


def test_an_option_that_no_file_mentions_can_be_set(folder: Path) -> None:
    composed = compose_config(["models.lm.backbone.layers=2", "data.extra=x"], folder=folder)
    assert composed["models"]["lm"]["backbone"]["layers"] == 2
    assert composed["data"]["extra"] == "x"


def test_a_row_can_be_added(folder: Path) -> None:
    composed = compose_config(["+model@models.mine=ease"], folder=folder)
    assert set(composed["models"]) == {"ease", "lm", "mine"}


@pytest.mark.parametrize(
    ("override", "spelling"),
    [
        ("models.lm.backbone.name=gpt2", "model/backbone@models.lm.backbone=gpt2"),
        ("model.backbone.name=gpt2", "model/backbone=gpt2"),
        ("++model.backbone.name=gpt2", "model/backbone=gpt2"),
        ("models.ease.name=lm", "model@models.ease=lm"),
        ("model.name=ease", "model=ease"),
        ("data.name=two", "data=two"),
        ("experiment=null", "experiment=none"),
        ("model@models.ease=null", "~model@models.ease"),
    ],
)
def test_a_name_is_not_overridden_but_chosen(override: str, spelling: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare_overrides([override])
    assert f"write {spelling}" in str(caught.value)


@pytest.mark.parametrize("value", ["None", "'None'", "1,None", "[None,1]"])
def test_none_is_not_null(value: str) -> None:
    with pytest.raises(ConfigError, match=r"write models\.lm\.size=null"):
        prepare_overrides([f"models.lm.size={value}"])


def test_all_mistaken_overrides_are_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        prepare_overrides(["data.name=x", "seed=None", "seed=1"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data=tow", 'unknown data "tow" (did you mean "two"?); allowed: one, two'),
        ("model=eese", 'unknown model "eese" (did you mean "ease"?)'),
        ("model/backbone@models.lm.backbone=brt", 'did you mean "bert"'),
        ("experiment=mian", 'unknown experiment "mian" (did you mean "main"?)'),
        ("model={regularization: 1}", "nothing is chosen as model yet; choose with model=NAME"),
        ("model@models.other=ease", "use +model@models.other=ease"),
        ("data=two", "data.file: a value is needed: data.file=…"),
        ("seed=[1", 'cannot read "seed=[1": no viable alternative'),
        ("data.n=${nowhere}", "nowhere"),
    ],
)
def test_hydras_errors_become_sentences(folder: Path, override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config([override], folder=folder)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hydra" not in str(caught.value).lower()


def test_the_configs_are_found_in_a_checkout() -> None:
    assert (config_folder() / "run.yaml").is_file()


def test_a_broken_yaml_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [1, ")
    with pytest.raises(ConfigError, match=r"x\.yaml is not valid YAML"):
        read_yaml(tmp_path / "x.yaml")
    (tmp_path / "y.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="holds no mapping"):
        read_yaml(tmp_path / "y.yaml")
