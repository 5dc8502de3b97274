"""A site in memory, on a clock that tests move: everything that a site promises, and nothing that needs a machine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from tests.compute.conftest import furnish

from lilong.floors.compute.contract import (
    AlreadySubmitted,
    Compute,
    Ending,
    Exit,
    Inventory,
    Job,
    JobAsk,
    LogPart,
    Mode,
    Output,
    Phase,
    Sight,
    SiteDown,
    SiteNode,
    Task,
    Usage,
    Watched,
)
from lilong.floors.compute.service import budget
from lilong.floors.compute.service.port import Jobs
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.work import Dispatcher
from lilong.floors.compute.work.sites import Sites
from lilong.ground.access import SYSTEM
from lilong.ground.config import load
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate
from lilong.ground.seams import stamp


class TestClock:
    """Time stands still until it is moved. `set_by`: seconds by which somebody has set the clock on the wall."""

    __test__ = False
    set_by = 0.0

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.at + self.set_by)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@dataclass
class Begun:
    task: Task
    at: float
    sight: Sight = field(default_factory=lambda: Sight(Phase.RUNNING, "memory"))
    stopping: bool = False


class RunningClock(TestClock):
    """Time as it is."""

    __test__ = False

    def __init__(self) -> None:
        self.began = time.monotonic()

    @property
    def at(self) -> float:  # type: ignore[override]
        return time.monotonic() - self.began

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class MemorySite:
    """Programs are `("/run", SECONDS, STATUS)`. It outlives the house that uses it, as an engine does.

    `down`: it does not answer. `dies_after`: after so many more calls the caller dies, as a server that is killed does, once the call
    has had its effect. `queue`: it keeps what it is handed pending until `admit` is called.
    """

    def __init__(self, name: str, clock: TestClock, nodes: tuple[SiteNode, ...], mode: Mode = Mode.OWNED, *, queue: bool = False) -> None:
        self.name = name
        self.mode = mode
        self.clock = clock
        self.nodes = nodes
        self.queue = queue
        self.down = False
        self.answering = threading.Event()  # calls hang while it is not set
        self.answering.set()
        self.slow_to_stop = False
        self.dies_after: int | None = None
        self.begun: dict[str, Begun] = {}
        self.starts: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.drained: set[str] = set()
        self.tidied: set[str] = set()
        self.changes: list[str] = []
        self.most: dict[str, int] = {}  # node -> most devices held at once

    def inventory(self) -> Inventory:
        self._called()
        return Inventory(tuple(replace(node, open=node.name not in self.drained) for node in self.nodes))

    def submit(self, token: str, task: Task) -> None:
        self._called(answer=False)
        if token in self.begun:
            raise AlreadySubmitted(token=token)
        self.starts[token] = self.starts.get(token, 0) + 1
        self.begun[token] = Begun(task, self.clock.at)
        if token in self.cancelled:
            self._end(token, Ending.CANCELLED)
        elif self.queue:
            self.begun[token].sight = Sight(Phase.PENDING, waits_for="Resources")
        self._check()
        self.changes.append(token)
        self._answer()

    def admit(self, token: str) -> None:
        """The engine begins what it had pending."""
        self.begun[token].sight, self.begun[token].at = Sight(Phase.RUNNING, "memory"), self.clock.at
        self.changes.append(token)

    def lose(self, token: str) -> None:
        self.begun[token].sight = Sight(Phase.LOST)
        self.changes.append(token)

    def find(self, token: str) -> Sight:
        self._called()
        self._advance()
        return self.begun[token].sight if token in self.begun else Sight(Phase.NEVER)

    def watch(self, cursor: str) -> Watched:
        self._called()
        self._advance()
        at = int(cursor or 0)
        return Watched({token: self.begun[token].sight for token in self.changes[at:]}, str(len(self.changes)))

    def cancel(self, token: str) -> None:
        self._called(answer=False)
        self.cancelled.add(token)
        if token in self.begun and not self._over(token):
            if self.slow_to_stop:
                self.begun[token].stopping = True
            else:
                self._end(token, Ending.CANCELLED)
        self._answer()

    def stopped(self) -> None:
        """What was asked to end has ended now."""
        for token in [token for token, one in self.begun.items() if one.stopping and not self._over(token)]:
            self._end(token, Ending.CANCELLED)

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        self._called()
        return LogPart(max(offset, 0), max(offset, 0), "")

    def usage(self, token: str) -> Usage:
        self._called()
        return Usage(1.0, 1.0)

    def drain(self, node: str, *, on: bool) -> None:
        (self.drained.add if on else self.drained.discard)(node)

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        return []

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        self._called()
        return ()

    def tidy(self, token: str, *, last: bool) -> None:
        self._called()
        self.tidied.add(token)

    def stop(self) -> None: ...

    # --- within ------------------------------------------------------------------------------------------------------------

    def running(self) -> Mapping[str, Begun]:
        self._advance()
        return {token: one for token, one in self.begun.items() if one.sight.phase is Phase.RUNNING}

    def _over(self, token: str) -> bool:
        return self.begun[token].sight.phase in (Phase.FINISHED, Phase.LOST)

    def _advance(self) -> None:
        for token, one in self.begun.items():
            runs = one.sight.phase is Phase.RUNNING and not one.stopping
            if runs and self.clock.at - one.at >= _length(one.task):
                in_time = float(one.task.argv[1]) <= _length(one.task)
                self._end(token, Ending.EXITED if in_time else Ending.TIMEOUT, int(one.task.argv[2]))

    def _end(self, token: str, ending: Ending, status: int | None = None) -> None:
        one = self.begun[token]
        ran = Exit(status if ending is Ending.EXITED else None, None, "", min(self.clock.at - one.at, _length(one.task)), 1.0, 1.0)
        one.sight = Sight(Phase.FINISHED, "memory", ending=ending, exit=ran)
        self.changes.append(token)

    def _check(self) -> None:
        """Nothing is given twice. An engine that places sees to it by itself."""
        if self.mode is Mode.DELEGATED:
            return
        held: dict[tuple[str, int], int] = {}
        memory: dict[str, int] = {}
        for one in self.running().values():
            for placed in one.task.placed:
                memory[placed.node] = memory.get(placed.node, 0) + one.task.memory_mib
                for device in placed.devices:
                    held[placed.node, device] = held.get((placed.node, device), 0) + placed.milli
        for node in self.nodes:
            assert memory.get(node.name, 0) <= node.memory_mib, f"{node.name} has {memory[node.name]} MiB in use"
            assert all(milli <= 1000 for (name, device), milli in held.items() if name == node.name), held
            assert all(device < node.devices for name, device in held if name == node.name), held

    def _called(self, *, answer: bool = True) -> None:
        self.answering.wait()
        if self.down:
            raise SiteDown(site=self.name, problem="the test took it down", way_out="Wait.")
        if answer:
            self._answer()

    def _answer(self) -> None:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise Killed


def _length(task: Task) -> float:
    """Seconds after which it ends by itself, or at its limit, which a service has not."""
    return float(task.argv[1]) if task.service else min(float(task.argv[1]), task.timeout_s)


class Killed(BaseException):
    """The server is killed here."""


def opened(folder: Path, clock: TestClock, sites: Sequence[MemorySite], toml: str = "", **settings: object) -> House:
    """A house with these sites, one of which is called local, and the settings in `toml`; nothing runs in the background."""
    house = open_house(load(folder, {"cpus": 2, "memory_mib": 4096, **settings}, environment={}), clock=clock)
    migrate(house.db, [("ground", "lilong.ground"), ("compute", "lilong.floors.compute")], house.clock)
    house.db.write(lambda tx: furnish(house, tx))
    budget.start(house)
    house.provide(Compute, Jobs(house))  # type: ignore[type-abstract]
    if toml:
        apply(house, toml)
    attend(house, sites)
    return house


def apply(house: House, toml: str) -> None:
    house.db.write(lambda tx: declared.add_version(tx, declared.current(tx)[0] + 1, toml, "olga", stamp(house.clock.now())))


def attend(house: House, sites: Sequence[MemorySite]) -> Dispatcher:
    """As a server does that is started anew: with nothing in memory."""
    known = Sites(house, {site.name: site for site in sites})
    known.refresh()
    house.provide(Sites, known)
    dispatcher = Dispatcher(house, known)
    house.provide(Dispatcher, dispatcher)
    for site in sites:
        with contextlib.suppress(SiteDown):
            known.look(site.name, at_once=True)
    return dispatcher


def program(seconds: float = 10, status: int = 0, **given: Any) -> JobAsk:
    return replace(JobAsk("test.run", "lantern-works", ("/run", str(seconds), str(status)), memory_mib=256, timeout_s=60), **given)


def submitted(house: House, ask: JobAsk) -> Job:
    return house.db.write(lambda tx: house.port(Compute).submit(tx, SYSTEM, ask))  # type: ignore[type-abstract]
