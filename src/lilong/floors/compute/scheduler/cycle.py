# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""One look at one pool: which of its waiting jobs start now. The heart of `decide`, and of the simulation's loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from lilong.floors.compute.scheduler.backfill import promise
from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.course import no_course
from lilong.floors.compute.scheduler.fair import fairly
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import NEVER, WAITING, Jobs
from lilong.floors.compute.scheduler.order import Queues, settle, sift
from lilong.floors.compute.scheduler.policy import ATTAINED, BORROWERS, EASY, EASY_SHORT, FAIR, REMAINING, RESERVE, SKIP, STRICT, Rules
from lilong.floors.compute.scheduler.preempt import keep_its_own, let_go, list_victims, make_room, rank
from lilong.floors.compute.scheduler.reserve import look_reserving
from lilong.floors.compute.scheduler.start import BEHIND, FITS, NO_ROOM, NOT_LOOKED_AT, QUOTA, TURN, allowed, begin, hopeless, start_now
from lilong.floors.compute.scheduler.state import Ints, Site
from lilong.floors.compute.scheduler.tenants import Tenants, forget_refusals
from lilong.floors.compute.scheduler.turns import forget_turns, keep_turn, stands_behind


@compiled
def look(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, T: Tenants, r: Rules, pool: int, now: int) -> int:
    """Start what may start; the number of starts. The job that is promised a start gets it in `reserved`; each that waits, in `why`,
    the reason.

    If nothing was given back since the last look, those who did not fit then do not fit now, and the promise stands: only those
    who came since are looked at.
    """
    s, h, b, q, t, T = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(t), borrowed(T)
    q.cycles[0] += 1
    forget_turns(T)
    if T.terms[0].bounds != 0:
        forget_refusals(T)
        settle(q, b, pool)  # turns go by who ends when
    if r.order == FAIR:
        for k in range(fairly(T, h, b, q, pool, now, q.victims)):
            q.waiting[q.base[pool] + k] = q.victims[k]
        q.seen[pool] = 0
    if r.order in (REMAINING, ATTAINED):
        rank(q, b, r, pool, now)
    if r.backfill == RESERVE:
        started = look_reserving(s, h, b, q, T, r, no_course(s, q, pool), pool, now)
    else:
        started = _look(s, h, b, q, t, T, r, pool, now)
    if started > 0:
        sift(q, b, pool, r.backfill == EASY_SHORT)
    q.seen[pool], q.seen_in[pool] = q.waits[pool], q.cycles[2]
    return started


@compiled
def _look(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, T: Tenants, r: Rules, pool: int, now: int) -> int:
    """Who is first starts, until somebody does not fit; then whoever may go before that one."""
    base, spare = q.base[pool], s.spare[pool]
    # with quotas all are looked at anew: what those who were seen before keep for themselves is of one look
    same = q.seen_in[pool] == q.cycles[2] and T.terms[0].bounds == 0
    fresh = q.seen[pool] if same else 0
    started, victims = 0, -1
    # who is preempted waits too, and may have pushed back one who was looked at
    most = q.waits[pool] + 2 * q.runs[pool] if T.terms[0].bounds != 0 else 0
    claims = np.empty((1 + most, 2), np.int64)
    claims[0, 0] = 0
    at = fresh if r.backfill == SKIP else 0
    while at < q.waits[pool] and (at > 0 or fresh == 0 or r.backfill == SKIP):
        job = q.waiting[base + at]
        if b.job[job].state != WAITING:
            at += 1
            continue
        behind, why = stands_behind(T, h, b, job), QUOTA
        if not behind:
            why = hopeless(h, b.job[job], b.option, b.job[job + 1].first, now, NEVER, q.cycles[0], q.cycles[2], spare, spare)
        if why == FITS:
            why = start_now(s, h, b, q, t, T, r, job, now, NEVER)
            if why == FITS:
                begin(s, h, b, q, T, job, now)
        elif not behind and T.terms[0].bounds != 0 and not allowed(T, h, b, job):
            why = QUOTA
        if why not in (FITS, TURN) and r.preempts != 0:
            if victims < 0:
                victims = list_victims(s, h, b, q, r, pool, now)
            if victims > 0 and make_room(s, h, b, q, t, T, r, job, now, victims):
                why = FITS
        if why == FITS:
            started += 1
        else:
            b.job[job].why = QUOTA if why == TURN else why
            if why == QUOTA:
                if not behind and not keep_its_own(T, h, b, job, claims):
                    keep_turn(T, h, b, r, job)
            elif why != TURN and r.backfill != SKIP:
                break
        at += 1
    if at >= q.waits[pool]:
        let_go(T, b, claims)
        return started
    if r.backfill == STRICT:
        for k in range(max(at + 1, fresh), q.waits[pool]):
            b.job[q.waiting[base + k]].why = BEHIND
    elif r.backfill >= EASY:
        if r.preempts == BORROWERS:
            victims = list_victims(s, h, b, q, r, pool, now) if victims < 0 else victims
            started += _reclaim(s, h, b, q, t, T, r, pool, now, at + 1, victims)
        head = q.waiting[base + at]
        known = same and q.seen_in[pool] == q.cycles[2] and q.head[pool] == head and b.job[head].reserved > now and r.backfill == EASY
        if not known:
            if q.head[pool] >= 0:
                b.job[q.head[pool]].reserved = NEVER
            q.head[pool], b.job[head].reserved = head, promise(s, h, b, q, head, now)
        after = max(at + 1, fresh) if known else at + 1
        started += _backfill(s, h, b, q, t, T, r, pool, now, head, after, claims)
    let_go(T, b, claims)
    return started


@compiled
def _reclaim(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, T: Tenants, r: Rules, pool: int, now: int, after: int, victims: int) -> int:
    """Who may have back what others hold has it at once, wherever in the queue it is."""
    base, started = q.base[pool], 0
    for k in range(after, q.waits[pool] if victims > 0 else 0):
        job = q.waiting[base + k]
        if b.job[job].state == WAITING and make_room(s, h, b, q, t, T, r, job, now, victims):
            started += 1
    return started


@compiled
def _backfill(
    s: Site, h: Any, b: Jobs, q: Queues, t: Typical, T: Tenants, r: Rules, pool: int, now: int, head: int, after: int, claims: Ints
) -> int:
    """Start those behind the head that do not delay it; from place `after` of the queue, or from the shortest."""
    base, many, promised = q.base[pool], q.waits[pool], b.job[head].reserved
    spare, later = s.spare[pool], s.later_spare[pool]
    started, tried = 0, 0
    by_length = r.backfill == EASY_SHORT
    for k in range(0 if by_length else after, many):
        job = q.short[base + k] if by_length else q.waiting[base + k]
        if job == head or b.job[job].state != WAITING:
            continue
        tried += 1
        why, behind = NOT_LOOKED_AT, tried <= r.depth and stands_behind(T, h, b, job)
        if behind:
            why = QUOTA
        elif tried <= r.depth:
            why = hopeless(h, b.job[job], b.option, b.job[job + 1].first, now, promised, q.cycles[0], q.cycles[2], spare, later)
            if why == FITS:
                why = start_now(s, h, b, q, t, T, r, job, now, promised)
            elif T.terms[0].bounds != 0 and not allowed(T, h, b, job):
                why = QUOTA
        if why == FITS:
            begin(s, h, b, q, T, job, now)
            started += 1
        else:
            b.job[job].why = BEHIND if why == NO_ROOM else QUOTA if why == TURN else why
            if why == QUOTA and not behind and not keep_its_own(T, h, b, job, claims):
                keep_turn(T, h, b, r, job)
    return started
