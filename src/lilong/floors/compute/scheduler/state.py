"""Where jobs can run: pools of nodes with devices in thousandths, as arrays; identical nodes share one group.

A *pool* is a set of nodes with a queue of its own (a site, a partition, a virtual cluster). Its nodes lie side by side, in the order in
which ties between them are broken. A *group* stands for all nodes of a pool that are in the same state now: same class, same free
cores, memory and devices. Placement looks at groups, so its cost follows the number of different nodes, not of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lilong.floors.compute.scheduler.compiled import compiled

Ints = npt.NDArray[np.int64]
WHOLE = 1000  # thousandths of one device
KINDS = 10  # sizes told apart by the clustering score: a fraction, then 1 to 8 devices, then more
MOST_DEVICES = 62  # on one node; the devices that a task holds are a bit set


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it is when nothing runs on it."""

    name: str
    pool: int = 0
    kind: int = 0  # accelerator class, an index
    devices: int = 0
    cpu: int = 0  # thousandths of a core
    memory: int = 0  # MiB
    zone: int = 0
    rack: int = 0


class Site(NamedTuple):
    """All nodes as they are now. Only the kernels change it; `copied` keeps `decide` pure."""

    bounds: Ints  # pool p has the nodes bounds[p] to bounds[p + 1]
    kind: Ints
    zone: Ints
    rack: Ints
    devices: Ints
    cpu: Ints
    memory: Ints
    free: Ints  # node × device
    mix: Ints  # node × kind of task: how many of them run there
    group: Ints  # of each node: a slot among its pool's
    count: Ints  # slot -> nodes in that state; a slot with none is empty
    digest: Ints
    group_kind: Ints
    group_cpu: Ints
    group_memory: Ints
    group_left: Ints  # free thousandths of all its devices
    group_free: Ints  # slot × device, the freest first
    group_mix: Ints  # bit set of the kinds of task that run there
    top: Ints  # pool -> first slot that was never used
    memo: Ints  # slot × shape: the score where that is dear to work out; -2 not known
    frag: Ints  # slot -> fragmentation; -1 not known
    later_cpu: Ints  # what will be left once the reserved job has its place (see backfill)
    later_memory: Ints
    later_free: Ints
    scratch: Ints  # group scores, slot by slot
    row: Ints  # one node's devices
    luck: Ints  # [state of the random number generator]
    largest: Ints  # [cores, thousandths of device] of the largest node


def site(nodes: Sequence[Node], shapes: int, *, memo: bool, seed: int) -> Site:
    """Nodes in the order given, sorted by pool. `memo`: whether the score is one that pays to be remembered."""
    ordered = sorted(nodes, key=lambda node: node.pool)
    many, wide = len(ordered), max([node.devices for node in ordered] + [1])
    pools = 1 + max((node.pool for node in ordered), default=0)
    if wide > MOST_DEVICES:
        raise ValueError(f"a node has {wide} devices; at most {MOST_DEVICES} can be told apart")

    def column(name: str) -> Ints:
        return np.array([getattr(node, name) for node in ordered], np.int64)

    devices, kinds = column("devices"), column("kind")
    free = np.where(np.arange(wide) < devices[:, None], WHOLE, 0).astype(np.int64)
    bounds = np.searchsorted(column("pool"), np.arange(pools + 1)).astype(np.int64)

    def empty(fill: int = 0, *more: int) -> Ints:
        return np.full((many, *more), fill, np.int64)

    made = Site(
        bounds, kinds, column("zone"), column("rack"), devices, column("cpu"), column("memory"), free, empty(0, KINDS), empty(-1),
        empty(), empty(), empty(), empty(), empty(), empty(), empty(0, wide), empty(), bounds[:-1].copy(),
        empty(-2, shapes) if memo else np.full((1, 1), -2, np.int64), empty(-1), empty(), empty(), empty(0, wide), empty(),
        np.zeros(wide, np.int64), np.array([seed % 2147483646 + 1], np.int64),
        np.array([max(column("cpu").max(initial=0), 1), max(devices.max(initial=0) * WHOLE, 1)], np.int64),
    )  # fmt: skip
    regroup_all(made)
    return made


def copied(of: Site) -> Site:
    return Site(*(column.copy() for column in of))


@compiled
def regroup_all(s: Site) -> None:
    for pool in range(s.bounds.size - 1):
        for node in range(s.bounds[pool], s.bounds[pool + 1]):
            regroup(s, pool, node)


@compiled
def regroup(s: Site, pool: int, node: int) -> None:
    """Move a node whose state has changed to the group of its like, or to an empty slot."""
    wide = s.free.shape[1]
    row = s.row
    left = 0
    for d in range(wide):  # insertion sort, the freest first
        value = s.free[node, d]
        left += value
        at = d
        while at > 0 and row[at - 1] < value:
            row[at] = row[at - 1]
            at -= 1
        row[at] = value
    mix = 0
    for k in range(s.mix.shape[1]):
        if s.mix[node, k] > 0:
            mix |= 1 << k
    digest = (s.cpu[node] * 31 + s.memory[node]) * 31 + s.kind[node] * 1021 + mix
    for d in range(wide):
        digest = (digest * 1009 + row[d]) % 1000000007
    old = s.group[node]
    if old >= 0:
        s.count[old] -= 1
    low, top = s.bounds[pool], s.top[pool]
    vacant = -1
    for slot in range(low, top):
        if s.count[slot] == 0:
            vacant = slot
        elif s.digest[slot] == digest and _alike(s, slot, node, mix, wide):
            s.group[node] = slot
            s.count[slot] += 1
            return
    if vacant < 0:
        vacant = top
        s.top[pool] = top + 1
    s.group[node] = vacant
    s.count[vacant] = 1
    s.digest[vacant] = digest
    s.group_kind[vacant] = s.kind[node]
    s.group_cpu[vacant] = s.cpu[node]
    s.group_memory[vacant] = s.memory[node]
    s.group_left[vacant] = left
    s.group_mix[vacant] = mix
    s.frag[vacant] = -1
    for d in range(wide):
        s.group_free[vacant, d] = row[d]
    if s.memo.shape[0] > 1:
        for shape in range(s.memo.shape[1]):
            s.memo[vacant, shape] = -2


@compiled
def _alike(s: Site, slot: int, node: int, mix: int, wide: int) -> bool:
    if s.group_cpu[slot] != s.cpu[node] or s.group_memory[slot] != s.memory[node] or s.group_kind[slot] != s.kind[node] or s.group_mix[slot] != mix:
        return False
    for d in range(wide):
        if s.group_free[slot, d] != s.row[d]:
            return False
    return True


@compiled
def drawn(s: Site, below: int) -> int:
    """A random number from 0 to below - 1, from the seed alone (Park & Miller 1988)."""
    s.luck[0] = s.luck[0] * 48271 % 2147483647
    return s.luck[0] % below
