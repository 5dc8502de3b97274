"""How much of a node's free devices the usual jobs could not use (FGD: Weng et al., USENIX ATC'23, §3).

The authors' published figures need two things beyond the paper's formulas: typical tasks are the most frequent ones that together
make up 95 % of the workload, and a node's score is the fall of fragmentation through a sigmoid, cut to whole points from 0 to 100.
Here the sigmoid's steps are thresholds on an integer, so that a score never depends on how a machine rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import Shape
from lilong.floors.compute.scheduler.state import WHOLE, Ints

POPULAR = 0.95


class Typical(NamedTuple):
    """The usual tasks and how often they come; `steps`: the fall of fragmentation from which on a score is 1, 2, … 99."""

    devices: Ints
    milli: Ints
    cpu: Ints
    classes: Ints
    weight: Ints
    steps: Ints


def typical(table: Sequence[Shape], uses: Sequence[int]) -> Typical:
    """The most frequent tasks up to 95 % of all; equal counts: the larger task first."""
    counts: dict[tuple[int, int, int, int], int] = {}
    for shape, count in zip(table, uses, strict=True):
        if count:
            key = (shape.cpu, shape.milli if shape.devices else 0, shape.devices, shape.classes)
            counts[key] = counts.get(key, 0) + count
    ordered = sorted(counts.items(), key=lambda item: (item[1], item[0]), reverse=True)
    wanted, taken = POPULAR * sum(counts.values()), 0
    chosen = []
    for key, count in ordered:
        if taken >= wanted:
            break
        chosen.append((*key, count))
        taken += count
    cpu, milli, devices, classes, weight = np.array(chosen, np.int64).reshape(-1, 5).T.copy()
    steps = [math.ceil(math.log(point / (100 - point)) * taken * WHOLE) for point in range(1, 100)]
    return Typical(devices, milli, cpu, classes, weight, np.array(steps, np.int64))


@compiled
def fragmentation(t: Typical, kind: int, cpu: int, row: Ints) -> int:
    """Thousandths of device that typical tasks could not use, each task weighed by its count. `row` in any order."""
    left = 0
    for d in range(row.size):
        left += row[d]
    if left == 0:
        return 0
    lost = 0
    for k in range(t.weight.size):
        usable = 0
        milli = t.milli[k]
        if milli > 0 and cpu >= t.cpu[k] and (t.classes[k] >> kind) & 1:
            fitting = 0
            for d in range(row.size):
                if row[d] >= milli:
                    fitting += 1
                    usable += row[d]
            if fitting < t.devices[k]:
                usable = 0
        lost += t.weight[k] * (left - usable)
    return lost


@compiled
def points(t: Typical, fall: int) -> int:
    """int(100 · sigmoid(fall)), by the steps."""
    low, high = 0, t.steps.size
    while low < high:
        middle = (low + high) >> 1
        if t.steps[middle] <= fall:
            low = middle + 1
        else:
            high = middle
    return low
