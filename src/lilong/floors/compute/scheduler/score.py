# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Which node a task goes to: one score per way of placing, larger is better, the first node wins a tie.

`CONSOLIDATED` is best fit for whole devices: the node with the fewest free ones that still fits. The others are the set that FGD was
measured against (Weng et al., ATC'23, §6.1), with the integer scores of the authors' simulator.
"""

from __future__ import annotations

from typing import Any

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.fragmentation import Typical, fragmentation, points
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site, drawn

CONSOLIDATED, FGD, BESTFIT, PACKING, DOTPROD, CLUSTERING, RANDOM = 0, 1, 2, 3, 4, 5, 6
WAYS = {"consolidated": CONSOLIDATED, "fgd": FGD, "bestfit": BESTFIT, "packing": PACKING, "dotprod": DOTPROD, "clustering": CLUSTERING, "random": RANDOM}  # fmt: skip
NO, UNKNOWN = -1, -2


# The functions below take rows (of a group, of a shape) and not the whole site: a call with few arguments costs what it does.


@compiled
def fits(group: Any, free: Ints, need: Any, until: int, kinds: int) -> bool:
    """`free`: of each device of the group, the freest first. `until`: when the task may still run; `kinds`: whose devices it may have."""
    if group.cpu < need.cpu or group.memory < need.memory or group.closes < until or not (need.classes >> group.kind) & 1:
        return False
    if need.devices == 0:
        return True
    if need.devices > free.size or not (kinds >> group.kind) & 1:
        return False
    return bool(free[need.devices - 1] >= need.milli)


@compiled
def score_of(group: Any, free: Ints, need: Any, way: int, cores: int, devices: int) -> int:
    """Of a group that fits, for all ways but FGD and RANDOM. `cores`, `devices`: of the largest node."""
    if way == CONSOLIDATED:
        if need.devices == 0:
            return (1 << 40) - group.left * WHOLE - group.cpu * WHOLE // cores
        if need.milli < WHOLE:
            return (1 << 40) - _tightest(free, need.milli) * 100 * WHOLE - group.left
        return (1 << 40) - group.left
    if way == BESTFIT:
        # half the share of the largest node's cores that stays free, half that of its devices
        cpu, left = group.cpu - need.cpu, group.left - need.devices * need.milli
        whole = 2 * cores * devices
        return 100 * (whole - cpu * devices - left * cores) // whole
    if way == DOTPROD:
        # the less alike request and free resources point, the better (Tetris, SIGCOMM'14, as the FGD authors turned it)
        cpu, left = group.cpu * need.cpu, group.left * need.devices * need.milli
        return int(100 * (1 - (cpu / cores / cores + left / devices / devices) / 2))
    if need.devices == 0:
        return 0
    if way == CLUSTERING:
        used = 25 * (devices - group.left) // devices
        own = 1 << need.bucket
        if group.mix & own:
            return used + (75 if group.mix == own else 50)
        return used + (25 if group.mix == 0 else 0)
    return _packing(group, free, need)


@compiled
def _tightest(free: Ints, milli: int) -> int:
    best = WHOLE
    for value in free:
        if value < milli:
            break
        best = value
    return best


@compiled
def _packing(group: Any, free: Ints, need: Any) -> int:
    """Shared devices first, then free ones of a used node, then a free node (the fewer devices it has, the better)."""
    if group.mix == 0:
        whole = group.left // WHOLE
        return max(33 - whole, whole)
    wanted, fresh, ratio = need.devices, 0, 0
    for back in range(free.size):
        value = free[free.size - 1 - back]
        if wanted > 0 and value >= need.milli:
            wanted -= 1
            ratio += value * 100 // WHOLE
            if value == WHOLE:
                fresh += 1
    if fresh > 0:
        return max(50 - fresh, 33)
    return max(100 - ratio // 10, 50)


@compiled
def fgd_score(t: Typical, group: Any, free: Ints, need: Any, row: Ints) -> int:
    """How far fragmentation falls if the task comes here, on its best device. `row`: room to try things out."""
    wide = free.size
    devices, milli = need.devices, need.milli
    for d in range(wide):
        row[d] = free[d]
    if group.frag < 0:
        group.frag = fragmentation(t, group.kind, group.cpu, row)
    before, cpu = group.frag, group.cpu - need.cpu
    if devices == 1 and milli < WHOLE:
        best = -1
        for d in range(wide):
            value = free[d]
            if value < milli:
                break
            if d == 0 or value != free[d - 1]:
                row[d] = value - milli
                best = max(best, points(t, before - fragmentation(t, group.kind, cpu, row)))
                row[d] = value
        return best
    wanted = devices
    for back in range(wide):
        d = wide - 1 - back
        if wanted > 0 and row[d] >= milli:
            row[d] -= milli
            wanted -= 1
    return points(t, before - fragmentation(t, group.kind, cpu, row))


@compiled
def fittest_device(s: Site, t: Typical, way: int, node: int, milli: int, cpu: int, beside: bool) -> int:
    """The device of a node that takes a fraction: by FGD the one that leaves least lost, else the tightest; or a random one."""
    chosen, best, seen = -1, 0, 0
    wide = s.node[node].devices
    row = s.row
    before = 0
    if way == FGD:
        for d in range(row.size):
            row[d] = s.free[node, d]
        before = fragmentation(t, s.node[node].kind, s.node[node].cpu, row)
    for d in range(wide):
        value = s.free[node, d]
        if value < milli or (beside and s.later_free[node, d] < milli):
            continue
        if way == RANDOM:
            seen += 1
            if drawn(s, seen) == 0:
                chosen = d
            continue
        if way == FGD:
            row[d] = value - milli
            worth = points(t, before - fragmentation(t, s.node[node].kind, s.node[node].cpu - cpu, row))
            row[d] = value
        else:
            worth = WHOLE - value
        if chosen < 0 or worth > best:
            chosen, best = d, worth
    return chosen
