"""How far a run is: a bar on a terminal, plain lines elsewhere. Both go to standard error, so that a result can be piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        self._stage = _Stage("", 0)
        self._last = 0.0

    def begin(self, doing: str, total: int) -> None:
        self._stage = _Stage(doing, total)
        self._last = time.monotonic()
        self.say(doing)

    def advance(self, read: int, documents: int) -> None:
        self._stage.advance(read, documents)
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            self.say(f"{self._stage.doing}: {self._stage.told()}")

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


_DRAWN_EVERY_S = 0.1


class Bar:
    """Drawn when there is something new: a thread that draws would be in the way of processes that are copies of this one."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None
        self._last = 0.0
        self._stage = _Stage("", 0)

    def begin(self, doing: str, total: int) -> None:
        self.finish()
        self._stage = _Stage(doing, total)
        self._task = self._bars.add_task(doing, total=max(1, total), told="")

    def advance(self, read: int, documents: int) -> None:
        self._stage.advance(read, documents)
        due = time.monotonic() - self._last >= _DRAWN_EVERY_S
        self._last = time.monotonic() if due else self._last
        self._bars.update(self._task, advance=read, told=self._stage.told(), refresh=due)

    def finish(self) -> None:
        """The stage is over, whatever was told of it."""
        if self._task is not None:
            self._bars.update(self._task, completed=max(1, self._stage.total), refresh=True)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)


@dataclass(slots=True)
class _Stage:
    """What is being done, and how much of it is. Some stages count documents alone: then `read` counts them too."""

    doing: str
    total: int
    read: int = 0
    documents: int = 0

    def advance(self, read: int, documents: int) -> None:
        self.read += read
        self.documents += documents

    def told(self) -> str:
        if self.read == self.documents:
            return f"{self.documents:,} of {self.total:,} documents"
        return f"{size(self.read)} of {size(self.total)}, {self.documents:,} documents"


def size(count: float) -> str:
    """Bytes for people: 913 bytes, 2.9 MB, 160 MB."""
    if count < 1000:
        return f"{count:.0f} {'byte' if count == 1 else 'bytes'}"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            break
    return f"{count:,.1f} {unit}" if count < 99.95 else f"{count:,.0f} {unit}"


@contextmanager
def shown() -> Iterator[Progress]:
    """What suits the place that standard error leads to."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = ("{task.description}", BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn(elapsed_when_finished=True))
    with Bars(*columns, console=Console(stderr=True), auto_refresh=False) as bars:
        bar = Bar(bars)
        yield bar
        bar.finish()
