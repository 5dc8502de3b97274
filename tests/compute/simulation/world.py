"""A world from one seed: a server with its disk, its clients, engines and the wires between them, on a clock of its own.

Everything happens in one thread and every choice is drawn from one generator, so a seed is the whole story. Faults may strike at any
*point*: before and after each commit, each blob and each call of a site. There the server may be killed, time may pass, and clients
may do something in between.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import random
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

from tests.compute.simulation.engine import Broken, Engine, SimulatedSite, must
from tests.compute.simulation.invariants import Invariants
from tests.compute.simulation.leases import Leases
from tests.compute.simulation.seams import SimulatedClock, SimulatedIds
from tests.compute.simulation.server import Killed, Server, template

from lilong.floors.compute.contract import Compute, JobAsk, Layout, Mode, SiteDown, SiteNode
from lilong.floors.compute.service import holding, replay
from lilong.floors.compute.service import settings as operators
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.work import Dispatcher, attending, dispatcher
from lilong.floors.compute.work.sites import INVENTORY_S
from lilong.ground import house as house_module
from lilong.ground.access import SYSTEM
from lilong.ground.chores import run_chore
from lilong.ground.config import load
from lilong.ground.db import DatabaseFull
from lilong.ground.errors import LilongError
from lilong.ground.house import HouseInUse, open_house
from lilong.ground.seams import stamp

T = TypeVar("T")
POLICIES = ("drf-tree", "drf-tree", "drf-tree", "easy", "fifo", "srtf", "las2q", "conservative", "easy-sjbf", "fgd", "packing", "random")
ORGANISATIONS = ("lantern-works", "other-yard")
SETTLE_S = 6 * 3600.0  # within which everything ends once nothing goes wrong any more
JOBS = 24
ACTIONS = {
    "step": 90, "rest": 22, "submit": 14, "array": 2, "after": 5, "again": 4, "cancel": 5, "cancel_array": 1, "hold": 4, "release": 5, "apply": 2,
    "drain": 2, "undrain": 2, "chores": 2, "second": 1, "kill": 5, "away": 3, "back": 4, "restart": 2, "dies": 1, "revives": 2, "foreign": 2, "jump": 1,
    "leases": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Weather:
    """How often what goes wrong, drawn anew for every world: many are mild, so that jobs get far, and some are wild."""

    faults: dict[str, float]
    latency: float
    disk: float
    meddling: float

    @classmethod
    def drawn(cls, rng: random.Random, wild: float | None = None) -> Weather:
        wild = rng.choice((0.0, 0.3, 1.0, 1.0, 2.5)) if wild is None else wild
        faults = {
            "lost call": 0.03, "lost answer": 0.03, "late order": 0.06, "late watch": 0.1, "watch again": 0.1, "unable": 0.01, "disk full": 0.006,
        }  # fmt: skip
        return cls(
            {name: odds * wild for name, odds in faults.items()},
            rng.choice((0.0, 0.05, 1.5)),
            rng.choice((0.0, 0.0, 0.3, 3.0)),
            0.01 * wild,
        )


class World:
    """`play` it once. Raises Broken, with the seed and the end of its story."""

    def __init__(self, seed: int, folder: Path, seedbed: Path, *, actions: int = 110, wild: float | None = None) -> None:
        self.seed, self.folder, self.actions = seed, folder, actions
        self.rng = random.Random(seed)
        self.clock = SimulatedClock()
        self.ids = SimulatedIds(self.rng)
        self.weather = Weather.drawn(self.rng, wild)
        self.policy = self.rng.choice(POLICIES)
        shutil.copytree(seedbed, folder)
        self.engines = _engines(self)
        self.sites = {engine.name: SimulatedSite(engine) for engine in self.engines}
        self.invariants = Invariants(folder, self.engines)
        self.leases = Leases(self)
        self.server: Server | None = None
        self.calm = False
        self._fuse: int | None = None
        self._meddling = False
        self._story = hashlib.sha256()
        self._end: deque[str] = deque(
            maxlen=int(os.environ.get("LILONG_SIM_LINES", "120"))
        )  # of the story, to be told of a world that failed
        self._unanswered: list[JobAsk] = []
        self._asked = 0
        self._jobs: list[str] = []
        self._arrays: list[str] = []
        self.kills = 0
        self._up_at = 0.0

    # --- what engines and servers ask of it -------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.clock.at

    def chance(self, fault: str) -> bool:
        if self.calm:
            return False
        struck = self.rng.random() < self.weather.faults[fault]
        if struck:
            self.trace(f"fault: {fault}")
        return struck

    def number(self, least: float, most: float) -> float:
        return round(self.rng.uniform(least, most), 3)

    def late(self) -> None:
        if self.weather.latency and not self.calm:
            self.clock.sleep(self.number(0.0, self.weather.latency))

    def late_disk(self) -> None:
        if self.weather.disk and not self.calm and self.rng.random() < 0.2:
            self.clock.sleep(self.number(0.0, self.weather.disk))

    def point(self, name: str) -> None:
        """Here the server may die, and others may do something."""
        if self.server is not None and self.server.dead:
            raise Killed
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                self._fuse = None
                if self.server is not None:
                    self.server.dead = True
                self.trace(f"killed {name}")
                raise Killed
        if not self.calm and not self._meddling and self.rng.random() < self.weather.meddling:
            self._meddle()

    def _meddle(self) -> None:
        self._meddling = True
        try:
            getattr(self, self.rng.choice(("_submit", "_cancel", "_hold", "_release", "_after")))()
        finally:
            self._meddling = False

    def trace(self, text: str) -> None:
        line = f"{self.clock.at:.3f} {text}"
        self._story.update(line.encode() + b"\n")
        self._end.append(line)

    def accepting(self, site: str, token: str) -> None:
        self.invariants.accepting(site, token)

    def tidying(self, site: str, token: str) -> None:
        self.invariants.tidying(site, token)

    def unable(self, token: str) -> None:
        self.invariants.unable.add(token)

    def committed(self) -> None:
        self.invariants.committed()

    # --- the story --------------------------------------------------------------------------------------------------------------

    def play(self) -> str:
        """The digest of the whole story, and of what is in the database at its end."""
        with ExitStack() as stack:
            stack.callback(self._leave)
            stack.enter_context(mock.patch.object(house_module, "time", SimpleNamespace(sleep=self.clock.sleep)))
            for module in (dispatcher, attending):
                stack.enter_context(mock.patch.object(module, "log", _Log(self)))
            try:
                names, weights = list(ACTIONS), list(ACTIONS.values())
                for _ in range(self.actions):
                    self._do(self.rng.choices(names, weights)[0])
                self._settle()
                self.invariants.settled()
                self._replay()
                self._story.update(self.invariants.digest().encode())
            except Exception as problem:
                raise Broken(f"{self._told(problem)}") from problem
        return self._story.hexdigest()

    def _told(self, problem: BaseException) -> str:
        end = "\n  ".join(self._end)
        again = f"pytest tests/compute/simulation --seed {self.seed}"
        return f"seed {self.seed}: {problem!r}\nagain: {again}\npolicy {self.policy}, {self.weather}\nthe end of its story:\n  {end}"

    def _leave(self) -> None:
        self.leases.leave()
        if self.server is not None:
            self.server.abandon()
        self.invariants.close()

    def _do(self, action: str) -> None:
        self.trace(f"- {action}")
        try:
            if self.server is None:
                self._boot()
            getattr(self, f"_{action}")()
        except Killed:
            self._die()
        except DatabaseFull:
            pass  # whoever asked was told
        for engine in self.engines:
            engine.advance()
        self.invariants.check()

    def _boot(self) -> None:
        if self.clock.at < self._up_at:
            self.clock.sleep(self._up_at - self.clock.at)
        self.server = Server(self.folder, self.clock, self.ids, self.sites, self)
        while True:
            try:
                self._meddling = True  # clients are let in once it is up
                self.server.boot()
                return
            except DatabaseFull:  # the operator makes room and starts it again
                self.server.abandon()
                self.server = Server(self.folder, self.clock, self.ids, self.sites, self)
            finally:
                self._meddling = False

    def _die(self) -> None:
        self.kills += 1
        if self.server is not None:
            self.server.abandon()
        self.server, self._fuse = None, None
        self._up_at = self.clock.at + self.rng.choice((0.0, 0.0, 1.0, 20.0, 200.0))

    def _step(self) -> None:
        assert self.server is not None
        self.server.house.port(Dispatcher).step()

    def _rest(self) -> None:
        self.clock.sleep(self.number(*self.rng.choice(((0.1, 1.0), (1.0, 6.0), (5.0, 40.0), (5.0, 40.0), (30.0, 120.0)))))

    # --- clients ------------------------------------------------------------------------------------------------------------------

    def _verb(self, act: Callable[[], T]) -> T | None:
        """Something that a client asks for; what it is refused with is fine, and is part of the story."""
        try:
            return act()
        except LilongError as refused:
            self.trace(f"refused: {refused}"[:160])
            return None

    def _ask(self, ask: JobAsk) -> None:
        """A client that gets no answer asks again, later, with the same key."""
        assert self.server is not None
        house = self.server.house
        try:
            job = self._verb(lambda: house.db.write(lambda tx: house.port(Compute).submit(tx, SYSTEM, ask)))  # type: ignore[type-abstract]
        except BaseException:
            self._unanswered.append(ask)
            raise
        if job is None:
            return
        self.trace(f"{job.id} for {ask.key} {ask.organisation} {ask.any_of} {ask.argv[1:]} {ask.after} {ask.array}")
        before = [known for known, key in self.invariants.acknowledged.items() if key == ask.key]
        must(before in ([], [job.id]), f"two jobs for one key: {before} and {job.id}")
        self.invariants.acknowledged[job.id] = ask.key
        if not before:
            self._jobs.append(job.id)
            if job.array is not None:
                self._arrays.append(job.array)

    def _again(self) -> None:
        if self._unanswered:
            self._ask(self._unanswered.pop(self.rng.randrange(len(self._unanswered))))

    def _submit(self, **given: Any) -> None:
        if self._asked < JOBS:
            self._asked += 1
            self._ask(replace(_drawn(self.rng, f"ask-{self._asked}"), **given))

    def _array(self) -> None:
        self._submit(array=self.rng.choice(("0-3%2", "0-4%1", "1,3,5%2", "0-2")), service=False)

    def _after(self) -> None:
        if self._jobs:
            needs = tuple({self.rng.choice(self._jobs): None for _ in range(self.rng.choice((1, 1, 2)))})
            self._submit(**{self.rng.choice(("after", "after_any")): needs})

    def _on_a_job(self, verb: Callable[[Any, Any, str], Any]) -> None:
        if self._jobs and self.server is not None:
            house, job = self.server.house, self.rng.choice(self._jobs)
            self.trace(f"{verb.__name__} {job}")
            self._verb(lambda: verb(house, SYSTEM, job))

    def _cancel(self) -> None:
        self._on_a_job(_cancel)

    def _hold(self) -> None:
        self._on_a_job(holding.hold)

    def _release(self) -> None:
        self._on_a_job(holding.release)

    def _cancel_array(self) -> None:
        if self._arrays and self.server is not None:
            house, array = self.server.house, self.rng.choice(self._arrays)
            self._verb(lambda: holding.cancel_array(house, SYSTEM, array))

    # --- operators ----------------------------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        self._declare(document(self.policy, self.rng.choice((2, 4, 6)), self.rng.choice((True, True, True, False))))

    def _declare(self, toml: str) -> None:
        assert self.server is not None
        house = self.server.house
        if house.db.read(declared.current)[1].sites.keys() == {"local", *_named(toml)}:
            self._verb(lambda: operators.apply(house, SYSTEM, toml))
        else:  # the drivers of these sites are nowhere to be opened
            house.db.write(lambda tx: declared.add_version(tx, declared.current(tx)[0] + 1, toml, "olga", stamp(self.clock.now())))

    def _drain(self, *, on: bool = True) -> None:
        assert self.server is not None
        house, engine = self.server.house, self.rng.choice(self.engines)
        node = self.rng.choice(engine.nodes).name
        self._verb(lambda: operators.drain(house, SYSTEM, engine.name, node, on=on))

    def _undrain(self) -> None:
        self._drain(on=False)

    def _chores(self) -> None:
        assert self.server is not None
        server = self.server
        for chore in server.house.chores:
            if server.chores_due.get(chore.name, 0.0) <= self.clock.at:
                server.chores_due[chore.name] = self.clock.at + chore.every
                run_chore(server.house, chore)

    # --- faults -------------------------------------------------------------------------------------------------------------------

    def _kill(self) -> None:
        self._fuse = self.rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 25))

    def _second(self) -> None:
        """Another server on the same folder is kept out while the first one lives."""
        try:
            open_house(load(self.folder, environment={}), clock=self.clock, ids=self.ids).close()
        except HouseInUse:
            return
        raise Broken("a second server got into the house")

    def _leases(self) -> None:
        self.leases.play()

    def _away(self) -> None:
        self.rng.choice([site for site in self.sites.values() if site.name != "local"]).away = True

    def _back(self) -> None:
        for site in self.sites.values():
            site.away = False

    def _restart(self) -> None:
        engine = self.rng.choice(self.engines[1:])
        self.trace(f"{engine.name} is started anew")
        engine.advance()
        engine.restart()

    def _dies(self) -> None:
        engine = self.rng.choice(self.engines[1:])
        engine.advance()
        engine.kill_node(self.rng.choice(engine.nodes).name)

    def _revives(self) -> None:
        for engine in self.engines:
            engine.dead.clear()

    def _foreign(self) -> None:
        engine = self.engines[-1]
        engine.foreign[self.rng.choice(engine.nodes).name] = self.rng.choice((0, 0, 1, 2))

    def _jump(self) -> None:
        self.clock.skew += self.rng.choice((-300.0, -20.0, 15.0, 90.0, 600.0))
        self.trace(f"the clock is {self.clock.skew:+} s off")

    # --- the end ------------------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Nothing goes wrong any more, holds are released, services are ended: all that is left comes to its end."""
        self.calm, self._fuse = True, None
        self._back()
        self._revives()
        self.engines[-1].foreign.clear()
        if self.server is None:
            self._boot()
        assert self.server is not None
        house = self.server.house
        while self._unanswered:
            self._again()
        self._declare(document(self.policy, 4, True))
        for engine in self.engines:
            for node in engine.nodes:
                operators.drain(house, SYSTEM, engine.name, node.name, on=False)
        for row in self.invariants.rows("SELECT id, service, array_id FROM compute_jobs WHERE held <> 0 OR service = 1 ORDER BY place"):
            self._verb(partial(_cancel if row["service"] else holding.release, house, SYSTEM, row["id"]))
        end, paces = self.clock.at + SETTLE_S, (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
        turns = 0
        while left := self.invariants.left():
            must(self.clock.at < end, f"not at its end after {SETTLE_S / 3600:g} hours in which nothing went wrong: {left}")
            self._do("step")
            self.clock.sleep(paces[min(turns // 2, len(paces) - 1)])
            turns += 1
        self.clock.sleep(INVENTORY_S)
        self._do("step")
        for site in house.port(Dispatcher).sites.known().values():
            must(site.problem is None, f"{site.spec.name} answers, and is said not to")

    def _replay(self) -> None:
        assert self.server is not None
        first: int | None = None
        if not self.invariants.rows("SELECT 1 FROM compute_decisions"):
            return
        while True:
            told = replay.replay(self.server.house, SYSTEM, first)
            must(told.differences == [], f"the journal does not come out again: {told.differences[:2]}")
            if told.next is None:
                return
            first = told.next


class _Log:
    """The floor's log: an error that is not one of the faults made here is a mistake."""

    def __init__(self, world: World) -> None:
        self._world = world

    def debug(self, event: str, **told: Any) -> None:
        self._world.trace(f"log: {event} {told}")

    info = debug

    def warning(self, event: str, **told: Any) -> None:
        self._world.trace(f"log: {event} {told.get('site', '')}")

    def log(self, level: int, event: str, **told: Any) -> None:
        (self.error if level >= logging.ERROR else self.debug)(event, **told)

    def error(self, event: str, exc_info: BaseException | None = None, **told: Any) -> None:
        self._world.trace(f"log: {event} {told}")
        if not isinstance(exc_info, (DatabaseFull, SiteDown)) and getattr(exc_info, "errno", None) != errno.ENOSPC:
            raise Broken(f"{event}: {exc_info!r} {told}") from exc_info


def _cancel(house: Any, actor: Any, job: str) -> None:
    house.db.write(lambda tx: house.port(Compute).cancel(tx, actor, job))


def _engines(world: World) -> Sequence[Engine]:
    return (
        Engine("local", world, (SiteNode("here", 4, 4096),), Mode.OWNED),
        Engine("pudong", world, tuple(SiteNode(f"a{n}", 32, 16_384, "h20", 4, {"rack": f"r{n // 2}"}) for n in range(3)), Mode.OWNED),
        Engine("lingang", world, tuple(SiteNode(f"b{n}", 32, 16_384, "b910", 4) for n in range(2)), Mode.DELEGATED, strict=True),
    )


def document(policy: str, share: int, both: bool) -> str:
    """The settings: of twelve h20 and eight b910, `share` each for each of two tenants, who may borrow from one another."""
    sites = '[sites.pudong]\ndriver = "slurm"\nmode = "owned"\n' + ('[sites.lingang]\ndriver = "slurm"\nwindow = 2\n' if both else "")
    return f"""policy = "{policy}"
reclaim = 300
[classes.h20]
price = 12.0
[classes.b910]
price = 8.0
{sites}
[tenants.city]
nominal = {{ h20 = 12, b910 = 8 }}
[tenants.lantern-works]
parent = "city"
nominal = {{ h20 = {share}, b910 = {min(share, 4)} }}
borrow = {{ h20 = 4, b910 = 2 }}
[tenants.other-yard]
parent = "city"
weight = 2.0
nominal = {{ h20 = {share}, b910 = {min(share, 4)} }}
lend = {{ h20 = 2 }}
"""


def _named(toml: str) -> set[str]:
    return {name for name in ("pudong", "lingang") if f"[sites.{name}]" in toml}


def _drawn(rng: random.Random, key: str) -> JobAsk:
    seconds = rng.choice((0.5, 5, 20, 60, 60, 150, 400))
    status = rng.choice((0, 0, 0, 0, 0, 1))
    checkpoint = rng.choice((0, 10, 30))
    ask = JobAsk(
        "test.run", rng.choice(ORGANISATIONS), ("/run", str(seconds), str(status)), key=key, memory_mib=rng.choice((256, 1024, 2048)),
        timeout_s=rng.choice((30, 120, 600, 900)), attempts=rng.choice((1, 1, 2, 3)), priority=rng.choice((0, 0, 0, 5)), hold=rng.random() < 0.08,
        spec={"checkpoint": checkpoint},
    )  # fmt: skip
    kind = rng.choice(("cores", "cores", "devices", "devices", "gang", "elastic", "part", "either", "service"))
    one = rng.choice(("h20", "h20", "b910"))
    layouts = {
        "devices": (Layout(one, devices=rng.choice((1, 2, 4)), cpus=1),),
        "gang": (Layout(one, devices=rng.choice((1, 2)), tasks=2, cpus=1),),
        "elastic": (Layout(one, devices=2, tasks=3, least_tasks=1, cpus=1),),
        "part": (Layout("h20", devices=1, milli=500, cpus=1),),
        "either": (Layout("h20", devices=2, cpus=1), Layout("b910", devices=2, cpus=2)),
    }
    if kind in layouts:
        preemptible = rng.random() < 0.6
        return replace(ask, any_of=layouts[kind], preemptible=preemptible, checkpoint_s=checkpoint if preemptible else 0)
    return replace(ask, cpus=rng.choice((1, 1, 2, 4)), service=kind == "service", sites=("local",) if rng.random() < 0.5 else ())


def seedbed(folder: Path) -> Path:
    """A house as all worlds begin with it, to be copied."""
    template(folder, SimulatedClock(), SimulatedIds(random.Random(0)), document("drf-tree", 4, True))
    return folder
