# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""A round of Gavel (see gavel.py): which job could be where, what is even between devices of one class, and who goes first in this round.

Floats are in `even_share` alone, and only as one quotient or product at a time, which is the same compiled and plain.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.jobs import RUNNING, WAITING, Jobs
from lilong.floors.compute.scheduler.order import Queues
from lilong.floors.compute.scheduler.policy import Rules
from lilong.floors.compute.scheduler.preempt import move_out
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site
from lilong.floors.compute.scheduler.tenants import Tenants

PARTS = 1_000_000  # in which shares are counted, so that orders do not hang on the last digit of a float
LONGEST = 1 << 30  # stay that counts
LATER, LAST = 1 << 30, 1 << 40  # keys of those who are not chosen, and of those who can be nowhere
BLOCK = 8  # pairs that are ranked by insertion


class Pairs(NamedTuple):
    """Which active job could be where."""

    active: Ints  # jobs
    job: Ints  # of a pair: the place of its job among the active ones
    option: Ints
    kind: Ints  # of node, as a place in `capacity`
    capacity: Ints  # kind -> thousandths of device; of core, in a pool without devices


@compiled
def turn_all(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, r: Rules, now: int, unequal: Ints) -> int:
    """Turn those pools in which somebody waits, or has a choice, and no job has one between kinds of nodes. How many others there are, which
    are listed in `unequal`.
    """
    s, h, b, q, T = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(T)
    others = 0
    for pool in range(s.bounds.size - 1):
        if _has_turns(b, q, pool):
            p = pairs_of(s, h, b, q, pool, False)
            if _alike(p):
                turn(s, h, b, q, T, r, pool, now, p, even_share(_widths(b, p), p.capacity[0]))
            else:
                unequal[others] = pool
                others += 1
    return others


@compiled
def _has_turns(b: Jobs, q: Queues, pool: int) -> bool:
    if q.waits[pool] > 0:
        return True
    for k in range(q.base[pool], q.base[pool] + q.runs[pool]):
        job = q.running[k]
        if b.job[job].state == RUNNING and b.job[job + 1].first - b.job[job].first > 1:
            return True
    return False


@compiled
def pairs_of(s: Site, h: Any, b: Jobs, q: Queues, pool: int, in_order: bool) -> Pairs:
    """Of a pool, job by job; `in_order`: of their numbers. Where there are no devices, only the first option of each job."""
    s, h, b, q = borrowed(s), borrowed(h), borrowed(b), borrowed(q)
    base, jobs, many, held = q.base[pool], 0, 0, 0
    everybody = np.empty(q.waits[pool] + q.runs[pool], np.int64)
    for k in range(base, base + q.runs[pool]):
        if b.job[q.running[k]].state == RUNNING:
            everybody[jobs] = q.running[k]
            held += b.job[q.running[k]].width
            jobs += 1
    for k in range(base, base + q.waits[pool]):
        everybody[jobs] = q.waiting[k]
        jobs += 1
    active = np.sort(everybody[:jobs]) if in_order else everybody[:jobs]
    kinds, capacity, devices = _kinds(s, pool)
    if not devices:
        kinds, capacity = kinds[:1], capacity[:1]
        capacity[0] = s.spare[pool, 0] + held
    most = 0
    for job in active:
        most += (b.job[job + 1].first - b.job[job].first) * kinds.size
    whose, option, kind = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    for k in range(jobs):
        first = b.job[active[k]].first
        for at in range(first, b.job[active[k] + 1].first if devices else first + 1):
            for one in range(kinds.size):
                if not devices or (h[b.option[at].need].classes >> kinds[one]) & 1:
                    whose[many], option[many], kind[many] = k, at, one
                    many += 1
    return Pairs(active, whose[:many], option[:many], kind[:many], capacity)


@compiled
def _kinds(s: Site, pool: int) -> tuple[Ints, Ints, bool]:
    """Those of the pool's nodes in their order, what there is of each, and whether there are devices at all."""
    low, high = s.bounds[pool], s.bounds[pool + 1]
    most = 0
    for node in range(low, high):
        most = max(most, s.node[node].kind)
    there, nodes, many, all = np.zeros(most + 1, np.int64), np.zeros(most + 1, np.int64), 0, 0
    for node in range(low, high):
        there[s.node[node].kind] += s.node[node].devices * WHOLE
        nodes[s.node[node].kind] += 1
        all += s.node[node].devices
    for kind in range(most + 1):
        if nodes[kind] > 0:
            nodes[many], there[many] = kind, there[kind]
            many += 1
    return nodes[:many], there[:many], all > 0


@compiled
def _alike(p: Pairs) -> bool:
    if p.capacity.size != 1:
        return False
    for k in range(1, p.job.size):  # noqa: SIM110 - compiled
        if p.job[k] == p.job[k - 1]:
            return False
    return True


@compiled
def even_share(width: Ints, capacity: int) -> Ints:
    """Devices of one class: everybody has the same amount of device-time, or as much as it can use. In PARTS of its whole time."""
    level, satisfied, before = capacity / max(width.size, 1), 0, -1
    while satisfied > before:  # who needs less than the level leaves the rest to the others, so that it rises
        before, satisfied, left = satisfied, 0, capacity
        for one in width:
            if one < level:
                satisfied += 1
                left -= one
        level = left / (width.size - satisfied) if satisfied < width.size else np.inf
    share = np.empty(width.size, np.int64)
    for k in range(width.size):
        share[k] = int(np.rint(min(float(width[k]), level) / max(float(width[k]), 1.0) * PARTS))
    return share


@compiled
def _widths(b: Jobs, p: Pairs) -> Ints:
    width = np.empty(p.job.size, np.int64)
    for k in range(width.size):
        width[k] = b.option[p.option[k]].width
    return width


@compiled
def turn(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, r: Rules, pool: int, now: int, p: Pairs, share: Ints) -> None:
    """Put the queue of a pool in the order of a new round, and take those off their nodes who should be on other ones. `share`: the part
    of its time that the job of each pair should spend there, in PARTS.
    """
    s, h, b, q, T, p, share = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(T), borrowed(p), borrowed(share)
    if p.job.size == 0 or p.capacity.sum() == 0:
        return
    due = np.empty(p.job.size, np.int64)
    for k in range(due.size):
        row = b.job[p.active[p.job[k]]]
        had = row.attained + ((now - row.start) * row.width if row.state == RUNNING else 0)
        due[k] = share[k] * min(max(now - row.submit, 1), LONGEST)
        if had > 0:  # divisions are dear, and most of those who wait had nothing
            due[k] //= had // max(row.width, 1) + 1
    rank = _ranked(due, share, p.active[p.job])
    chosen = _choose(b, p, rank, share)
    movers, many = np.empty(chosen.size, np.int64), 0
    for k in chosen:
        row = b.job[p.active[p.job[k]]]
        if row.state == RUNNING and row.option != row.prefer and row.start < now:
            movers[many] = p.active[p.job[k]]
            many += 1
    for job in np.sort(movers[:many]):
        move_out(s, h, b, q, T, r, job, now)
    _line_up(b, q, pool, p, rank, chosen)
    q.seen[pool] = 0
    q.cycles[2] += 1


@compiled
def _choose(b: Jobs, p: Pairs, rank: Ints, share: Ints) -> Ints:
    """In their order, those pairs that have room, each job once (§5, Algorithm 1). Each job's key is set by that, and which option it prefers."""
    left, chosen, many, least = p.capacity.copy(), np.empty(p.active.size, np.int64), 0, 1 << 60
    for job in p.active:
        b.job[job].key, b.job[job].prefer = LAST, b.job[job].first
    for at in range(rank.size):
        row = b.job[p.active[p.job[rank[at]]]]
        row.key = min(row.key, LATER + at)
        least = min(least, b.option[p.option[rank[at]]].width)
    for k in rank:
        row, width = b.job[p.active[p.job[k]]], b.option[p.option[k]].width
        if row.key < LATER or share[k] == 0 or width > left[p.kind[k]]:
            continue
        row.key, row.prefer, chosen[many] = many, p.option[k], k
        many += 1
        left[p.kind[k]] -= width
        if left.max() < least:
            break
    return chosen[:many]


@compiled
def _line_up(b: Jobs, q: Queues, pool: int, p: Pairs, rank: Ints, chosen: Ints) -> None:
    """Put those who wait in the order of their priorities and keys."""
    line, many = np.empty(q.waits[pool], np.int64), 0
    for k in chosen:
        job = p.active[p.job[k]]
        if b.job[job].state == WAITING:
            line[many] = job
            many += 1
    for at in range(rank.size):
        job = p.active[p.job[rank[at]]]
        if b.job[job].state == WAITING and b.job[job].key == LATER + at:
            line[many] = job
            many += 1
    for job in p.active:
        if b.job[job].state == WAITING and b.job[job].key == LAST:
            line[many] = job
            many += 1
    priority, early = np.empty(many, np.int64), np.empty(many, np.int64)
    for k in range(many):
        priority[k], early[k] = b.job[line[k]].priority, -b.job[line[k]].key
    order = _ranked(priority, early, line)
    for k in range(many):
        q.waiting[q.base[pool] + k] = line[order[k]]


@compiled
def _ranked(first: Ints, then: Ints, job: Ints) -> Ints:
    """Places by the first worth, of equal ones by the second, larger ones first; then by job, else as they stand. By merging: what stands
    in order already costs little, and that is most of it from one round to the next.
    """
    first, then, job = borrowed(first), borrowed(then), borrowed(job)
    many, size = first.size, BLOCK
    order, other = np.arange(many), np.empty(many, np.int64)
    for low in range(0, many, BLOCK):
        for k in range(low + 1, min(low + BLOCK, many)):
            at, one = k, order[k]
            while at > low and _before(first, then, job, one, order[at - 1]):
                order[at] = order[at - 1]
                at -= 1
            order[at] = one
    while size < many:
        for low in range(0, many - size, 2 * size):
            middle, high = low + size, min(low + 2 * size, many)
            if not _before(first, then, job, order[middle], order[middle - 1]):
                continue
            left = middle - 1
            while left > low and _before(first, then, job, order[middle], order[left - 1]):
                left -= 1
            other[left:middle] = order[left:middle]
            right, at = middle, left
            while left < middle:
                if right < high and _before(first, then, job, order[right], other[left]):
                    order[at] = order[right]
                    right += 1
                else:
                    order[at] = other[left]
                    left += 1
                at += 1
        size *= 2
    return order


@compiled
def _before(first: Ints, then: Ints, job: Ints, one: int, other: int) -> bool:
    """Strictly: equal pairs stay as they stand."""
    if first[one] != first[other]:
        return bool(first[one] > first[other])
    return bool(then[one] > then[other] or (then[one] == then[other] and job[one] < job[other]))
