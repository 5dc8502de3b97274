"""One look at one pool: which of its waiting jobs start now. The heart of `decide`, and of the simulation's loop."""

from __future__ import annotations

from typing import Any, NamedTuple

from lilong.floors.compute.scheduler.backfill import promise
from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import NEVER, RUNNING, WAITING, Jobs
from lilong.floors.compute.scheduler.order import Queues, add_running, sift
from lilong.floors.compute.scheduler.place import lay
from lilong.floors.compute.scheduler.score import CONSOLIDATED
from lilong.floors.compute.scheduler.state import Ints, Site

STRICT, SKIP, EASY, EASY_SHORT = 0, 1, 2, 3
BACKFILLS = {"none": STRICT, "skip": SKIP, "easy": EASY, "easy-sjbf": EASY_SHORT}


class Rules(NamedTuple):
    """A policy in numbers."""

    way: int  # of placing
    backfill: int


@compiled
def begin(b: Jobs, q: Queues, job: int, now: int) -> None:
    b.job[job].state = RUNNING
    b.job[job].start = now
    b.job[job].end = now + b.job[job].limit if b.job[job].limit < NEVER else NEVER
    b.job[job].reserved = NEVER
    q.fresh[q.cycles[1]] = job
    q.cycles[1] += 1
    add_running(q, b, job)


@compiled
def hopeless(h: Any, options: Any, first: int, last: int, look: int, given: int, beside: bool, spare: Ints, later: Ints) -> bool:
    """Whether no option can fit: as many tasks of its shape were found not to, or it asks for more than all that is free."""
    for at in range(first, last):
        need, tasks = h[options[at].need], options[at].tasks
        if need.failed_in == given and tasks >= need.failed_tasks:
            continue
        if _exceeds(need, tasks, spare):
            continue
        if beside and ((need.limited_in == look and tasks >= need.limited_tasks) or _exceeds(need, tasks, later)):
            continue
        return False
    return True


@compiled
def _exceeds(need: Any, tasks: int, spare: Ints) -> bool:
    return bool(tasks * need.cpu > spare[0] or tasks * need.memory > spare[1] or tasks * need.devices * need.milli > spare[2])


@compiled
def start_now(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, r: Rules, job: int, beside: bool) -> bool:
    """Lay the job out if it fits, in the first of its ways that does."""
    for at in range(b.job[job].first, b.job[job + 1].first):
        option = b.option[at]
        if lay(s, h, b, t, r.way, job, at, beside):
            return True
        # A gang that one way leads into a corner may still fit consolidated, which is how it was found possible.
        if (option.tasks > 1 or option.rest >= 0) and r.way != CONSOLIDATED and lay(s, h, b, t, CONSOLIDATED, job, at, beside):
            return True
        if option.rest >= 0:
            continue  # perhaps only the smaller task did not fit
        need = h[option.need]
        if beside:
            need.limited_in, need.limited_tasks = q.cycles[0], option.tasks
        else:
            need.failed_in, need.failed_tasks = q.cycles[2], option.tasks
    return False


@compiled
def look(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, r: Rules, pool: int, now: int) -> int:
    """Start what may start; the number of starts. The job that is promised a start gets it in `reserved`.

    If nothing was given back since the last look, those who did not fit then do not fit now, and the promise stands: only those
    who came since are looked at.
    """
    q.cycles[0] += 1
    base, many = q.base[pool], q.waits[pool]
    started, spare = 0, s.spare[pool]
    fresh = q.seen[pool] if q.seen_in[pool] == q.cycles[2] else 0
    at = fresh if r.backfill == SKIP else 0
    while at < many and (at > 0 or fresh == 0 or r.backfill == SKIP):
        job = q.waiting[base + at]
        b.job[job].reserved = NEVER
        first, last = b.job[job].first, b.job[job + 1].first
        barred = hopeless(h, b.option, first, last, q.cycles[0], q.cycles[2], False, spare, spare)
        if not barred and start_now(s, h, b, q, t, r, job, False):
            begin(b, q, job, now)
            started += 1
        elif r.backfill != SKIP:
            break
        at += 1
    if at < many and r.backfill >= EASY:
        head = q.waiting[base + at]
        known = fresh > 0 and b.job[head].reserved > now and r.backfill == EASY
        if not known:
            b.job[head].reserved = promise(s, h, b, q, head, now)
        started += _backfill(s, h, b, q, t, r, pool, now, head, max(at + 1, fresh) if known else at + 1)
    if started > 0:
        sift(q, b, pool, r.backfill == EASY_SHORT)
    q.seen[pool], q.seen_in[pool] = q.waits[pool], q.cycles[2]
    return started


@compiled
def _backfill(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, r: Rules, pool: int, now: int, head: int, after: int) -> int:
    """Start those behind the head that do not delay it; from place `after` of the queue, or from the shortest."""
    base, many, promised = q.base[pool], q.waits[pool], b.job[head].reserved
    started = 0
    by_length = r.backfill == EASY_SHORT
    for k in range(0 if by_length else after, many):
        job = q.short[base + k] if by_length else q.waiting[base + k]
        if job == head or b.job[job].state != WAITING:
            continue
        beside = now + b.job[job].limit > promised
        if hopeless(
            h, b.option, b.job[job].first, b.job[job + 1].first, q.cycles[0], q.cycles[2], beside, s.spare[pool], s.later_spare[pool]
        ):
            continue
        if start_now(s, h, b, q, t, r, job, beside):
            begin(b, q, job, now)
            started += 1
    return started
