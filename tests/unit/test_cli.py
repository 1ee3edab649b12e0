from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import llmrec
from llmrec.cli import main
from llmrec.core.protocols import NO_CONTEXT, FitContext
from llmrec.core.registry import register, registry
from llmrec.core.types import Dataset
from llmrec.experiment.store import load_run
from llmrec.recommenders.simple import Popularity

HEAVY = {"torch", "transformers", "polars", "hydra", "matplotlib", "wandb", "scipy", "rich"}
SMALL = [
    "experiment=none",
    "data=synthetic",
    "data.n_users=40",
    "data.n_items=60",
    "evaluation.n_resamples=100",
    "evaluation.metrics=[ndcg@10,hr@5]",
]
Command = Callable[..., tuple[int, str, str]]


class Troubled(Popularity):
    """Fails as a test wants."""

    trouble: ClassVar[BaseException | None] = None

    def fit(
        self, train: Dataset, valid: Dataset | None = None, context: FitContext = NO_CONTEXT
    ) -> Troubled:
        if type(self).trouble is not None:
            raise type(self).trouble
        super().fit(train, valid, context)
        return self


@pytest.fixture(autouse=True)
def _troubled() -> Iterator[None]:
    register("recommender", "troubled")(Troubled)
    Troubled.trouble = None
    yield
    del registry("recommender")._objects["troubled"]


@pytest.fixture
def llmrec_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command in a folder of its own; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def write(comparison: Any, folder: Path, *, context: Any) -> None:
        (folder / "report.html").write_text(comparison.protocol)

    monkeypatch.setattr("llmrec.experiment.store.write_report", write)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def _sentence(outcome: tuple[int, str, str], code: int = 1) -> str:
    """Return the one message of a command that failed, without a traceback."""
    assert outcome[0] == code
    assert "Traceback (most" not in outcome[2]
    assert "Error executing job" not in outcome[2]
    assert outcome[2].startswith(("llmrec: ", "\nllmrec: "))
    return outcome[2].strip()


# What is not loaded


@pytest.mark.parametrize(
    "code", ["import llmrec", "import llmrec.cli; llmrec.cli.main(['--help'])"]
)
def test_nothing_heavy_is_imported(code: str) -> None:
    code += f"\nimport sys; print('heavy:', *sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("heavy:")


def test_every_public_name_is_there() -> None:
    for name in llmrec.__all__:
        assert getattr(llmrec, name) is not None
    assert set(llmrec.__all__) == set(dir(llmrec))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = llmrec.nothing


def test_threads_wait_without_spinning_unless_the_user_says_otherwise() -> None:
    code = (
        "import os, llmrec.cli; llmrec.cli.main(['--help']); print(os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}

    def policy(**given: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**environment, **given},
        )
        return done.stdout.split()[-1]

    assert policy() == "PASSIVE"
    assert policy(OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


# Help, list, show


def test_version(llmrec_command: Command) -> None:
    assert llmrec_command("--version") == (0, f"llmrec {llmrec.__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["nonsense"], ["show"], ["list", "--unknown"]])
def test_wrong_usage_is_2(llmrec_command: Command, words: list[str]) -> None:
    code, _, err = llmrec_command(*words)
    assert code == 2
    assert "usage: llmrec" in err


def test_list(llmrec_command: Command) -> None:
    code, out, _ = llmrec_command("list")
    assert code == 0
    for word in ("recommender", "ease", "backbone", "bert", "ndcg", "troubled", "[script]"):
        assert word in out
    code, out, _ = llmrec_command("list", "model/backbone")
    assert code == 0
    assert "gpt2" in out
    assert "ease" not in out
    assert 'did you mean "recommender"' in _sentence(llmrec_command("list", "recomender"))


def test_debug_may_come_before_the_command(llmrec_command: Command) -> None:
    assert llmrec_command("--debug", "list", "backbone") == llmrec_command(
        "list", "backbone", "--debug"
    )
    for words in (["--debug", "list", "nothing"], ["--debug", "run", "--resume", "nowhere"]):
        code, _, err = llmrec_command(*words)
        assert code == 1
        assert "Traceback" in err


def test_list_shows_a_broken_plugin(
    llmrec_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    broken = {"broken": EntryPoint("broken", "no_such_module:X", "llmrec.metric")}
    monkeypatch.setitem(registry("metric").__dict__, "_plugins", broken)
    code, out, _ = llmrec_command("list", "metric")
    assert code == 0
    assert "BROKEN" in out
    assert "no_such_module" in out


def test_show(llmrec_command: Command) -> None:
    code, out, _ = llmrec_command("show", "leave_one_out")
    assert code == 0
    assert out.startswith("split leave_one_out\nllmrec.data.splits:LeaveOneOut")
    assert "splits.py" in out
    assert "min_interactions  int   3" in out
    assert "split/leave_one_out" in out
    assert "llmrec run split=leave_one_out" in out
    assert "evaluation/ranking" in llmrec_command("show", "metric/ndcg")[1]
    used = llmrec_command("show", "language_model")[1].partition("Configs: ")[2]
    assert "model/gpt2_items" in used  # it builds on model/language_model
    assert "experiment/quickstart" in used  # which chooses that
    assert "Choose it: llmrec run model=language_model" in used


def test_show_an_unknown_or_ambiguous_name(
    llmrec_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'unknown component "eas" (did you mean "ease"?)' in _sentence(
        llmrec_command("show", "eas")
    )
    monkeypatch.setitem(registry("metric")._objects, "troubled", Troubled)
    assert "recommender/troubled or metric/troubled" in _sentence(
        llmrec_command("show", "troubled")
    )
    assert llmrec_command("show", "metric/troubled")[0] == 0


# Run


def test_run_prints_the_table_and_where_everything_is(
    llmrec_command: Command, tmp_path: Path
) -> None:
    code, out, err = llmrec_command("run", *SMALL, "model=ease", "folder=out")
    assert (code, err) == (0, "")
    assert "ndcg@10" in out
    assert "out/report.html" in out
    assert (tmp_path / "out" / "comparison.csv").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_run_makes_a_folder_by_date(llmrec_command: Command, tmp_path: Path) -> None:
    assert llmrec_command("run", *SMALL, "model=popularity")[0] == 0
    assert len(list(tmp_path.glob("runs/????-??-??/??-??-??-??????/comparison.csv"))) == 1


def test_run_reports_all_problems_of_the_config_at_once(llmrec_command: Command) -> None:
    words = ["model.regularisation=1", "seed=x", "data.n_user=3", "models.eas.seed=1"]
    text = _sentence(llmrec_command("run", *SMALL, "model=ease", *words))
    assert "4 problems in the config" in text
    for part in (
        "model.regularisation",
        "seed: ",
        "data.n_user",
        'no recommender is labelled "eas',
    ):
        assert part in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model=eese"], 'unknown model "eese" (did you mean "ease"?)'),
        (["model.name=ease"], "write model=ease"),
        (["modle=ease"], 'unknown key of the run "modle" (did you mean "model"?)'),
        (["+new.key=1", "model=ease"], 'unknown key of the run "new"'),
        (["model=ease", "model.regularization=None"], "write model.regularization=null"),
        (["model=ease", "seed=[1"], 'cannot read "seed=[1": no viable'),
        (
            ["model=ease", "evaluation=rating", "evaluation.metrics=[rmse]"],
            "does not serve the task rating",
        ),
        ([], "nothing to compare"),
        (["model=language_model", "model/head=generative"], "model.head: generates titles"),
        (["model=language_model", "model/backbone=brt"], 'did you mean "bert"'),
        (["model=gpt2_items", "model.epochs=0"], "model.epochs: "),
        (["data=csv", "model=ease"], "data.interactions: a value is needed"),
        (["--multirun", "model=ease,popularity", "folder=x"], "set hydra.sweep.dir"),
    ],
)
def test_mistakes_are_sentences(llmrec_command: Command, words: list[str], says: str) -> None:
    assert says in _sentence(llmrec_command("run", *SMALL, *words))


def test_a_traceback_only_if_asked_for(llmrec_command: Command) -> None:
    code, _, err = llmrec_command("run", *SMALL, "model=eese", "--debug")
    assert code == 1
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "log.csv"),
        (b"user,item\n1,2\n1,\n", "line 3"),
        (b"user,item\n1,2\n1,2\n", "lines 2 and 3"),
        (b"user,item\n1,\xff\n", "UTF-8"),
        (b"user,thing\n1,2\n", "item"),
    ],
)
def test_bad_files_are_named(
    llmrec_command: Command, tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    words = ["experiment=none", "data=csv", "data.interactions=log.csv", "model=ease"]
    text = _sentence(llmrec_command("run", *words))
    assert "log.csv" in text
    assert says.lower() in text.lower()
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_folder_with_results_is_refused_and_resume_goes_on(
    llmrec_command: Command, tmp_path: Path
) -> None:
    words = [*SMALL, "model=ease", "folder=out"]
    assert llmrec_command("run", *words)[0] == 0
    before = (tmp_path / "out" / "comparison.csv").read_bytes()
    assert "llmrec run --resume out" in _sentence(llmrec_command("run", *words))
    (tmp_path / "out" / "comparison.csv").unlink()
    assert llmrec_command("run", "--resume", "out")[0] == 0
    assert (tmp_path / "out" / "comparison.csv").read_bytes() == before
    assert "seed: 0 then, 1 now" in _sentence(
        llmrec_command("run", *words, "resume=true", "seed=1")
    )


def test_resume_takes_no_overrides_and_needs_a_run(llmrec_command: Command) -> None:
    code, _, err = llmrec_command("run", "--resume", "out", "seed=1")
    assert code == 2
    assert "leave out seed=1" in err
    assert "no run to resume" in _sentence(llmrec_command("run", "--resume", "out"))


def test_a_model_that_fails_is_said_and_the_rest_is_shown(llmrec_command: Command) -> None:
    Troubled.trouble = ValueError("no luck")
    words = ["++models.bad={name: troubled}", "model=ease", "folder=out"]
    outcome = llmrec_command("run", *SMALL, *words)
    assert "bad: ValueError: no luck" in _sentence(outcome)
    assert "llmrec run --resume out" in outcome[2]
    assert "ease" in outcome[1].partition("ndcg@10")[2]


def test_ctrl_c_says_how_to_go_on(llmrec_command: Command) -> None:
    Troubled.trouble = KeyboardInterrupt()
    words = ["model=ease", "++models.bad={name: troubled}", "folder=out"]
    text = _sentence(llmrec_command("run", *SMALL, *words), code=130)
    assert "interrupted; go on with: llmrec run --resume out" in text


def test_a_bug_is_one_line_that_asks_for_debug(
    llmrec_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise TypeError("a bug\nin two lines")

    monkeypatch.setattr("llmrec.experiment.run.run", bug)
    text = _sentence(llmrec_command("run", *SMALL, "model=ease"))
    assert "unexpected TypeError: a bug in two lines (a bug; run it again with --debug" in text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("llmrec.experiment.probing.probe_text", ["probe", "some_run"]),
        ("llmrec.experiment.answers.recommend_text", ["recommend", "some_run", "--user", "u1"]),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: you tried to allocate 16 bytes"),
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_out_of_memory_is_no_bug_in_any_command(
    llmrec_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    words: list[str],
    error: Exception,
) -> None:
    def greedy(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(asked, greedy)
    text = _sentence(llmrec_command(*words))
    assert text.startswith("llmrec: out of memory; of a language model lower batch_size")
    assert "bug" not in text


def test_multirun_goes_on_after_a_failed_job(llmrec_command: Command, tmp_path: Path) -> None:
    words = ["model=ease", "model.regularization=10,x,100", "hydra.sweep.dir=many"]
    text = _sentence(llmrec_command("run", "-m", *SMALL, *words))
    assert "expected float, got 'x'" in text
    found = sorted(path.parent.name for path in tmp_path.glob("many/*/comparison.csv"))
    assert found == ["0", "2"]


def test_hydra_help_and_config_are_hydras(llmrec_command: Command) -> None:
    code, out, _ = llmrec_command("run", *SMALL, "--help")
    assert code == 0
    assert "--resume RUN" in out
    assert "leave_one_out" in out
    code, out, _ = llmrec_command("run", *SMALL, "model=ease", "--cfg", "job")
    assert code == 0
    assert "n_users: 40" in out
    assert "name: ease" in out


def test_configs_of_a_users_own_folder(llmrec_command: Command, tmp_path: Path) -> None:
    own = tmp_path / "own" / "model"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("name: ease\nregularization: 7\n")
    words = [f"hydra.searchpath=[file://{tmp_path}/own]", "model=mine", "folder=out"]
    assert llmrec_command("run", *SMALL, *words)[0] == 0
    assert load_run(tmp_path / "out").config["model"]["regularization"] == 7


# Report, recommend, data


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "out"
    assert main(["run", *SMALL, "model=ease", f"folder={folder}"]) == 0
    return folder


@pytest.fixture
def finished(llmrec_command: Command, finished_once: Path, tmp_path: Path) -> Path:
    """Return a finished run that a test may change."""
    return Path(shutil.copytree(finished_once, tmp_path / "out"))


def test_report_rebuilds_and_merges(
    llmrec_command: Command, finished: Path, tmp_path: Path
) -> None:
    before = (finished / "comparison.csv").read_bytes()
    (finished / "comparison.csv").unlink()
    code, out, _ = llmrec_command("report", str(finished))
    assert code == 0
    assert "ndcg@10" in out
    assert (finished / "comparison.csv").read_bytes() == before
    words = ["model=ease", "model.regularization=1", "folder=other"]
    assert llmrec_command("run", *SMALL, *words)[0] == 0
    code, out, _ = llmrec_command("report", "out", "other", "--output", "merged")
    assert code == 0
    assert "ease [out]" in out
    assert "ease [other]" in out
    assert (tmp_path / "merged" / "report.html").is_file()


def test_report_refuses_what_is_no_run_or_other_data(
    llmrec_command: Command, finished: Path
) -> None:
    assert "nowhere is not a run folder" in _sentence(llmrec_command("report", "nowhere"))
    words = ["data.seed=1", "model=ease", "folder=other"]
    assert llmrec_command("run", *SMALL, *words)[0] == 0
    _sentence(llmrec_command("report", "out", "other"))


def test_report_averages_the_folds_of_one_split(llmrec_command: Command, tmp_path: Path) -> None:
    words = ["split=random_k_fold", "split.fold=0,1,2", "model=popularity", "hydra.sweep.dir=many"]
    assert llmrec_command("run", "-m", *SMALL, *words)[0] == 0
    folders = [f"many/{fold}" for fold in range(3)]
    code, out, _ = llmrec_command("report", *folders, "--output", "folds")
    assert code == 0
    assert "3 of 5 folds" in out
    values = [load_run(folder).results[0].overall["ndcg@10"] for folder in folders]
    mean = sum(values) / 3
    deviation = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    assert f"{mean:.4f} ± {deviation:.4f}" in out
    assert (tmp_path / "folds" / "folds.csv").is_file()


def test_recommend_shows_titles_scores_and_what_was_liked(
    llmrec_command: Command, finished: Path
) -> None:
    code, out, _ = llmrec_command("recommend", str(finished), "--user", "u3", "-k", "4")
    assert code == 0
    data = load_run(finished).dataset()
    history = data.histories[data.user_index("u3")]
    titles = data.item_fields["title"]
    assert f"user u3 has {len(history)} items; the best rated 10:" in out
    liked, _, listed = out.partition('"ease" recommends')
    assert len(listed.strip().splitlines()) == 4
    ratings = [float(line.split()[0]) for line in liked.strip().splitlines()[1:]]
    assert ratings == sorted(ratings, reverse=True)
    assert not [item for item in history if f"  {titles[item]} " in listed]


def test_recommend_to_a_new_user(llmrec_command: Command, finished: Path) -> None:
    code, out, _ = llmrec_command("recommend", "out", "--items", "i1, i2", "--model", "ease")
    assert code == 0
    assert "a new user has 2 items:" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--user", "nobody"], 'user "nobody" is not in synthetic; it has 40 users'),
        (["--items", "i1,nothing"], 'item "nothing" is not in synthetic'),
        (["--items", " , "], "needs at least one item id"),
        (["--user", "u1", "--model", "eas"], 'unknown model of out "eas" (did you mean "ease"?)'),
    ],
)
def test_recommend_mistakes(
    llmrec_command: Command, finished: Path, words: list[str], says: str
) -> None:
    assert says in _sentence(llmrec_command("recommend", "out", *words))


def test_recommend_notices_other_data(llmrec_command: Command, finished: Path) -> None:
    config = (finished / "config.yaml").read_text()
    (finished / "config.yaml").write_text(config.replace("n_users: 40", "n_users: 41"))
    assert "has changed since" in _sentence(llmrec_command("recommend", "out", "--user", "u1"))


def test_recommend_needs_a_user_and_a_positive_k(llmrec_command: Command) -> None:
    assert llmrec_command("recommend", "out")[0] == 2
    assert llmrec_command("recommend", "out", "--user", "u1", "-k", "0")[0] == 2


def test_data_describes_a_data_set(llmrec_command: Command) -> None:
    code, out, _ = llmrec_command("data", "synthetic", "n_users=50", "n_items=70")
    assert code == 0
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (facts["users"], facts["items"]) == ("50", "70")
    assert {"ratings", "time", "density", "fingerprint"} <= set(facts)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["synthetik"], 'unknown source "synthetik" (did you mean "synthetic"?)'),
        (["synthetic", "n_user=1"], 'unknown key of source "synthetic" "n_user"'),
        (["synthetic", "50"], "expected key=value"),
    ],
)
def test_data_mistakes(llmrec_command: Command, words: list[str], says: str) -> None:
    assert says in _sentence(llmrec_command("data", *words))


# As a process


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--version"], 0), (["list", "nothing"], 1), (["nonsense"], 2), (["run", "data.name=x"], 1)],
)
def test_exit_codes_of_the_process(words: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmrec.cli", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m llmrec.cli list | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
