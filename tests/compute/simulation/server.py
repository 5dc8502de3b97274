"""One life of a server: a real house with its real services and dispatcher, which can die at any point."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.compute.conftest import furnish

from lilong.floors.compute.contract import Compute, Site, SiteDown
from lilong.floors.compute.service import budget, opening
from lilong.floors.compute.service.port import Jobs
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.work import Dispatcher
from lilong.floors.compute.work.sites import Sites
from lilong.ground.config import load
from lilong.ground.db import DatabaseFull, Tx
from lilong.ground.house import open_house
from lilong.ground.migrations import migrate
from lilong.ground.seams import Clock, Ids, stamp

T = TypeVar("T")


class Killed(BaseException):
    """The server is killed here."""


class Around(Protocol):
    def point(self, name: str) -> None: ...
    def chance(self, fault: str) -> bool: ...
    def late_disk(self) -> None: ...
    def committed(self) -> None: ...


def template(folder: Path, clock: Clock, ids: Ids, toml: str) -> None:
    """A house as all worlds begin with it."""
    house = open_house(load(folder, {"cpus": 4, "memory_mib": 4096}, environment={}), clock=clock, ids=ids)
    migrate(house.db, [("ground", "lilong.ground"), ("compute", "lilong.floors.compute")], house.clock)
    house.db.write(lambda tx: furnish(house, tx))
    house.db.write(lambda tx: declared.add_version(tx, 1, toml, "olga", stamp(clock.now())))
    house.close()


class Server:
    """`lock`: False for a second server that shares the database only (it does chores, and no jobs)."""

    def __init__(self, folder: Path, clock: Clock, ids: Ids, sites: Mapping[str, Site], around: Around, *, lock: bool = True) -> None:
        settings = load(folder, {"cpus": 4, "memory_mib": 4096}, environment={})
        self.house = open_house(settings, clock=clock, ids=ids, lock=lock)
        self.dead = False
        self._around = around
        self._write = self.house.db.write
        self._put = self.house.blobs.put
        self.house.db.write = self.write  # type: ignore[method-assign]
        self.house.blobs.put = self.put  # type: ignore[method-assign]
        self.chores_due: dict[str, float] = {}
        self.house.chore("compute-journal", 3600.0, opening.prune)
        self.house.chore("compute-estimates", 1800.0, opening._say_starts)
        self._sites = sites

    def boot(self) -> None:
        house = self.house
        budget.start(house)
        house.provide(Compute, Jobs(house))  # type: ignore[type-abstract]
        known = Sites(house, self._sites)
        house.provide(Sites, known)
        house.provide(Dispatcher, Dispatcher(house, known))
        known.refresh()
        for name in self._sites:
            with contextlib.suppress(SiteDown):
                known.look(name, at_once=True)

    def write(self, fn: Callable[[Tx], T]) -> T:
        self._around.point("before a commit")
        self._around.late_disk()
        if self._around.chance("disk full"):
            raise DatabaseFull()
        answer = self._write(fn)
        self._around.committed()
        self._around.point("after a commit")
        return answer

    def put(self, chunks: Any) -> Any:
        self._around.point("before a blob")
        self._around.late_disk()
        answer = self._put(chunks)
        self._around.point("after a blob")
        return answer

    def abandon(self) -> None:
        """What the kernel does when a process is gone: nothing is stopped, nothing is written, its lock is free."""
        self.dead = True
        self.house.closing.clear()
        self.house.close()
