"""Why a job waits, what would make it start, and when it will; or how it came to run and end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lilong.floors.compute.contract import FINISHED, Compute, Job, JobState, ReasonCode
from lilong.floors.compute.rules.asking import layouts
from lilong.floors.compute.rules.counterfactuals import duration
from lilong.floors.compute.rules.explaining import Ahead, Explained, Holder, Quota, either, explained
from lilong.floors.compute.rules.feasible import shown
from lilong.floors.compute.rules.recalling import recalled
from lilong.floors.compute.rules.scene import Scene
from lilong.floors.compute.rules.settings import ComputeSettings
from lilong.floors.compute.rules.telling import SENTENCES
from lilong.floors.compute.rules.ways import elsewhere, speeds
from lilong.floors.compute.rules.wording import Said, said
from lilong.floors.compute.scheduler.snapshot import Snapshot, Way
from lilong.floors.compute.store import estimates, places
from lilong.floors.compute.store import settings as declared
from lilong.ground.access import Actor
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

if TYPE_CHECKING:
    from lilong.floors.compute.scheduler.supposing import Supposing

FRESH_S = 5.0  # at the most: a view of a large queue serves several questions
_COSTS = 20  # a view is kept for so many times what it took to make


@dataclass(frozen=True, slots=True)
class Otherwise:
    """One change with which it would start now. `costlier_pct`: of price × size × limit; None where nothing has a price."""

    dimension: str
    says: str
    value: Any
    costlier_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """When it will start, as said at `made_at`: with a chance of one half by `p50`, of nine in ten by `p90`."""

    made_at: str
    p50: str
    p90: str


@dataclass(frozen=True, slots=True)
class Why:
    """`code` None: it does not wait. Of several reasons the first in the order of ReasonCode is told."""

    job: str
    state: JobState
    code: ReasonCode | None
    says: str
    as_of: str
    needs: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    held_by: tuple[Holder, ...] = ()
    quotas: tuple[Quota, ...] = ()
    ahead: Ahead | None = None
    reserved_start: str | None = None
    start: Start | None = None
    would_start: tuple[Otherwise, ...] = ()


@dataclass(slots=True)
class View:
    """The queue as a decision sees it, with the arrays prepared for asking again."""

    snapshot: Snapshot
    supposing: Supposing
    at: float
    cost_s: float
    scene: Scene | None = None  # made for the first who asks why


@dataclass(slots=True)
class Views:
    """The last view of a house, for as long as it is fresh."""

    last: View | None = None
    guard: threading.Lock = field(default_factory=threading.Lock)


def why(house: House, actor: Actor, job_id: str) -> Why:
    """Raises JobNotFound."""
    job, said = house.db.read(lambda tx: (house.port(Compute).job(tx, actor, job_id), estimates.last(tx, job_id)))  # type: ignore[type-abstract]
    now = stamp(house.clock.now())
    if job.state is not JobState.QUEUED:
        return Why(job.id, job.state, ReasonCode.ENGINE if job.reason is ReasonCode.ENGINE else None, _came(job), now)
    start = None if said is None else Start(said["made_at"], said["p50"], said["p90"])
    if (told := _outside(job)) is not None:
        return Why(job.id, job.state, job.reason, told, now, start=start)
    with plain(house):
        return _waits(house, job, now, start)


def _waits(house: House, job: Job, now: str, start: Start | None) -> Why:
    seen = view(house)
    if job.id not in seen.supposing.order and job.created_at >= stamp(datetime.fromtimestamp(seen.snapshot.now, UTC)):
        seen = view(house, anew=True)
    if job.id not in seen.supposing.order:
        return _unseen(job, seen.snapshot, house.db.read(declared.current)[1], now, start)
    found = _explained(seen, job)
    if seen.supposing.decision.starts.get(job.id) is not None:
        says = said("It has just become its turn: it starts with the next decision.")
        return Why(job.id, job.state, None, says, stamp(datetime.fromtimestamp(seen.snapshot.now, UTC)), found.needs, start=start)
    others = _other_ways(house, job, seen.snapshot)
    changes = seen.supposing.counterfactuals(job.id, others, None if job.ask.service else job.ask.timeout_s)
    return Why(
        job.id,
        job.state,
        found.code,
        found.says,
        stamp(datetime.fromtimestamp(seen.snapshot.now, UTC)),
        found.needs,
        found.free,
        found.held_by,
        found.quotas,
        found.ahead,
        None if found.reserved_start is None else stamp(datetime.fromtimestamp(found.reserved_start, UTC)),
        start,
        tuple(
            Otherwise(one.dimension, one.says, one.value, None if one.costlier_pct is None else round(one.costlier_pct, 1))
            for one in changes
        ),
    )


@contextmanager
def plain(house: House) -> Iterator[None]:
    """Without compiling, in a small house."""
    from lilong.floors.compute.scheduler.by_name import SMALL
    from lilong.floors.compute.scheduler.compiled import plainly
    from lilong.floors.compute.work.sites import Sites

    with plainly(sum(len(one.nodes) for one in house.port(Sites).inventories().values()) <= SMALL):
        yield


def _explained(seen: View, job: Job) -> Explained:
    if seen.scene is None:
        seen.scene = Scene(seen.snapshot, seen.supposing.decision, seen.supposing.order)
    return explained(seen.scene, job.id, seen.scene.of(job.ask.organisation))


def view(house: House, *, anew: bool = False) -> View:
    """The queue as it is, at most FRESH_S old, and as good as new in a house where that costs little."""
    from lilong.floors.compute.scheduler.supposing import Supposing
    from lilong.floors.compute.work.snapshotting import snapshot

    try:
        views = house.port(Views)
    except KeyError:
        house.provide(Views, Views())
        views = house.port(Views)
    with views.guard:
        now = house.clock.monotonic()
        if anew or views.last is None or now - views.last.at > min(FRESH_S, _COSTS * views.last.cost_s):
            taken = house.db.read(lambda tx: snapshot(house, tx))
            supposing = Supposing(taken)
            views.last = View(taken, supposing, now, house.clock.monotonic() - now)
        return views.last


# --- jobs that no decision looks at ----------------------------------------------------------------------------------------

_OUTSIDE: Mapping[ReasonCode, str] = {
    ReasonCode.HELD: "Somebody holds it. Let it go with `lilong job release {id}`.",
    ReasonCode.AFTER: "It waits for other jobs to end: {after}.",
    ReasonCode.PAUSED: "An attempt failed; the next begins after a pause.",
    ReasonCode.ARRAY_LIMIT: "As many jobs of its array run as may at once.",
    ReasonCode.SITE_DOWN: "No site that could run it answers.",
    ReasonCode.ENGINE: "It was handed to an engine, in whose own queue it waits.",
}


def _outside(job: Job) -> str | None:
    if job.reason is None or job.reason not in _OUTSIDE:
        return None
    if job.reason is ReasonCode.HELD and not job.held:
        return said("Its end was asked for, and it ends in a moment: {why}.", why=recalled(job.waits_for or ""))
    after = ", ".join([*job.ask.after, *job.ask.after_any]) or "unknown ones"
    told = said(_OUTSIDE[job.reason], id=job.id, after=after)
    more = job.waits_for if job.reason in (ReasonCode.PAUSED, ReasonCode.SITE_DOWN, ReasonCode.ENGINE) else None
    return said("{told} ({more})", told=told, more=recalled(more)) if more and more != SENTENCES[job.reason] else told


def _unseen(job: Job, snapshot: Snapshot, settings: ComputeSettings, now: str, start: Start | None) -> Why:
    """It came a moment ago, no site could lay it out any more, or it stands further back than decisions look."""
    if job.reason is ReasonCode.IMPOSSIBLE:
        return Why(job.id, job.state, ReasonCode.IMPOSSIBLE, _homeless(job, settings), now, _needs(job), start=start)
    if job.reason is None:
        return Why(job.id, job.state, None, said("It was submitted a moment ago; no decision has looked at it yet."), now, start=start)
    waiting = sum(one.started is None for one in snapshot.jobs)
    sentence = "Decisions look at the first {n} waiting jobs, spread over the tenants; it stands further back in its tenant's queue."
    says = said(sentence, n=waiting)
    return Why(job.id, job.state, ReasonCode.NOT_LOOKED_AT, says, now, start=start)


def _homeless(job: Job, settings: ComputeSettings) -> str:
    if job.waits_for and job.waits_for != SENTENCES[ReasonCode.IMPOSSIBLE]:  # it was set aside
        kept = recalled(job.waits_for)
        sentence = "No decision could be made about it, and it was set aside: {why}. Cancel it, or ask an operator: the server's log tells more."
        return said(sentence, why=kept.values.get("quoted", kept) if isinstance(kept, Said) else kept)
    gone = [name for name in job.ask.sites if name not in settings.sites]
    if gone and len(gone) == len(job.ask.sites):
        if len(gone) == 1:
            sentence = "The only site that it may use is not declared any more: {sites}. Cancel it, or ask an operator to declare it again."
        else:
            sentence = "None of the sites that it may use is declared any more: {sites}. Cancel it, or ask an operator to declare one again."
        return said(sentence, sites=", ".join(gone))
    sentence = "No site that it may use has what it needs any more: {needs}. Cancel it, or wait until an operator declares such nodes again."
    return said(sentence, needs=either(_needs(job)[:3]))


def _needs(job: Job) -> tuple[str, ...]:
    return tuple(dict.fromkeys(shown(layout) for layout in layouts(job.ask)))


def _other_ways(house: House, job: Job, snapshot: Snapshot) -> Sequence[Way]:
    from lilong.floors.compute.work.sites import Sites

    _, settings, rates = house.db.read(lambda tx: (*declared.current(tx), places.rates(tx)))
    here = [one.place for one in house.port(Sites).known().values() if one.declared and one.problem is None and one.place is not None]
    kinds = {node.accelerator for node in snapshot.nodes if node.devices}
    return elsewhere(job.ask, here, settings, speeds(settings.throughput, rates), kinds)


# --- jobs that have started ------------------------------------------------------------------------------------------------


def _came(job: Job) -> str:
    """How it came to start when it did, and to end."""
    where = f" at {job.site}" if job.site else ""
    nodes = list(dict.fromkeys(place.node for place in job.placement))
    where += f" on {', '.join(nodes[:4])}{' and others' if len(nodes) > 4 else ''}" if nodes else ""
    waited = f" after it had waited for {_between(job.created_at, job.started_at)}" if job.started_at else ""
    again = f", in its attempt number {job.attempt}" if job.attempt > 1 else ""
    if job.state is JobState.STARTING:
        if job.reason is ReasonCode.ENGINE:
            said = f", which says: {job.waits_for}" if job.waits_for else ""
            return f"It was handed to the engine{where}{said}."
        return f"It has its place{where} and is being started{again}."
    if job.state not in FINISHED:
        return f"It runs{where}{again}; it started{waited or ' a moment ago'}.{_stopped(job)}"
    if job.started_at is None:
        return f"It ended before it started: {job.exit.reason.removesuffix('.') if job.exit and job.exit.reason else job.state.value}."
    told = f": {job.exit.reason.removesuffix('.')}" if job.exit and job.exit.reason else ""
    return f"It {_ENDED[job.state]}{told}. It started{where}{again}{waited} and ended {_between(job.started_at, job.finished_at)} later.{_stopped(job)}"


_ENDED = {
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
    JobState.LOST: "was lost",
}


def _stopped(job: Job) -> str:
    return " Earlier attempts ended: by a failure, by a stop of the house, or to make room for others." if job.attempt > 1 else ""


def _between(start: str | None, end: str | None) -> str:
    if start is None or end is None:
        return "a while"
    return duration(max(int((parse_stamp(end) - parse_stamp(start)).total_seconds()), 0))
