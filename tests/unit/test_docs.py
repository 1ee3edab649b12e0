"""The documentation is true: commands are accepted, cheap ones run, pages follow the code."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from llmrec.cli import _parsed, is_folder, main
from llmrec.experiment.catalogue import list_text, show_text
from llmrec.experiment.compose import compose_config, config_files
from llmrec.experiment.datasets import data_spec
from llmrec.experiment.launch import is_override
from llmrec.experiment.prompts import composed_prompt
from llmrec.experiment.schema import check_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, *sorted((ROOT / "examples").rglob("*.md")), *ROOT.glob("benchmarks/*.md")]
COMMAND_NAMES = (
    *("run", "audit", "forget", "list", "show", "report", "recommend", "data", "probe", "write"),
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_of(page: Path, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(page.read_text("utf-8")) if kind == language]


def commands_of(page: Path) -> list[list[str]]:
    """Return the words of every ``llmrec`` command in shell blocks and in running text."""
    text = page.read_text("utf-8")
    lines = [
        line for code in code_of(page, "bash") for line in code.replace("\\\n", " ").splitlines()
    ]
    prose = FENCE.sub("", text)
    lines += [" ".join(code.split()) for code in re.findall(r"`(llmrec [^`]*)`", prose)]
    words = [shlex.split(line, comments=True) for line in lines]
    return [each[1:] for each in words if each[:1] == ["llmrec"]]


COMMANDS = sorted(
    {(name_of(page), shlex.join(words)) for page in PAGES for words in commands_of(page)}
)
# Words that stand for something: what the running text calls a command in general.
GENERAL = re.compile(r"…|\b(NAME|RUN|KEY=VALUE|GROUP|FILE)\b")


def runs_of(words: list[str]) -> list[list[str]]:
    """Return the overrides of each job of ``llmrec run``: of a multirun, every combination."""
    overrides = [word for word in words if is_override(word)]
    if not {"-m", "--multirun"} & set(words):
        return [overrides]
    choices = []
    for word in overrides:
        key, _, value = word.partition("=")
        values = [value] if value.startswith("[") else value.split(",")
        choices.append([f"{key}={each}" for each in values])
    return [list(job) for job in itertools.product(*choices)]


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) > 25


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_is_accepted(page: str, command: str) -> None:
    """Every command is parsed, and the config of every run is composed and checked."""
    words = shlex.split(command)
    if GENERAL.search(command) or len(words) == 1:
        assert words[0] in COMMAND_NAMES
        return
    if words[0] == "run":
        if "--resume" in words or "--help" in words:
            return
        for overrides in runs_of(words[1:]):
            check_config(compose_config(overrides))
        return
    options = _parsed(words)
    if options.command == "audit":
        if not is_folder(options.overrides):
            check_config(compose_config(options.overrides))
    elif options.command == "list":
        assert list_text(options.kind)
    elif options.command == "show" and options.words:
        assert composed_prompt(options.words[0], options.words[1:])["model"]["prompt"]
    elif options.command == "show":
        assert show_text(options.name)
    elif options.command == "data":
        assert data_spec(options.name, options.options)


SMALL = ["data=synthetic", "data.n_users=40", "data.n_items=60", "evaluation.n_resamples=100"]


def small(words: list[str]) -> list[str]:
    """Return a run of the docs on a small synthetic data set."""
    kept = [word for word in words[1:] if not word.startswith(("data=", "data.", "hydra."))]
    return ["run", *kept, *SMALL]


def is_cheap(words: list[str]) -> bool:
    """Whether a command runs recommenders, none of them a language model."""
    if words[0] != "run" or GENERAL.search(shlex.join(words)) or {"--cfg", "--resume"} & {*words}:
        return False
    return "language_model" not in str([compose_config(job) for job in runs_of(small(words)[1:])])


CHEAP = sorted(
    {shlex.join(small(words)) for _, line in COMMANDS if is_cheap(words := shlex.split(line))}
)


@pytest.mark.parametrize("command", CHEAP)
def test_the_runs_without_language_models_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 0
    assert list(tmp_path.rglob("comparison.csv"))


def test_what_the_docs_do_with_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = "runs/2026-01-31/12-00-00-000000"
    one = ["run", *SMALL, "experiment=none", "model=ease"]
    assert main([*one, f"folder={folder}"]) == 0
    done = 0
    for command in sorted({command for _, command in COMMANDS}):
        words = shlex.split(command)
        if folder in words:
            known = ["u1" if word == "196" else word for word in words]
            assert main(known) == 0, command
            done += 1
    assert done >= 3


def test_experiments_that_the_docs_show_compose(tmp_path: Path) -> None:
    shown = [(page, code) for page in PAGES for code in code_of(page, "yaml")]
    assert shown
    for place, (_, code) in enumerate(shown):
        path = tmp_path / "experiment" / f"shown{place}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
        own = [f"hydra.searchpath=[file://{tmp_path}]", f"experiment={path.stem}"]
        check_config(compose_config(own))


PYTHON = [
    (name_of(page), number) for page in PAGES for number in range(len(code_of(page, "python")))
]


@pytest.mark.parametrize("page", sorted({page for page, _ in PYTHON}))
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmrec.core.registry import REGISTRIES

    monkeypatch.chdir(tmp_path)
    before = {kind: dict(each._objects) for kind, each in REGISTRIES.items()}
    names: dict[str, Any] = {"__name__": f"page {page}"}
    try:
        for code in code_of(ROOT / page, "python"):
            exec(compile(code, page, "exec"), names)
    finally:
        for kind, each in REGISTRIES.items():
            each._objects.clear()
            each._objects.update(before[kind])


def anchors_of(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
    return set(plain)


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_relative_link_exists(page: Path) -> None:
    prose = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors_of(place), f"{name_of(page)} links to {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        prose = FENCE.sub("", page.read_text("utf-8"))
        targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose)
        todo += [(page.parent / target).resolve() for target in targets if ":" not in target]
    assert [name_of(page) for page in PAGES if page not in reached] == []


def reference() -> Any:
    path = ROOT / "scripts" / "write_reference.py"
    spec = importlib.util.spec_from_file_location("write_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["components.md", "config-keys.md", "combinations.md"])
def test_the_generated_pages_are_up_to_date(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text("utf-8")
    assert reference().PAGES[page]() == written, "make docs writes it again"


def test_configs_that_the_docs_name_exist() -> None:
    for page in PAGES:
        for named in re.findall(r"`configs/([\w/+-]+)\.yaml`", page.read_text("utf-8")):
            assert named in {*config_files(), "model/newest"}, (name_of(page), named)
