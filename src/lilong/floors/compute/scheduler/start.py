# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""How a job begins, and how it gives back what it had."""

from __future__ import annotations

from typing import Any

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import NEVER, RUNNING, Jobs, ends
from lilong.floors.compute.scheduler.order import Queues, add_running, drop_running, enqueue, settle
from lilong.floors.compute.scheduler.place import lay, lift, take, take_later
from lilong.floors.compute.scheduler.policy import Rules
from lilong.floors.compute.scheduler.score import CONSOLIDATED
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site
from lilong.floors.compute.scheduler.tenants import Tenants, hold_job, open_kinds
from lilong.floors.compute.scheduler.turns import has_to_wait, must_wait, pass_by

# Why a job does not start, the gravest first; `decide.Reason` says what they mean.
FITS, IMPOSSIBLE, QUOTA, MAINTENANCE, NO_ROOM, RESERVED, WOULD_DELAY, BEHIND, NOT_LOOKED_AT = 0, 1, 2, 3, 4, 5, 6, 7, 8
TURN = -1  # its quota is kept for somebody's turn: told as QUOTA


@compiled
def exceeds(need: Any, tasks: int, spare: Ints) -> bool:
    return bool(tasks * need.cpu > spare[0] or tasks * need.memory > spare[1] or tasks * need.devices * need.milli > spare[2])


@compiled
def hopeless(h: Any, row: Any, options: Any, last: int, now: int, promised: int, look: int, given: int, spare: Ints, later: Ints) -> int:
    """Why no option can fit: as many tasks of its shape were found not to, or it asks for more than all that is free. Or FITS."""
    why = NO_ROOM
    for at in range(row.first, last):
        option = options[at]
        need, tasks = h[option.need], option.tasks
        if (need.failed_in == given and tasks >= need.failed_tasks) or exceeds(need, tasks, spare):
            continue
        if ends(row, option, now) > promised and ((need.limited_in == look and tasks >= need.limited_tasks) or exceeds(need, tasks, later)):
            why = WOULD_DELAY
            continue
        return FITS
    return why


@compiled
def allowed(T: Tenants, h: Any, b: Jobs, job: int) -> bool:
    """Whether the tenant may have the job now, in some way."""
    for at in range(b.job[job].first, b.job[job + 1].first):  # noqa: SIM110 - compiled
        if open_kinds(T, h, b, job, at) != 0:
            return True
    return False


@compiled
def start_now(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, T: Tenants, r: Rules, job: int, now: int, promised: int) -> int:
    """Lay the job out if it fits, in the first of its ways that does, and its tenant may have it; or why not."""
    first = b.job[job].first
    many, ahead = b.job[job + 1].first - first, b.job[job].prefer - first
    why = QUOTA
    for k in range(many):
        at = first + (k + ahead) % many
        kinds = open_kinds(T, h, b, job, at)
        if kinds == 0:
            continue
        option = b.option[at]
        until = ends(b.job[job], option, now)
        if has_to_wait(T, h, b, job, at, kinds, until):
            why = TURN if why == QUOTA else why
            continue
        beside = until > promised
        need = h[option.need]
        way = r.fractions if need.devices == 1 and need.milli < WHOLE else r.way
        # A gang that one way leads into a corner may still fit consolidated, which is how it was found possible.
        other = (option.tasks > 1 or option.rest >= 0) and way != CONSOLIDATED
        if lay(s, h, b, t, way, job, at, beside, until, kinds) or (other and lay(s, h, b, t, CONSOLIDATED, job, at, beside, until, kinds)):
            if not must_wait(T, s, h, b, q, job, now):
                return FITS
            _lift_again(s, h, b, job, beside)
            why = TURN if why == QUOTA else why
            continue
        why = max(why, WOULD_DELAY if beside else NO_ROOM)
        if s.closing[b.job[job].pool] < until and lay(s, h, b, t, way, job, at, beside, now, kinds):
            _lift_again(s, h, b, job, beside)
            why = MAINTENANCE
        every = kinds == -1 or (need.classes & ~kinds & ((1 << T.column.size) - 1)) == 0
        if option.rest >= 0 or not every or s.closing[b.job[job].pool] < until:
            continue  # it says nothing of other jobs of this shape
        if beside:
            need.limited_in, need.limited_tasks = q.cycles[0], option.tasks
        else:
            need.failed_in, need.failed_tasks = q.cycles[2], option.tasks
    return why


@compiled
def _lift_again(s: Site, h: Any, b: Jobs, job: int, beside: bool) -> None:
    lift(s, h, b, job)
    for back in range(b.job[job].room, b.job[job].room + (b.job[job].placed if beside else 0)):
        take_later(s, h, b.place[back].node, b.place[back].need, b.place[back].devices, -1)
    b.job[job].placed = 0


@compiled
def begin(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, job: int, now: int) -> None:
    """Of a job that has its places."""
    option = b.option[b.job[job].option]
    b.job[job].state, b.job[job].start, b.job[job].end = RUNNING, now, ends(b.job[job], option, now)
    b.job[job].reserved, b.job[job].width, b.job[job].why = NEVER, option.width, FITS
    if T.tenant.size > 1:
        hold_job(T, s, h, b, job, 1)
        pass_by(T, s, h, b, job)
    q.fresh[q.cycles[1]] = job
    q.cycles[1] += 1
    add_running(q, b, job)


@compiled
def fill(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, held: Ints, waiting: Ints, by_length: bool, now: int) -> None:
    """Put the jobs of a state where they are: `held` on the nodes that their places say, `waiting` in the queues."""
    s, h, b, q, T = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(T)
    for job in held:
        for k in range(b.job[job].room, b.job[job].room + b.job[job].placed):
            take(s, h, b.job[job].pool, b.place[k].node, b.place[k].need, b.place[k].devices, 1)
        if T.tenant.size > 1:
            hold_job(T, s, h, b, job, 1)
        # who runs over its time is not thought to end before the next moment
        b.job[job].end = max(ends(b.job[job], b.option[b.job[job].option], b.job[job].start), now + 1)
        add_running(q, b, job)
    for pool in range(q.runs.size):
        settle(q, b, pool)
    for job in waiting:
        enqueue(q, b, job, by_length)


@compiled
def release(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, job: int) -> None:
    """Of a job that has ended; its state is the caller's to set."""
    s, h, b, q, T = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(T)
    if T.tenant.size > 1:
        hold_job(T, s, h, b, job, -1)
    lift(s, h, b, job)
    drop_running(q, b, job)
