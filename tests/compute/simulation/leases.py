"""Chores under their leases: two servers that share a database, chores that take longer than their lease, clocks that jump, and crashes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.compute.simulation.engine import must
from tests.compute.simulation.server import Server

from lilong.ground.chores import run_chore
from lilong.ground.house import Chore, House
from lilong.ground.seams import parse_stamp

if TYPE_CHECKING:
    from tests.compute.simulation.world import World

LEASE = timedelta(seconds=60)


@dataclass(frozen=True)
class Lease:
    token: int
    holder: str
    until: datetime


class Leases:
    """A lease stands until its end, unless the clock was set back since: none is ever given for longer than `LEASE` from now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._other: Server | None = None
        self._last: Lease | None = None  # as it was when the one that was given last was asked for
        self._deep = 0
        self._passed_on: Lease | None = None  # the lease as the chore's end found it in other hands
        self._chore = Chore("simulated-tide", 60.0, self._tide)

    def leave(self) -> None:
        if self._other is not None:
            self._other.abandon()

    def play(self) -> None:
        """One server, or the other, tries to do the chore."""
        assert self._world.server is not None
        self._try(self._world.server.house)

    def _row(self) -> Lease | None:
        found = self._world.invariants.rows("SELECT token, holder, leased_until FROM ground_chores WHERE name = ?", self._chore.name)
        return Lease(int(found[0]["token"]), found[0]["holder"], parse_stamp(found[0]["leased_until"])) if found else None

    def _try(self, house: House) -> None:
        before, asked = self._row(), self._world.clock.now()
        self._last = before
        ran = run_chore(house, self._chore)
        self._world.trace(f"tide: {'ran' if ran else 'kept out'}")
        if not ran:
            stands = before is not None and asked < before.until <= self._world.clock.now() + LEASE
            must(stands, f"a server was kept out, and the lease that stood was {before}")
            must(self._row() == before, "a server that was kept out changed the lease")
        elif self._passed_on is not None:
            must(self._row() == self._passed_on, "a server changed a lease that had passed to another")

    def _tide(self, house: House) -> None:
        """The chore itself; while it lasts the other server tries too."""
        world = self._world
        mine, last = self._row(), self._last
        assert mine is not None
        if last is not None:
            must(mine.token > last.token, f"{mine} follows {last}")
            given = mine.until - LEASE
            must(not given < last.until <= given + LEASE, f"{mine} was given while {last} stood")
        world.clock.sleep(world.number(0.0, 90.0))
        if world.rng.random() < 0.2:
            world.clock.skew += world.rng.choice((-4000.0, -30.0, 30.0, 4000.0))
        if self._deep < 2 and world.rng.random() < 0.7:
            self._deep += 1
            try:
                self._meanwhile()
            finally:
                self._deep -= 1
        self._passed_on = row if (row := self._row()) != mine else None

    def _meanwhile(self) -> None:
        world = self._world
        if self._other is None:
            self._other = Server(world.folder, world.clock, world.ids, {}, world, lock=False)
        assert world.server is not None
        for house in (self._other.house, world.server.house):
            self._try(house)
