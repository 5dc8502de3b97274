"""How a chain's progress is shown: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from .rules import Step
from .run import Progress, Reporter

_QUIET = 10.0  # seconds between two plain lines about one step


@contextmanager
def best_for(stream: TextIO = sys.stderr) -> Iterator[Reporter]:
    """Bars on a terminal, plain lines elsewhere."""
    reporter: Reporter = BarReporter() if stream.isatty() else LineReporter(stream)
    try:
        yield reporter
    finally:
        reporter.close()


def _figures(progress: Progress) -> str:
    return " ".join(f"{key}={value:,}" if isinstance(value, int) else f"{key}={value:.4g}" for key, value in progress.figures.items())


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


class LineReporter:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = 0.0

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def begin(self, step: Step, number: int, of: int) -> None:
        self._say(f"[{number}/{of}] {step.name}: {step.why or step.uses}")
        self._last = time.monotonic()

    def progress(self, step: Step, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= _QUIET:
            self._last = now
            eta = f", about {_span(progress.eta_s)} to go" if progress.eta_s is not None else ""
            self._say(f"        {step.name}: {progress.step}/{progress.of} {progress.doing} {_figures(progress)}{eta}")

    def done(self, step: Step, outputs: Mapping[str, Any], seconds: float, *, kept: bool) -> None:
        self._say(f"        {step.name}: " + ("finished before, kept" if kept else f"done in {_span(seconds)}"))

    def failed(self, step: Step, error: str) -> None:
        self._say(f"        {step.name}: FAILED")  # the reason comes with the error that ends the command

    def notice(self, text: str) -> None:
        self._say(f"        {text}")

    def close(self) -> None:
        pass


class BarReporter:
    """One bar for the chain, one for the step at work, with its reason and the time to go."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._console = Console(stderr=True, highlight=False)
        self._bars = Bars(
            TextColumn("{task.description}"), BarColumn(bar_width=28), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"),
            console=self._console, transient=True,
        )  # fmt: skip
        self._chain: Any = None
        self._step: Any = None

    def begin(self, step: Step, number: int, of: int) -> None:
        if self._chain is None:
            self._bars.start()
            self._chain = self._bars.add_task("chain", total=of, note="")
        self._bars.update(self._chain, completed=number - 1, description=f"[bold]{step.name}[/bold]", note=step.why)
        self._step = self._bars.add_task(step.name, total=None, note="starting")

    def progress(self, step: Step, progress: Progress) -> None:
        eta = f"· {_span(progress.eta_s)} to go" if progress.eta_s is not None else ""
        self._bars.update(
            self._step,
            total=progress.of,
            completed=progress.step,
            description="  " + progress.doing[:40],
            note=f"{_figures(progress)} {eta}",
        )

    def _end(self) -> None:
        self._bars.remove_task(self._step)

    def done(self, step: Step, outputs: Mapping[str, Any], seconds: float, *, kept: bool) -> None:
        self._end()
        self._bars.advance(self._chain)
        self._console.print(f"[green]✓[/green] {step.name:<14} {'kept' if kept else _span(seconds):>12}  [dim]{step.why}[/dim]")
        if self._bars.tasks[0].completed == self._bars.tasks[0].total:
            self._bars.stop()

    def failed(self, step: Step, error: str) -> None:
        self._end()
        self._bars.stop()
        self._console.print(f"[red]✗[/red] {step.name}", markup=True)

    def notice(self, text: str) -> None:
        self._console.print(f"[yellow]{text}[/yellow]")

    def close(self) -> None:
        self._bars.stop()
