"""``llmrec show prompt``, and prompts that are refused before training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmrec.cli import main
from llmrec.core.errors import ConfigError, DataError, UnknownNameError
from llmrec.data.splits import LeaveOneOut
from llmrec.data.synthetic import Synthetic
from llmrec.experiment.prompts import composed_prompt, prompt_text, prompted
from llmrec.experiment.run import run

pytest.importorskip("transformers")

DATA = ["data=synthetic", "data.n_users=40", "data.n_items=60"]


def held_out(user: int) -> tuple[str, list[str]]:
    """Return the title of the test item of a user, and those before it."""
    data = Synthetic(n_users=40, n_items=60).load()
    split = LeaveOneOut().split(data)
    known = split.train.union(split.valid).histories[user]
    titles = data.item_fields["title"]
    return titles[split.test.histories[user][0]], titles[known].tolist()


def test_a_text_prompt_is_shown_with_what_was_cut() -> None:
    _, known = held_out(4)
    shown = prompt_text("gpt2_titles", "u5", DATA)
    rendered = shown.partition("rendered:\n")[2].partition("\n")[0]
    begin, _, history = rendered.partition(": ")
    assert begin == "The user's history, oldest first"
    titles = [part.partition(" (rated ")[0] for part in history.removesuffix(".").split("; ")]
    assert titles == known[-10:]
    assert f"read by the model:\n{rendered}" in shown
    assert "the latest 10, 19 older ones left out" in shown
    assert "cut from the front: nothing" in shown
    assert "candidate" not in shown
    short = prompt_text("gpt2_titles", "u5", [*DATA, "model.prompt.max_length=9"])
    n_cut = int(re.search(r"cut from the front: (\d+) tokens", short)[1])
    assert "tokens: 9 of at most 9" in short
    total = int(re.search(r"tokens: (\d+) of", shown)[1])
    assert n_cut == total - 9
    read = short.partition("read by the model:\n")[2]
    assert rendered.endswith(read)
    assert len(read) < 60


def test_a_candidate_is_the_held_out_item_or_another() -> None:
    target, _ = held_out(4)
    shown = prompt_text("gpt2_yes_no", "u5", [*DATA])
    assert f"Will the user like {target}?" in shown
    title = Synthetic(n_users=40, n_items=60).load().item_fields["title"][2]
    other = prompt_text("gpt2_yes_no", "u5", DATA, candidate="i3")
    assert f"candidate: {title} (item i3)" in other
    assert f"Will the user like {title}?" in other
    with pytest.raises(DataError, match="leave out --item"):
        prompt_text("gpt2_titles", "u5", DATA, candidate="i3")


def test_a_list_that_does_not_fit_is_no_prompt() -> None:
    assert "(A) " in prompt_text("gpt2_listwise", "u5", DATA).partition("read by the model:\n")[2]
    with pytest.raises(DataError, match=r"Candidates: \(A\).* raise prompt\.max_length"):
        prompt_text("gpt2_listwise", "u5", [*DATA, "model.prompt.max_length=20"])


def test_of_two_stages_the_rankers_prompt_is_shown() -> None:
    shown = prompt_text("llamarec", "u5", DATA)
    assert shown.startswith("llamarec, prompt text")
    assert "Candidates: (A) " in shown.partition("read by the model:\n")[2]


def test_item_prompts_are_a_list_of_items() -> None:
    _, known = held_out(4)
    shown = prompt_text("items_no_text", "u5", [*DATA, "model.prompt.max_length=3"])
    lines = shown.partition("oldest first:\n")[2].splitlines()
    assert [line.split("  ")[-1] for line in lines] == known[-3:]
    assert "cut from the front: 26 older items" in shown


def test_names_that_have_no_prompt() -> None:
    with pytest.raises(UnknownNameError, match='did you mean "gpt2_titles"'):
        composed_prompt("gpt2_title")
    with pytest.raises(UnknownNameError, match="ease has no prompt"):
        composed_prompt("ease")
    with pytest.raises(DataError, match='user "nobody"'):
        prompt_text("gpt2_titles", "nobody", DATA)
    with pytest.raises(ConfigError, match="max_lenght"):
        prompt_text("gpt2_titles", "u5", [*DATA, "model.prompt.max_lenght=3"])


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "prompt", "items_no_text", "--user", "u5", *DATA]) == 0
    assert "read by the model" in capsys.readouterr().out
    assert main(["show", "prompt"]) == 1
    assert "llmrec show prompt NAME --user ID" in capsys.readouterr().err
    assert main(["show", "ease", "--user", "u5"]) == 1
    assert main(["show", "ease", "--usr", "u5"]) == 2
    assert main(["list", "split", "more"]) == 2


def test_all_problems_of_all_prompts_before_the_split(config, tmp_path: Path) -> None:
    def model(template: str) -> dict:
        prompt = {"name": "text", "template": template}
        head = {"name": "classification"}
        return {
            "name": "language_model",
            "backbone": {"name": "gpt2"},
            "prompt": prompt,
            "head": head,
        }

    models = {
        "one": model("{{ history | map(attribute='plot') | join }}"),
        "two": model("Nothing at all"),
    }
    with pytest.raises(DataError, match="2 problems in the prompts") as raised:
        run(config(models=models, audit="off"), folder=tmp_path / "run")
    assert 'one: prompt template: unknown field of an item "plot"' in str(raised.value)
    assert "two: prompt template: it never names the history" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_the_prompts_of_both_stages_are_checked() -> None:
    ranker = {"name": "language_model", "prompt": {"name": "text"}}
    two = {"name": "two_stage", "retriever": {"name": "ease"}, "ranker": ranker}
    config = {"models": {"plain": {"name": "ease"}, "two": two}}
    assert prompted(config) == {"two.ranker": ranker}
