# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Whose turn it is: by priority, then tenants with the smaller dominant share first, down the tree.

Dominant resource fairness (Ghodsi et al., NSDI'11, §4): a tenant's share is the largest part that it uses of any class, divided by its
weight; the next job is of the tenant with the smallest, and counts as if it had started (progressive filling). What counts as used is
what runs now and the average of the past, which fades with a half-life as in Slurm's multifactor priority; it is device-time, so that
nobody gains by splitting a job.

Who stays within its nominal quota with its next job goes before those who would borrow, whatever the weights (as in Kueue): else a
heavier tenant that floods would keep what it borrows for ever, since whatever comes free would be its turn again.

In a tree, a subtree's share must not be the sum of all that is used below it, class by class: a tenant that waits for one class would
starve because a sibling holds much of another (Bhattacharya et al., SoCC'13, §4, on naive hierarchical DRF). Their remedy scales the
siblings' use down to the smallest share below. Then a subtree stands at nothing until each of its tenants has been served, however
many it has, which favours whoever founds more tenants. Here a subtree's share, for the sake of the job that would be its next, is the
larger of the share of that job's own branch and of what the whole subtree uses of the class that the job asks for.

Nobody starves: every `ageing` ticks of waiting lift a job by one priority, but never above the highest that waits; there it competes
by share, and the share of a tenant that gets nothing falls to nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.jobs import Jobs
from lilong.floors.compute.scheduler.order import Queues
from lilong.floors.compute.scheduler.state import Ints
from lilong.floors.compute.scheduler.tenants import Tenants, usage

SCALE = 1 << 20  # a share of all there is
MOST = 1 << 42  # of a load or a share: times the scale or the heaviest weight it still fits 64 bits
JOB_BITS = 31
JOB_PART = (1 << JOB_BITS) - 1


@compiled
def asks(T: Tenants, h: Any, b: Jobs, job: int) -> tuple[int, int]:
    """The column in which the first way to lay a job out counts, and how much: of the classes that will do, the most plentiful."""
    first = b.option[b.job[job].first]
    need = h[first.need]
    best = T.capacity.size - 1
    if need.devices == 0:
        return best, first.tasks * need.cpu + (h[first.rest].cpu if first.rest >= 0 else 0)
    amount = first.tasks * need.devices * need.milli + (h[first.rest].devices * h[first.rest].milli if first.rest >= 0 else 0)
    most = -1
    for kind in range(T.column.size):
        if (need.classes >> kind) & 1 and T.capacity[T.column[kind]] > most:
            best, most = T.column[kind], T.capacity[T.column[kind]]
    return best, amount


class Filling(NamedTuple):
    """Rows 0 to n are tenants with their subtrees, n to 2n what waits for a tenant itself. Each tenant has a heap of what is below it."""

    load: Ints  # row × column: used, and listed so far
    held: Ints  # the same without the past
    share: Ints
    beyond: Ints  # row -> 0: its next job is within its quota; 1: it is not, or there is no quota
    head: Ints  # place of the job that would be its next; -1: none
    heap: Ints
    base: Ints  # tenant -> where its heap lies
    size: Ints
    spot: Ints  # where in its parent's heap a row is; -1: not there
    last: Ints  # row -> place of its last job
    kind: Ints  # place of a job -> column
    amount: Ints
    after: Ints  # place of a job -> that of the next of the same tenant and rank


@compiled
def fairly(T: Tenants, h: Any, b: Jobs, q: Queues, pool: int, now: int, order: Ints) -> int:
    """Put the waiting jobs of a pool in `order`; how many. A job costs the logarithm of the siblings on each level."""
    base, many = q.base[pool], q.waits[pool]
    keys = _keys(T, b, q.waiting[base : base + many], now)
    alone = True
    for at in range(many):
        order[at] = keys[at] & JOB_PART
        alone = alone and b.job[order[at]].tenant == b.job[order[0]].tenant
    if not alone:
        _fill(T, h, b, _filling(T, many), keys, order)
    return many


@compiled
def _fill(T: Tenants, h: Any, b: Jobs, f: Filling, keys: Ints, order: Ints) -> None:
    T, h, b, f = borrowed(T), borrowed(h), borrowed(b), borrowed(f)
    many, tenants = keys.size, T.tenant.size
    for at in range(many):
        f.kind[at], f.amount[at] = asks(T, h, b, keys[at] & JOB_PART)
    placed = low = 0
    while low < many:
        high = low
        while high < many and keys[high] >> JOB_BITS == keys[low] >> JOB_BITS:
            row = tenants + b.job[keys[high] & JOB_PART].tenant
            if f.head[row] < 0:
                f.head[row] = high
            else:
                f.after[f.last[row]] = high
            f.last[row] = high
            high += 1
        for at in range(low, high):
            row = tenants + b.job[keys[at] & JOB_PART].tenant
            if f.head[row] == at:
                _settle(T, f, row)
        while placed < high:
            at = f.head[T.terms[0].root]
            job = keys[at] & JOB_PART
            order[placed] = job
            placed += 1
            row = tenants + b.job[job].tenant
            _charge(T, f, row, f.kind[at], f.amount[at])
            f.head[row] = f.after[at]
            _settle(T, f, row)
        low = high


@compiled
def _keys(T: Tenants, b: Jobs, waiting: Ints, now: int) -> Ints:
    """The jobs by rank (the highest first) and submission, each as rank and number in one."""
    top, ageing = -(1 << 31), T.terms[0].ageing
    for job in waiting:
        top = max(top, b.job[job].priority)
    keys = np.zeros(waiting.size, np.int64)
    for at in range(waiting.size):
        job = waiting[at]
        rank = b.job[job].priority
        if ageing > 0:
            rank = min(rank + max(now - b.job[job].submit, 0) // ageing, top)
        keys[at] = ((top - rank) << JOB_BITS) | job
    return np.sort(keys)


@compiled
def _filling(T: Tenants, many: int) -> Filling:
    rows, columns = T.held.shape
    tenants = rows // 2
    load, share = np.zeros((rows, columns), np.int64), np.zeros(rows, np.int64)
    for row in range(rows):
        for kind in range(columns):
            load[row, kind] = min(usage(T, row, kind), MOST)
            share[row] = max(share[row], _part(T, load[row, kind], kind))
    base = np.zeros(tenants + 1, np.int64)
    for tenant in range(tenants):
        base[tenant + 1] += 1
        if T.tenant[tenant].parent >= 0:
            base[T.tenant[tenant].parent + 1] += 1
    for tenant in range(tenants):
        base[tenant + 1] += base[tenant]
    nobody = np.full(rows, -1, np.int64)
    size = np.zeros(tenants, np.int64)
    heap, last, kinds, amount = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(many, np.int64), np.zeros(many, np.int64)
    return Filling(
        load,
        T.held.copy(),
        share,
        np.ones(rows, np.int64),
        nobody,
        heap,
        base,
        size,
        nobody.copy(),
        last,
        kinds,
        amount,
        np.full(many, -1, np.int64),
    )


@compiled
def _part(T: Tenants, load: int, kind: int) -> int:
    return min(load * SCALE // max(T.capacity[kind], 1), MOST)


@compiled
def _charge(T: Tenants, f: Filling, row: int, kind: int, amount: int) -> None:
    f.load[row, kind] = min(f.load[row, kind] + max(amount, 1), MOST)
    f.held[row, kind] += amount
    f.share[row] = max(f.share[row], _part(T, f.load[row, kind], kind))
    row -= T.tenant.size
    while row >= 0:
        f.held[row, kind] += amount
        f.load[row, kind] = min(f.load[row, kind] + max(amount, 1), MOST)
        row = T.tenant[row].parent


@compiled
def _settle(T: Tenants, f: Filling, row: int) -> None:
    """Put a row whose next job or share has changed in its place under its parent, and so on to the root."""
    tenants = T.tenant.size
    while True:
        if row < tenants:  # of a subtree: what its smallest branch says
            if f.size[row] == 0:
                f.head[row] = -1
            else:
                first = f.heap[f.base[row]]
                f.head[row] = f.head[first]
                kind = f.kind[f.head[row]]
                f.share[row] = max(f.share[first], _part(T, f.load[row, kind], kind))
        parent = row - tenants if row >= tenants else T.tenant[row].parent
        if parent < 0:
            return
        if f.head[row] >= 0:
            kind, claim = f.kind[f.head[row]], T.claim[row, f.kind[f.head[row]]]
            f.beyond[row] = 0 if 0 <= f.held[row, kind] + f.amount[f.head[row]] <= claim else 1
        base, at = f.base[parent], f.spot[row]
        if f.head[row] < 0:
            if at >= 0:  # the last of the heap takes its place
                f.size[parent] -= 1
                moved = f.heap[base + f.size[parent]]
                f.spot[row] = -1
                if moved != row:
                    f.heap[base + at] = moved
                    f.spot[moved] = at
                    _sift(T, f, parent, at)
        else:
            if at < 0:
                at = f.size[parent]
                f.size[parent] += 1
                f.heap[base + at] = row
                f.spot[row] = at
            _sift(T, f, parent, at)
        row = parent


@compiled
def _sift(T: Tenants, f: Filling, parent: int, at: int) -> None:
    base, size = f.base[parent], f.size[parent]
    row = f.heap[base + at]
    while at > 0:
        up = (at - 1) >> 1
        if not _before(T, f, row, f.heap[base + up]):
            break
        f.heap[base + at] = f.heap[base + up]
        f.spot[f.heap[base + at]] = at
        at = up
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _before(T, f, f.heap[base + below + 1], f.heap[base + below]):
            below += 1
        if not _before(T, f, f.heap[base + below], row):
            break
        f.heap[base + at] = f.heap[base + below]
        f.spot[f.heap[base + at]] = at
        at = below
    f.heap[base + at] = row
    f.spot[row] = at


@compiled
def _before(T: Tenants, f: Filling, one: int, other: int) -> bool:
    """Who is within its quota; then the smaller share by weight; of equal ones, whose next job came first."""
    if f.beyond[one] != f.beyond[other]:
        return f.beyond[one] < f.beyond[other]
    tenants = T.tenant.size
    a, b = f.share[one] * T.tenant[other % tenants].weight, f.share[other] * T.tenant[one % tenants].weight
    return a < b or (a == b and f.head[one] < f.head[other])
