# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""The event loop over a virtual clock: jobs end, jobs come, pools in which something changed are looked at."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.cycle import look
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import FINISHED, NEVER, REFUSED, Jobs, pace
from lilong.floors.compute.scheduler.order import Queues, enqueue
from lilong.floors.compute.scheduler.policy import EASY_SHORT, PREDICTED, Rules
from lilong.floors.compute.scheduler.predict import expected, histories, note
from lilong.floors.compute.scheduler.start import release
from lilong.floors.compute.scheduler.state import Ints, Site
from lilong.floors.compute.scheduler.tenants import Tenants, age


class Clock(NamedTuple):
    """`ends`: a heap of running jobs by their true end. `at`: [now, next job to come, size of the heap, jobs finished]."""

    ends: Ints
    due: Ints  # job -> its true end
    spot: Ints  # job -> where in the heap it is
    at: Ints
    touched: Ints  # pool -> whether something changed
    last: Ints  # user × how long the last jobs ran (see predict)


def clock(jobs: int, pools: int, users: int, now: int = -1) -> Clock:
    lists = [np.zeros(jobs, np.int64) for _ in range(3)]
    return Clock(*lists, np.array([now, 0, 0, 0]), np.zeros(pools, np.int64), histories(users))  # type: ignore[call-arg]


@compiled
def _first(c: Clock, one: int, other: int) -> bool:
    return c.due[one] < c.due[other] or (c.due[one] == c.due[other] and one < other)


@compiled
def _rise(c: Clock, at: int, job: int) -> None:
    while at > 0:
        above = (at - 1) >> 1
        if not _first(c, job, c.ends[above]):
            break
        c.ends[at] = c.ends[above]
        c.spot[c.ends[at]] = at
        at = above
    c.ends[at] = job
    c.spot[job] = at


@compiled
def push(c: Clock, b: Jobs, job: int) -> None:
    """A job has started. It ends when what it has not done yet is done, in the pace of the way it is laid out in."""
    left = max(b.job[job].run - b.job[job].done, 1)
    c.due[job] = max(b.job[job].start + pace(left, b.job[job].limit, b.option[b.job[job].option].limit), c.at[0] + 1)
    c.at[2] += 1
    _rise(c, c.at[2] - 1, job)


@compiled
def remove(c: Clock, job: int) -> None:
    at = c.spot[job]
    c.at[2] -= 1
    size = c.at[2]
    last = c.ends[size]
    if last == job:
        return
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _first(c, c.ends[below + 1], c.ends[below]):
            below += 1
        if not _first(c, c.ends[below], last):
            break
        c.ends[at] = c.ends[below]
        c.spot[c.ends[at]] = at
        at = below
    _rise(c, at, last)


@compiled
def arrive(b: Jobs, q: Queues, r: Rules, c: Clock, job: int) -> None:
    if r.order == PREDICTED:
        b.job[job].predicted = expected(c.last, b.job[job].user, b.job[job].limit)
        b.job[job].key = b.job[job].predicted * b.job[job].width
    enqueue(q, b, job, r.backfill == EASY_SHORT)
    c.touched[b.job[job].pool] = 1


@compiled
def play(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, T: Tenants, r: Rules, c: Clock, steps: int, until: int, grain: int) -> bool:
    """Go on for so many moments of the clock, at most up to, but not including, `until`; whether there is more.

    What happens within `grain` ticks is taken together, at the end of it, if that is more than 1: quicker and less exact.
    """
    s, h, b, q, t, T, c = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(t), borrowed(T), borrowed(c)
    many = b.job.size - 1
    for _ in range(steps):
        now = NEVER
        if c.at[1] < many:
            now = b.job[c.at[1]].submit
        if c.at[2] > 0:
            now = min(now, c.due[c.ends[0]])
        for pool in range(q.wake.size):
            now = min(now, q.wake[pool])
        if now == NEVER:
            return False
        now = max(now, c.at[0])
        if grain > 1:
            now += -now % grain
        if now >= until:
            return True
        c.at[0] = now
        if T.tenant.size > 1:
            age(T, now)
        while c.at[2] > 0 and c.due[c.ends[0]] <= now:
            job = c.ends[0]
            remove(c, job)
            release(s, h, b, q, T, job)
            b.job[job].state, b.job[job].end = FINISHED, c.due[job]
            note(c.last, b.job[job].user, b.job[job].run)
            c.touched[b.job[job].pool] = 1
            c.at[3] += 1
        while c.at[1] < many and b.job[c.at[1]].submit <= now:
            job = c.at[1]
            c.at[1] += 1
            if b.job[job].state != REFUSED:
                arrive(b, q, r, c, job)
        for pool in range(q.wake.size):
            if q.wake[pool] <= now:
                q.wake[pool], c.touched[pool] = NEVER, 1
                q.cycles[2] += 1
            if c.touched[pool]:
                c.touched[pool] = 0
                look(s, h, b, q, t, T, r, pool, now)
        take_note(b, q, c)
    return True


@compiled
def take_note(b: Jobs, q: Queues, c: Clock) -> None:
    """Of who was stopped and who was started; one who was both has moved."""
    b, q, c = borrowed(b), borrowed(q), borrowed(c)
    for k in range(q.cycles[3]):
        if b.job[q.stopped[k]].run < NEVER:
            remove(c, q.stopped[k])
    for k in range(q.cycles[1]):
        if b.job[q.fresh[k]].run < NEVER:
            push(c, b, q.fresh[k])
    q.cycles[1] = q.cycles[3] = 0
