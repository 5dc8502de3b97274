"""Starting jobs out of order without delaying a promise.

EASY (Lifka 1995; Mu'alem & Feitelson 2001, §2): the first job that does not fit is promised the earliest time at which it will, should
every running job take as long as it may. Others start now if they end before that time, or if they leave the promised place free.
Here a place is not a number of processors but nodes and devices: what will be left of each once the promised job has its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import NEVER, Jobs, ends
from lilong.floors.compute.scheduler.order import Queues, settle
from lilong.floors.compute.scheduler.place import take_later
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site
from lilong.floors.compute.scheduler.topology import domain_end, open_for, tasks_in


@compiled
def look_ahead(s: Site, pool: int) -> None:
    """Start from what is free now."""
    low, high = s.bounds[pool], s.bounds[pool + 1]
    s.later_spare[pool] = s.spare[pool]
    s.later_free[low:high] = s.free[low:high]
    for node in range(low, high):
        s.node[node].later_cpu = s.node[node].cpu
        s.node[node].later_memory = s.node[node].memory


@compiled
def tasks_later(s: Site, h: Any, node: int, shape: int, enough: int) -> int:
    """How many tasks of a shape the node will have room for."""
    wanted = h[shape].devices
    if not (h[shape].classes >> s.node[node].kind) & 1:
        return 0
    each = enough
    if h[shape].cpu > 0:
        each = min(each, s.node[node].later_cpu // h[shape].cpu)
    if h[shape].memory > 0:
        each = min(each, s.node[node].later_memory // h[shape].memory)
    if wanted > 0:
        parts, milli = 0, h[shape].milli
        for d in range(s.node[node].devices):
            parts += s.later_free[node, d] // milli if 2 * milli <= WHOLE else s.later_free[node, d] >= milli
        each = min(each, parts // wanted)
    return max(each, 0)


@compiled
def _room_now(s: Site, h: Any, pool: int, shape: int, enough: int) -> int:
    """How many tasks of a shape there is room for in all, up to `enough` on each node, before anything is given back."""
    room = 0
    for slot in range(s.bounds[pool], s.top[pool]):
        if s.group[slot].count > 0 and (h[shape].classes >> s.group[slot].kind) & 1:
            room += s.group[slot].count * max(tasks_in(s, h[shape], slot, enough), 0)
    return room


@compiled
def lay_later(s: Site, h: Any, b: Jobs, job: int, option: int, until: int, kinds: int) -> bool:
    """Give a job that may run until then its place among what will be left, in one domain if it must be. `kinds`: see place.lay."""
    pool = b.job[job].pool
    low = s.bounds[pool]
    while low < s.bounds[pool + 1]:
        high = domain_end(s, pool, b.option[option].level, low)
        if _lay_later_within(s, h, b, job, option, low, high, until, kinds):
            return True
        low = high
    return False


@compiled
def _fullest_later(s: Site, h: Any, nodes: Ints, shape: int) -> int:
    """Of those nodes that will have room for a task the one that will have the fewest devices free; or -1."""
    chosen, fewest = -1, 1 << 60
    for node in nodes:
        if tasks_later(s, h, node, shape, 1) > 0:
            left = s.node[node].later_cpu // s.largest[0]
            for d in range(s.node[node].devices):
                left += s.later_free[node, d] * WHOLE
            if left < fewest:
                chosen, fewest = node, left
    return chosen


@compiled
def _lay_later_within(s: Site, h: Any, b: Jobs, job: int, option: int, low: int, high: int, until: int, kinds: int) -> bool:
    """On a stretch of nodes; each task where the fewest devices stay free."""
    tasks, rest, base = b.option[option].tasks, b.option[option].rest, b.job[job].room
    able, many = np.empty(high - low, np.int64), 0
    for k in range(tasks + (1 if rest >= 0 else 0)):
        shape = b.option[option].need if k < tasks else rest
        if k in (0, tasks):
            many = 0
            for node in range(low, high):
                barred = h[shape].devices > 0 and not (kinds >> s.node[node].kind) & 1
                if not barred and open_for(s, node, until) and tasks_later(s, h, node, shape, 1) > 0:
                    able[many] = node
                    many += 1
        chosen = _fullest_later(s, h, able[:many], shape)
        if chosen < 0:
            for back in range(k):
                take_later(s, h, b.place[base + back].node, b.place[base + back].need, b.place[base + back].devices, -1)
            return False
        devices, wanted = 0, h[shape].devices
        for d in range(s.node[chosen].devices):
            if wanted > 0 and s.later_free[chosen, d] >= h[shape].milli:
                devices |= 1 << d
                wanted -= 1
        b.place[base + k].node, b.place[base + k].need, b.place[base + k].devices = chosen, shape, devices
        take_later(s, h, chosen, shape, devices, 1)
    return True


@compiled
def promise(s: Site, h: Any, b: Jobs, q: Queues, job: int, now: int) -> int:
    """The earliest time at which the job fits; the place that it takes then is no longer left. NEVER if nothing running makes room.

    A gang of unequal tasks for which no place is found beside others is promised the moment when its pool is idle, and all of it.
    """
    pool = b.job[job].pool
    settle(q, b, pool)
    base, runs = q.base[pool], q.runs[pool]
    best_time, best_option = NEVER, -1
    for option in range(b.job[job].first, b.job[job + 1].first):
        look_ahead(s, pool)
        shape, tasks = b.option[option].need, b.option[option].tasks
        room, at = _room_now(s, h, pool, shape, tasks), 0
        while at < runs:
            time = b.job[q.running[base + at]].end
            if time >= best_time:
                break
            while at < runs and b.job[q.running[base + at]].end == time:
                room += _give_back_later(s, h, b, q.running[base + at], shape, tasks)
                at += 1
            if room >= tasks and lay_later(s, h, b, job, option, ends(b.job[job], b.option[option], max(time, now)), -1):
                best_time, best_option = time, option
                break
    if best_option >= 0 and best_option != b.job[job + 1].first - 1:  # the place was looked for again after it was found
        look_ahead(s, pool)
        at = 0
        while at < runs and b.job[q.running[base + at]].end <= best_time:
            _give_back_later(s, h, b, q.running[base + at], b.option[best_option].need, 1)
            at += 1
        lay_later(s, h, b, job, best_option, ends(b.job[job], b.option[best_option], max(best_time, now)), -1)
    if best_option < 0 and runs > 0:
        best_time = b.job[q.running[base + runs - 1]].end
        if _closed(s, b, job, max(best_time, now)):
            look_ahead(s, pool)
            return NEVER
        for part in range(3):
            s.later_spare[pool, part] = 0
        for node in range(s.bounds[pool], s.bounds[pool + 1]):
            s.node[node].later_cpu = s.node[node].later_memory = 0
            for d in range(s.node[node].devices):
                s.later_free[node, d] = 0
    return max(best_time, now)


@compiled
def _closed(s: Site, b: Jobs, job: int, time: int) -> bool:
    """Whether it might not start even on an idle pool, because of what is kept for maintenance."""
    for option in range(b.job[job].first, b.job[job + 1].first):
        if s.closing[b.job[job].pool] >= ends(b.job[job], b.option[option], time):
            return False
    return True


@compiled
def _give_back_later(s: Site, h: Any, b: Jobs, running: int, shape: int, enough: int) -> int:
    """Free what a running job holds; how many more tasks of `shape` there is room for then."""
    gained = 0
    base = b.job[running].room
    for k in range(b.job[running].placed):
        node = b.place[base + k].node
        gained -= tasks_later(s, h, node, shape, enough)
        take_later(s, h, node, b.place[base + k].need, b.place[base + k].devices, -1)
        gained += tasks_later(s, h, node, shape, enough)
    return gained
