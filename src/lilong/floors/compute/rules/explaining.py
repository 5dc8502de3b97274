"""Why a job waits, in a sentence with the facts that bind. Pure.

Other tenants' jobs are shown by what they hold in all, never by name: `mine` says which jobs may be named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lilong.floors.compute.contract import ReasonCode
from lilong.floors.compute.rules import telling
from lilong.floors.compute.rules.counterfactuals import FOR_EVER, WHOLE, amount, cores, duration, measure
from lilong.floors.compute.rules.scene import Pool, Scene, ends
from lilong.floors.compute.rules.wording import counted, joined, said
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
    wants = either([*needs[:3], *(["…"] if len(needs) > 3 else [])])
    whose, at = (job_id, reserved) if reserved is not None else _first_promised(decision)
    when = "" if at is None else moment(at, snapshot.now)
    closes = scene.room(pools).closes
    other = whose if whose in mine else said("another")
    says = _SAYS[code](_Facts(snapshot, job, closes, wants, joined("; ", free), holders, quotas, ahead, when, other))
    return Explained(code, says, needs, free, holders, quotas, ahead, reserved)


def either(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else said("{first} or {rest}", first=parts[0], rest=either(parts[1:]))


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
    found += [
        Holder(said("another tenant"), None, said("{many:g} {kind}", many=many / WHOLE, kind=kind) if kind else cores(many / WHOLE))
        for kind, many in others.items()
    ]
    room = scene.room(pools)
    if room.foreign:
        holds = counted(room.foreign, "{many:g} device", "{many:g} devices") if room.foreign_devices else cores(room.foreign)
        found.append(Holder(said("others than the house"), None, holds))
    return tuple(found)


def _free(scene: Scene, site: str, kind: str) -> str:
    pools = scene.pools([Way(site, kind, 1 if kind else 0)])
    if not pools:
        return said("{site} has no {kind} now", site=site, kind=kind or said("node"))
    room = scene.room(pools)
    if not room.nodes:
        return said("nothing at {site}: {nodes}, drained, closed or under maintenance", site=site, nodes=_nodes(room.shut, kind))
    at = 2 if kind else 0
    free = room.free[at] / WHOLE
    parts: list[str] = [said("{what} at {site}", what=f"{free:g} {kind}" if kind else cores(free), site=site)]
    if room.nodes > 1:
        parts.append(said(", at most {many:g} on one node", many=room.most[at] / WHOLE))
    if not kind:
        parts.append(said(", {n} MiB of memory", n=room.most[1]))
    if room.shut:
        parts.append(said(" ({nodes})", nodes=_nodes(room.shut, kind)))
    return joined("", parts)


def _nodes(many: int, kind: str) -> str:
    of = said(" of {kind}", kind=kind) if kind else ""
    return said("1 node{of} takes no new work", of=of) if many == 1 else said("{n} nodes{of} take no new work", n=many, of=of)


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
        return said("It needs {wants}; free: {free}.", wants=self.wants, free=self.free)

    @property
    def held(self) -> str:
        named = [said("{who} ({holds})", who=holder.job, holds=holder.holds) for holder in self.holders if holder.job][:NAMED]
        more = sum(holder.job is not None for holder in self.holders) - len(named)
        named += [said("{n} more of yours", n=more)] if more > 0 else []
        named += [said("{who} ({holds})", who=holder.who, holds=holder.holds) for holder in self.holders if holder.job is None]
        return said(" Held by {named}.", named=joined(", ", named)) if named else ""

    @property
    def others(self) -> str:
        count, own = self.ahead.count, self.ahead.own_count
        if count == 1:
            return said("1 job of yours goes before it") if own else said("1 job goes before it")
        return said("{n} jobs, {own} of them yours, go before it", n=count, own=own) if own else said("{n} jobs go before it", n=count)


def _impossible(facts: _Facts) -> str:
    sentence = "It needs {wants}, which no site has now, even if nothing else ran. Cancel it, or wait until nodes come back."
    return said(sentence, wants=facts.wants)


def _quota(facts: _Facts) -> str:
    bound = facts.snapshot.reclaim_s
    may_borrow = facts.job.preemptible or min(way.limit for way in facts.job.ways) <= bound
    bounded = [quota for quota in facts.quotas if quota.nominal is not None]
    parts: list[str] = [_binding(facts, quota, may_borrow) for quota in bounded] or [said("a tenant above yours holds all that it may")]
    firm: str = ""
    if not may_borrow and any(not _is_within(facts, quota) for quota in bounded):
        firm = said(" A job that may not be preempted and may run for more than {time} cannot borrow.", time=duration(bound))
    return said("It needs {wants}; {facts}.{firm}", wants=facts.wants, facts=joined("; ", parts), firm=firm)


def _asks(facts: _Facts, quota: Quota) -> float:
    return min(measure(way) for way in facts.job.ways if way.accelerator == quota.kind) / WHOLE


def _is_within(facts: _Facts, quota: Quota) -> bool:
    """Whether the job would fit in its tenant's own quota beside what that holds, so that it is others who are in its way."""
    return quota.nominal is not None and quota.held + _asks(facts, quota) <= quota.nominal


def _binding(facts: _Facts, quota: Quota, may_borrow: bool) -> str:
    assert quota.nominal is not None
    words = {"tenant": quota.tenant, "held": quota.held, "quota": f"{quota.nominal:g} {quota.kind}" if quota.kind else cores(quota.nominal)}
    text = said("{tenant} holds {held:g} of its quota of {quota}", **words)
    if _is_within(facts, quota):
        parts = sum(one.nominal.get(quota.kind, 0) for one in facts.snapshot.tenants if one.parent == quota.tenant) / WHOLE
        if parts:
            return said("{text}, of which {parts:g} are for its parts first", text=text, parts=parts)
        back = duration(facts.snapshot.reclaim_s)
        return said("{text}; others have borrowed the rest, which comes back within {time}", text=text, time=back)
    if not may_borrow or quota.borrow == 0:
        return text
    if quota.borrow is not None and quota.held + _asks(facts, quota) > quota.nominal + quota.borrow:
        return said("{text} and may borrow no more than {borrow:g}", text=text, borrow=quota.borrow)
    if quota.borrow is None:
        return said("{text} and may borrow, but nobody lends as much now", text=text)
    return said("{text} and may borrow {borrow:g}, but nobody lends as much now", text=text, borrow=quota.borrow)


def _maintenance(facts: _Facts) -> str:
    begins = said(" at {time}", time=moment(facts.closes, facts.snapshot.now)) if facts.closes is not None else ""
    limit = duration(min(way.limit for way in facts.job.ways))
    return said("It may run for {time}, and maintenance begins{begins}.", time=limit, begins=begins)


def _no_room(facts: _Facts) -> str:
    goes = said("It goes first") if facts.ahead.count == 0 else facts.others
    promised = said(" It starts at {time} at the latest.", time=facts.when) if facts.when and facts.ahead.count == 0 else ""
    return said("{goes}. {needs}{held}{promised}", goes=goes, needs=facts.needs, held=facts.held, promised=promised)


def _reserved(facts: _Facts) -> str:
    words = {"time": facts.when, "needs": facts.needs, "held": facts.held}
    return said("A start is reserved for it at {time} at the latest. {needs}{held}", **words)


def _would_delay(facts: _Facts) -> str:
    promised = said("a start promised to another")
    if facts.when:
        promised = said("the start promised to {whom} for {time}", whom=facts.other, time=facts.when)
    words = {"wants": facts.wants, "time": duration(facts.job.ways[0].limit), "promised": promised, "others": facts.others}
    return said("It needs {wants} for up to {time}, which would delay {promised}. {others}.", **words)


def _behind(facts: _Facts) -> str:
    return said("{others}. {needs}{held}", others=facts.others, needs=facts.needs, held=facts.held)


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
