"""``llmrec run``: Hydra composes the config and starts the jobs; a run knows nothing of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmrec.core.errors import LlmrecError, RunError
from llmrec.experiment.compose import config_folder, plain, prepare_overrides, read_yaml, readable
from llmrec.experiment.folder import CONFIG, default_folder, is_run


def launch(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: Hydra's flags and overrides, ``--resume RUN``, ``--debug``.

    Raises:
        LlmrecError: one sentence on what went wrong; in a multirun after the last job.
    """
    parser = argparse.ArgumentParser(prog="llmrec run", add_help=False, allow_abbrev=False)
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--resume", type=Path, metavar="RUN")
    options, rest = parser.parse_known_args(list(arguments))
    if options.resume is not None:
        if rest:
            parser.error(
                "--resume goes on with the config of the run folder; leave out " + " ".join(rest)
            )
        execute(saved_config(options.resume), options.resume)
        return 0
    # Flags first: Hydra's parser wants all overrides in one piece.
    overrides = [word for word in rest if is_override(word)]
    flags = [word for word in rest if not is_override(word)]
    _hydra([*flags, *prepare_overrides(overrides)])
    return 0


def is_override(word: str) -> bool:
    """Whether a word of the command line is an override, not a flag or the value of one."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def saved_config(folder: Path) -> dict[str, Any]:
    """Return the config that goes on with a run folder.

    Raises:
        RunError: if the folder holds no run.
    """
    if not is_run(folder):
        raise RunError(f"there is no run to resume in {folder}")
    return {**read_yaml(folder / CONFIG), "resume": True}


def _hydra(words: list[str]) -> None:
    """Give the command line to Hydra; its errors and those of the jobs come out as sentences."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    root = config_folder()
    main_process = os.getpid()
    failed: list[tuple[str, Exception]] = []

    def job(config: Any) -> None:
        context = HydraConfig.get()
        multirun = context.mode == RunMode.MULTIRUN
        try:
            values = plain(config)
            if multirun:
                if values.get("folder") is not None:
                    raise RunError("folder is one folder, this is a multirun: set hydra.sweep.dir")
                values["folder"] = context.runtime.output_dir
            execute(values, Path(values["folder"]) if values.get("folder") else default_folder())
        except Exception as error:
            # Hydra would print a line of its own and drop the jobs that remain.
            if os.getpid() != main_process:
                raise
            failed.append((" ".join(context.overrides.task), error))

    with _command_line(words):
        try:
            hydra.main(version_base="1.3", config_path=str(root), config_name="run")(job)()
        except Exception as error:
            raise readable(error, root) from error
    if len(failed) == 1:
        raise readable(failed[0][1], root) from failed[0][1]
    if failed:
        lines = "\n".join(f"  - {words}: {error}" for words, error in failed)
        raise RunError(f"{len(failed)} jobs failed:\n{lines}")


@contextmanager
def _command_line(words: list[str]) -> Iterator[None]:
    """Show Hydra its command line, and let its errors through instead of printing them."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["llmrec run", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


def execute(config: Mapping[str, Any], folder: Path) -> None:
    """Run one config with a progress display, and print the table.

    Raises:
        LlmrecError: as `llmrec.experiment.run.run`.
        KeyboardInterrupt: with how to go on as its message.
    """
    from llmrec.experiment.audits import left_out_words
    from llmrec.experiment.findings import audit_line
    from llmrec.experiment.run import FailedModelsError, run
    from llmrec.experiment.schema import check_config, complete, recommenders
    from llmrec.experiment.store import load_run
    from llmrec.reporting.progress import Progress
    from llmrec.reporting.terminal import make_console, print_comparison

    check_config(config)
    full = complete(config)
    labels = [*recommenders(full), *full["ensembles"]]
    console = make_console()
    console.print(
        f"{', '.join(labels)} on {full['data']['name']}, split {full['split']['name']}, "
        f"task {full['evaluation']['task']}: {folder}",
        soft_wrap=True,
        markup=False,
    )
    failure: LlmrecError | None = None
    try:
        with Progress(labels, console=console) as progress:
            comparison = run(config, folder=folder, watcher=progress)
    except FailedModelsError as error:
        if error.comparison is None:
            raise
        failure, comparison = error, error.comparison
    except KeyboardInterrupt:
        how = f"go on with: llmrec run --resume {folder}" if is_run(folder) else "nothing was kept"
        raise KeyboardInterrupt(how) from None
    data = load_run(folder).data
    print_comparison(comparison, console=console, leaks=data["leaks"])
    left_out = left_out_words(data["split"]["left_out"])
    if left_out:
        console.print(f"\n{left_out}", soft_wrap=True, markup=False)
    console.print(f"\n{audit_line(folder)}", soft_wrap=True, markup=False)
    console.print(f"Report: {folder / 'report.html'}", soft_wrap=True, markup=False)
    if failure is not None:
        raise failure
