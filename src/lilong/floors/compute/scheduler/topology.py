# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Domains of the topology (site, zone, rack, link domain) and how many tasks of a gang each has room for.

Nodes are numbered so that every domain is a stretch of them. Room is counted by innermost domain, a *leaf*, and remembered until a node
of it changes; that of a wider domain is the sum of its leaves. So looking for a domain costs by the number of leaves and of changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.score import fits
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site

PLENTY = 1 << 31  # more tasks than any gang has
PLACE_BITS = 31


@compiled
def domain_end(s: Site, pool: int, level: int, low: int) -> int:
    """Where the domain ends whose first node is `low`; on level 0 the pool."""
    return s.bounds[pool + 1] if level == 0 else s.ends[low, level - 1]


@compiled
def open_for(s: Site, node: int, until: int) -> bool:
    """Whether what may run until then can start on a node, for all that is known of its maintenance."""
    return s.node[node].closes >= until


@compiled
def tasks_in(s: Site, need: Any, slot: int, enough: int) -> int:
    """How many tasks fit a node of a group that is known to fit one, counted up to `enough`."""
    each = enough
    if need.cpu > 0:
        each = min(each, s.group[slot].cpu // need.cpu)
    if need.memory > 0:
        each = min(each, s.group[slot].memory // need.memory)
    if need.devices > 0:
        parts = 0
        for d in range(s.group_free.shape[1]):
            parts += s.group_free[slot, d] // need.milli if 2 * need.milli <= WHOLE else s.group_free[slot, d] >= need.milli
        each = min(each, parts // need.devices)
    return each


@compiled
def domains_for(s: Site, h: Any, pool: int, level: int, shape: int, tasks: int, until: int, kinds: int) -> Ints:
    """First nodes of the domains of a level that have room for so many tasks, the one that keeps the least room first."""
    leaf, last, need, spot = s.edges[pool], s.edges[pool + 1], h[shape], h[shape].spot
    found = np.empty(last - leaf, np.int64)
    many, usable = 0, -1 if need.devices == 0 else kinds
    while leaf < last:
        low = s.leaf[leaf].low
        end, room = s.ends[low, level - 1], 0
        while leaf < last and s.leaf[leaf].low < end:
            if spot < 0 or s.leaf[leaf].closes < until or s.leaf[leaf].kinds & need.classes & ~usable:
                room += _count(s, need, leaf, until, kinds)
            else:  # what is remembered holds for all that may use all of it
                if s.known[spot, leaf] != s.leaf[leaf].version:
                    s.known[spot, leaf] = s.leaf[leaf].version
                    s.rooms[spot, leaf] = _count(s, need, leaf, until, kinds)
                room += s.rooms[spot, leaf]
            leaf += 1
        if room >= tasks:
            found[many] = min(room, PLENTY) << PLACE_BITS | low
            many += 1
    return np.sort(found[:many]) & ((1 << PLACE_BITS) - 1)


@compiled
def _count(s: Site, need: Any, leaf: int, until: int, kinds: int) -> int:
    room, before, each = 0, -1, 0
    for node in range(s.leaf[leaf].low, s.leaf[leaf].high):
        slot = s.slot[node]
        if slot != before:
            before = slot
            each = tasks_in(s, need, slot, PLENTY) if fits(s.group[slot], s.group_free[slot], need, until, kinds) else 0
        room += each
    return room
