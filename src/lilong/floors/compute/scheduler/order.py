# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""The order in which waiting jobs are looked at, kept sorted as jobs come and go.

A larger priority goes first, then the smaller key (what the key is, the policy says), then the order of submission and id, so that
no order depends on chance. Fair share gives its order anew in every cycle (see fair.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import NEVER, RUNNING, WAITING, Jobs
from lilong.floors.compute.scheduler.state import Ints

# Columns of a herd of victims (see preempt). KIND: that of the node of the first task; -1 if the task has no device. FIRST, in the row that
# a tenant is found at: its first herd; NEXT: the next of those found there; 0: none.
TENANT, KIND, PRIORITY, NEXT, CPU, MEMORY, DEVICES, FIRST = 0, 1, 2, 3, 4, 5, 6, 7
HERD = 8


class Queues(NamedTuple):
    """Per pool, in its own stretch of each array: who waits in order, who waits by length, who runs by planned end."""

    base: Ints
    waiting: Ints
    short: Ints  # used where the shortest is backfilled first
    running: Ints  # in order once `settle` was called; those that have ended are left out now and then
    waits: Ints  # pool -> how many
    runs: Ints
    settled: Ints  # pool -> how many at the front of `running` are in order
    seen: Ints  # pool -> how many at the front were found not to fit, and
    seen_in: Ints  # after how many things were given back
    head: Ints  # pool -> who was promised a start then
    given: Ints  # pool -> up to when what was given back since the last look was to be held
    wake: Ints  # pool -> the moment at which it is to be looked at though nothing comes and nothing ends
    fresh: Ints  # the jobs that were started and not yet taken note of
    stopped: Ints  # the same of those that were preempted, and
    stopped_for: Ints  # for whom; -1 for nobody
    victims: Ints  # room, in a look, to list and
    worth: Ints  # to weigh jobs
    herd: Ints  # [0, 0]: how many; from row 1 on what those victims hold together that are alike, see HERD
    cycles: Ints  # [looks so far, length of `fresh`, 1 + how often something was given back, length of `stopped`]


def queues(jobs: Jobs, pools: int) -> Queues:
    counts = np.bincount(jobs.job.pool[:-1], minlength=pools)
    base = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    numbers = {name: np.zeros(pools, np.int64) for name in ("waits", "runs", "settled", "seen", "seen_in", "head", "given")}
    lists = {name: np.zeros(jobs.job.size, np.int64) for name in Queues._fields if name not in numbers}
    herd = np.zeros((1 + jobs.job.size, HERD), np.int64)
    head, wake = np.full(pools, -1, np.int64), np.full(pools, NEVER, np.int64)
    cycles = np.array([0, 0, 1, 0], np.int64)
    return Queues(**{**lists, **numbers, "base": base, "head": head, "wake": wake, "herd": herd, "cycles": cycles})


@compiled
def goes_before(b: Jobs, one: int, other: int) -> bool:
    if b.job[one].priority != b.job[other].priority:
        return b.job[one].priority > b.job[other].priority
    if b.job[one].key != b.job[other].key:
        return b.job[one].key < b.job[other].key
    return one < other


@compiled
def shorter(b: Jobs, one: int, other: int) -> bool:
    if b.job[one].limit != b.job[other].limit:
        return b.job[one].limit < b.job[other].limit
    return one < other


@compiled
def enqueue(q: Queues, b: Jobs, job: int, by_length: bool) -> None:
    pool = b.job[job].pool
    base, many = q.base[pool], q.waits[pool]
    at = many
    if many > 0 and not goes_before(b, q.waiting[base + many - 1], job):
        low, high = 0, many
        while low < high:
            middle = (low + high) >> 1
            if goes_before(b, q.waiting[base + middle], job):
                low = middle + 1
            else:
                high = middle
        at = low
    for k in range(many, at, -1):
        q.waiting[base + k] = q.waiting[base + k - 1]
    q.waiting[base + at] = job
    q.seen[pool] = min(q.seen[pool], at)
    if by_length:
        low, high = 0, many
        while low < high:
            middle = (low + high) >> 1
            if shorter(b, q.short[base + middle], job):
                low = middle + 1
            else:
                high = middle
        for k in range(many, low, -1):
            q.short[base + k] = q.short[base + k - 1]
        q.short[base + low] = job
    q.waits[pool] = many + 1
    b.job[job].state = WAITING


@compiled
def put_last(q: Queues, b: Jobs, job: int) -> None:
    pool = b.job[job].pool
    q.waiting[q.base[pool] + q.waits[pool]] = job
    q.waits[pool] += 1
    b.job[job].state = WAITING


@compiled
def sift(q: Queues, b: Jobs, pool: int, by_length: bool) -> None:
    """Leave only those in the queue that still wait."""
    base, many, kept = q.base[pool], q.waits[pool], 0
    for k in range(many):
        job = q.waiting[base + k]
        if b.job[job].state == WAITING:
            q.waiting[base + kept] = job
            kept += 1
    q.waits[pool] = kept
    if by_length:
        kept = 0
        for k in range(many):
            job = q.short[base + k]
            if b.job[job].state == WAITING:
                q.short[base + kept] = job
                kept += 1


@compiled
def add_running(q: Queues, b: Jobs, job: int) -> None:
    pool = b.job[job].pool
    q.running[q.base[pool] + q.runs[pool]] = job
    q.runs[pool] += 1


@compiled
def drop_running(q: Queues, b: Jobs, job: int) -> None:
    """A job has ended; `settle` will leave it out."""
    pool = b.job[job].pool
    q.cycles[2] += 1
    q.given[pool] = max(q.given[pool], b.job[job].end)


@compiled
def strike_running(q: Queues, b: Jobs, job: int) -> None:
    """Of a job that is stopped and may run again."""
    drop_running(q, b, job)
    pool = b.job[job].pool
    low, high = q.base[pool], q.base[pool] + q.runs[pool]
    at = low
    while q.running[at] != job:
        at += 1
    if at < low + q.settled[pool]:
        q.settled[pool] -= 1
    for k in range(at, high - 1):
        q.running[k] = q.running[k + 1]
    q.runs[pool] -= 1


@compiled
def leave_out_ended(q: Queues, b: Jobs, pool: int) -> None:
    """Leave only those among the running that still run."""
    base, kept, settled = q.base[pool], 0, 0
    for k in range(q.runs[pool]):
        job = q.running[base + k]
        if b.job[job].state == RUNNING:
            q.running[base + kept] = job
            kept += 1
            if k < q.settled[pool]:
                settled = kept
    q.runs[pool], q.settled[pool] = kept, settled


@compiled
def settle(q: Queues, b: Jobs, pool: int) -> None:
    """Bring the running jobs in the order of their planned ends: those that were started lately are sorted and merged in."""
    leave_out_ended(q, b, pool)
    base, kept, late = q.base[pool], q.settled[pool], 0
    for k in range(kept, q.runs[pool]):
        job = q.running[base + k]
        q.victims[late], q.worth[job] = job, b.job[job].end
        late += 1
    sort_by(q.victims, late, q.worth)
    at, last = kept - 1, kept + late - 1
    q.runs[pool] = q.settled[pool] = kept + late
    for k in range(late - 1, -1, -1):
        job = q.victims[k]
        while at >= 0 and b.job[q.running[base + at]].end > b.job[job].end:
            q.running[base + last] = q.running[base + at]
            at -= 1
            last -= 1
        q.running[base + last] = job
        last -= 1


@compiled
def sort_by(items: Ints, many: int, worth: Ints) -> None:
    """The first `many` items by what they are worth, then by number (Shell's method, gaps as Tokuda's)."""
    gap = 1
    while gap < many:
        gap = gap * 9 // 4 + 1
    while gap > 0:
        for k in range(gap, many):
            item = items[k]
            value = worth[item]
            at = k
            while at >= gap and (worth[items[at - gap]] > value or (worth[items[at - gap]] == value and items[at - gap] > item)):
                items[at] = items[at - gap]
                at -= gap
            items[at] = item
        gap = 0 if gap == 1 else max(gap * 4 // 9, 1)
