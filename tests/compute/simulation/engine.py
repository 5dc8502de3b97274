"""Engines in memory, on the world's clock, and the sites through which a house reaches them: calls that are late, lost or answered twice.

An engine outlives every server. What really happened stays in `Truth`, also when the engine itself has forgotten it, so that what the
house says can be held against it.
"""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Protocol, TypeVar

from lilong.floors.compute.contract import (
    AlreadySubmitted,
    Ending,
    Exit,
    Inventory,
    LogPart,
    Mode,
    Output,
    Phase,
    Placed,
    Sight,
    SiteDown,
    SiteNode,
    Task,
    Usage,
    Watched,
)
from lilong.ground.errors import NotFound

T = TypeVar("T")
HORIZON_S = 240.0  # for which an engine that is started anew still knows of what has ended
_KNOWN_S = 0.5  # after which an owned site knows how it keeps an attempt in
_OVER = (Phase.FINISHED, Phase.LOST)


class Broken(AssertionError):
    """Something that must never be."""


def must(good: object, problem: object) -> None:
    if not good:
        raise Broken(problem)


class Around(Protocol):
    """What an engine needs of its world."""

    def now(self) -> float: ...
    def chance(self, fault: str) -> bool: ...
    def number(self, least: float, most: float) -> float: ...
    def late(self) -> None: ...
    def point(self, name: str) -> None: ...
    def trace(self, text: str) -> None: ...
    def accepting(self, site: str, token: str) -> None: ...
    def tidying(self, site: str, token: str) -> None: ...
    def unable(self, token: str) -> None: ...


@dataclass
class Truth:
    """What became of one attempt. `strays`: of it, the engine was told, but has not heard yet."""

    token: str
    task: Task
    accepted: float
    phase: Phase = Phase.PENDING
    began: float | None = None
    ends: float | None = None
    over: float | None = None
    ending: Ending | None = None
    code: int | None = None
    placed: tuple[Placed, ...] = ()
    stops: float | None = None
    forgotten: bool = False


@dataclass
class Engine:
    """`strict`: a token that comes twice is a second job, as with sbatch; others refuse it."""

    name: str
    around: Around
    nodes: tuple[SiteNode, ...]
    mode: Mode
    strict: bool = False
    truths: dict[str, Truth] = field(default_factory=dict)
    ordered: dict[str, float] = field(default_factory=dict)  # on the shared disk: what was about to be handed over
    under_way: dict[str, tuple[float, Task]] = field(default_factory=dict)  # orders that arrive later than their sender waited
    cancelled: set[str] = field(default_factory=set)
    drained: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)  # nodes
    foreign: dict[str, int] = field(default_factory=dict)  # node -> devices that others hold
    kept: dict[str, float] = field(default_factory=dict)  # job -> seconds of its work in its last checkpoint
    changes: list[tuple[str, Sight]] = field(default_factory=list)
    epoch: int = 0
    tidied: set[str] = field(default_factory=set)

    # --- time --------------------------------------------------------------------------------------------------------------

    def next_event(self) -> float | None:
        times = [at for one in self.truths.values() if one.phase is Phase.RUNNING for at in (one.ends, one.stops) if at is not None]
        return min([*times, *(at for at, _ in self.under_way.values())], default=None)

    def advance(self) -> None:
        """Let everything happen that was due by now, in its order."""
        while (at := self.next_event()) is not None and at <= self.around.now():
            arrived = [token for token, (due, _) in self.under_way.items() if due == at]
            for token in arrived:
                _, task = self.under_way.pop(token)
                if token not in self.truths:
                    self.accept(token, task)
            for one in list(self.truths.values()):
                if one.phase is Phase.RUNNING and at in (one.ends, one.stops):
                    self._end(one, at)
            self._place(at)
        self._place(self.around.now())

    def _end(self, one: Truth, at: float) -> None:
        assert one.began is not None
        if one.stops is not None and one.stops <= at and (one.ends is None or one.ends > one.stops):
            self._over(one, Ending.CANCELLED, None, at)
        elif at - one.began >= one.task.timeout_s and self._left(one) > one.task.timeout_s:
            self._over(one, Ending.TIMEOUT, None, at)
        else:
            self._over(one, Ending.EXITED, int(one.task.argv[2]), at)

    def _left(self, one: Truth) -> float:
        """Seconds of work that are left of its program when it begins."""
        return max(float(one.task.argv[1]) - self.kept.get(one.token.rpartition(".")[0], 0.0), 0.25)

    def _over(self, one: Truth, ending: Ending, code: int | None, at: float) -> None:
        one.phase, one.ending, one.code, one.over = Phase.FINISHED, ending, code, at
        checkpoint = float(one.task.spec.get("checkpoint", 0))
        if one.began is not None and checkpoint and ending is not Ending.EXITED:
            job = one.token.rpartition(".")[0]
            self.kept[job] = self.kept.get(job, 0.0) + (at - one.began) // checkpoint * checkpoint
        self._tell(one)

    def _tell(self, one: Truth) -> None:
        self.around.trace(f"{self.name}: {one.token} {one.phase.value} {one.ending.value if one.ending else ''} {one.code}")
        self.changes.append((one.token, self.sight(one)))

    # --- places ------------------------------------------------------------------------------------------------------------

    def accept(self, token: str, task: Task) -> None:
        if token in self.truths:
            raise Broken(f"{token} was handed to {self.name} twice")
        self.around.accepting(self.name, token)
        one = self.truths[token] = Truth(token, task, self.around.now())
        if token in self.cancelled:
            self._over(one, Ending.CANCELLED, None, self.around.now())
        elif self.mode is Mode.OWNED:
            self._begin(one, task.placed, self.around.now())
        else:
            self._tell(one)

    def _place(self, at: float) -> None:
        """An engine of its own mind: the first of its queue, as soon as there is room."""
        if self.mode is Mode.OWNED:
            return
        for one in self.truths.values():
            if one.phase is not Phase.PENDING:
                continue
            found = self._room(one.task)
            if found is None:
                return
            self._begin(one, found, at)

    def _room(self, task: Task) -> tuple[Placed, ...] | None:
        held = self.holders()
        found: list[Placed] = []
        for _ in range(task.tasks):
            for node in self.nodes:
                mine = {device for placed in found if placed.node == node.name for device in placed.devices}
                usable = range(node.devices - self.foreign.get(node.name, 0))
                free = [device for device in usable if (node.name, device) not in held and device not in mine]
                takes = node.name not in self.dead | self.drained and (not task.devices or task.accelerator == node.accelerator)
                if takes and len(free) >= task.devices:
                    found.append(Placed(node.name, tuple(free[: task.devices])))
                    break
            else:
                return None
        return tuple(found)

    def holders(self) -> dict[tuple[str, int], list[tuple[str, int]]]:
        """(node, device) -> the attempts there, each with the thousandths that it holds."""
        found: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for one in self.truths.values():
            if one.phase is Phase.RUNNING:
                for placed in one.placed:
                    for device in placed.devices:
                        found.setdefault((placed.node, device), []).append((one.token, placed.milli))
        return found

    def _begin(self, one: Truth, placed: tuple[Placed, ...], at: float) -> None:
        if one.began is not None:
            raise Broken(f"{one.token} began twice")
        one.phase, one.placed, one.began = Phase.RUNNING, placed, at
        one.ends = None if one.task.service else at + min(self._left(one), one.task.timeout_s)
        if any(spot.node in self.dead for spot in placed):
            self._lose(one)
            return
        self._check()
        self._tell(one)

    def _check(self) -> None:
        """Nothing is given twice."""
        names = {node.name: node for node in self.nodes}
        for (node, device), holders in self.holders().items():
            if node not in names or device >= names[node].devices:
                raise Broken(f"{self.name}/{node} has no device {device}: {holders}")
            if sum(milli for _, milli in holders) > 1000:
                raise Broken(f"{self.name}/{node} device {device} is held by {holders}")
        memory: dict[str, int] = {}
        for one in self.truths.values():
            for spot in one.placed if one.phase is Phase.RUNNING and self.mode is Mode.OWNED else ():
                memory[spot.node] = memory.get(spot.node, 0) + one.task.memory_mib
        for name, held in memory.items():
            if held > names[name].memory_mib:
                raise Broken(
                    f"{self.name}/{name} has {held} MiB in use: {[(one.token, one.task.memory_mib, one.stops) for one in self.truths.values() if one.phase is Phase.RUNNING]}"
                )

    # --- what befalls an engine ----------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """It knows again what is pending and runs, and of what has ended only the latest."""
        self.epoch += 1
        for one in self.truths.values():
            if one.over is not None and one.over < self.around.now() - HORIZON_S:
                one.forgotten = True
        self.changes = [(one.token, self.sight(one)) for one in self.truths.values() if not one.forgotten]

    def kill_node(self, node: str) -> None:
        self.dead.add(node)
        for one in self.truths.values():
            if one.phase is Phase.RUNNING and any(spot.node == node for spot in one.placed):
                self._lose(one)

    def _lose(self, one: Truth) -> None:
        one.phase, one.over = Phase.LOST, self.around.now()
        self._tell(one)

    def cancel(self, token: str) -> None:
        self.cancelled.add(token)
        one = self.truths.get(token)
        if one is None or one.phase in _OVER:
            return
        if one.phase is Phase.PENDING:
            self._over(one, Ending.CANCELLED, None, self.around.now())
        elif one.stops is None:
            one.stops = self.around.now() + self.around.number(0.0, 2.0)

    def sight(self, one: Truth) -> Sight:
        owned = self.mode is Mode.OWNED
        if one.phase is Phase.PENDING:
            return Sight(Phase.PENDING, waits_for="Resources")
        if one.phase is Phase.RUNNING:
            assert one.began is not None
            aged = self.around.now() - one.began
            sandbox = None if owned and aged < _KNOWN_S else "memory"
            address = "unix:/simulated" if one.task.service and aged > 2 else None
            return Sight(Phase.RUNNING, sandbox, address, nodes=() if owned else tuple(spot.node for spot in one.placed))
        if one.phase is Phase.LOST:
            return Sight(Phase.LOST)
        ran = (one.over or 0.0) - one.began if one.began is not None else 0.0
        told = Exit(one.code, None, "", ran, ran, 1.0)
        return Sight(Phase.FINISHED, "memory" if one.began is not None else None, ending=one.ending, exit=told)

    def find(self, token: str) -> Sight:
        one = self.truths.get(token)
        if one is None:
            return Sight(Phase.NEVER)
        return Sight(Phase.LOST) if one.forgotten else self.sight(one)


class SimulatedSite:
    """A house's way to an engine. Every call may be late, get lost on its way, or have its answer lost on the way back."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.mode, self.engine = engine.name, engine.mode, engine
        self.around = engine.around
        self.away = False  # nothing gets through

    def _call(self, name: str, effect: Callable[[], T]) -> T:
        self.around.point(f"before {self.name}.{name}")
        self.around.late()
        self.engine.advance()
        if self.away or (self.mode is Mode.DELEGATED and self.around.chance("lost call")):
            raise self._down("the call got lost")
        answer = effect()
        self.around.point(f"after {self.name}.{name}")
        if self.mode is Mode.DELEGATED and self.around.chance("lost answer"):
            self.around.trace(f"{self.name}.{name}: the answer got lost")
            raise self._down("the answer got lost")
        return answer

    def _down(self, problem: str) -> SiteDown:
        return SiteDown(site=self.name, problem=problem, way_out="Wait.")

    def inventory(self) -> Inventory:
        def look() -> Inventory:
            shut = self.engine.dead | self.engine.drained
            nodes = tuple(replace(node, open=node.name not in shut) for node in self.engine.nodes)
            return Inventory(nodes, {name: (0, 0, many) for name, many in sorted(self.engine.foreign.items()) if many})

        return self._call("inventory", look)

    def submit(self, token: str, task: Task) -> None:
        if self.around.chance("unable"):
            self.around.unable(token)
            raise OSError(errno.EIO, f"the inputs of {token} cannot be laid out")
        self.engine.ordered.setdefault(token, self.around.now())

        def effect() -> None:
            if token in self.engine.truths and not self.engine.strict:
                raise AlreadySubmitted(token=token)
            if self.mode is Mode.DELEGATED and self.around.chance("late order") and token not in self.engine.truths:
                self.engine.under_way[token] = (self.around.now() + self.around.number(0.5, 20.0), task)
                raise self._down("nobody answered in time")
            self.engine.accept(token, task)
            self.engine.advance()

        self._call(f"submit {token}", effect)

    def find(self, token: str) -> Sight:
        def effect() -> Sight:
            if token in self.engine.under_way:
                raise self._down("an order is on its way there")
            return self.engine.find(token)

        return self._call(f"find {token}", effect)

    def watch(self, cursor: str) -> Watched:
        def effect() -> Watched:
            engine = self.engine
            epoch, at = json.loads(cursor) if cursor else (-1, 0)
            first = at if epoch == engine.epoch else 0
            last = len(engine.changes)
            if self.around.chance("late watch"):
                last = int(self.around.number(first, last))
            if self.around.chance("watch again"):
                first = int(self.around.number(0, first))
            sights = dict(engine.changes[first:last])
            sights |= {token: engine.sight(one) for token, one in engine.truths.items() if one.task.service and one.phase is Phase.RUNNING}
            return Watched(sights, json.dumps([engine.epoch, last]))

        return self._call("watch", effect)

    def cancel(self, token: str) -> None:
        self._call(f"cancel {token}", lambda: self.engine.cancel(token))

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        return self._call("logs", lambda: LogPart(max(offset, 0), max(offset, 0), ""))

    def usage(self, token: str) -> Usage:
        return self._call("usage", lambda: Usage(1.0, 1.0))

    def drain(self, node: str, *, on: bool) -> None:
        def effect() -> None:
            if node not in {each.name for each in self.engine.nodes}:
                raise NotFound(kind="node", name=node)
            (self.engine.drained.add if on else self.engine.drained.discard)(node)

        self._call(f"drain {node}", effect)

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        return []

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        def effect() -> tuple[Output, ...]:
            if token in self.engine.tidied:
                raise Broken(f"the outputs of {token} were dropped before they were kept")
            return (Output("result", *keep(io.BytesIO(result(token)))),)

        return self._call(f"outputs {token}", effect)

    def tidy(self, token: str, *, last: bool) -> None:
        def effect() -> None:
            self.around.tidying(self.name, token)
            self.engine.tidied.add(token)

        self._call(f"tidy {token}", effect)

    def stop(self) -> None: ...


def result(token: str) -> bytes:
    """What an attempt leaves as its output."""
    return f"made by {token}".encode()


def running(engines: Sequence[Engine]) -> Mapping[str, Engine]:
    """Attempts that are in an engine's hands and not over."""
    return {token: engine for engine in engines for token, one in engine.truths.items() if one.phase not in _OVER}
