"""What would make a waiting job start now: the smallest changes to what it asks for, each found by deciding again. Pure.

A *supposition* is a snapshot in which one thing is otherwise. `counterfactuals` looks along one dimension after another (time limit,
size, class, site, preemptible, priority, quota, maintenance) for the change nearest to what is asked for with which the job begins at
once, and leaves out the dimensions along which none does. Along each of them an easier job is taken to start if a harder one does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from lilong.floors.compute.rules.wording import Said, counted, joined, said
from lilong.floors.compute.scheduler.snapshot import SnapJob, Snapshot, SnapTenant, Way

WHOLE = 1000  # thousandths
FOR_EVER = 1 << 60  # the limit of a service
MOST = 5  # changes that are told
LEAST_MIB = 16  # of memory, with which a job is taken


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
        tenants = tuple(with_quotas(tenant, supposed.quotas) for tenant in tenants)
    return replace(snapshot, jobs=jobs, nodes=nodes, tenants=tenants)


def _otherwise(job: SnapJob, supposed: Supposed) -> SnapJob:
    return replace(
        job,
        ways=job.ways if supposed.ways is None else supposed.ways,
        preemptible=job.preemptible if supposed.preemptible is None else supposed.preemptible,
        priority=job.priority if supposed.priority is None else supposed.priority,
    )


def with_quotas(tenant: SnapTenant, quotas: Mapping[tuple[str, str], int]) -> SnapTenant:
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
    timeout: int | None = None  # the time limit that was asked for; None: the shortest of the ways'


Begins = Callable[[Supposed], bool]  # whether the job starts now


def counterfactuals(
    snapshot: Snapshot,
    job_id: str,
    begins: Begins,
    others: Sequence[Way] = (),
    turns: Turns = Turns(),
    most: int = MOST,
    surely: Begins = lambda _: True,
) -> list[Change]:
    """The smallest change first. `surely`: the same as `begins` without a shortcut; only what begins so too is told. `others`: ways that the job does not allow, of other classes and sites, in which it would fit if nothing else ran. `turns`: only save questions."""
    job = next(one for one in snapshot.jobs if one.id == job_id)
    found: list[Change] = []
    for look in (_shorter, _smaller, _elsewhere, _preemptible, _sooner, _more_quota, _no_maintenance):
        found += look(snapshot, job, begins, tuple(others), turns)
    sure = (one for one in sorted(found, key=lambda change: change.size) if one.at is not None or surely(one.supposed))
    return list(islice(sure, most))


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
    """With a limit up to which it disturbs nobody who was promised a start, runs into no maintenance, or goes before longer ones.

    The limit is the one asked for; where a way has a longer one, because its class is slower, that is shorter in proportion.
    """
    limits = {way.limit for way in job.ways}
    limit = turns.timeout or min(limits)
    if max(limits) >= FOR_EVER:
        return
    hints = {at - snapshot.now for at in turns.reserved} | {snapshot.reclaim_s}
    hints |= {node.closes - snapshot.now for node in snapshot.nodes if node.closes}
    if snapshot.policy in ("sjf", "srtf", "qssf", "easy-sjbf"):
        hints |= {way.limit - less for other in snapshot.jobs if other.started is None for way in other.ways for less in (0, 1)}

    def supposed(seconds: int) -> Supposed:
        return Supposed(ways=tuple(replace(way, limit=-(-way.limit * seconds // limit)) for way in job.ways))

    found = largest(1, limit - 1, lambda seconds: begins(supposed(seconds)), {at * limit // one for at in hints for one in limits})
    if found is not None:
        says = said("It starts now with a time limit of at most {less} instead of {asked}.", less=duration(found), asked=duration(limit))
        yield _change(job, "limit", says, found, 1 - found / limit, supposed(found))


def _smaller(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """With fewer tasks, fewer devices or cores, or less memory: of its alternatives the one that has to give up least, and it alone."""
    best: dict[str, Change] = {}
    for ways in _alternatives(job):
        for change in _less_of(replace(job, ways=ways), begins, turns, _only(job, ways)):
            if change.dimension not in best or change.size < best[change.dimension].size:
                best[change.dimension] = replace(change, costlier_pct=_costlier(job, (change.supposed.ways or ways)[0]))
    yield from best.values()


def _alternatives(job: SnapJob) -> list[tuple[Way, ...]]:
    """The ways of a job by what each task takes: one alternative comes at several sites and in several sizes."""
    found: dict[tuple[Any, ...], list[Way]] = {}
    for way in job.ways:
        cores = way.cpu if way.limit < FOR_EVER else 0  # which a service does not take at every site
        found.setdefault((way.accelerator, way.devices, way.milli, cores, way.memory), []).append(way)
    return [tuple(ways) for ways in found.values()]


Only = Callable[[Sequence[Way]], str]


def _only(job: SnapJob, ways: Sequence[Way]) -> Only:
    """How to say that it asks for one alternative alone, with less of it than `ways`; nothing where it has no other."""
    more = len({(way.cpu, way.memory) for way in job.ways}) > 1

    def only(less: Sequence[Way]) -> str:
        if len(ways) == len(job.ways):
            return ""
        sizes = {way.tasks for way in less}
        tasks = f"{min(sizes)}–{max(sizes)} × " if len(sizes) > 1 else f"{less[0].tasks} × " if less[0].tasks > 1 else ""
        each = replace(less[0], tasks=1)
        rest = said(" with {what} each", what=amount(replace(each, devices=0))) if more and each.devices else ""
        return said(", asking for {tasks}{what}{rest} and nothing else", tasks=tasks, what=amount(each), rest=rest)

    return only


def _less_of(job: SnapJob, begins: Begins, turns: Turns, only: Only) -> Iterator[Change]:
    """Of a job with one alternative."""
    first, sizes = job.ways[0], {way.tasks for way in job.ways}
    if min(sizes) > 1:
        gang = list(_less(job, begins, _Part("tasks", "{n} tasks{of}", "{n} task{of}", of=_of(first)), only))
        yield from gang
        if gang:
            return
    each: str = ""
    if max(sizes) > 1:
        each = said(" for each of its {n} tasks", n=first.tasks) if len(sizes) == 1 else said(" for each of its tasks")
    parts = (
        [_Part("devices", "{n} {kind} devices{each}", "{n} {kind} device{each}", kind=first.accelerator, each=each)]
        if first.milli == WHOLE
        else []
    )
    parts += [
        _Part("cpu", "{n} cores{each}", "{n} core{each}", unit=WHOLE, each=each),
        _Part("memory", "{n} MiB of memory{each}", least=LEAST_MIB, each=each),
    ]
    for part in parts:
        yield from _less(job, begins, part, only, turns.free.get(part.name, ()))


@dataclass(frozen=True, slots=True)
class _Part:
    """What there may be less of. `many`: how {n} of it are said, `one`: if they are but one; `least`: that can be asked for."""

    name: str
    many: str
    one: str = ""
    unit: int = 1
    least: int = 1
    kind: str = ""
    each: str = ""
    of: str = ""

    def said(self, n: int) -> str:
        return said(self.one if n == 1 and self.one else self.many, n=n, kind=self.kind, each=self.each, of=self.of)


def _less(job: SnapJob, begins: Begins, part: _Part, only: Only, hints: Iterable[int] = ()) -> Iterator[Change]:
    name, unit = part.name, part.unit
    wanted = min(int(getattr(way, name)) for way in job.ways)

    def supposed(units: int) -> Supposed:
        less = (replace(way, **{name: min(getattr(way, name), units * unit)}) for way in job.ways)
        return Supposed(ways=tuple(dict.fromkeys(less)))

    found = largest(part.least, (wanted - 1) // unit, lambda units: begins(supposed(units)), (at // unit for at in hints))
    if found is not None:
        less, alone = part.said(found), only(supposed(found).ways or ())
        says = said("It starts now with {less} instead of {asked:g}{alone}.", less=less, asked=wanted / unit, alone=alone)
        yield _change(job, name, says, found, 1 - found * unit / wanted, supposed(found))


def _elsewhere(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """At another site, or on devices of another class: the cheapest of each that starts now, or could start sooner than where it may run."""
    asked = {way.accelerator for way in job.ways}
    sites: dict[str, list[Way]] = {}
    for way in others:
        if way.accelerator in asked:
            sites.setdefault(way.site, []).append(way)
    given = [tuple(ways[: len(job.ways)]) for ways in sites.values()] + [(way,) for way in others if way.accelerator not in asked]
    told: set[str] = set()
    own = turns.earliest(job.ways) or FOR_EVER
    for ways in sorted(given, key=lambda ways: _worst(ways[0])):
        way = ways[0]
        dimension = "site" if way.accelerator in asked else "class"
        supposed = Supposed(ways=ways)
        if dimension in told:
            continue
        now = begins(supposed)
        at = None if now else turns.earliest(ways)
        if not now and (at is None or at >= own):
            continue
        told.add(dimension)
        dearer = _costlier(job, way)
        where = said("at {site}", site=way.site) if dimension == "site" else said("on {what} at {site}", what=amount(way), site=way.site)
        longer = dimension == "class" and way.limit != (turns.timeout or job.ways[0].limit)
        where = joined("", [where, said(", where it may run for {time}", time=duration(way.limit)) if longer else "", _price(dearer)])
        if at is None:
            says = said("It starts now {where}.", where=where)
        else:
            says = said("In {time} at the earliest it could start {where}.", time=duration(at - snapshot.now), where=where)
        size = (0.1 if dimension == "site" else 0.25) + min(max(dearer or 0.0, 0.0) / 100, 1.0) / 2 + (at is not None)
        yield Change(dimension, says, {"site": way.site, "accelerator": way.accelerator}, size, supposed, dearer, at)


def _preemptible(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    supposed = Supposed(preemptible=True)
    if not job.preemptible and begins(supposed):
        says = said("It starts now if it may be preempted: with quota that its owner can claim back.")
        yield Change("preemptible", says, True, 0.3, supposed)


def _sooner(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    """With a higher priority: the lowest that does, of those that anybody may ask for."""
    most = max(job.priority, 0)
    rivals = {priority for priority, many in turns.waiting.items() if many > (priority == job.priority)} | set(turns.running)
    steps = sorted({at + more for at in rivals for more in (0, 1) if most >= at + more > job.priority}, reverse=True)
    found = largest(0, len(steps) - 1, lambda at: begins(Supposed(priority=steps[at])))
    if found is not None:
        says = said("It starts now with the priority {more} instead of {asked}.", more=steps[found], asked=job.priority)
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
        whose = tenant.name if tenant.name == job.tenant else said("a tenant above it")
        before = tenant.nominal[kind] / WHOLE
        words: dict[str, Any] = {"more": before + more, "before": f"{before:g} {kind}" if kind else cores(before), "whose": whose}
        parts.append(said("a quota of {more:g} instead of {before} for {whose}", **words))
    above = said(" (and {more:g} more for those above)", more=more) if len(tenants) == 1 and tenants[0].parent is not None else ""
    both = parts[0] if len(parts) == 1 else said("{first} and {rest}", first=parts[0], rest=joined(", ", parts[1:]))
    says = said("It starts now with {quotas}{above}.", quotas=both, above=above)
    return Change("quota", says, {"more": more, "accelerator": kind}, 0.7, supposed(found))


def _no_maintenance(snapshot: Snapshot, job: SnapJob, begins: Begins, others: tuple[Way, ...], turns: Turns) -> Iterator[Change]:
    closing = [node for node in snapshot.nodes if node.closes and node.site in {way.site for way in job.ways}]
    supposed = Supposed(no_maintenance=True)
    if closing and turns.maintenance and begins(supposed):
        sites = ", ".join(sorted({node.site for node in closing}))
        first = min(node.closes or 0 for node in closing)
        time = duration(max(first - snapshot.now, 0))
        says = said("It would start now but for the maintenance of {sites} in {time}; it can start after it.", sites=sites, time=time)
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
    if abs(pct) < 0.5:
        return said(" at the same price")
    return said(", {pct:.0f} % dearer", pct=pct) if pct > 0 else said(", {pct:.0f} % cheaper", pct=-pct)


def _of(way: Way) -> str:
    return said(" of {n} {kind}", n=way.devices, kind=way.accelerator) if way.devices else ""


def amount(way: Way) -> str:
    """ "2 × 8 h20", "4 cores and 1024 MiB"."""
    gang = f"{way.tasks} × " if way.tasks > 1 else ""
    if not way.devices:
        what: str = cores(way.cpu / WHOLE) if way.cpu else ""
        if way.memory:
            what = said("{cores} and {memory} MiB", cores=what, memory=way.memory) if what else said("{n} MiB", n=way.memory)
        return joined("", [gang, what])
    if way.milli < WHOLE:
        return said("{gang}{share:g} of a {kind}", gang=gang, share=way.milli / WHOLE, kind=way.accelerator or "device")
    return said("{gang}{n} {kind}", gang=gang, n=way.devices, kind=way.accelerator or "device")


def cores(many: float) -> Said:
    return counted(many, "{many:g} core", "{many:g} cores")


def duration(seconds: int) -> str:
    """ "45 s", "12 min", "2 h 47 min", "3 d 4 h": rounded down to its second largest unit."""
    if seconds >= FOR_EVER:
        return said("no end")
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    shown = [at for at, (number, _) in enumerate(parts) if number]
    if not shown:
        return "0 s"
    return " ".join(f"{number} {unit}" for number, unit in parts[shown[0] : shown[0] + 2] if number)
