"""Trackers: none, or Weights & Biases, which works offline and silently without an account."""

from __future__ import annotations

import math
import netrc
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from llmrec.core.errors import RunError
from llmrec.core.extras import require

_HOST = "https://api.wandb.ai"
_FOLDERS = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")
_ONLINE_TIMEOUT = 20.0

Mode = Literal["online", "offline", "disabled"]


class NoTracker:
    """Reports nowhere; the run folder holds everything anyway."""

    def start(self, config: Mapping[str, Any], folder: Path) -> None:
        del config, folder

    def log(self, values: Mapping[str, float], step: int) -> None:
        del values, step

    def finish(self, rows: list[dict[str, Any]], folder: Path, failed: bool = False) -> None:
        del rows, folder, failed


class WandbTracker:
    """Weights & Biases: config, curves, the final table, and the files of the run folder.

    Curves named ``LABEL/NAME`` get a step of their own per label. The summary holds
    ``LABEL/COLUMN`` for every number of the final table, for sweeps to optimise. The files go in as
    one artifact of the top level of the run folder: tables, report, config; no models.
    """

    def __init__(
        self,
        *,
        project: str = "llmrec",
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
    ) -> None:
        """Keep the options; wandb is imported when a run starts.

        Args:
            project: of W&B.
            entity: user or team, by default the account's.
            group: runs that belong together.
            tags: words to find the run by.
            mode: ``auto`` is what ``WANDB_MODE`` says; without it, online if there is an API key
                (``WANDB_API_KEY`` or netrc) and the server answers (a warning if not), else
                offline: ``wandb sync`` uploads the run later.
        """
        self.project = project
        self.entity = entity
        self.group = group
        self.tags = tags
        self.mode = mode
        self._run: Any = None
        self._stepped: set[str] = set()
        self._lent: list[str] = []

    @property
    def run_id(self) -> str | None:
        """The id that W&B gave the run (an agent's own id under an agent), None outside a run."""
        return None if self._run is None else str(self._run.id)

    def start(self, config: Mapping[str, Any], folder: Path) -> None:
        """Open the tracked run; its files are in ``wandb`` inside the run folder.

        Raises:
            MissingExtraError: if wandb is not installed.
            RunError: if W&B is wanted online and does not answer, or refuses.
        """
        wandb = require("wandb", "track", "tracker wandb")
        self._stepped = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._keep_inside(folder)
        chosen = _chosen_mode() if self.mode == "auto" else self.mode
        mode = chosen or ("online" if _has_key() else "offline")
        try:
            self._run = self._init(wandb, config, folder, mode)
        except wandb.errors.CommError as error:
            if chosen is not None or isinstance(error, wandb.errors.AuthenticationError):
                self._let_go()
                raise _refused(mode, error) from error
            warnings.warn(
                f"Weights & Biases does not answer, so this run is kept offline: {_words(error)}; "
                f"upload it later with: wandb sync {folder / 'wandb'}/offline-run-*",
                stacklevel=2,
            )
            self._run = self._init(wandb, config, folder, "offline")
        except wandb.errors.Error as error:
            self._let_go()
            raise _refused(mode, error) from error

    def _init(self, wandb: Any, config: Mapping[str, Any], folder: Path, mode: Mode) -> Any:
        wandb.setup(wandb.Settings(silent=True))  # before it says where a key came from
        return wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            tags=None if self.tags is None else list(self.tags),
            config=dict(config),
            dir=str(folder),
            mode=mode,
            settings=wandb.Settings(silent=True, console="off", init_timeout=_ONLINE_TIMEOUT),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values of a curve at a step of their label."""
        if self._run is None:
            return
        entry: dict[str, float] = {}
        for name, value in values.items():
            label = name.rpartition("/")[0]
            counter = f"{label}/step" if label else "step"
            if counter not in self._stepped:
                self._run.define_metric(counter, hidden=True)
                self._run.define_metric(f"{label}/*" if label else "*", step_metric=counter)
                self._stepped.add(counter)
            entry |= {counter: step, name: float(value)}
        self._run.log(entry)

    def finish(self, rows: list[dict[str, Any]], folder: Path, failed: bool = False) -> None:
        """Log the final table and the files of the run folder, and close, also after a failure."""
        if self._run is None:
            return
        wandb = require("wandb", "track", "tracker wandb")
        run, self._run = self._run, None
        try:
            if rows:
                _log_table(run, rows)
            _log_files(run, folder, failed)
        except (OSError, wandb.errors.Error) as error:
            sentence = f"Weights & Biases could not take the results: {_words(error)}"
            if not failed:
                failed = True
                raise RunError(f"{sentence}. The run folder {folder} is complete") from error
            warnings.warn(sentence, stacklevel=2)  # what made the run fail matters more
        finally:
            run.finish(exit_code=1 if failed else 0)
            self._let_go()

    def _keep_inside(self, folder: Path) -> None:
        """Have W&B stage files in the run folder, not in the home, which may be read-only."""
        for name in _FOLDERS:
            if name not in os.environ:
                os.environ[name] = str((folder / "wandb").resolve())
                self._lent.append(name)

    def _let_go(self) -> None:
        while self._lent:
            os.environ.pop(self._lent.pop(), None)


def _chosen_mode() -> Mode | None:
    chosen = os.environ.get("WANDB_MODE")
    for mode in get_args(Mode):
        if chosen == mode:
            return mode
    return None


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _refused(mode: str, error: BaseException) -> RunError:
    return RunError(
        f"Weights & Biases cannot start the run ({mode}): {_words(error)}; "
        "tracker.mode=offline needs neither network nor account"
    )


def _has_key() -> bool:
    """Return whether W&B could log in without asking."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _HOST).hostname or ""
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _log_table(run: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    wandb = require("wandb", "track", "tracker wandb")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    data = [[_plain(row.get(column)) for column in columns] for row in rows]
    run.log({"comparison": wandb.Table(columns=columns, data=data)})
    for row in rows:
        label = next(iter(row.values()))  # the first column names the row
        run.summary.update(
            {
                f"{label}/{key}": _plain(value)
                for key, value in row.items()
                if isinstance(value, int | float) and _plain(value) is not None
            }
        )


def _plain(value: Any) -> Any:
    """Return a value that JSON knows: numpy's numbers as Python's, NaN as None."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _log_files(run: Any, folder: Path, failed: bool) -> None:
    wandb = require("wandb", "track", "tracker wandb")
    files = [path for path in sorted(folder.glob("[!.]*")) if path.is_file()]
    if not files:
        return
    name = re.sub(r"[^\w.-]+", "-", f"run-{run.id}-files")
    artifact = wandb.Artifact(name, type="run-folder", metadata={"failed": failed})
    for path in files:
        artifact.add_file(str(path), name=path.name, policy="immutable")  # no second copy
    run.log_artifact(artifact)
