"""What would make a waiting job start now: the smallest changes to what it asks for, each found by deciding again. Pure.

A *supposition* is a snapshot in which one thing is otherwise. `counterfactuals` looks along one dimension after another (time limit,
size, class, site, preemptible, priority, quota, maintenance) for the change nearest to what is asked for with which the job begins at
once, and leaves out the dimensions along which none does. Along each of them an easier job is taken to start if a harder one does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lilong.floors.compute.scheduler.snapshot import SnapJob, Snapshot, SnapTenant, Way

WHOLE = 1000  # thousandths
FOR_EVER = 1 << 60  # the limit of a service
MOST = 5  # changes that are told


@dataclass(frozen=True, slots=True)
class Supposed:
    """What is otherwise; None or empty: as it is. `quotas`: (tenant, class) -> nominal quota in thousandths."""

    ways: tuple[Way, ...] | None = None
    preemptible: bool | None = None
    priority: int | None = None
    quotas: Mapping[tuple[str, str], int] = field(default_factory=dict)
    no_maintenance: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A change that makes the job start now. `size`: how large a change it is, from 0 to 1, to put the smallest first.

    `costlier_pct`: by how much its most expensive outcome (price × size × limit) differs. None where nothing has a price.
    """

    dimension: str  # limit, tasks, devices, cpu, memory, class, site, preemptible, priority, quota, maintenance
    says: str
    value: Any
    size: float
    supposed: Supposed
    costlier_pct: float | None = None
    at: int | None = None  # not now, but at this unix second at the earliest


def suppose(snapshot: Snapshot, job_id: str, supposed: Supposed) -> Snapshot:
    """The snapshot as it would be."""
    jobs, nodes, tenants = snapshot.jobs, snapshot.nodes, snapshot.tenants
    if supposed.ways is not None or supposed.preemptible is not None or supposed.priority is not None:
        jobs = tuple(_otherwise(job, supposed) if job.id == job_id else job for job in jobs)
    if supposed.no_maintenance:
        nodes = tuple(replace(node, closes=None) if node.closes else node for node in nodes)
    if supposed.quotas:
        tenants = tuple(_with_quotas(tenant, supposed.quotas) for tenant in tenants)
    return replace(snapshot, jobs=jobs, nodes=nodes, tenants=tenants)


def _otherwise(job: SnapJob, supposed: Supposed) -> SnapJob:
    return replace(
        job,
        ways=job.ways if supposed.ways is None else supposed.ways,
        preemptible=job.preemptible if supposed.preemptible is None else supposed.preemptible,
        priority=job.priority if supposed.priority is None else supposed.priority,
    )


def _with_quotas(tenant: SnapTenant, quotas: Mapping[tuple[str, str], int]) -> SnapTenant:
    mine = {kind: amount for (name, kind), amount in quotas.items() if name == tenant.name}
    return replace(tenant, nominal={**tenant.nominal, **mine}) if mine else tenant


@dataclass(frozen=True, slots=True)
class Turns:
    """Where an answer may turn: promised starts, what single nodes have free of "cpu", "memory" and "devices", and the priorities of
    those who wait (with how many have each) and who run.
    """

    reserved: tuple[int, ...] = ()
    free: Mapping[str, Sequence[int]] = field(default_factory=dict)
    waiting: Mapping[int, int] = field(default_factory=dict)
    running: Collection[int] = ()
    maintenance: bool = True  # whether it may be that which holds the job up
    earliest: Callable[[Sequence[Way]], int | None] = lambda _: None  # unix second at which it would start if nobody else waited


Begins = Callable[[Supposed], bool]  # whether the job starts now


def counterfactuals(
    snapshot: Snapshot,
    job_id: str,
    begins: Begins,
    others: Sequence[Way] = (),
    turns: Turns = Turns(),
    most: int = MOST,
) -> list[Change]:
    """The smallest change first. `others`: ways that the job does not allow, of other classes and sites, in which it would fit if nothing else ran. `turns`: only save questions."""
    job = next(one for one in snapshot.jobs if one.id == job_id)
    found: list[Change] = []
    for look in (_shorter, _smaller, _elsewhere, _preemptible, _sooner, _more_quota, _no_maintenance):
        found += look(snapshot, job, begins, tuple(others), turns)
    return sorted(found, key=lambda change: change.size)[:most]


# --- along one dimension each ----------------------------------------------------------------------------------------------


def largest(low: int, high: int, works: Callable[[int], bool], hints: Iterable[int] = ()) -> int | None:
    """The largest whole number in low … high that works, if those below a working one work too. `hints`: where it may turn."""
    if high < low or not works(low):
        return None
    steps = [low, *sorted({at for at in hints if low < at <= high})]
    first, last = 0, len(steps)
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (middle, last) if works(steps[middle]) else (first, middle)
    low, high = steps[first], steps[last] if last < len(steps) else high + 1
    if low + 1 == high or not works(low + 1):  # the turn is at a hint, as a rule
        return low
    low += 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if works(middle) else (low, middle)
    return low


def _shorter(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """With a limit up to which it disturbs nobody who was promised a start, runs into no maintenance, or goes before longer ones."""
    limit = max(way.limit for way in job.ways)
    if limit >= FOR_EVER:
        return
    hints = {at - snapshot.now for at in turns.reserved} | {snapshot.reclaim_s}
    hints |= {node.closes - snapshot.now for node in snapshot.nodes if node.closes}
    if snapshot.policy in ("sjf", "srtf", "qssf", "easy-sjbf"):
        hints |= {way.limit - less for other in snapshot.jobs if other.started is None for way in other.ways for less in (0, 1)}

    def supposed(seconds: int) -> Supposed:
        return Supposed(ways=tuple(replace(way, limit=min(way.limit, seconds)) for way in job.ways))

    found = largest(1, limit - 1, lambda seconds: begins(supposed(seconds)), hints)
    if found is not None:
        says = f"It starts now with a time limit of at most {duration(found)} instead of {duration(limit)}."
        yield _change(job, "limit", says, found, 1 - found / limit, supposed(found))


def _smaller(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """With fewer tasks; or, for one task, with fewer devices, cores or less memory."""
    first, least = job.ways[0], min(way.tasks for way in job.ways)
    if least > 1:
        yield from _less(job, begins, "tasks", least, 1, f"tasks{_of(first)}")
        return
    parts = [("devices", 1, f"{first.accelerator} devices" if first.accelerator else "devices")]
    parts += [("cpu", WHOLE, "cores"), ("memory", 1, "MiB of memory")]
    for name, unit, words in parts:
        wanted = min(int(getattr(way, name)) for way in job.ways)
        if wanted > unit and not (name == "devices" and first.milli < WHOLE):
            yield from _less(job, begins, name, wanted, unit, words, turns.free.get(name, ()))


def _less(job: SnapJob, begins: Begins, name: str, wanted: int, unit: int, words: str, hints: Iterable[int] = ()) -> Iterator[Change]:
    most = (wanted - 1) // unit

    def supposed(units: int) -> Supposed:
        return Supposed(ways=tuple(replace(way, **{name: min(getattr(way, name), units * unit)}) for way in job.ways))

    found = largest(1, most, lambda units: begins(supposed(units)), (at // unit for at in hints))
    if found is not None:
        shown = words.replace("tasks", "task", 1) if (found, name) == (1, "tasks") else words
        says = f"It starts now with {found} {shown} instead of {wanted / unit:g}."
        yield _change(job, name, says, found, 1 - found * unit / wanted, supposed(found))


def _elsewhere(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """At another site, or on devices of another class: the cheapest of each that starts now, or could start sooner than where it may run."""
    asked = {way.accelerator for way in job.ways}
    told: set[str] = set()
    own = turns.earliest(job.ways) or FOR_EVER
    for way in sorted(others, key=_worst):
        dimension = "site" if way.accelerator in asked else "class"
        supposed = Supposed(ways=(way,))
        if dimension in told:
            continue
        now = begins(supposed)
        at = None if now else turns.earliest((way,))
        if not now and (at is None or at >= own):
            continue
        told.add(dimension)
        dearer = _costlier(job, way)
        where = f"at {way.site}" if dimension == "site" else f"on {amount(way)} at {way.site}"
        takes = f", where it may run for {duration(way.limit)}" if way.limit != job.ways[0].limit else ""
        when = "It starts now" if at is None else f"In {duration(at - snapshot.now)} at the earliest it could start"
        says = f"{when} {where}{takes}{_price(dearer)}."
        size = (0.1 if dimension == "site" else 0.25) + min(max(dearer or 0.0, 0.0) / 100, 1.0) / 2 + (at is not None)
        yield Change(dimension, says, {"site": way.site, "accelerator": way.accelerator}, size, supposed, dearer, at)


def _preemptible(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    supposed = Supposed(preemptible=True)
    if not job.preemptible and begins(supposed):
        says = "It starts now if it may be preempted: with quota that its owner can claim back."
        yield Change("preemptible", says, True, 0.3, supposed)


def _sooner(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """With a higher priority: the lowest that does."""
    rivals = {priority for priority, many in turns.waiting.items() if many > (priority == job.priority)} | set(turns.running)
    steps = sorted({at + more for at in rivals for more in (0, 1) if at >= job.priority and at + more > job.priority}, reverse=True)
    found = largest(0, len(steps) - 1, lambda at: begins(Supposed(priority=steps[at])))
    if found is not None:
        says = f"It starts now with the priority {steps[found]} instead of {job.priority}."
        yield Change("priority", says, steps[found], 0.5 + 0.01 * (len(steps) - found), Supposed(priority=steps[found]))


def _more_quota(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """With a higher quota of its tenant, or, where those above it are full too, of all of them."""
    tenants = {tenant.name: tenant for tenant in snapshot.tenants}
    chain: list[SnapTenant] = []
    at: str | None = job.tenant
    while at is not None and at in tenants:
        chain.append(tenants[at])
        at = tenants[at].parent
    for kind in dict.fromkeys(way.accelerator for way in job.ways):
        bounded = tuple(tenant for tenant in chain if tenant.nominal.get(kind) is not None)
        wanted = -(-max(measure(way) for way in job.ways if way.accelerator == kind) // WHOLE)
        for raised in (bounded[:1], bounded) if len(bounded) > 1 else (bounded,):
            if raised and (found := _raised(job, begins, raised, kind, wanted)):
                yield found
                return


def _raised(job: SnapJob, begins: Begins, tenants: tuple[SnapTenant, ...], kind: str, wanted: int) -> Change | None:
    """The smallest whole number of devices or cores more, up to `wanted`. Only the job's own tenant is named."""

    def supposed(missing: int) -> Supposed:
        return Supposed(quotas={(tenant.name, kind): tenant.nominal[kind] + (wanted - missing) * WHOLE for tenant in tenants})

    found = largest(0, wanted - 1, lambda missing: begins(supposed(missing)))
    if found is None:
        return None
    more = wanted - found
    parts = []
    for tenant in tenants:
        whose = tenant.name if tenant.name == job.tenant else "a tenant above it"
        before = tenant.nominal[kind] / WHOLE
        parts.append(f"a quota of {before + more:g} instead of {before:g} {kind or 'cores'} for {whose}")
    above = f" (and {more:g} more for those above)" if len(tenants) == 1 and tenants[0].parent is not None else ""
    says = f"It starts now with {' and '.join(parts)}{above}."
    return Change("quota", says, {"more": more, "accelerator": kind}, 0.7, supposed(found))


def _no_maintenance(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    closing = [node for node in snapshot.nodes if node.closes and node.site in {way.site for way in job.ways}]
    supposed = Supposed(no_maintenance=True)
    if closing and turns.maintenance and begins(supposed):
        sites = ", ".join(sorted({node.site for node in closing}))
        first = min(node.closes or 0 for node in closing)
        says = f"It would start now but for the maintenance of {sites} in {duration(max(first - snapshot.now, 0))}; it can start after it."
        yield Change("maintenance", says, {"site": sites, "from": first}, 0.9, supposed)


# --- in numbers and words --------------------------------------------------------------------------------------------------


def _change(job: SnapJob, dimension: str, says: str, value: Any, size: float, supposed: Supposed) -> Change:
    assert supposed.ways
    return Change(dimension, says, value, size, supposed, _costlier(job, supposed.ways[0]))


def measure(way: Way) -> int:
    """Thousandths of device, or of core where it takes none, in all."""
    return way.tasks * (way.devices * way.milli if way.devices else way.cpu)


def _worst(way: Way) -> int:
    return way.price * measure(way) * way.limit


def _costlier(job: SnapJob, way: Way) -> float | None:
    before = _worst(job.ways[0])
    return 100 * (_worst(way) / before - 1) if before else None


def _price(pct: float | None) -> str:
    if pct is None:
        return ""
    return " at the same price" if abs(pct) < 0.5 else f", {abs(pct):.0f} % {'dearer' if pct > 0 else 'cheaper'}"


def _of(way: Way) -> str:
    return f" of {way.devices} {way.accelerator}" if way.devices else ""


def amount(way: Way) -> str:
    """ "2 × 8 h20", "4 cores and 1024 MiB"."""
    gang = f"{way.tasks} × " if way.tasks > 1 else ""
    if not way.devices:
        cores = f"{way.cpu / WHOLE:g} cores" if way.cpu else ""
        return f"{gang}{' and '.join(part for part in (cores, f'{way.memory} MiB' if way.memory else '') if part)}"
    part = f"{way.milli / WHOLE:g} of a" if way.milli < WHOLE else f"{way.devices}"
    return f"{gang}{part} {way.accelerator or 'device'}"


def duration(seconds: int) -> str:
    """ "45 s", "12 min", "2 h 47 min", "3 d 4 h": rounded down to its second largest unit."""
    if seconds >= FOR_EVER:
        return "no end"
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    shown = [at for at, (number, _) in enumerate(parts) if number]
    if not shown:
        return "0 s"
    return " ".join(f"{number} {unit}" for number, unit in parts[shown[0] : shown[0] + 2] if number)
