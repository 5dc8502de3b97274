"""Why a job waits, in a sentence with the facts that bind. Pure.

Other tenants' jobs are shown by what they hold in all, never by name: `mine` says which jobs may be named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lilong.floors.compute.contract import ReasonCode
from lilong.floors.compute.rules.counterfactuals import FOR_EVER, WHOLE, amount, duration, measure
from lilong.floors.compute.scheduler.snapshot import Decision, SnapJob, SnapNode, Snapshot, Way
from lilong.ground.seams import stamp

NAMED = 5  # jobs of one's own that a sentence names
LISTED = 20  # and that an answer lists
_CODES: Mapping[str, ReasonCode] = {code.value.replace("-", "_"): code for code in ReasonCode} | {"over_quota": ReasonCode.QUOTA}
ORDER: Mapping[ReasonCode, int] = {code: at for at, code in enumerate(ReasonCode)}


@dataclass(frozen=True, slots=True)
class Holder:
    """`job` None: all others together ("another tenant"), or what does not belong to the house ("others than the house")."""

    who: str
    job: str | None
    holds: str
    ends_at: str | None = None  # at the latest


@dataclass(frozen=True, slots=True)
class Quota:
    """In devices or cores, of the job's own tenant. `nominal` None: no bound of its own."""

    tenant: str
    kind: str
    held: float
    nominal: float | None
    borrow: float | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """Who is looked at before it. `own`: up to LISTED ids; `device_hours`: what all of them that end by themselves may use, core-hours where they take no device."""

    count: int
    own_count: int
    own: tuple[str, ...]
    device_hours: float


@dataclass(frozen=True, slots=True)
class Explained:
    code: ReasonCode
    says: str
    needs: tuple[str, ...]
    free: tuple[str, ...]
    held_by: tuple[Holder, ...]
    quotas: tuple[Quota, ...]
    ahead: Ahead
    reserved_start: int | None


def gravest(codes: Collection[ReasonCode]) -> ReasonCode:
    """The one of several reasons that is told."""
    return min(codes, key=ORDER.__getitem__)


def code_of(word: str) -> ReasonCode:
    """The stable code for a word of `decide.Reason`."""
    return _CODES[word]


def explained(snapshot: Snapshot, decision: Decision, job_id: str, order: Sequence[str], mine: Collection[str]) -> Explained:
    """`order`: waiting jobs as they are looked at; `mine`: those that may be named. The job waits in the snapshot."""
    jobs = {job.id: job for job in snapshot.jobs}
    job = jobs[job_id]
    ahead = _ahead([jobs[one] for one in order[: order.index(job_id)]], mine)
    reserved = decision.reservations.get(job_id)
    codes = {code_of(decision.reasons[job_id])} if job_id in decision.reasons else set()
    if reserved is not None and codes <= {ReasonCode.WOULD_DELAY, ReasonCode.BEHIND}:
        codes |= {ReasonCode.RESERVED}
    code = gravest(codes or {ReasonCode.BEHIND})
    quotas = _quotas(snapshot, job)
    free, holders = _room(snapshot, job, mine)
    needs = tuple(dict.fromkeys(amount(way) for way in job.ways))
    wants = " or ".join(needs[:3]) + (" or …" if len(needs) > 3 else "")
    when = _when(snapshot, decision, reserved)
    says = _SAYS[code](_Facts(snapshot, job, wants, "; ".join(free), tuple(holders), tuple(quotas), ahead, when))
    return Explained(code, says, needs, tuple(free), tuple(holders), tuple(quotas), ahead, reserved)


def _when(snapshot: Snapshot, decision: Decision, reserved: int | None) -> str:
    starts = [reserved] if reserved is not None else sorted(decision.reservations.values())
    return moment(starts[0], snapshot.now) if starts else ""


# --- the facts -------------------------------------------------------------------------------------------------------------


def _ahead(jobs: Sequence[SnapJob], mine: Collection[str]) -> Ahead:
    own = [job.id for job in jobs if job.id in mine]
    hours = sum(measure(job.ways[0]) * job.ways[0].limit for job in jobs if job.ways[0].limit < FOR_EVER) / WHOLE / 3600
    return Ahead(len(jobs), len(own), tuple(own[:LISTED]), round(hours, 2))


def _quotas(snapshot: Snapshot, job: SnapJob) -> list[Quota]:
    tenants = {tenant.name: tenant for tenant in snapshot.tenants}
    own = tenants.get(job.tenant)
    if own is None:
        return []
    below = {own.name}
    for tenant in snapshot.tenants:
        path, at = [tenant.name], tenant.parent
        while at is not None and at in tenants and len(path) <= len(tenants):
            path.append(at)
            at = tenants[at].parent
        if own.name in path:
            below.add(tenant.name)
    found = []
    for kind in dict.fromkeys(way.accelerator for way in job.ways):
        running = [one.ways[one.way] for one in snapshot.jobs if one.started is not None and one.tenant in below]
        held = sum(measure(way) for way in running if way.accelerator == kind)
        limits = [None if of.get(kind) is None else of[kind] / WHOLE for of in (own.nominal, own.borrow)]
        found.append(Quota(own.name, kind, held / WHOLE, *limits))
    return found


def _room(snapshot: Snapshot, job: SnapJob, mine: Collection[str]) -> tuple[list[str], list[Holder]]:
    """What is free where the job could go, and who holds the rest: one's own jobs, those that end first before others."""
    where = {(way.site, way.accelerator) for way in job.ways}
    nodes = {node.name: node for node in snapshot.nodes if _suits(node, job.ways)}
    left = {
        name: [node.cpu - node.foreign[0], node.memory - node.foreign[1], node.devices * WHOLE - node.foreign[2] * WHOLE]
        for name, node in nodes.items()
    }
    own: list[tuple[int, Holder]] = []
    others: dict[str, int] = {}
    for other in snapshot.jobs:
        if other.started is None:
            continue
        way, here = other.ways[other.way], False
        for node, devices in other.places:
            if node in left:
                here = True
                for at, used in enumerate((way.cpu, way.memory, devices.bit_count() * way.milli)):
                    left[node][at] -= used
        if here and other.id in mine:
            end = other.started + way.limit
            own.append(
                (end, Holder("you", other.id, amount(way), stamp(datetime.fromtimestamp(end, UTC)) if way.limit < FOR_EVER else None))
            )
        elif here:
            others[_kind(way)] = others.get(_kind(way), 0) + measure(way)
    holders = [holder for _, holder in sorted(own, key=lambda pair: (pair[0], pair[1].job or ""))][:LISTED]
    holders += [Holder("another tenant", None, f"{many / WHOLE:g} {kind}") for kind, many in sorted(others.items())]
    foreign = sum(node.foreign[2] or node.foreign[0] / WHOLE for node in nodes.values())
    if foreign:
        holders.append(
            Holder("others than the house", None, f"{foreign:g} {'devices' if any(n.foreign[2] for n in nodes.values()) else 'cores'}")
        )
    return [_free(site, kind, nodes, left, job) for site, kind in sorted(where)], holders


def _suits(node: SnapNode, ways: Sequence[Way]) -> bool:
    return any(way.site == node.site and (not way.devices or way.accelerator == node.accelerator) for way in ways)


def _free(site: str, kind: str, nodes: Mapping[str, SnapNode], left: Mapping[str, Sequence[int]], job: SnapJob) -> str:
    here = [left[name] for name, node in nodes.items() if node.site == site and (not kind or node.accelerator == kind)]
    if not here:
        return f"{site} has no {kind or 'node'} now"
    at, unit = (2, kind) if kind else (0, "cores")
    most = max(parts[at] for parts in here) / WHOLE
    total = sum(max(parts[at], 0) for parts in here) / WHOLE
    text = f"{max(total, 0):g} {unit} at {site}"
    if len(here) > 1:
        text += f", at most {max(most, 0):g} on one node"
    return text if kind else f"{text}, {max(0, *(parts[1] for parts in here))} MiB of memory"


def _kind(way: Way) -> str:
    return way.accelerator or "cores"


# --- the sentences ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    snapshot: Snapshot
    job: SnapJob
    wants: str
    free: str
    holders: tuple[Holder, ...]
    quotas: tuple[Quota, ...]
    ahead: Ahead
    when: str  # the start reserved for it, or the first that is reserved for another; "" if there is none

    @property
    def needs(self) -> str:
        return f"It needs {self.wants}; free: {self.free}."

    @property
    def held(self) -> str:
        named = [f"{holder.job} ({holder.holds})" for holder in self.holders if holder.job][:NAMED]
        more = sum(holder.job is not None for holder in self.holders) - len(named)
        named += [f"{more} more of yours"] if more > 0 else []
        named += [f"{holder.who} ({holder.holds})" for holder in self.holders if holder.job is None]
        return f" Held by {', '.join(named)}." if named else ""

    @property
    def others(self) -> str:
        count, own = self.ahead.count, self.ahead.own_count
        if count == 1:
            return f"1 job{' of yours' if own else ''} goes before it"
        return f"{count} jobs{f', {own} of them yours,' if own else ''} go before it"


def _impossible(facts: _Facts) -> str:
    return f"It needs {facts.wants}, which no site has now, even if nothing else ran. Cancel it, or wait until nodes come back."


def _quota(facts: _Facts) -> str:
    parts, bound = [], facts.snapshot.reclaim_s
    may_borrow = facts.job.preemptible or min(way.limit for way in facts.job.ways) <= bound
    for quota in facts.quotas:
        if quota.nominal is not None:
            more = f" and may borrow {quota.borrow:g}, which nobody lends now" if quota.borrow and may_borrow else ""
            parts.append(f"{quota.tenant} holds {quota.held:g} of its quota of {quota.nominal:g} {quota.kind or 'cores'}{more}")
    own = "; ".join(parts) or "a tenant above yours holds all that it may"
    firm = ""
    if not may_borrow:
        firm = f" A job that may not be preempted and may run for more than {duration(bound)} cannot borrow."
    return f"It needs {facts.wants}; {own}.{firm}"


def _maintenance(facts: _Facts) -> str:
    closing = [node.closes for node in facts.snapshot.nodes if node.closes and _suits(node, facts.job.ways)]
    begins = f" at {moment(min(closing), facts.snapshot.now)}" if closing else ""
    return f"It may run for {duration(min(way.limit for way in facts.job.ways))}, and maintenance begins{begins}."


def _no_room(facts: _Facts) -> str:
    goes = "It goes first" if facts.ahead.count == 0 else facts.others
    promised = f" It starts at {facts.when} at the latest." if facts.when and facts.ahead.count == 0 else ""
    return f"{goes}. {facts.needs}{facts.held}{promised}"


def _reserved(facts: _Facts) -> str:
    return f"A start is reserved for it at {facts.when} at the latest. {facts.needs}{facts.held}"


def _would_delay(facts: _Facts) -> str:
    promised = f"the start promised to another for {facts.when}" if facts.when else "a start promised to another"
    return f"It needs {facts.wants} for up to {duration(facts.job.ways[0].limit)}, which would delay {promised}. {facts.others}."


def _behind(facts: _Facts) -> str:
    return f"{facts.others}. {facts.needs}{facts.held}"


_SAYS: Mapping[ReasonCode, Callable[[_Facts], str]] = {
    ReasonCode.IMPOSSIBLE: _impossible,
    ReasonCode.QUOTA: _quota,
    ReasonCode.MAINTENANCE: _maintenance,
    ReasonCode.NO_ROOM: _no_room,
    ReasonCode.RESERVED: _reserved,
    ReasonCode.WOULD_DELAY: _would_delay,
    ReasonCode.BEHIND: _behind,
    ReasonCode.NOT_LOOKED_AT: _behind,
}


def moment(at: int, now: int) -> str:
    """ "22:10 UTC", with the date if it is another day than `now`."""
    when, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return f"{when:%H:%M} UTC" if when.date() == today.date() else f"{when:%Y-%m-%d %H:%M} UTC"
