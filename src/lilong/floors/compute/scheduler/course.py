# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""How things will go in a pool if every job takes as long as it may: who gives back when, who takes when, and what is left in between.

Worked out once in a look, and kept up as jobs start and promises are made in it. What the pool as a whole has left at each moment
rules most moments out; only for the others is it worked out node by node.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.backfill import lay_later
from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import NEVER, WAITING, Jobs, ends
from lilong.floors.compute.scheduler.order import Queues, settle, sort_by
from lilong.floors.compute.scheduler.state import Ints, Site

ENDING, STARTING, MOMENTS, STATE, OVERDRAWN = 0, 1, 2, 3, 4  # of Course.size
NOT_MADE, STALE, READY = 0, 1, 2  # STALE: the moments are


class Course(NamedTuple):
    size: Ints  # see above
    ending: Ints  # running and promised jobs by their planned ends, which are
    ends: Ints
    starting: Ints  # promised jobs by their starts, which are
    starts: Ints
    time: Ints  # the moments, the first of which is now
    gives: Ints  # whether something is given back then
    left: Ints  # moment × (cores, memory, devices): all that is free from then to the next
    cpu: Ints  # what is free of each node at a moment
    memory: Ints
    free: Ints


@compiled
def no_course(s: Site, q: Queues, pool: int) -> Course:
    """Room for one. Until it is made, `starting` lists those who have a promise in any order."""
    most, nodes = q.waits[pool] + q.runs[pool], s.bounds[pool + 1] - s.bounds[pool]
    return Course(
        np.zeros(5, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(2 * most + 1, np.int64),
        np.empty(2 * most + 1, np.int64),
        np.empty((2 * most + 1, 3), np.int64),
        np.empty(nodes, np.int64),
        np.empty(nodes, np.int64),
        np.empty((nodes, s.free.shape[1]), np.int64),
    )


@compiled
def promised_end(b: Jobs, job: int) -> int:
    return ends(b.job[job], b.option[b.job[job].option], b.job[job].reserved)


@compiled
def make(s: Site, h: Any, b: Jobs, q: Queues, c: Course, pool: int, now: int) -> None:
    """Bring it up to date, if it is not."""
    if c.size[STATE] == NOT_MADE:
        settle(q, b, pool)
        many, promised = c.size[STARTING], 0
        for k in range(many):
            job = c.starting[k]
            if b.job[job].reserved < NEVER and b.job[job].state == WAITING:
                c.starting[promised] = job
                q.worth[job] = b.job[job].reserved
                promised += 1
        sort_by(c.starting, promised, q.worth)
        for k in range(promised):
            job = c.starting[k]
            c.starts[k], c.time[k], q.worth[job] = b.job[job].reserved, job, promised_end(b, job)
        sort_by(c.time, promised, q.worth)
        low, runs, at = q.base[pool], q.runs[pool], 0
        for k in range(promised + runs):  # who runs stands by planned ends already
            by_promise = at < promised and (k - at >= runs or q.worth[c.time[at]] < b.job[q.running[low + k - at]].end)
            job = c.time[at] if by_promise else q.running[low + k - at]
            c.ending[k], c.ends[k] = job, q.worth[job] if by_promise else b.job[job].end
            at += by_promise
        c.size[STARTING], c.size[ENDING] = promised, promised + runs
        c.size[OVERDRAWN] = _is_overdrawn(s, h, b, c, pool)
        c.size[STATE] = STALE
    if c.size[STATE] == STALE:
        _list_moments(s, h, b, c, pool, now)
        c.size[STATE] = READY


@compiled
def _list_moments(s: Site, h: Any, b: Jobs, c: Course, pool: int, now: int) -> None:
    given, taken, many, time = 0, 0, 0, now
    cpu, memory, devices = s.spare[pool, 0], s.spare[pool, 1], s.spare[pool, 2]
    while time < NEVER:
        before = given
        while given < c.size[ENDING] and c.ends[given] <= time:
            of = asks(h, b, c.ending[given])
            cpu, memory, devices = cpu + of[0], memory + of[1], devices + of[2]
            given += 1
        c.gives[many] = given > before
        while taken < c.size[STARTING] and c.starts[taken] <= time:
            of = asks(h, b, c.starting[taken])
            cpu, memory, devices = cpu - of[0], memory - of[1], devices - of[2]
            taken += 1
        c.time[many], c.left[many, 0], c.left[many, 1], c.left[many, 2] = time, cpu, memory, devices
        many += 1
        time = c.ends[given] if given < c.size[ENDING] else NEVER
        if taken < c.size[STARTING]:
            time = min(time, c.starts[taken])
    c.size[MOMENTS] = many


@compiled
def asks(h: Any, b: Jobs, job: int) -> tuple[int, int, int]:
    """What a job holds in all, laid out in its `option`: cores, memory, thousandths of devices."""
    option = b.option[b.job[job].option]
    need, tasks = h[option.need], option.tasks
    cpu, memory, devices = tasks * need.cpu, tasks * need.memory, tasks * need.devices * need.milli
    if option.rest >= 0:
        rest = h[option.rest]
        cpu, memory, devices = cpu + rest.cpu, memory + rest.memory, devices + rest.devices * rest.milli
    return cpu, memory, devices


@compiled
def _remove(jobs: Ints, times: Ints, many: int, job: int) -> int:
    """From a list; its time."""
    at = 0
    while jobs[at] != job:
        at += 1
    time = times[at]
    for k in range(at, many - 1):
        jobs[k], times[k] = jobs[k + 1], times[k + 1]
    return time


@compiled
def _insert(jobs: Ints, times: Ints, many: int, job: int, time: int) -> None:
    at = many
    while at > 0 and times[at - 1] > time:
        jobs[at], times[at] = jobs[at - 1], times[at - 1]
        at -= 1
    jobs[at], times[at] = job, time


@compiled
def withdraw(b: Jobs, c: Course, job: int) -> int:
    """Of a job whose promise stands no more: until when it was to hold what it was promised."""
    if c.size[STATE] == NOT_MADE:
        return promised_end(b, job)
    _remove(c.starting, c.starts, c.size[STARTING], job)
    end = _remove(c.ending, c.ends, c.size[ENDING], job)
    c.size[STARTING] -= 1
    c.size[ENDING] -= 1
    c.size[STATE] = STALE
    return end


@compiled
def enter(b: Jobs, c: Course, job: int) -> None:
    """Of a job that has begun, or was promised a start."""
    if c.size[STATE] == NOT_MADE:
        return  # who runs is found when it is made
    c.size[STATE] = STALE
    if b.job[job].state == WAITING:
        _insert(c.starting, c.starts, c.size[STARTING], job, b.job[job].reserved)
        c.size[STARTING] += 1
    _insert(c.ending, c.ends, c.size[ENDING], job, promised_end(b, job) if b.job[job].state == WAITING else b.job[job].end)
    c.size[ENDING] += 1


@compiled
def gain(b: Jobs, c: Course, until: int) -> None:
    """Somebody gives back what it was to hold up to a moment: promises may move forward."""
    for k in range(c.size[STARTING]):
        job = c.starting[k]
        b.job[job].gained = max(b.job[job].gained, until)


@compiled
def _shift(s: Site, h: Any, b: Jobs, c: Course, low: int, job: int, sign: int, least: bool) -> bool:
    """A job takes (sign 1) what it holds of the course's nodes, or gives it back. `least`: note what is left as the least so far.

    Whether it could.
    """
    fits = True
    for k in range(b.job[job].room, b.job[job].room + b.job[job].placed):
        node, need, devices = b.place[k].node, h[b.place[k].need], b.place[k].devices
        at = node - low
        c.cpu[at] -= sign * need.cpu
        c.memory[at] -= sign * need.memory
        fits = fits and c.cpu[at] >= 0 and c.memory[at] >= 0
        d = 0
        while devices:
            if devices & 1:
                c.free[at, d] -= sign * need.milli
                fits = fits and c.free[at, d] >= 0
                if least:
                    s.later_free[node, d] = min(s.later_free[node, d], c.free[at, d])
            devices >>= 1
            d += 1
        if least:
            s.node[node].later_cpu = min(s.node[node].later_cpu, c.cpu[at])
            s.node[node].later_memory = min(s.node[node].later_memory, c.memory[at])
    return fits


@compiled
def _from_now(s: Site, c: Course, pool: int) -> int:
    """Set the course's nodes to what is free now; the first of them."""
    low, high = s.bounds[pool], s.bounds[pool + 1]
    for node in range(low, high):
        c.cpu[node - low], c.memory[node - low] = s.node[node].cpu, s.node[node].memory
        for d in range(s.free.shape[1]):
            c.free[node - low, d] = s.free[node, d]
    return low


@compiled
def _is_overdrawn(s: Site, h: Any, b: Jobs, c: Course, pool: int) -> bool:
    """Whether something is promised twice, since somebody started late or runs over its time."""
    low, given = _from_now(s, c, pool), 0
    for k in range(c.size[STARTING]):
        while given < c.size[ENDING] and c.ends[given] <= c.starts[k]:
            _shift(s, h, b, c, low, c.ending[given], -1, False)
            given += 1
        if not _shift(s, h, b, c, low, c.starting[k], 1, False):
            return True
    return False


@compiled
def foresee(s: Site, h: Any, b: Jobs, c: Course, pool: int, time: int, until: int, but: int) -> None:
    """Set what will be left of each node to the least of it from `time` up to `until`, if `but` had no promise."""
    low, given, taken = _from_now(s, c, pool), 0, 0
    while given < c.size[ENDING] or taken < c.size[STARTING]:
        give = c.ends[given] if given < c.size[ENDING] else NEVER
        take = c.starts[taken] if taken < c.size[STARTING] else NEVER
        if min(give, take) > time:
            break
        if give <= take:
            if c.ending[given] != but:
                _shift(s, h, b, c, low, c.ending[given], -1, False)
            given += 1
        else:
            if c.starting[taken] != but:
                _shift(s, h, b, c, low, c.starting[taken], 1, False)
            taken += 1
    for node in range(low, s.bounds[pool + 1]):
        s.node[node].later_cpu, s.node[node].later_memory = c.cpu[node - low], c.memory[node - low]
        for d in range(s.free.shape[1]):
            s.later_free[node, d] = c.free[node - low, d]
    while taken < c.size[STARTING] and c.starts[taken] < until:
        while given < c.size[ENDING] and c.ends[given] <= c.starts[taken]:
            if c.ending[given] != but:
                _shift(s, h, b, c, low, c.ending[given], -1, False)
            given += 1
        if c.starting[taken] != but:
            _shift(s, h, b, c, low, c.starting[taken], 1, True)
        taken += 1


@compiled
def first_place(s: Site, h: Any, b: Jobs, c: Course, job: int, at: int, before: int, kinds: int) -> int:
    """The first moment before `before` from which on the job has a place in its option `at`, which it gets; NEVER if there is none, and its
    places are spoilt.
    """
    row, option, k = b.job[job], b.option[at], 0
    span, need = ends(row, option, 0), h[option.need]
    own_from, own_until, own = row.reserved, NEVER, (0, 0, 0)
    if own_from < NEVER:
        own_until, own = promised_end(b, job), asks(h, b, job)
    cpu, memory, devices = option.tasks * need.cpu, option.tasks * need.memory, option.tasks * need.devices * need.milli
    while k < c.size[MOMENTS] and c.time[k] < before:
        if k > 0 and not c.gives[k]:
            k += 1
            continue
        until = NEVER if span >= NEVER else c.time[k] + span
        # where something is promised twice, what is free in all says nothing of single nodes: then only the moment itself is asked
        last = c.time[k] + 1 if c.size[OVERDRAWN] else until
        at_moment, short = k, False
        while not short and at_moment < c.size[MOMENTS] and c.time[at_moment] < last:
            left, its = c.left[at_moment], own_from <= c.time[at_moment] < own_until
            short = cpu > left[0] + own[0] * its or memory > left[1] + own[1] * its or devices > left[2] + own[2] * its
            at_moment += 1
        if short:
            k = at_moment
            continue
        foresee(s, h, b, c, row.pool, c.time[k], until, job)
        if lay_later(s, h, b, job, at, until, kinds):
            return c.time[k]
        k += 1
    return NEVER
