# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Promising a start to several jobs, exactly: each has its nodes and devices for a stretch of time that no other promise touches.

With `lasting` promises this is conservative backfilling (Mu'alem & Feitelson 2001, §2): a promise that was made is kept in mind, others
fit around it, and when room is given back early it may only move forward. The jobs' `reserved`, `option` and places say where it is.
Without, the first so many jobs that do not fit are promised their starts anew in every cycle: EASY with several reservations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.backfill import lay_later
from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import NEVER, RUNNING, WAITING, Jobs, ends
from lilong.floors.compute.scheduler.order import Queues, settle, sort_by
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
    exceeds,
    hopeless,
)
from lilong.floors.compute.scheduler.state import Ints, Site
from lilong.floors.compute.scheduler.tenants import Tenants, may_hold_job, open_kinds
from lilong.floors.compute.scheduler.turns import keep_turn, must_wait


class Course(NamedTuple):
    """How things will go in a pool: who gives back when (running and promised jobs by their ends), who takes when."""

    ending: Ints
    starting: Ints
    size: Ints  # of each
    cpu: Ints  # what is free of each node at a moment
    memory: Ints
    free: Ints


@compiled
def course(s: Site, b: Jobs, q: Queues, pool: int, promised: Ints, but: int) -> Course:
    """Of those that were `promised` a start and still wait for it, without that of `but`."""
    settle(q, b, pool)
    starting, ending = np.zeros(promised.size, np.int64), np.zeros(promised.size + q.runs[pool], np.int64)
    at = last = 0
    for job in promised:
        if b.job[job].reserved < NEVER and b.job[job].state == WAITING and job != but:
            starting[at] = ending[last] = job
            q.worth[job] = b.job[job].reserved
            at, last = at + 1, last + 1
    sort_by(starting, at, q.worth)
    for k in range(at):
        q.worth[ending[k]] = promised_end(b, ending[k])
    for k in range(q.runs[pool]):
        job = q.running[q.base[pool] + k]
        if b.job[job].state == RUNNING:
            ending[last] = job
            q.worth[job] = b.job[job].end
            last += 1
    sort_by(ending, last, q.worth)
    low, high = s.bounds[pool], s.bounds[pool + 1]
    free = np.zeros((high - low, s.free.shape[1]), np.int64)
    return Course(ending, starting, np.array([last, at]), np.zeros(high - low, np.int64), np.zeros(high - low, np.int64), free)


@compiled
def promised_end(b: Jobs, job: int) -> int:
    return ends(b.job[job], b.option[b.job[job].option], b.job[job].reserved)


@compiled
def _end(b: Jobs, job: int) -> int:
    return b.job[job].end if b.job[job].state == RUNNING else promised_end(b, job)


@compiled
def _shift(s: Site, h: Any, b: Jobs, c: Course, low: int, job: int, sign: int, least: bool) -> None:
    """A job takes (sign 1) what it holds of the course's nodes, or gives it back. `least`: note what is left as the least so far."""
    for k in range(b.job[job].room, b.job[job].room + b.job[job].placed):
        node, need, devices = b.place[k].node, h[b.place[k].need], b.place[k].devices
        at = node - low
        c.cpu[at] -= sign * need.cpu
        c.memory[at] -= sign * need.memory
        d = 0
        while devices:
            if devices & 1:
                c.free[at, d] -= sign * need.milli
                if least:
                    s.later_free[node, d] = min(s.later_free[node, d], c.free[at, d])
            devices >>= 1
            d += 1
        if least:
            s.node[node].later_cpu = min(s.node[node].later_cpu, c.cpu[at])
            s.node[node].later_memory = min(s.node[node].later_memory, c.memory[at])


@compiled
def foresee(s: Site, h: Any, b: Jobs, c: Course, pool: int, time: int, until: int) -> None:
    """Set what will be left of each node to the least of it from `time` up to `until`."""
    low, high = s.bounds[pool], s.bounds[pool + 1]
    for node in range(low, high):
        c.cpu[node - low], c.memory[node - low] = s.node[node].cpu, s.node[node].memory
        for d in range(s.free.shape[1]):
            c.free[node - low, d] = s.free[node, d]
    given, taken = 0, 0
    while given < c.size[0] or taken < c.size[1]:
        give = _end(b, c.ending[given]) if given < c.size[0] else NEVER
        take = b.job[c.starting[taken]].reserved if taken < c.size[1] else NEVER
        if min(give, take) > time:
            break
        if give <= take:
            _shift(s, h, b, c, low, c.ending[given], -1, False)
            given += 1
        else:
            _shift(s, h, b, c, low, c.starting[taken], 1, False)
            taken += 1
    for part in range(3):  # more than there may be, which is enough to rule jobs out
        s.later_spare[pool, part] = s.spare[pool, part]
    for k in range(given):
        _count(h, b, s.later_spare[pool], c.ending[k], 1)
    for node in range(low, high):
        s.node[node].later_cpu, s.node[node].later_memory = c.cpu[node - low], c.memory[node - low]
        for d in range(s.free.shape[1]):
            s.later_free[node, d] = c.free[node - low, d]
    while taken < c.size[1] and b.job[c.starting[taken]].reserved < until:
        take = b.job[c.starting[taken]].reserved
        while given < c.size[0] and _end(b, c.ending[given]) <= take:
            _shift(s, h, b, c, low, c.ending[given], -1, False)
            given += 1
        _shift(s, h, b, c, low, c.starting[taken], 1, True)
        taken += 1


@compiled
def _room(s: Site, h: Any, b: Jobs, c: Course, pool: int, time: int, option: Any) -> bool:
    """Whether the pool as a whole will have enough free at a moment; a quick way to rule most moments out."""
    for part in range(3):
        s.later_spare[pool, part] = s.spare[pool, part]
    left = s.later_spare[pool]
    for k in range(c.size[0]):
        if _end(b, c.ending[k]) > time:
            break
        _count(h, b, left, c.ending[k], 1)
    for k in range(c.size[1]):
        if b.job[c.starting[k]].reserved > time:
            break
        _count(h, b, left, c.starting[k], -1)
    return not exceeds(h[option.need], option.tasks, left)


@compiled
def _count(h: Any, b: Jobs, left: Ints, job: int, sign: int) -> None:
    for at in range(b.job[job].room, b.job[job].room + b.job[job].placed):
        need = h[b.place[at].need]
        left[0] += sign * need.cpu
        left[1] += sign * need.memory
        left[2] += sign * need.devices * need.milli


@compiled
def earliest(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, promised: Ints, job: int, now: int, before: int) -> int:
    """The first moment before `before` from which on the job has a place, which it gets; NEVER and the place it had, if there is none."""
    pool, room = b.job[job].pool, b.job[job].room
    c = course(s, b, q, pool, promised, job)
    had, option = b.place[room : b.job[job + 1].room].copy(), b.job[job].option
    best, best_option = before, -1
    placed = b.job[job].placed
    for at in range(b.job[job].first, b.job[job + 1].first):
        kinds = open_kinds(T, h, b, job, at)
        if kinds == 0:
            continue
        k, time = 0, now
        while time < best:
            if _room(s, h, b, c, pool, time, b.option[at]):
                until = ends(b.job[job], b.option[at], time)
                foresee(s, h, b, c, pool, time, until)
                if lay_later(s, h, b, job, at, until, kinds):
                    best, best_option = time, at
                    had = b.place[room : b.job[job + 1].room].copy()
                    placed = b.option[at].tasks + (1 if b.option[at].rest >= 0 else 0)
                    break
            while k < c.size[0] and _end(b, c.ending[k]) <= time:
                k += 1
            if k == c.size[0]:
                break
            time = _end(b, c.ending[k])
    for k in range(had.size):
        b.place[room + k].node, b.place[room + k].need, b.place[room + k].devices = had[k].node, had[k].need, had[k].devices
    b.job[job].placed, b.job[job].option = placed, (best_option if best_option >= 0 else option)
    return best if best_option >= 0 else NEVER


@compiled
def look_reserving(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, r: Rules, pool: int, now: int) -> int:
    """Start what may start now, promise starts to those who are first behind; the number of starts."""
    base, many = q.base[pool], q.waits[pool]
    again = q.seen_in[pool] != q.cycles[2]  # something was given back: promises may move forward
    started, promises, tried = 0, 0, 0
    spare = s.spare[pool]
    promised, held = np.empty(many, np.int64), 0
    claims = np.zeros((1 + many if T.terms[0].bounds != 0 else 1, 2), np.int64)
    for k in range(many):
        job = q.waiting[base + k]
        if not r.lasting:
            b.job[job].reserved, b.job[job].placed = NEVER, 0
        elif b.job[job].reserved < NEVER:
            promised[held] = job
            held += 1
    wake = NEVER
    for k in range(many):
        job = q.waiting[base + k]
        had, why = b.job[job].reserved, NO_ROOM
        listed = had < NEVER
        time = had
        if had <= now and put_back(s, h, b, job):
            time = now
        else:
            if had <= now:  # somebody ran over: it is promised anew
                b.job[job].reserved = had = time = NEVER
            if had == NEVER and T.terms[0].bounds != 0 and not allowed(T, h, b, job):
                why = QUOTA
            elif had < NEVER or promises < r.reservations:
                if had == NEVER or again:
                    time = min(earliest(s, h, b, q, T, promised[:held], job, now, had), had)
            elif tried < r.depth:
                why = hopeless(h, b.job[job], b.option, b.job[job + 1].first, now, NEVER, 0, q.cycles[2], spare, spare)
                if why == FITS:
                    tried += 1
                    time, why = earliest(s, h, b, q, T, promised[:held], job, now, now + 1), WOULD_DELAY
            else:
                why = NOT_LOOKED_AT
            if time <= now and not put_back(s, h, b, job):
                time = NEVER
        # what it was promised, the tenant has had elsewhere, or another of its jobs is before it
        if time <= now and (not may_hold_job(T, s, h, b, job) or must_wait(T, s, h, b, q, job, now)):
            lift(s, h, b, job)
            time, why = NEVER, QUOTA
        if time <= now:
            begin(s, h, b, q, T, job, now)
            started += 1
        else:
            first = promises == 0
            promises += time < NEVER
            if why == NO_ROOM and not first:
                why = RESERVED if time < NEVER else BEHIND
            b.job[job].reserved, b.job[job].why = time, why
            if time < NEVER and not listed:
                promised[held] = job
                held += 1
            if time == NEVER:
                b.job[job].placed = 0
                if why == QUOTA and not keep_its_own(T, h, b, job, claims):
                    keep_turn(T, h, b, r, job)
            wake = min(wake, time)
    let_go(T, b, claims)
    q.wake[pool] = wake
    return started
