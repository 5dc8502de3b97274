# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Promising a start to several jobs, exactly: each has its nodes and devices for a stretch of time that no other promise touches.

With `lasting` promises this is conservative backfilling (Mu'alem & Feitelson 2001, §2): a promise that was made is kept in mind, others
fit around it, and when room is given back early it may only move forward. The jobs' `reserved`, `option` and places say where it is.
Without, the first so many jobs that do not fit are promised their starts anew in every cycle: EASY with several reservations.

A promise is thought over only where it may move: before the moment up to which others were to hold what they have given back since it was
last thought over (`gained`). From then on no more is free than was, and what did not fit there does not fit now.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.course import OVERDRAWN, STARTING, Course, enter, first_place, gain, make, withdraw
from lilong.floors.compute.scheduler.jobs import NEVER, Jobs, ends
from lilong.floors.compute.scheduler.order import Queues
from lilong.floors.compute.scheduler.place import lift
from lilong.floors.compute.scheduler.policy import Rules
from lilong.floors.compute.scheduler.preempt import keep_its_own, let_go, put_back
from lilong.floors.compute.scheduler.start import (
    BEHIND,
    FITS,
    NO_ROOM,
    NOT_LOOKED_AT,
    QUOTA,
    RESERVED,
    WOULD_DELAY,
    allowed,
    begin,
    hopeless,
)
from lilong.floors.compute.scheduler.state import Site
from lilong.floors.compute.scheduler.tenants import Tenants, may_hold_job, open_kinds
from lilong.floors.compute.scheduler.turns import keep_turn, must_wait


@compiled
def earliest(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, c: Course, job: int, now: int, before: int) -> int:
    """The first moment before `before` from which on the job has a place, which it gets; NEVER and the place it had, if there is none."""
    room, last = b.job[job].room, b.job[job + 1].first
    make(s, h, b, q, c, b.job[job].pool, now)
    had, option, placed = b.place[room : b.job[job + 1].room].copy(), b.job[job].option, b.job[job].placed
    best, best_option, steady = before, -1, T.terms[0].bounds == 0
    for at in range(b.job[job].first, last):
        kinds = open_kinds(T, h, b, job, at)
        if kinds == 0:
            continue
        time = first_place(s, h, b, c, job, at, best, kinds)
        if time < NEVER:
            best, best_option = time, at
            had = b.place[room : b.job[job + 1].room].copy()
            placed = b.option[at].tasks + (1 if b.option[at].rest >= 0 else 0)
        steady = steady and b.option[at].rest < 0
    for k in range(had.size):
        b.place[room + k].node, b.place[room + k].need, b.place[room + k].devices = had[k].node, had[k].need, had[k].devices
    b.job[job].placed, b.job[job].option = placed, (best_option if best_option >= 0 else option)
    b.job[job].gained = 0 if steady else NEVER  # with less room, tasks that differ may come to lie where they fit; quotas change too
    return best if best_option >= 0 else NEVER


@compiled
def fits_beside_all(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, c: Course, job: int, now: int) -> bool:
    """Whether the job has a place now beside all promises, which it gets. What is found not to, is noted at its shape for this look."""
    known = 0
    for at in range(b.job[job].first, b.job[job + 1].first):
        need, until = h[b.option[at].need], ends(b.job[job], b.option[at], now)
        known += need.limited_in == q.cycles[0] and b.option[at].tasks >= need.limited_tasks and until >= need.limited_until
    if known == b.job[job + 1].first - b.job[job].first:
        return False
    if earliest(s, h, b, q, T, c, job, now, now + 1) < NEVER:
        return True
    for at in range(b.job[job].first, b.job[job + 1].first if T.terms[0].bounds == 0 else 0):
        need, until = h[b.option[at].need], ends(b.job[job], b.option[at], now)
        if b.option[at].rest < 0 and (need.limited_in != q.cycles[0] or until <= need.limited_until):
            need.limited_in, need.limited_tasks, need.limited_until = q.cycles[0], b.option[at].tasks, until
    return False


@compiled
def _give_up(b: Jobs, q: Queues, c: Course, job: int) -> None:
    """A promise: it is lost, or moves forward."""
    gain(b, c, withdraw(b, c, job))
    q.cycles[0] += 1  # what was noted at shapes holds no more


@compiled
def _list_promised(b: Jobs, q: Queues, r: Rules, c: Course, pool: int, now: int) -> None:
    base, until, many = q.base[pool], q.given[pool], 0
    for k in range(q.waits[pool]):
        job = q.waiting[base + k]
        if not r.lasting:
            b.job[job].reserved, b.job[job].placed = NEVER, 0
        elif b.job[job].reserved < NEVER:
            c.starting[many] = job
            many += 1
    c.size[STARTING] = many
    if until > now:
        gain(b, c, until)
    q.given[pool] = 0


@compiled
def look_reserving(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, r: Rules, c: Course, pool: int, now: int) -> int:
    """Start what may start now, promise starts to those who are first behind; the number of starts. `c`: see no_course."""
    c = borrowed(c)
    base, many = q.base[pool], q.waits[pool]
    again = q.seen_in[pool] != q.cycles[2]  # something was given back: promises may move forward
    started, promises, tried = 0, 0, 0
    spare = s.spare[pool]
    claims = np.zeros((1 + many if T.terms[0].bounds != 0 else 1, 2), np.int64)
    _list_promised(b, q, r, c, pool, now)
    wake = NEVER
    for k in range(many):
        job = q.waiting[base + k]
        had, why = b.job[job].reserved, NO_ROOM
        time = had
        if had <= now and put_back(s, h, b, job):
            time = now
        else:
            if had <= now:  # somebody ran over: it is promised anew
                _give_up(b, q, c, job)
                b.job[job].reserved = had = time = NEVER
            if had == NEVER and T.terms[0].bounds != 0 and not allowed(T, h, b, job):
                why = QUOTA
            elif had == NEVER and promises < r.reservations:
                time = earliest(s, h, b, q, T, c, job, now, NEVER)
            elif had < NEVER:
                if again and b.job[job].gained > now:
                    time = min(earliest(s, h, b, q, T, c, job, now, min(had, b.job[job].gained)), had)
            elif tried < r.depth:
                why = hopeless(h, b.job[job], b.option, b.job[job + 1].first, now, NEVER, 0, q.cycles[2], spare, spare)
                if why == FITS:
                    tried += 1
                    time, why = (now if fits_beside_all(s, h, b, q, T, c, job, now) else NEVER), WOULD_DELAY
            else:
                why = NOT_LOOKED_AT
            if time <= now and not put_back(s, h, b, job):
                time = NEVER
        # what it was promised, the tenant has had elsewhere, or another of its jobs is before it
        if time <= now and (not may_hold_job(T, s, h, b, job) or must_wait(T, s, h, b, q, job, now)):
            lift(s, h, b, job)
            time, why = NEVER, QUOTA
        if had < NEVER and time != had:
            _give_up(b, q, c, job)
        elif had <= now:
            withdraw(b, c, job)
        if time <= now:
            if had < now:  # it takes as long from now on, which others may have been promised
                c.size[OVERDRAWN] = 1
            begin(s, h, b, q, T, job, now)
            enter(b, c, job)
            started += 1
        else:
            first = promises == 0
            promises += time < NEVER
            if why == NO_ROOM and not first:
                why = RESERVED if time < NEVER else BEHIND
            b.job[job].reserved, b.job[job].why = time, why
            if time < NEVER and time != had:
                enter(b, c, job)
            if time == NEVER:
                b.job[job].placed = 0
                if why == QUOTA and not keep_its_own(T, h, b, job, claims):
                    keep_turn(T, h, b, r, job)
            wake = min(wake, time)
    let_go(T, b, claims)
    q.wake[pool] = wake
    return started
