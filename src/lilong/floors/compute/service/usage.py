"""What sites are used for, and what one job has held: for pages and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lilong.floors.compute.contract import FINISHED, Job, SiteNode
from lilong.floors.compute.rules.metering import HOUR, Bill, Hold, bill, use_by_hour
from lilong.floors.compute.rules.settings import LOCAL, ComputeSettings, SiteSettings
from lilong.floors.compute.scheduler.snapshot import Snapshot, SnapTenant
from lilong.floors.compute.service.jobs import show
from lilong.floors.compute.store import places
from lilong.floors.compute.store import usage as store
from lilong.floors.compute.store.settings import current
from lilong.floors.compute.work.snapshotting import snapshot as current_snapshot
from lilong.ground.access import Actor
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

if TYPE_CHECKING:
    from lilong.floors.compute.scheduler.tenants import Tenants


@dataclass(frozen=True, slots=True)
class SiteUse:
    """A site as it was last seen. `devices`: by class; `held`: devices (or cores, where it has none) held by the house now."""

    name: str
    driver: str
    mode: str
    seen_at: str | None
    problem: str | None
    nodes: int
    closed: int  # nodes that take no new work
    cores: int
    devices: Mapping[str, int]
    held: float
    by_hour: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Capacity:
    hours: Sequence[str]
    sites: Sequence[SiteUse]


def capacity(house: House, actor: Actor, hours: int = 48) -> Capacity:
    """All sites with the share of them that was held, hour by hour, up to now; None for hours before a site was first seen."""
    now = house.clock.now()
    last = now.replace(minute=0, second=0, microsecond=0)
    first = last - (hours - 1) * HOUR
    _, settings = house.db.read(current)
    rows, held = house.db.read(lambda tx: (places.rows(tx), store.held_since(tx, stamp(first))))
    holds = [_hold(one, now) for one in held]
    nodes = {name: row.inventory.nodes if row.inventory else () for name, row in sorted(rows.items())}
    sizes = {name: (sum(node.devices for node in of), sum(node.cpus for node in of)) for name, of in nodes.items()}
    since = {name: parse_stamp(row.first_seen) for name, row in rows.items() if row.first_seen}
    shares = use_by_hour(holds, sizes, first, hours, now, since)
    found = []
    for name, of in nodes.items():
        declared = settings.sites.get(name, SiteSettings(name))
        devices: Counter[str] = Counter()
        for node in of:
            devices[node.accelerator] += node.devices
        busy = [one for one in held if one.site == name and one.ended is None]
        unit = sum(one.milli for one in busy) / 1000 if sizes[name][0] else float(sum(one.cpus for one in busy))
        found.append(SiteUse(
            name, declared.driver, declared.mode.value, stamp(now) if name == LOCAL else rows[name].seen_at, rows[name].problem, len(of), sum(not node.open for node in of),
            sizes[name][1], {kind: count for kind, count in devices.items() if kind and count}, unit, shares[name],
        ))  # fmt: skip
    return Capacity([stamp(first + at * HOUR)[:16].replace("T", " ") for at in range(hours)], found)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of a job's life: waiting, running, or stopped (an attempt that did not finish the job)."""

    kind: str
    begin: str
    end: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """A node of the job's site. `devices`: own, other or free."""

    node: str
    domain: str
    devices: Sequence[str]


@dataclass(frozen=True, slots=True)
class Story:
    attempts: Sequence[store.Attempt]
    stretches: Sequence[Stretch]
    bill: Bill
    spots: Sequence[Spot]


_SPOTS = 64  # nodes shown: the job's own first


def story(house: House, actor: Actor, job_id: str) -> Story:
    """What became of a job so far. Raises JobNotFound."""
    job = show(house, actor, job_id)
    now = house.clock.now()
    _, settings = house.db.read(current)
    attempts, rows, held = house.db.read(lambda tx: (store.attempts(tx, job.id), places.rows(tx), store.placed_now(tx, job.site or "")))
    total = Bill()
    for one in attempts:
        total += _bill(one, settings, now)
    seen = rows[job.site].inventory if job.site in rows else None
    return Story(attempts, _stretches(job, attempts, now), total, _spots(job, seen.nodes if seen else (), held))


def _bill(one: store.Attempt, settings: ComputeSettings, now: datetime) -> Bill:
    if one.started_at is None:
        return Bill()
    end = parse_stamp(one.ended_at) if one.ended_at else now
    hold = Hold(one.site, one.accelerator, one.milli, one.cpus, parse_stamp(one.started_at), end)
    return bill(hold, settings.accelerator(one.accelerator), settings.sites.get(one.site, SiteSettings(one.site)))


def _stretches(job: Job, attempts: Sequence[store.Attempt], now: datetime) -> list[Stretch]:
    found, at = [], job.created_at
    for one in attempts:
        began = one.started_at or one.intended_at
        if began > at:
            found.append(Stretch("waiting", at, began))
        at = one.ended_at or stamp(now)
        final = one.number == job.attempt and job.state.value in ("starting", "running", "ready", "succeeded")
        found.append(Stretch("running" if final else "stopped", began, at, one.number))
    if job.state not in FINISHED and (not attempts or attempts[-1].ended_at):
        found.append(Stretch("waiting", at, stamp(now)))
    return found


def _spots(job: Job, nodes: Sequence[SiteNode], held: Mapping[str, set[int]]) -> list[Spot]:
    own = {placed.node: set(placed.devices) for placed in job.placement}
    near = {tuple(node.domains.items()) for node in nodes if node.name in own}
    shown = sorted(nodes, key=lambda node: (node.name not in own, tuple(node.domains.items()) not in near))[: _SPOTS if own else 0]
    others = {} if job.state in FINISHED else held
    return [
        Spot(
            node.name,
            " · ".join([str(job.site), *node.domains.values()]),
            [
                "own" if at in own.get(node.name, ()) else "other" if at in others.get(node.name, ()) else "free"
                for at in range(node.devices)
            ],
        )
        for node in shown
    ]


def _hold(one: store.Held, now: datetime) -> Hold:
    end = parse_stamp(one.ended) if one.ended else now
    return Hold(one.site, one.accelerator, one.milli, one.cpus, parse_stamp(one.began), end)


# --- tenants ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TenantShare:
    """What a tenant with all below it holds of a class, in devices (or cores). `nominal` None: no quota of its own."""

    name: str
    depth: int
    weight: float
    nominal: float | None
    used: float
    borrowed: float
    lent: float
    waiting: int  # jobs of its own


@dataclass(frozen=True, slots=True)
class ClassShares:
    accelerator: str  # "": cores
    tenants: Sequence[TenantShare]


def tenants(house: House, actor: Actor) -> list[ClassShares]:
    """Classes of which somebody has a quota or holds something, each with the tenants that the actor may see, in the order of the tree."""
    from lilong.floors.compute.scheduler.by_name import SMALL
    from lilong.floors.compute.scheduler.compiled import plainly

    snapshot = house.db.read(lambda tx: current_snapshot(house, tx))
    with plainly(len(snapshot.nodes) <= SMALL):
        return _shares(house, actor, snapshot)


def _shares(house: House, actor: Actor, snapshot: Snapshot) -> list[ClassShares]:
    from lilong.floors.compute.scheduler.opening import opening
    from lilong.floors.compute.scheduler.tenants import lent

    books = snapshot.tenants
    quotas = opening(snapshot).queue.tenants
    shared = lent(quotas)
    waiting = Counter(job.tenant for job in snapshot.jobs if job.started is None)
    found = []
    for column, accelerator in enumerate([*sorted({node.accelerator for node in snapshot.nodes if node.accelerator}), ""]):
        rows = []
        for name, depth in _down(books):
            if not _may_see(house, actor, name, books):
                continue
            at = 1 + next(index for index, one in enumerate(books) if one.name == name)
            nominal = books[at - 1].nominal.get(accelerator)
            rows.append(TenantShare(
                name, depth, books[at - 1].weight / 1000, None if nominal is None else nominal / 1000, int(quotas.held[at, column]) / 1000,
                min(_borrowed(quotas, at, column), int(quotas.held[at, column])) / 1000, int(shared[at, column]) / 1000, waiting[name],
            ))  # fmt: skip
        if any(row.nominal is not None or row.used for row in rows):
            found.append(ClassShares(accelerator, rows))
    return found


def _borrowed(quotas: Tenants, at: int, column: int) -> int:
    """From outside: what its parts lend one another, or its own jobs use of theirs, is its own all the same."""
    from lilong.floors.compute.scheduler.tenants import borrowed

    if quotas.home[at, column] != at:
        return int(borrowed(quotas, at, column))
    most = 0
    while at >= 0:
        most = max(most, int(quotas.used[at, column] - quotas.own[at, column]))
        at = int(quotas.above[at, column])
    return most


def _down(books: Sequence[SnapTenant], parent: str | None = None, depth: int = 0) -> Iterator[tuple[str, int]]:
    for one in books:
        if one.parent == parent:
            yield one.name, depth
            yield from _down(books, one.name, depth + 1)


def _may_see(house: House, actor: Actor, name: str, books: Sequence[SnapTenant]) -> bool:
    """One's own tenants, and those above them."""
    below = [name, *(one for one, _ in _down(books, name))]
    return house.db.read(lambda tx: any(house.access.allowed(tx, actor, "jobs.read", one.split("/", 1)[0]) for one in below))
