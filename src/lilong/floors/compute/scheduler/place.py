# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Laying a job out on nodes, all or nothing, and taking it off again."""

from __future__ import annotations

from typing import Any

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import Jobs
from lilong.floors.compute.scheduler.score import FGD, NO, RANDOM, UNKNOWN, fgd_score, fits, fittest_device, score_of
from lilong.floors.compute.scheduler.state import WHOLE, Site, drawn, regroup
from lilong.floors.compute.scheduler.topology import domains_for, tasks_in


@compiled
def fits_beside(s: Site, h: Any, node: int, shape: int) -> bool:
    """Whether a task fits the node in a way that leaves the reserved job its place."""
    if s.node[node].later_cpu < h[shape].cpu or s.node[node].later_memory < h[shape].memory:
        return False
    wanted, milli = h[shape].devices, h[shape].milli
    for d in range(s.node[node].devices):
        if wanted == 0:
            break
        if s.free[node, d] >= milli and s.later_free[node, d] >= milli:
            wanted -= 1
    return wanted == 0


@compiled
def best_node(s: Site, h: Any, t: Typical, way: int, pool: int, shape: int, beside: bool, until: int, kinds: int) -> int:
    """The node of a pool for one task, or -1."""
    low, high, need = s.bounds[pool], s.bounds[pool + 1], h[shape]
    cores, devices = s.largest[0], s.largest[1]
    best, feasible, at = NO, 0, high
    for slot in range(low, s.top[pool]):
        group, free = s.group[slot], s.group_free[slot]
        group.score = NO
        if group.count == 0 or not fits(group, free, need, until, kinds):
            continue
        feasible += group.count
        if way == RANDOM:
            worth = 0
        elif way == FGD:
            worth = s.memo[slot, shape]
            if worth == UNKNOWN:
                worth = fgd_score(t, group, free, need, s.row)
                s.memo[slot, shape] = worth
        else:
            worth = score_of(group, free, need, way, cores, devices)
        group.score = worth
        if worth > best:
            best, at = worth, group.first
        elif worth == best:
            at = min(at, group.first)
    if feasible == 0:
        return -1
    if beside:
        return _best_beside(s, h, low, high, shape, best, at)
    if way == RANDOM:
        nth = drawn(s, feasible)
        for node in range(low, high):
            if s.group[s.slot[node]].score != NO:
                if nth == 0:
                    return node
                nth -= 1
        return -1
    slots, groups = s.slot, s.group  # looked up once: most of the time goes into this walk
    for node in range(at, high):
        if groups[slots[node]].score == best:
            groups[slots[node]].first = node
            return node
    return -1


@compiled
def _best_beside(s: Site, h: Any, low: int, high: int, shape: int, best: int, first: int) -> int:
    """`best`: the largest score of all; no node before `first` has it. Nearly always one of those that do leaves the promised place."""
    before, slots, groups = True, s.slot, s.group
    for node in range(first, high):
        if groups[slots[node]].score != best:
            continue
        if before:
            groups[slots[node]].first, before = node, False
        if fits_beside(s, h, node, shape):
            return node
    best, chosen = NO, -1
    for node in range(low, high):
        worth = groups[slots[node]].score
        if worth > best and fits_beside(s, h, node, shape):
            best, chosen = worth, node
    return chosen


@compiled
def best_within(s: Site, h: Any, t: Typical, way: int, low: int, high: int, shape: int, beside: bool, until: int, kinds: int) -> int:
    """The node from `low` to before `high` for one task, or -1."""
    need = h[shape]
    best, chosen, before, worth, seen = NO, -1, -1, NO, 0
    for node in range(low, high):
        slot = s.slot[node]
        if slot != before:
            before, worth = slot, NO
            if fits(s.group[slot], s.group_free[slot], need, until, kinds):
                if way == RANDOM:
                    worth = 0
                elif way == FGD:
                    worth = s.memo[slot, shape]
                    if worth == UNKNOWN:
                        worth = fgd_score(t, s.group[slot], s.group_free[slot], need, s.row)
                        s.memo[slot, shape] = worth
                else:
                    worth = score_of(s.group[slot], s.group_free[slot], need, way, s.largest[0], s.largest[1])
        if worth == NO or (beside and not fits_beside(s, h, node, shape)):
            continue
        seen += 1
        if worth > best or (way == RANDOM and drawn(s, seen) == 0):
            best, chosen = worth, node
    return chosen


@compiled
def pick_devices(s: Site, h: Any, t: Typical, way: int, node: int, shape: int, beside: bool) -> int:
    """The devices for a task as a bit set, the tightest that fit; or -1."""
    wanted, milli = h[shape].devices, h[shape].milli
    if wanted == 0:
        return 0
    if wanted == 1 and milli < WHOLE:
        one = fittest_device(s, t, way, node, milli, h[shape].cpu, beside)
        return -1 if one < 0 else 1 << one
    chosen = 0
    for d in range(s.node[node].devices):
        if wanted > 0 and s.free[node, d] >= milli and not (beside and s.later_free[node, d] < milli):
            chosen |= 1 << d
            wanted -= 1
    return chosen if wanted == 0 else -1


@compiled
def take(s: Site, h: Any, pool: int, node: int, shape: int, devices: int, sign: int) -> None:
    """Hold (sign 1) or give back (sign -1) what a task has of a node."""
    s.node[node].cpu -= sign * h[shape].cpu
    s.node[node].memory -= sign * h[shape].memory
    milli = sign * h[shape].milli
    s.spare[pool, 0] -= sign * h[shape].cpu
    s.spare[pool, 1] -= sign * h[shape].memory
    s.spare[pool, 2] -= milli * h[shape].devices
    d = 0
    while devices:
        if devices & 1:
            s.free[node, d] -= milli
        devices >>= 1
        d += 1
    size = h[shape].bucket
    if 0 <= size < s.mix.shape[1]:
        s.mix[node, size] += sign
    regroup(s, pool, node)


@compiled
def take_later(s: Site, h: Any, node: int, shape: int, devices: int, sign: int) -> None:
    """The same on what is kept for later."""
    s.node[node].later_cpu -= sign * h[shape].cpu
    s.node[node].later_memory -= sign * h[shape].memory
    milli = sign * h[shape].milli
    pool = h[shape].pool
    s.later_spare[pool, 0] -= sign * h[shape].cpu
    s.later_spare[pool, 1] -= sign * h[shape].memory
    s.later_spare[pool, 2] -= milli * h[shape].devices
    d = 0
    while devices:
        if devices & 1:
            s.later_free[node, d] -= milli
        devices >>= 1
        d += 1


@compiled
def lift(s: Site, h: Any, b: Jobs, job: int) -> None:
    """Take a job off its nodes. Its placements can still be read."""
    base = b.job[job].room
    for k in range(b.job[job].placed):
        take(s, h, b.job[job].pool, b.place[base + k].node, b.place[base + k].need, b.place[base + k].devices, -1)


@compiled
def lay(s: Site, h: Any, b: Jobs, t: Typical, way: int, job: int, option: int, beside: bool, until: int, kinds: int) -> bool:
    """Place every task of an option, or none. `until`: when it may still run; `kinds`: bit set of the kinds of nodes whose devices it may
    have; -1 each for what does not matter. Of the domains in which it must or would like to stay, the one that keeps the least room.
    """
    pool, tasks = b.job[job].pool, b.option[option].tasks
    level = max(b.option[option].level, b.option[option].near)
    while level > 0:
        for low in domains_for(s, h, pool, level, b.option[option].need, tasks, until, kinds):
            if lay_within(s, h, b, t, way, job, option, low, s.ends[low, level - 1], beside, until, kinds):
                return True
        if level == b.option[option].level:
            return False
        level -= 1
    if tasks > 1 and room_for(s, h, pool, b.option[option].need, tasks, until, kinds) < tasks:
        return False
    return lay_within(s, h, b, t, way, job, option, s.bounds[pool], s.bounds[pool + 1], beside, until, kinds)


@compiled
def lay_within(
    s: Site, h: Any, b: Jobs, t: Typical, way: int, job: int, option: int, low: int, high: int, beside: bool, until: int, kinds: int
) -> bool:
    """The same on a stretch of the job's pool."""
    pool, tasks, rest = b.job[job].pool, b.option[option].tasks, b.option[option].rest
    everywhere = low == s.bounds[pool] and high == s.bounds[pool + 1]
    base = b.job[job].room
    b.job[job].placed = 0
    for k in range(tasks + (1 if rest >= 0 else 0)):
        shape = b.option[option].need if k < tasks else rest
        if everywhere:
            node = best_node(s, h, t, way, pool, shape, beside, until, kinds)
        else:
            node = best_within(s, h, t, way, low, high, shape, beside, until, kinds)
        devices = -1 if node < 0 else pick_devices(s, h, t, way, node, shape, beside)
        if devices < 0:
            lift(s, h, b, job)
            if beside:
                for back in range(k):
                    take_later(s, h, b.place[base + back].node, b.place[base + back].need, b.place[base + back].devices, -1)
            b.job[job].placed = 0
            return False
        b.place[base + k].node, b.place[base + k].need, b.place[base + k].devices = node, shape, devices
        b.job[job].placed = k + 1
        take(s, h, pool, node, shape, devices, 1)
        if beside:
            take_later(s, h, node, shape, devices, 1)
    b.job[job].option = option
    return True


@compiled
def room_for(s: Site, h: Any, pool: int, shape: int, enough: int, until: int, kinds: int) -> int:
    """How many tasks of a shape fit now, counted up to `enough`."""
    found = 0
    for slot in range(s.bounds[pool], s.top[pool]):
        if s.group[slot].count > 0 and fits(s.group[slot], s.group_free[slot], h[shape], until, kinds):
            found += tasks_in(s, h[shape], slot, enough) * s.group[slot].count
            if found >= enough:
                return found
    return found
