"""How far a run is: a bar on a terminal, plain lines elsewhere. Both go to standard error, so that a result can be piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    def begin(self, doing: str, total: int) -> None:
        """A stage begins, of `total` bytes."""

    def advance(self, read: int, documents: int) -> None: ...

    def say(self, line: str) -> None:
        """Something that a person should know now."""


class Silent:
    def begin(self, doing: str, total: int) -> None: ...

    def advance(self, read: int, documents: int) -> None: ...

    def say(self, line: str) -> None: ...


class Lines:
    """A line when a stage begins, and one every few seconds."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every_s = every_s
        self._doing, self._total, self._read, self._documents = "", 0, 0, 0
        self._last = 0.0

    def begin(self, doing: str, total: int) -> None:
        self._doing, self._total, self._read, self._documents = doing, total, 0, 0
        self._last = time.monotonic()
        self.say(doing)

    def advance(self, read: int, documents: int) -> None:
        self._read += read
        self._documents += documents
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            sizes = "" if self._read == self._documents else f", {self._read / 1e6:,.0f} of {self._total / 1e6:,.0f} MB"
            self.say(f"{self._doing}: {self._documents:,} documents{sizes}")

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class Bar:
    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None
        self._total = self._documents = 0

    def begin(self, doing: str, total: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=self._total)
        self._total = max(1, total)
        self._task = self._bars.add_task(doing, total=self._total, documents=0)
        self._documents = 0

    def advance(self, read: int, documents: int) -> None:
        self._documents += documents
        self._bars.update(self._task, advance=read, documents=self._documents)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)


@contextmanager
def shown() -> Iterator[Progress]:
    """What suits the place that standard error leads to."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[documents]:,} documents"),
    )
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        yield Bar(bars)
