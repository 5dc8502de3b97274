"""What is free and who holds the rest, worked out once of a decided snapshot for all questions about it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from lilong.floors.compute.rules.counterfactuals import FOR_EVER, WHOLE, measure
from lilong.floors.compute.scheduler.snapshot import Decision, SnapJob, SnapNode, Snapshot, Way

Pool = tuple[str, str]  # the nodes of a site with devices of a class


@dataclass(slots=True)
class Room:
    """Of a pool: nodes that take new work, and what they have free: cores in thousandths, MiB, devices in thousandths."""

    nodes: int = 0
    shut: int = 0
    closes: int | None = None  # the first moment at which maintenance begins on one of them
    free: list[int] = field(default_factory=lambda: [0, 0, 0])
    most: list[int] = field(default_factory=lambda: [0, 0, 0])  # on one node
    foreign_devices: int = 0
    foreign: float = 0.0  # devices, or cores where it holds none, that others than the house have

    def add(self, other: Room) -> None:
        self.nodes, self.shut = self.nodes + other.nodes, self.shut + other.shut
        self.free = [one + more for one, more in zip(self.free, other.free, strict=True)]
        self.most = [max(one, more) for one, more in zip(self.most, other.most, strict=True)]
        self.foreign_devices, self.foreign = self.foreign_devices + other.foreign_devices, self.foreign + other.foreign
        self.closes = min((at for at in (self.closes, other.closes) if at is not None), default=None)


class Scene:
    """`order`: waiting jobs as they are looked at."""

    def __init__(self, snapshot: Snapshot, decision: Decision, order: Sequence[str]) -> None:
        self.snapshot, self.decision, self.order = snapshot, decision, order
        self.jobs = {job.id: job for job in snapshot.jobs}
        self.place = {job_id: at for at, job_id in enumerate(order)}
        self.tenants = {tenant.name: tenant for tenant in snapshot.tenants}
        ways = (self.jobs[one].ways[0] for one in order)
        self._hours = [0, *accumulate(measure(way) * way.limit if way.limit < FOR_EVER else 0 for way in ways)]
        self._own: dict[str, set[str]] = {}
        for job in snapshot.jobs:  # a tenant is an organisation, or organisation/project
            self._own.setdefault(job.tenant.partition("/")[0], set()).add(job.id)
        running = [job for job in snapshot.jobs if job.started is not None]
        self._pools = {node.name: (node.site, node.accelerator) for node in snapshot.nodes}
        self._held: dict[tuple[str, str], int] = {}  # tenant, class -> what its own jobs hold
        self._by_pools: dict[frozenset[Pool], dict[str, int]] = {}  # where jobs run -> class -> what they hold
        self._where: dict[str, frozenset[Pool]] = {}  # running job -> pools
        for job in running:
            way, amount = job.ways[job.way], measure(job.ways[job.way])
            key = job.tenant, way.accelerator
            self._held[key] = self._held.get(key, 0) + amount
            where = self._where[job.id] = frozenset(self._pools[node] for node, _ in job.places if node in self._pools)
            kinds = self._by_pools.setdefault(where, {})
            kinds[way.accelerator] = kinds.get(way.accelerator, 0) + amount
        self._rooms = _rooms(snapshot, running)

    def of(self, organisation: str) -> Collection[str]:
        """Its jobs, which its people may be told by name."""
        return self._own.get(organisation, frozenset())

    def device_hours(self, ahead: int) -> float:
        """That the first so many waiting jobs may use, of those that end by themselves."""
        return self._hours[ahead] / WHOLE / 3600

    def held(self, tenants: Iterable[str], kind: str) -> float:
        """Devices or cores that the jobs of these tenants hold."""
        return sum(self._held.get((name, kind), 0) for name in tenants) / WHOLE

    def subtree(self, name: str) -> list[str]:
        """A tenant and all below it."""
        found = []
        for tenant in self.tenants:
            at: str | None = tenant
            for _ in self.tenants:  # a tree that is none ends too
                if at is None or at == name:
                    break
                at = self.tenants[at].parent if at in self.tenants else None
            if at == name:
                found.append(tenant)
        return found

    def pools(self, ways: Collection[Way]) -> set[Pool]:
        """Where a job could go: cores alone may be taken on any node of the site."""
        return {pool for pool in self._rooms for way in ways if pool[0] == way.site and (not way.devices or pool[1] == way.accelerator)}

    def room(self, pools: Collection[Pool]) -> Room:
        found = Room()
        for pool in pools:
            found.add(self._rooms[pool])
        return found

    def holders(self, pools: Collection[Pool], mine: Collection[str]) -> tuple[list[SnapJob], Mapping[str, int]]:
        """One's own jobs there, those that end first before others, and what all others hold, by class."""
        there = set(pools)
        own = [self.jobs[one] for one in self._where.keys() & mine if not there.isdisjoint(self._where[one])]
        others: dict[str, int] = {}
        for where, kinds in self._by_pools.items():
            if not there.isdisjoint(where):
                for kind, amount in kinds.items():
                    others[kind] = others.get(kind, 0) + amount
        for job in own:
            others[job.ways[job.way].accelerator] -= measure(job.ways[job.way])
        return sorted(own, key=lambda job: (ends(job), job.id)), {kind: amount for kind, amount in sorted(others.items()) if amount}


def ends(job: SnapJob) -> int:
    """When a job that runs ends at the latest."""
    return (job.started or 0) + job.ways[job.way].limit


def _rooms(snapshot: Snapshot, running: Sequence[SnapJob]) -> dict[Pool, Room]:
    left = {
        node.name: [node.cpu - node.foreign[0], node.memory - node.foreign[1], WHOLE * (node.devices - node.foreign[2])]
        for node in snapshot.nodes
    }
    for job in running:
        way = job.ways[job.way]
        for node, devices in job.places:
            if (here := left.get(node)) is not None:
                here[0] -= way.cpu
                here[1] -= way.memory
                here[2] -= devices.bit_count() * way.milli
    found: dict[Pool, Room] = {}
    for one in snapshot.nodes:
        room = found.setdefault((one.site, one.accelerator), Room())
        room.foreign_devices += one.foreign[2]
        room.foreign += one.foreign[2] or one.foreign[0] / WHOLE
        if closed(one, snapshot.now):
            room.shut += 1
            continue
        room.nodes += 1
        if one.closes is not None:
            room.closes = one.closes if room.closes is None else min(room.closes, one.closes)
        for at, amount in enumerate(left[one.name]):
            if amount > 0:
                room.free[at] += amount
                room.most[at] = max(room.most[at], amount)
    return found


def closed(node: SnapNode, now: int) -> bool:
    """Whether it takes no new work: drained, closed, under maintenance, or its site does not answer."""
    return node.closes is not None and node.closes <= now
