"""A package of its own adds components by entry points; nothing here knows of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import llmrec
from llmrec.experiment.store import load_run

PLUGIN = Path(__file__).parents[2] / "examples" / "llmrec-example-plugin"
SEARCHPATH = "hydra.searchpath=[pkg://llmrec_example_plugin.configs]"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment that has the plugin and sees the parent's."""
    folder = tmp_path_factory.mktemp("plugin")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    parent = sysconfig.get_path("purelib")
    line = f"import site; site.addsitedir({parent!r})\n"
    (Path(found.stdout.strip()) / "parent.pth").write_text(line)
    # A copy: setuptools builds in the source folder.
    source = shutil.copytree(PLUGIN, folder / "source")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    install += ["--no-index", "--no-deps", "--no-build-isolation", source]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def command(python: Path, tmp_path: Path) -> Command:
    """Run ``llmrec`` in the new environment, with the distributions of a folder if there is one."""

    def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "llmrec.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "extra"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=check,
        )

    return run


def distribution(folder: Path, name: str, entry_points: str, **modules: str) -> None:
    """Write an installed distribution: what ``llmrec`` sees of a package."""
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(code)


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


def test_list_and_show_know_both_components(command: Command) -> None:
    listed = command("list").stdout
    for name, words in (
        ("small_distilbert", "both directions"),
        ("recent_popularity", "half-life"),
    ):
        assert words in line_of(listed, name)
        assert line_of(listed, name).endswith("[llmrec-example-plugin]")
    assert not line_of(listed, "bert").endswith("]")
    shown = command("show", "recent_popularity").stdout
    assert shown.startswith(
        "recommender recent_popularity\nllmrec_example_plugin.recent_popularity"
    )
    assert "half_life_days  float  30.0" in shown
    assert str(llmrec.__version__) in command("--version").stdout


def test_a_run_uses_both_by_config_and_by_name(command: Command, tmp_path: Path) -> None:
    command(
        "run",
        "experiment=none",
        "data=synthetic",
        "data.n_users=20",
        "data.n_items=40",
        "evaluation.n_resamples=100",
        SEARCHPATH,
        "model=language_model",
        "model/backbone=small_distilbert",
        "model/prompt=items_no_text",
        "model.backbone.hidden_size=16",
        "model.backbone.n_layers=1",
        "model.epochs=1",
        "+model@models.recent=recent_popularity",
        "++models.week={name: recent_popularity, half_life_days: 7}",
        "folder=out",
    )
    run = load_run(tmp_path / "out")
    assert run.config["model"]["backbone"]["name"] == "small_distilbert"
    assert run.config["models"]["recent"]["half_life_days"] == 30.0
    labels = [result.label for result in run.results]
    assert labels == ["recent", "week", "language_model small_distilbert+full+classification+items"]
    weights = [result.info.weights for result in run.results]
    assert weights == ["", "", "random init, no text"]
    recent, week = (run.result(label).ranks for label in ("recent", "week"))
    assert recent is not None
    assert week is not None
    assert (recent.values != week.values).any()
    shown = command("recommend", "out", "--model", "week", "--user", "u3").stdout
    assert '"week" recommends' in shown


def test_its_own_conformance_tests_pass(python: Path) -> None:
    tests = python.parents[2] / "source" / "tests"
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", tests]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, *words], cwd=tests, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_wrong_options_of_a_plugin_are_found_like_any_other(command: Command) -> None:
    words = ["run", "experiment=none", "data=synthetic", SEARCHPATH, "model=recent_popularity"]
    done = command(*words, "model.half_life=1", "model.half_life_days=-1", check=False)
    assert done.returncode == 1
    assert 'unknown key of recommender "recent_popularity" "half_life" (did you mean' in done.stderr
    done = command(*words, "model.half_life_days=-1", check=False)
    assert "model.half_life_days: must be above 0" in done.stderr


def test_a_plugin_that_cannot_be_imported_is_listed_and_raises_when_chosen(
    command: Command, tmp_path: Path
) -> None:
    points = "[llmrec.recommender]\nshaky = shaky:Shaky\nabsent = shaky_absent:Absent\n"
    distribution(tmp_path / "extra", "shaky", points, shaky="1 / 0\n")
    listed = command("list", "recommender").stdout
    assert "BROKEN" in line_of(listed, "shaky")
    assert "ZeroDivisionError: division by zero  [shaky]" in line_of(listed, "shaky")
    assert "No module named 'shaky_absent'" in line_of(listed, "absent")
    assert "half-life" in line_of(listed, "recent_popularity")
    done = command(
        *("run", "experiment=none", "data=synthetic", "++models.x={name: shaky}"), check=False
    )
    assert done.returncode == 1
    assert 'recommender "shaky" (shaky:Shaky) cannot be imported: ZeroDivisionError' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_llmrec_has_is_refused(command: Command, tmp_path: Path) -> None:
    distribution(tmp_path / "extra", "copycat", "[llmrec.recommender]\nease = copycat:Ease\n")
    done = command("list", "recommender", check=False)
    assert done.returncode == 1
    says = 'recommender "ease" of package copycat has the name of a built-in component'
    assert says in done.stderr


def test_a_name_of_two_plugins_is_refused(command: Command, tmp_path: Path) -> None:
    points = "[llmrec.backbone]\nsmall_distilbert = other:DistilBERT\n"
    distribution(tmp_path / "extra", "other", points)
    done = command("show", "small_distilbert", check=False)
    assert done.returncode == 1
    assert 'backbone "small_distilbert" is registered twice' in done.stderr
    for package in ("other", "llmrec-example-plugin"):
        assert package in done.stderr
