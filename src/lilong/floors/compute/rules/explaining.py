"""Why a job waits, in a sentence with the facts that bind. Pure.

Other tenants' jobs are shown by what they hold in all, never by name: `mine` says which jobs may be named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lilong.floors.compute.contract import ReasonCode
from lilong.floors.compute.rules import telling
from lilong.floors.compute.rules.counterfactuals import FOR_EVER, WHOLE, amount, duration, measure
from lilong.floors.compute.rules.scene import Pool, Scene, ends
from lilong.floors.compute.scheduler.snapshot import Decision, SnapJob, Snapshot, Way
from lilong.ground.seams import stamp

NAMED = 5  # jobs of one's own that a sentence names
LISTED = 20  # and that an answer lists


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


def explained(scene: Scene, job_id: str, mine: Collection[str]) -> Explained:
    """`mine`: the jobs that may be named. The job waits in the scene."""
    snapshot, decision, job = scene.snapshot, scene.decision, scene.jobs[job_id]
    ahead = _ahead(scene, job_id, mine)
    reserved = decision.reservations.get(job_id)
    code = telling.code(decision.reasons.get(job_id, "behind"), reserved=reserved is not None, reachable=True)
    quotas = _quotas(scene, job)
    pools = scene.pools(job.ways)
    free = tuple(_free(scene, site, kind) for site, kind in sorted({(way.site, way.accelerator) for way in job.ways}))
    holders = _holders(scene, pools, mine)
    needs = tuple(dict.fromkeys(amount(way) for way in job.ways))
    wants = " or ".join(needs[:3]) + (" or …" if len(needs) > 3 else "")
    whose, at = (job_id, reserved) if reserved is not None else _first_promised(decision)
    when = "" if at is None else moment(at, snapshot.now)
    closes = scene.room(pools).closes
    other = whose if whose in mine else "another"
    says = _SAYS[code](_Facts(snapshot, job, closes, wants, "; ".join(free), holders, quotas, ahead, when, other))
    return Explained(code, says, needs, free, holders, quotas, ahead, reserved)


def _first_promised(decision: Decision) -> tuple[str, int | None]:
    return min(decision.reservations.items(), key=lambda one: (one[1], one[0]), default=("", None))


# --- the facts -------------------------------------------------------------------------------------------------------------


def _ahead(scene: Scene, job_id: str, mine: Collection[str]) -> Ahead:
    count = scene.place[job_id]
    own = [one for one in scene.order[:count] if one in mine]
    return Ahead(count, len(own), tuple(own[:LISTED]), round(scene.device_hours(count), 2))


def _quotas(scene: Scene, job: SnapJob) -> tuple[Quota, ...]:
    own = scene.tenants.get(job.tenant)
    if own is None:
        return ()
    below = scene.subtree(own.name)
    found = []
    for kind in dict.fromkeys(way.accelerator for way in job.ways):
        limits = [None if of.get(kind) is None else of[kind] / WHOLE for of in (own.nominal, own.borrow)]
        found.append(Quota(own.name, kind, scene.held(below, kind), *limits))
    return tuple(found)


def _holders(scene: Scene, pools: Collection[Pool], mine: Collection[str]) -> tuple[Holder, ...]:
    """Who holds what is not free there: one's own jobs, all others together, and who does not belong to the house."""
    own, others = scene.holders(pools, mine)
    found = []
    for job in own[:LISTED]:
        way = job.ways[job.way]
        end = stamp(datetime.fromtimestamp(ends(job), UTC)) if way.limit < FOR_EVER else None
        found.append(Holder("you", job.id, amount(way), end))
    found += [Holder("another tenant", None, f"{many / WHOLE:g} {kind}") for kind, many in others.items()]
    room = scene.room(pools)
    if room.foreign:
        unit = "devices" if room.foreign_devices else "cores"
        found.append(Holder("others than the house", None, f"{room.foreign:g} {unit}"))
    return tuple(found)


def _free(scene: Scene, site: str, kind: str) -> str:
    pools = scene.pools([Way(site, kind, 1 if kind else 0)])
    if not pools:
        return f"{site} has no {kind or 'node'} now"
    room = scene.room(pools)
    if not room.nodes:
        return f"nothing at {site}: {_nodes(room.shut, kind)}, drained, closed or under maintenance"
    at, unit = (2, kind) if kind else (0, "cores")
    text = f"{room.free[at] / WHOLE:g} {unit} at {site}"
    if room.nodes > 1:
        text += f", at most {room.most[at] / WHOLE:g} on one node"
    text = text if kind else f"{text}, {room.most[1]} MiB of memory"
    return f"{text} ({_nodes(room.shut, kind)})" if room.shut else text


def _nodes(many: int, kind: str) -> str:
    return f"{many} {'node' if many == 1 else 'nodes'}{f' of {kind}' if kind else ''} {'takes' if many == 1 else 'take'} no new work"


# --- the sentences ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    snapshot: Snapshot
    job: SnapJob
    closes: int | None  # when the first node that it could go to closes for maintenance
    wants: str
    free: str
    holders: tuple[Holder, ...]
    quotas: tuple[Quota, ...]
    ahead: Ahead
    when: str  # the start reserved for it, or the first that is reserved for another; "" if there is none
    other: str  # who that is

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
    bound = facts.snapshot.reclaim_s
    may_borrow = facts.job.preemptible or min(way.limit for way in facts.job.ways) <= bound
    bounded = [quota for quota in facts.quotas if quota.nominal is not None]
    own = "; ".join(_binding(facts, quota, may_borrow) for quota in bounded) or "a tenant above yours holds all that it may"
    firm = ""
    if not may_borrow and any(not _is_within(facts, quota) for quota in bounded):
        firm = f" A job that may not be preempted and may run for more than {duration(bound)} cannot borrow."
    return f"It needs {facts.wants}; {own}.{firm}"


def _asks(facts: _Facts, quota: Quota) -> float:
    return min(measure(way) for way in facts.job.ways if way.accelerator == quota.kind) / WHOLE


def _is_within(facts: _Facts, quota: Quota) -> bool:
    """Whether the job would fit in its tenant's own quota beside what that holds, so that it is others who are in its way."""
    return quota.nominal is not None and quota.held + _asks(facts, quota) <= quota.nominal


def _binding(facts: _Facts, quota: Quota, may_borrow: bool) -> str:
    assert quota.nominal is not None
    text = f"{quota.tenant} holds {quota.held:g} of its quota of {quota.nominal:g} {quota.kind or 'cores'}"
    if _is_within(facts, quota):
        parts = sum(one.nominal.get(quota.kind, 0) for one in facts.snapshot.tenants if one.parent == quota.tenant) / WHOLE
        if parts:
            return f"{text}, of which {parts:g} are for its parts first"
        return f"{text}; others have borrowed the rest, which comes back within {duration(facts.snapshot.reclaim_s)}"
    if not may_borrow or quota.borrow == 0:
        return text
    if quota.borrow is not None and quota.held + _asks(facts, quota) > quota.nominal + quota.borrow:
        return f"{text} and may borrow no more than {quota.borrow:g}"
    return f"{text} and may borrow{'' if quota.borrow is None else f' {quota.borrow:g}'}, but nobody lends as much now"


def _maintenance(facts: _Facts) -> str:
    begins = f" at {moment(facts.closes, facts.snapshot.now)}" if facts.closes is not None else ""
    return f"It may run for {duration(min(way.limit for way in facts.job.ways))}, and maintenance begins{begins}."


def _no_room(facts: _Facts) -> str:
    goes = "It goes first" if facts.ahead.count == 0 else facts.others
    promised = f" It starts at {facts.when} at the latest." if facts.when and facts.ahead.count == 0 else ""
    return f"{goes}. {facts.needs}{facts.held}{promised}"


def _reserved(facts: _Facts) -> str:
    return f"A start is reserved for it at {facts.when} at the latest. {facts.needs}{facts.held}"


def _would_delay(facts: _Facts) -> str:
    promised = f"the start promised to {facts.other} for {facts.when}" if facts.when else "a start promised to another"
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
