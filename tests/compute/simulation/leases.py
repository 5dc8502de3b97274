"""Chores under their leases: two servers that share a database, chores that take longer than their lease, clocks that jump, and crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compute.simulation.engine import must
from tests.compute.simulation.server import Server

from lilong.ground.chores import run_chore
from lilong.ground.house import Chore, House
from lilong.ground.seams import parse_stamp

if TYPE_CHECKING:
    from tests.compute.simulation.world import World

LEASE_S = 60.0


class Leases:
    """`tokens`: of every lease that was given, in the order in which they were. A lease stands while nobody's clock says otherwise."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._other: Server | None = None
        self._tokens: list[int] = []
        self._deep = 0
        self._passed_on: tuple[int, str, str] | None = None  # the lease as the chore's end found it in other hands
        self._chore = Chore("simulated-tide", LEASE_S, self._tide)

    def leave(self) -> None:
        if self._other is not None:
            self._other.abandon()

    def play(self) -> None:
        """One server, or the other, tries to do the chore."""
        assert self._world.server is not None
        self._try(self._world.server.house)

    def _row(self) -> tuple[int, str, str] | None:
        found = self._world.invariants.rows("SELECT token, holder, leased_until FROM ground_chores WHERE name = ?", self._chore.name)
        return (int(found[0]["token"]), found[0]["holder"], found[0]["leased_until"]) if found else None

    def _may(self) -> bool:
        row = self._row()
        if row is None:
            return True
        left = (parse_stamp(row[2]) - self._world.clock.now()).total_seconds()
        return not 0 < left <= LEASE_S

    def _try(self, house: House) -> None:
        free, before = self._may(), self._row()
        ran = run_chore(house, self._chore)
        self._world.trace(f"tide: {'ran' if ran else 'kept out'}")
        must(ran == free, f"the lease is {'free' if free else 'held'}, and the chore {'ran' if ran else 'did not run'}")
        if not ran:
            must(self._row() == before, "a server that was kept out changed the lease")
        elif self._passed_on is not None:
            must(self._row() == self._passed_on, "a server changed a lease that had passed to another")

    def _tide(self, house: House) -> None:
        """The chore itself; while it lasts the other server tries too."""
        world = self._world
        mine = self._row()
        must(mine is not None and (not self._tokens or mine[0] > self._tokens[-1]), f"{mine} follows {self._tokens[-1:]}")
        assert mine is not None
        self._tokens.append(mine[0])
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
            if not self._may() or self._deep == 1:
                self._try(house)
