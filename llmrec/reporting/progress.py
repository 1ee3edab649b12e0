"""What a run is doing: a live line per model on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from llmrec.evaluation.result import ModelResult
from llmrec.reporting.terminal import FAMILY_STYLE, make_console
from llmrec.reporting.text import number, row_name, seconds

State = Literal["waiting", "fitting", "scoring", "done", "failed"]
_BAR = 16
_RUNNING: tuple[State, ...] = ("fitting", "scoring")


@dataclass
class _Line:
    """What is known of one model."""

    state: State = "waiting"
    share: float = 0.0
    text: str = ""
    style: str = ""
    started: float = 0.0
    seconds: float = 0.0


class Progress:
    """Shows one line per model while a run goes on; a context manager.

    Example:
        >>> import io
        >>> with Progress(["ease"], console=Console(file=io.StringIO())) as progress:
        ...     report = progress.reporter("ease")  # goes into FitContext.progress
        ...     report(0.5, "solving")
        ...     progress.scoring("ease")
    """

    def __init__(self, labels: Sequence[str], *, console: Console | None = None) -> None:
        """Prepare the lines.

        Args:
            labels: the models in the order they will run.
            console: where to show them; by default standard output.
        """
        self._console = make_console() if console is None else console
        self._lines = {label: _Line() for label in labels}
        self._start = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        if self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def fitting(self, label: str, share: float = 0.0, text: str = "") -> None:
        """Show that a model is being fitted, how far it is (0..1) and a short text."""
        line = self._running(label, "fitting")
        line.share = min(max(share, 0.0), 1.0)
        line.text = text

    def reporter(self, label: str) -> Callable[[float, str], None]:
        """Return what a fit calls with the share done and a short text."""

        def report(share: float, text: str) -> None:
            self.fitting(label, share, text)

        return report

    def scoring(self, label: str) -> None:
        """Show that a model is being judged."""
        line = self._running(label, "scoring")
        line.text = ""

    def done(self, result: ModelResult) -> None:
        """Show the main metric of a judged model and how long it took."""
        metric = result.metrics[0]
        text = f"{metric} {number(result.overall[metric])}"
        mark = row_name(result)[len(result.label) :]
        line = self._finish(result.label, "done", text + mark)
        line.style = FAMILY_STYLE[result.info.family]
        self._say(f"{result.label}: {line.text}, {seconds(line.seconds)}")

    def failed(self, label: str, sentence: str) -> None:
        """Show why a model has no result."""
        self._finish(label, "failed", sentence)
        self._say(f"{label}: failed: {sentence}")

    def _running(self, label: str, state: State) -> _Line:
        line = self._lines.setdefault(label, _Line())
        if line.state not in _RUNNING:
            line.started = time.monotonic()
            place = list(self._lines).index(label) + 1
            self._say(f"{label}: {state} ({place} of {len(self._lines)})")
        line.state = state
        return line

    def _finish(self, label: str, state: State, text: str) -> _Line:
        line = self._lines.setdefault(label, _Line())
        line.seconds = time.monotonic() - line.started if line.started else 0.0
        line.state, line.text = state, text
        if self._live is not None:
            self._live.refresh()
        return line

    def _say(self, sentence: str) -> None:
        if self._live is None:
            self._console.print(escape(sentence), soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        done = sum(line.state in ("done", "failed") for line in self._lines.values())
        passed = seconds(float(round(time.monotonic() - self._start)))
        yield Text(f"{done} of {len(self._lines)} models · {passed}", "bold")
        shown, before, after = self._window(max(options.size.height - 4, 3))
        if before:
            yield Text(f"  … {before} done above", "dim")
        width = max(len(label) for label in self._lines) if self._lines else 0
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, width=min(width, max(console.width // 3, 12)))
        table.add_column(no_wrap=True, overflow="ellipsis")
        for label in shown:
            line = self._lines[label]
            table.add_row(_symbol(line.state), Text(label, line.style), _what(line))
        yield table
        if after:
            yield Text(f"  … {after} more waiting", "dim")

    def _window(self, height: int) -> tuple[list[str], int, int]:
        """Return the labels that fit a low terminal, and how many are left out before and after."""
        labels = list(self._lines)
        if len(labels) <= height:
            return labels, 0, 0
        active = [i for i, label in enumerate(labels) if self._lines[label].state != "waiting"]
        last = min(len(labels), max((active[-1] if active else 0) + 2, height))
        first = last - height
        return labels[first:last], first, len(labels) - last


def _symbol(state: State) -> Text:
    return {
        "waiting": Text("·", "dim"),
        "fitting": Text("▶", "blue"),
        "scoring": Text("▶", "blue"),
        "done": Text("✓", "green"),
        "failed": Text("✗", "red"),
    }[state]


def _what(line: _Line) -> Text:
    if line.state == "waiting":
        return Text("waiting", "dim")
    if line.state == "failed":
        return Text(line.text, "red")
    if line.state == "done":
        return Text.assemble((line.text, "bold"), (f"  {seconds(line.seconds)}", "dim"))
    passed = seconds(float(round(time.monotonic() - line.started)))
    if line.state == "scoring":
        return Text.assemble("scoring", (f"  {passed}", "dim"))
    full = round(_BAR * line.share)
    bar = Text.assemble(("━" * full, "blue"), ("─" * (_BAR - full), "dim"))
    note = f"  {passed}  {line.text}"
    return Text.assemble("fitting ", bar, f" {line.share:4.0%}", (note, "dim"))
