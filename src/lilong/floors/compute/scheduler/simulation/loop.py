# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""The event loop over a virtual clock: jobs end, jobs come, pools in which something changed are looked at."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.cycle import EASY_SHORT, Rules, look
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import FINISHED, NEVER, REFUSED, Jobs
from lilong.floors.compute.scheduler.order import Queues, drop_running, enqueue
from lilong.floors.compute.scheduler.place import lift
from lilong.floors.compute.scheduler.state import Ints, Site


class Clock(NamedTuple):
    """`ends`: a heap of running jobs by their true end. `at`: [now, next job to come, size of the heap, jobs finished]."""

    ends: Ints
    at: Ints
    touched: Ints  # pool -> whether something changed


def clock(jobs: int, pools: int) -> Clock:
    return Clock(np.zeros(jobs, np.int64), np.zeros(4, np.int64), np.zeros(pools, np.int64))


@compiled
def _ends_first(b: Jobs, one: int, other: int) -> bool:
    a, b = b.job[one].start + b.job[one].run, b.job[other].start + b.job[other].run
    return a < b or (a == b and one < other)


@compiled
def push(c: Clock, b: Jobs, job: int) -> None:
    at = c.at[2]
    c.at[2] += 1
    while at > 0:
        above = (at - 1) >> 1
        if not _ends_first(b, job, c.ends[above]):
            break
        c.ends[at] = c.ends[above]
        at = above
    c.ends[at] = job


@compiled
def pop(c: Clock, b: Jobs) -> int:
    first = c.ends[0]
    c.at[2] -= 1
    size = c.at[2]
    last = c.ends[size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _ends_first(b, c.ends[below + 1], c.ends[below]):
            below += 1
        if not _ends_first(b, c.ends[below], last):
            break
        c.ends[at] = c.ends[below]
        at = below
    if size > 0:
        c.ends[at] = last
    return first


@compiled
def play(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, r: Rules, c: Clock, steps: int) -> bool:
    """Go on for so many moments of the clock; whether there is more."""
    s, h, b, q, t, c = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(t), borrowed(c)
    many = b.job.size - 1
    for _ in range(steps):
        now = NEVER
        if c.at[1] < many:
            now = b.job[c.at[1]].submit
        if c.at[2] > 0:
            first = c.ends[0]
            now = min(now, b.job[first].start + b.job[first].run)
        if now == NEVER:
            return False
        c.at[0] = now
        while c.at[2] > 0 and b.job[c.ends[0]].start + b.job[c.ends[0]].run == now:
            job = pop(c, b)
            lift(s, h, b, job)
            drop_running(q, b, job)
            b.job[job].state, b.job[job].end = FINISHED, now
            c.touched[b.job[job].pool] = 1
            c.at[3] += 1
        while c.at[1] < many and b.job[c.at[1]].submit == now:
            job = c.at[1]
            c.at[1] += 1
            if b.job[job].state != REFUSED:
                enqueue(q, b, job, r.backfill == EASY_SHORT)
                c.touched[b.job[job].pool] = 1
        for pool in range(c.touched.size):
            if c.touched[pool]:
                c.touched[pool] = 0
                look(s, h, b, q, t, r, pool, now)
        for k in range(q.cycles[1]):
            if b.job[q.fresh[k]].run < NEVER:
                push(c, b, q.fresh[k])
        q.cycles[1] = 0
    return True
