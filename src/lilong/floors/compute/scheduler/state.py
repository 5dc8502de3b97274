# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Where jobs can run: pools of nodes with devices in thousandths, as arrays; identical nodes share one group.

A *pool* is a set of nodes with a queue of its own (a site, a partition, a virtual cluster). Its nodes lie side by side, in the order in
which ties between them are broken. A *group* stands for all nodes of a pool that are in the same state now: same class, same free
cores, memory and devices, kept for maintenance from the same time. Placement looks at groups, so its cost follows the number of
different nodes, not of nodes. A *domain* of a level of the topology is a stretch of nodes; see topology.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lilong.floors.compute.contract import MOST_DEVICES
from lilong.floors.compute.scheduler.compiled import compiled

Ints = npt.NDArray[np.int64]
WHOLE = 1000  # thousandths of one device
KINDS = 10  # sizes told apart by the clustering score: a fraction, then 1 to 8 devices, then more
OPEN = 1 << 61  # for ever: later than what may run for ever ends


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it is when nothing runs on it."""

    name: str
    pool: int = 0
    kind: int = 0  # accelerator class, an index
    devices: int = 0
    cpu: int = 0  # thousandths of a core
    memory: int = 0  # MiB
    domains: tuple[int, ...] = ()  # of the topology, from level 1 (the site) inwards: which one of each level it lies in
    closes: int = OPEN  # tick from which it is kept for maintenance: what may run longer does not start here


class Site(NamedTuple):
    """All nodes as they are now. Only the kernels change it; `copied` keeps `decide` pure."""

    bounds: Ints  # pool p has the nodes bounds[p] to bounds[p + 1]
    top: Ints  # pool -> first slot for a group that was never used
    node: Any  # see NODE
    slot: Ints  # node -> that of its group
    free: Ints  # node × device
    later_free: Ints  # what will be left once a promised job has its place (see backfill)
    mix: Ints  # node × kind of task: how many of them run there; without columns where no score looks at it
    group: Any  # see GROUP; as many slots as nodes
    group_free: Ints  # slot × device, the freest first
    memo: Ints  # slot × shape: the score where that is dear to work out; -2 not known
    spare: Ints  # pool × (cores, memory, devices): all that is free of it, in thousandths and MiB
    later_spare: Ints
    closing: Ints  # pool -> the earliest moment at which one of its nodes is kept for maintenance
    ends: Ints  # node × level: where its domain ends; no columns where no gang must stay together
    edges: Ints  # pool -> its first leaf
    leaf: Any  # see LEAF; a domain of the innermost level
    rooms: Ints  # shape of such gangs × leaf: how many tasks it has room for, as it was
    known: Ints  # when the leaf had this version
    row: Ints  # one node's devices
    luck: Ints  # [state of the random number generator]
    largest: Ints  # [cores, thousandths of device] of the largest node


NODE = ("kind", "devices", "cpu", "memory", "closes", "leaf", "later_cpu", "later_memory")
GROUP = (
    "count", "cpu", "memory", "closes", "kind", "left", "score",
    "first",  # no node before this one is in it
    "digest", "mix", "frag",
)  # fmt: skip
LEAF = ("low", "high", "version", "closes", "kinds")  # its nodes, the earliest of their `closes`, the bit set of their kinds


def table(columns: Sequence[str], length: int) -> Any:
    """Whole numbers by name and row: one array to a compiled function, which makes it quicker to compile than many."""
    return np.zeros(length, [(name, np.int64) for name in columns]).view(np.recarray)


def ordered(nodes: Sequence[Node]) -> list[Node]:
    """As they are numbered: by pool and domains, else as given."""
    return sorted(nodes, key=lambda node: (node.pool, node.domains))


def site(nodes: Sequence[Node], shapes: int, *, memo: bool, mixes: bool, seed: int, levels: int = 0, together: int = 0) -> Site:
    """`memo`: whether the score is one that pays to be remembered. `mixes`: whether it looks at what runs beside; if not, nodes that
    differ in nothing else share a group. `levels`: of the topology that jobs look at; `together`: shapes that do so (see jobs.Book).
    """
    sorted_nodes = ordered(nodes)
    many, wide = len(sorted_nodes), max([node.devices for node in sorted_nodes] + [1])
    pools = 1 + max((node.pool for node in sorted_nodes), default=0)
    if wide > MOST_DEVICES:
        raise ValueError(f"a node has {wide} devices; at most {MOST_DEVICES} can be told apart")
    rows = table(NODE, many)
    for name in ("kind", "devices", "cpu", "memory", "closes"):
        rows[name] = [getattr(node, name) for node in sorted_nodes]
    bounds = np.searchsorted([node.pool for node in sorted_nodes], np.arange(pools + 1)).astype(np.int64)
    ends = _ends(sorted_nodes, levels)
    edges, leaves = _leaves(rows, ends, bounds)
    made = Site(
        bounds=bounds,
        top=bounds[:-1].copy(),
        node=rows,
        slot=np.full(many, -1, np.int64),
        free=np.where(np.arange(wide) < rows.devices[:, None], WHOLE, 0).astype(np.int64),
        later_free=np.zeros((many, wide), np.int64),
        mix=np.zeros((many, KINDS if mixes else 0), np.int64),
        group=table(GROUP, many),
        group_free=np.zeros((many, wide), np.int64),
        memo=np.full((many, shapes) if memo else (1, 1), -2, np.int64),
        spare=np.array(
            [[parts[bounds[p] : bounds[p + 1]].sum() for parts in (rows.cpu, rows.memory, rows.devices * WHOLE)] for p in range(pools)]
        ),
        later_spare=np.zeros((pools, 3), np.int64),
        closing=np.array([rows.closes[bounds[p] : bounds[p + 1]].min(initial=OPEN) for p in range(pools)], np.int64),
        ends=ends,
        edges=edges,
        leaf=leaves,
        rooms=np.zeros((together, leaves.size), np.int64),
        known=np.zeros((together, leaves.size), np.int64),
        row=np.zeros(wide, np.int64),
        luck=np.array([seed % 2147483646 + 1], np.int64),
        largest=np.array([max(rows.cpu.max(initial=0), 1), max(rows.devices.max(initial=0) * WHOLE, 1)], np.int64),
    )
    regroup_all(made)
    return made


def _ends(nodes: Sequence[Node], levels: int) -> Ints:
    """Node × level: the end of its domain. A node that does not say in which domain it lies shares none."""
    ends = np.zeros((len(nodes), levels), np.int64)
    for level in range(levels):
        end = len(nodes)
        for at in reversed(range(len(nodes))):
            here, after = nodes[at], nodes[at + 1] if at + 1 < len(nodes) else None
            part = here.domains[: level + 1]
            if after is not None and (len(part) <= level or after.pool != here.pool or after.domains[: level + 1] != part):
                end = at + 1
            ends[at, level] = end
    return ends


def _leaves(rows: Any, ends: Ints, bounds: Ints) -> tuple[Ints, Any]:
    starts = np.unique(np.concatenate([[0], ends[:, -1]]))[:-1] if ends.size else np.zeros(0, np.int64)
    leaves = table(LEAF, starts.size)
    leaves.low, leaves.version = starts, 1
    if starts.size:
        leaves.high = np.append(starts[1:], len(rows))
        leaves.closes = np.minimum.reduceat(rows.closes, starts)
        leaves.kinds = np.bitwise_or.reduceat(np.int64(1) << rows.kind, starts)
        rows.leaf = np.searchsorted(starts, np.arange(len(rows)), side="right") - 1
    return np.searchsorted(starts, bounds).astype(np.int64), leaves


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
    digest = (s.node[node].cpu * 31 + s.node[node].memory) * 31 + s.node[node].kind * 1021 + mix + s.node[node].closes % 65537 * 7
    for d in range(wide):
        digest = (digest * 1009 + row[d]) % 1000000007
    old = s.slot[node]
    if old >= 0:
        s.group[old].count -= 1
        if s.group[old].first == node:
            s.group[old].first = node + 1
    if s.leaf.size > 0:
        s.leaf[s.node[node].leaf].version += 1
    low, top = s.bounds[pool], s.top[pool]
    vacant = -1
    for slot in range(low, top):
        if s.group[slot].count == 0:
            vacant = slot
        elif s.group[slot].digest == digest and _alike(s, slot, node, mix, wide):
            s.slot[node] = slot
            s.group[slot].count += 1
            s.group[slot].first = min(s.group[slot].first, node)
            return
    if vacant < 0:
        vacant = top
        s.top[pool] = top + 1
    s.slot[node] = vacant
    s.group[vacant].count = 1
    s.group[vacant].first = node
    s.group[vacant].closes = s.node[node].closes
    s.group[vacant].digest = digest
    s.group[vacant].kind = s.node[node].kind
    s.group[vacant].cpu = s.node[node].cpu
    s.group[vacant].memory = s.node[node].memory
    s.group[vacant].left = left
    s.group[vacant].mix = mix
    s.group[vacant].frag = -1
    for d in range(wide):
        s.group_free[vacant, d] = row[d]
    if s.memo.shape[0] > 1:
        for shape in range(s.memo.shape[1]):
            s.memo[vacant, shape] = -2


@compiled
def _alike(s: Site, slot: int, node: int, mix: int, wide: int) -> bool:
    if (
        s.group[slot].cpu != s.node[node].cpu
        or s.group[slot].memory != s.node[node].memory
        or s.group[slot].kind != s.node[node].kind
        or s.group[slot].mix != mix
        or s.group[slot].closes != s.node[node].closes
    ):
        return False
    for d in range(wide):  # noqa: SIM110 - compiled
        if s.group_free[slot, d] != s.row[d]:
            return False
    return True


@compiled
def drawn(s: Site, below: int) -> int:
    """A random number from 0 to below - 1, from the seed alone (Park & Miller 1988)."""
    s.luck[0] = s.luck[0] * 48271 % 2147483647
    return s.luck[0] % below
