# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""What a tenant may have now, without starving whoever of it is first in line.

A job that would fit its tenant's own quota must not wait for ever because smaller ones take each part of the quota that comes back: the
first in line for a quota has a *turn*, the time at which enough of it is free should every running job take as long as it may. Others
with that quota start now if they end before, or if the quota has room for them beside it then: EASY (see backfill), with a quota in the
place of nodes. Who waits for what others have borrowed keeps what comes back of it (see preempt.keep_its_own); who asks for more than
its own quota has no turn: nobody is to stand still for what may never be lent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import NEVER, RUNNING, Jobs, ends
from lilong.floors.compute.scheduler.order import Queues, sort_by
from lilong.floors.compute.scheduler.policy import SKIP, STRICT, Rules
from lilong.floors.compute.scheduler.state import Ints, Site
from lilong.floors.compute.scheduler.tenants import UNBOUNDED, Tenants, asked, bounded, column, was_refused

NOT_KNOWN = -1
COMING = -UNBOUNDED


@compiled
def must_wait(T: Tenants, s: Site, h: Any, b: Jobs, q: Queues, job: int, now: int) -> bool:
    """Whether a job that has its places would delay the turn of somebody who is before it in line."""
    if T.terms[0].turns == 0:
        return False
    tenant, until, before = b.job[job].tenant, ends(b.job[job], b.option[b.job[job].option], now), -1
    for k in range(b.job[job].room, b.job[job].room + b.job[job].placed):
        where = column(T, s.node[b.place[k].node].kind, h[b.place[k].need].devices)
        home = T.home[tenant, where]
        if where == before or T.line[home, where] in (0, 1 + job):
            continue
        before = where
        if T.until[home, where] == NOT_KNOWN:
            _work_out(T, s, h, b, q, now)
        if _delays(T, b, job, where, _held(T, s, h, b, job, where), until):
            return True
    return False


@compiled
def has_to_wait(T: Tenants, h: Any, b: Jobs, job: int, option: int, kinds: int, until: int) -> bool:
    """The same before it has places, if that is clear already: the quick way past many that wait for the same."""
    if T.terms[0].turns == 0:
        return False
    devices, cores, classes = asked(h, b, option)
    if devices == 0:
        return _delays(T, b, job, T.capacity.size - 1, cores, until)
    for kind in range(T.column.size):
        if (classes & kinds) >> kind & 1 and not _delays(T, b, job, T.column[kind], devices, until):
            return False
    return True


@compiled
def waits_for_turns(T: Tenants, h: Any, b: Jobs, job: int, now: int) -> bool:
    """Whether that is clear of all of its ways: no room that others make would help."""
    for option in range(b.job[job].first, b.job[job + 1].first):
        if not has_to_wait(T, h, b, job, option, -1, ends(b.job[job], b.option[option], now)):
            return False
    return True


@compiled
def _delays(T: Tenants, b: Jobs, job: int, where: int, amount: int, until: int) -> bool:
    """Whether it is known that somebody's turn would be delayed."""
    home = T.home[b.job[job].tenant, where]
    if T.line[home, where] in (0, 1 + job) or T.until[home, where] == NOT_KNOWN:
        return False
    return bool(until > T.until[home, where] and amount > T.beside[home, where])


@compiled
def forget_turns(T: Tenants) -> None:
    """They are worked out anew in each look; until the next one they tell who had them."""
    if T.terms[0].turns > 0:
        T.line[:] = 0
        T.terms[0].turns = 0


@compiled
def pass_by(T: Tenants, s: Site, h: Any, b: Jobs, job: int) -> None:
    """Of a job that begins: what it will still hold when a turn comes is not there then for others."""
    tenant = b.job[job].tenant
    for k in range(b.job[job].room, b.job[job].room + (b.job[job].placed if T.terms[0].turns > 0 else 0)):
        need = h[b.place[k].need]
        where = column(T, s.node[b.place[k].node].kind, need.devices)
        home = T.home[tenant, where]
        if T.line[home, where] > 0 and T.until[home, where] != NOT_KNOWN and b.job[job].end > T.until[home, where]:
            T.beside[home, where] -= need.devices * need.milli if need.devices > 0 else need.cpu


@compiled
def keep_turn(T: Tenants, h: Any, b: Jobs, r: Rules, job: int) -> None:
    """Of a job that its quota does not allow now, if nobody is before it in line: in the first of its ways that fits its own quota."""
    if r.backfill == SKIP or T.terms[0].bounds == 0:
        return
    for option in range(b.job[job].first, b.job[job + 1].first):
        devices, cores, classes = asked(h, b, option)
        for kind in range(T.column.size):
            if devices > 0 and not (classes >> kind) & 1:
                continue
            where = T.column[kind] if devices > 0 else T.capacity.size - 1
            home, amount = T.home[b.job[job].tenant, where], devices if devices > 0 else cores
            if amount <= T.common[home, where]:
                if T.line[home, where] == 0:
                    nobody_passes = r.backfill == STRICT
                    T.line[home, where], T.beside[home, where] = 1 + job, (0 if nobody_passes else amount)
                    T.until[home, where] = -UNBOUNDED if nobody_passes else NOT_KNOWN
                    T.terms[0].turns += 1
                return


@compiled
def stands_behind(T: Tenants, h: Any, b: Jobs, job: int) -> bool:
    """Whether it is clear that its quota allows none of its ways, and that others are before it in line for each of them: as for most who
    wait for a quota.
    """
    if T.terms[0].turns == 0:
        return False
    for at in range(b.job[job].first, b.job[job + 1].first):
        need, back = h[b.option[at].need], bounded(T, b, job, at)
        if b.option[at].rest >= 0:
            return False
        if need.devices == 0 and not _is_behind(T, b, job, T.capacity.size - 1, b.option[at].tasks * need.cpu, back):
            return False
        for kind in range(T.column.size if need.devices > 0 else 0):
            devices = b.option[at].tasks * need.devices * need.milli
            if (need.classes >> kind) & 1 and not _is_behind(T, b, job, T.column[kind], devices, back):
                return False
    return True


@compiled
def _is_behind(T: Tenants, b: Jobs, job: int, where: int, amount: int, back: bool) -> bool:
    tenant = b.job[job].tenant
    return T.line[T.home[tenant, where], where] not in (0, 1 + job) and was_refused(T, tenant, where, amount, back)


@compiled
def _work_out(T: Tenants, s: Site, h: Any, b: Jobs, q: Queues, now: int) -> None:
    """When the turns come that are not known yet, and what is left beside each then. `beside` says before how much who has it asks for.

    One walk for all of them along those that run, in the order of their planned ends: so they stand, pool by pool, but for those that
    began lately. Tenants whose quotas nobody waits for do not matter.
    """
    pools, lately, open = q.runs.size, 0, 0
    late, end = np.empty((q.runs - q.settled).sum(), np.int64), np.empty((q.runs - q.settled).sum(), np.int64)
    at, last = q.base[:pools].copy(), q.base[:pools] + q.settled
    for pool in range(pools):
        for k in range(last[pool], q.base[pool] + q.runs[pool]):
            late[lately], end[lately] = q.running[k], b.job[q.running[k]].end
            lately += 1
    order, k = np.arange(lately), 0
    sort_by(order, lately, end)
    free, matters = np.zeros_like(T.line), np.zeros(T.tenant.size, np.bool_)
    for home in range(T.line.shape[0]):
        for where in range(T.line.shape[1]):
            if T.line[home, where] > 0 and T.until[home, where] == NOT_KNOWN:
                free[home, where] = T.common[home, where] - T.loose[home, where] - T.beside[home, where]
                T.until[home, where], T.beside[home, where] = now, COMING
                open += 1
    for tenant in range(T.tenant.size):
        for where in range(T.line.shape[1]):
            home = T.home[tenant, where]
            if T.line[home, where] > 0 and T.beside[home, where] == COMING:
                matters[tenant] = True
    while open > 0:
        next_end, chosen = (end[order[k]] if k < lately else NEVER), -1
        for pool in range(pools):
            if at[pool] < last[pool] and b.job[q.running[at[pool]]].end < next_end:
                next_end, chosen = b.job[q.running[at[pool]]].end, pool
        if chosen >= 0:
            job = q.running[at[chosen]]
            at[chosen] += 1
        elif k < lately:
            job = late[order[k]]
            k += 1
        else:
            break
        if matters[b.job[job].tenant] and b.job[job].state == RUNNING:
            open -= _gives_back(T, s, h, b, job, free)
    for home in range(T.line.shape[0]):
        for where in range(T.line.shape[1]):
            if T.line[home, where] > 0 and T.beside[home, where] == COMING:
                T.beside[home, where] = free[home, where]


@compiled
def _gives_back(T: Tenants, s: Site, h: Any, b: Jobs, job: int, free: Ints) -> int:
    """Of a job that runs: count what will be free at its end. How many turns have come before that."""
    come = 0
    for k in range(b.job[job].room, b.job[job].room + b.job[job].placed):
        need = h[b.place[k].need]
        where = column(T, s.node[b.place[k].node].kind, need.devices)
        home = T.home[b.job[job].tenant, where]
        if T.line[home, where] == 0 or T.beside[home, where] != COMING:
            continue
        if free[home, where] >= 0 and b.job[job].end > T.until[home, where]:
            T.beside[home, where] = free[home, where]
            come += 1
        else:
            free[home, where] += need.devices * need.milli if need.devices > 0 else need.cpu
            T.until[home, where] = max(b.job[job].end, T.until[home, where])
    return come


@compiled
def _held(T: Tenants, s: Site, h: Any, b: Jobs, job: int, where: int) -> int:
    """What a job holds of a column."""
    held = 0
    for at in range(b.job[job].room, b.job[job].room + b.job[job].placed):
        need = h[b.place[at].need]
        if column(T, s.node[b.place[at].node].kind, need.devices) == where:
            held += need.devices * need.milli if need.devices > 0 else need.cpu
    return held
