"""From a trace's file and a policy's name to the figures: what `lilong compute simulate` does."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lilong.floors.compute.scheduler.jobs import FINISHED, RUNNING
from lilong.floors.compute.scheduler.policy import Policy, policies
from lilong.floors.compute.scheduler.simulation.figures import Rates, figures
from lilong.floors.compute.scheduler.simulation.run import Run, arriving, simulate
from lilong.floors.compute.traces import openb, philly, swf
from lilong.floors.compute.traces.trace import Trace
from lilong.ground.errors import BadInput


@dataclass(frozen=True, slots=True)
class Ask:
    trace: Path
    format: str
    policy: str
    vc: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    nodes_per_vc: str = ""
    gpus_per_node: int | None = None
    nodes: Path | None = None
    arrival: float | None = None
    procs: int | None = None
    estimate: str | None = None
    seed: int = 0
    price: float = 1.0
    watts: float = 300.0
    kgco2: float = 0.5
    starts: Path | None = None


def play(ask: Ask, tell: Callable[[int, int], None] | None = None, keep: Callable[[Run], None] | None = None) -> dict[str, Any]:
    """Raises BadInput, UnreadableTrace, SolverMissing. `cpu_s` is the simulation's own processor time, without reading and compiling.

    `keep` is given the run itself.
    """
    policy = policies().get(ask.policy)
    if policy is None:
        raise BadInput(field="--policy", problem=f"there is no {ask.policy!r}", way_out=f"There are {', '.join(policies())}.")
    trace = read(ask)
    nodes, jobs = trace.nodes, trace.jobs
    if ask.arrival is not None:
        nodes, jobs = arriving(nodes, jobs, ask.arrival, ask.seed)
    _compile(trace, policy)
    began = time.process_time()
    run = simulate(nodes, jobs, policy, ask.seed, tell)
    spent = time.process_time() - began
    told = figures(run, trace.tenants, Rates(ask.price, ask.watts, ask.kgco2), arrival=ask.arrival is not None)
    told |= {"cpu_s": spent, "policy": policy.name, "seed": ask.seed, "broken_lines": trace.broken_count, "broken": trace.broken}
    told["left_out"] = dict(trace.left_out)
    told["nodes_by_pool"] = {name: sum(node.pool == at for node in nodes) for at, name in enumerate(trace.pools)}
    if ask.starts:
        _write_starts(ask.starts, run)
    if keep:
        keep(run)
    return told


def read(ask: Ask) -> Trace:
    if ask.format == "swf":
        return swf.read(ask.trace, ask.procs, ask.estimate or swf.REQUEST)
    if ask.format == "openb":
        assert ask.nodes is not None
        return openb.read(ask.trace, ask.nodes)
    end = ask.end + timedelta(days=1) if ask.end and ask.end == ask.end.replace(hour=0, minute=0, second=0) else ask.end
    vcs = [vc.strip() for vc in ask.vc.split(",")] if ask.vc else []
    return philly.read(ask.trace, vcs, ask.start, end, ask.nodes_per_vc, ask.gpus_per_node or 8)


def _compile(trace: Trace, policy: Policy) -> None:
    """Have the kernels compiled, or fetched from their cache, before the clock starts."""
    simulate(trace.nodes[:1], trace.jobs[:1], policy)


def _write_starts(file: Path, run: Run) -> None:
    rows = run.book.jobs.job[:-1]
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["job", "start", "end", "nodes"])
        for at, name in enumerate(run.book.names):
            if rows.state[at] in (FINISHED, RUNNING):
                places = run.book.jobs.place.node[rows.room[at] : rows.room[at] + rows.placed[at]]
                end = int(rows.end[at]) if rows.state[at] == FINISHED else ""
                writer.writerow([name, int(rows.start[at]), end, " ".join(run.nodes[node].name for node in places)])
