"""Microsoft's Philly log as a CSV: timestamp, duration, num_gpus, gpu_time, cluster (Jeon et al., ATC'19; CC-BY-4.0).

Each virtual cluster is a pool of equal nodes with a queue of its own. A job of up to one node's devices goes to one node; a larger one
takes whole nodes and, for what is left over, a part of one more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from lilong.floors.compute.scheduler.jobs import Job, Option, Shape
from lilong.floors.compute.scheduler.state import Node
from lilong.floors.compute.traces.trace import LONGEST_RUN_S, MOST_NODES, Trace, UnreadableTrace, lines, within
from lilong.ground.errors import BadInput

COLUMNS = ["timestamp", "duration", "num_gpus", "gpu_time", "cluster"]
MOST_DEVICES = 100_000  # of a job
SLACK = 1.3  # nodes of a virtual cluster over its mean load, where their number is not given


def read(file: Path, vcs: Sequence[str], start: datetime | None, end: datetime | None, nodes: str, per_node: int) -> Trace:
    """Jobs of `vcs` (all if none is named) submitted from `start` up to, but not including, `end`. Raises UnreadableTrace, BadInput.

    `nodes`: how many each virtual cluster has, as `name=number,…`, or as bare numbers in the order of the names; "" works them out.
    """
    trace, rows, known = Trace(), [], set()
    source = lines(file, "philly")
    first = next(source, (0, ""))[1]
    if first.split(",") != COLUMNS:
        raise UnreadableTrace(
            file=file,
            format="philly",
            problem=f"its first line is {first[:60]!r}",
            way_out=f"It must name the columns {','.join(COLUMNS)}.",
        )
    for number, line in source:
        words = line.split(",")
        if not line:
            continue
        try:
            if len(words) != len(COLUMNS):
                raise ValueError(f"{len(words)} columns where {len(COLUMNS)} are expected")
            when, vc = datetime.fromisoformat(words[0]), words[4]
            run, size = within(words[1], "duration", LONGEST_RUN_S), within(words[2], "num_gpus", MOST_DEVICES)
            if when.tzinfo is not None or not vc:
                raise ValueError(f"no virtual cluster, or {words[0]!r}, a time with a zone where the log has none")
        except ValueError as problem:
            trace.break_at(file, number, str(problem))
            continue
        known.add(vc)
        if run == 0 or size == 0:
            trace.left_out["never ran on a device"] += 1
        elif (vcs and vc not in vcs) or (start and when < start) or (end and when >= end):
            trace.left_out["of another virtual cluster or time"] += 1
        else:
            rows.append((when, number, run, size, vc))
    unknown = [vc for vc in vcs if vc not in known]
    if unknown:
        raise BadInput(field="--vc", problem=f"the trace has no {', '.join(unknown)}", way_out=f"It has {', '.join(sorted(known))}.")
    if not rows:
        raise UnreadableTrace(file=file, format="philly", problem="no job is left of it", way_out="Choose other virtual clusters or dates.")
    # Jobs of the same second go as numpy's introsort leaves them: the simulators with which figures are compared sort so, and one in
    # forty starts under FIFO hangs on it. The sort of timestamps does not depend on the processor, as that of integers does.
    rows = [rows[at] for at in np.argsort(np.array([row[0] for row in rows], "datetime64[s]"), kind="quicksort")]
    trace.pools = sorted({vc for *_, vc in rows} | set(vcs))
    pools = {vc: at for at, vc in enumerate(trace.pools)}
    trace.tenants, trace.classes = trace.pools, ["gpu"]
    zero = rows[0][0]
    for when, number, run, size, vc in rows:
        submit, pool = int((when - zero).total_seconds()), pools[vc]
        trace.jobs.append(Job(str(number), (_option(size, per_node, pool),), submit, run, run, pool, user=pool))
    counts = _counts(trace, pools, nodes, per_node)
    trace.nodes = [Node(f"{vc}-{at}", pool, devices=per_node) for vc, pool in pools.items() for at in range(counts[pool])]
    return trace


def _option(size: int, per_node: int, pool: int) -> Option:
    if size <= per_node:
        return Option(Shape(size, pool=pool))
    rest = size % per_node
    return Option(Shape(per_node, pool=pool), size // per_node, Shape(rest, pool=pool) if rest else None)


def _counts(trace: Trace, pools: Mapping[str, int], given: str, per_node: int) -> list[int]:
    if given:
        words = given.split(",")
        named = {vc.strip(): number for vc, sign, number in (word.partition("=") for word in words) if sign}
        way_out = f"Say {','.join(f'{vc}=N' for vc in pools)}, or only the numbers in this order."
        if named and (len(named) != len(words) or set(named) != set(pools)):
            raise BadInput(field="--nodes-per-vc", problem=f"it must name {', '.join(pools)}, each once", way_out=way_out)
        numbers = [named[vc] for vc in pools] if named else words
        if len(numbers) != len(pools):
            raise BadInput(field="--nodes-per-vc", problem=f"{len(numbers)} numbers for {len(pools)} virtual clusters", way_out=way_out)
        if not all(number.strip().isdecimal() and 0 < int(number) <= MOST_NODES for number in numbers):
            raise BadInput(
                field="--nodes-per-vc", problem=f"{given!r} has something else than numbers from 1 to {MOST_NODES}", way_out=way_out
            )
        return [int(number) for number in numbers]
    busy, largest = [0] * len(pools), [1] * len(pools)
    for job in trace.jobs:
        option = job.options[0]
        size = option.tasks * option.shape.devices + (option.rest.devices if option.rest else 0)
        busy[job.tenant] += size * job.run
        largest[job.tenant] = max(largest[job.tenant], math.ceil(size / per_node))
    span = max(1, trace.jobs[-1].submit - trace.jobs[0].submit)
    found = [max(math.ceil(SLACK * load / span / per_node), most) for load, most in zip(busy, largest, strict=True)]
    if sum(found) > MOST_NODES:
        problem = f"it is not given, and the load of these jobs would take {sum(found):,} nodes, more than {MOST_NODES:,}"
        raise BadInput(
            field="--nodes-per-vc", problem=problem, way_out=f"Say {','.join(f'{vc}=N' for vc in pools)}, or choose other dates."
        )
    return found
