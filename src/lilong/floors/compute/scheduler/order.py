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
from lilong.floors.compute.scheduler.jobs import WAITING, Jobs
from lilong.floors.compute.scheduler.state import Ints


class Queues(NamedTuple):
    """Per pool, in its own stretch of each array: who waits in order, who waits by length, who runs by planned end."""

    base: Ints
    waiting: Ints
    short: Ints  # used where the shortest is backfilled first
    running: Ints
    waits: Ints  # pool -> how many
    runs: Ints
    seen: Ints  # pool -> how many at the front were found not to fit, and
    seen_in: Ints  # after how many things were given back
    fresh: Ints  # the jobs that were started and not yet taken note of
    cycles: Ints  # [looks so far, length of `fresh`, 1 + how often something was given back]


def queues(jobs: Jobs, pools: int) -> Queues:
    counts = np.bincount(jobs.job.pool[:-1], minlength=pools)
    base = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    many = jobs.job.size
    lists = [np.zeros(many, np.int64) for _ in range(4)]
    numbers = [np.zeros(pools, np.int64) for _ in range(4)]
    return Queues(base, *lists[:3], *numbers, lists[3], np.array([0, 0, 1]))  # type: ignore[call-arg]


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
    base, at = q.base[pool], q.runs[pool]
    while at > 0 and b.job[q.running[base + at - 1]].end > b.job[job].end:
        q.running[base + at] = q.running[base + at - 1]
        at -= 1
    q.running[base + at] = job
    q.runs[pool] += 1


@compiled
def drop_running(q: Queues, b: Jobs, job: int) -> None:
    """Of a job whose `end` is still the planned one."""
    q.cycles[2] += 1
    pool = b.job[job].pool
    base, low, high = q.base[pool], 0, q.runs[pool]
    while low < high:
        middle = (low + high) >> 1
        if b.job[q.running[base + middle]].end < b.job[job].end:
            low = middle + 1
        else:
            high = middle
    while q.running[base + low] != job:
        low += 1
    for k in range(low, q.runs[pool] - 1):
        q.running[base + k] = q.running[base + k + 1]
    q.runs[pool] -= 1
