"""The scheduler against published figures of real traces, and its speed. Needs the traces' folder: it is not part of this project.

    python bench/scheduler.py --traces DIR        (or LILONG_TRACES=DIR)

DIR has the traces as published: philly.csv.gz, KTH-SP2-1996-2.1-cln.swf.gz, SDSC-BLUE-2000-4.2-cln.swf.gz, and openb/ with
openb_pod_list_default.csv.gz, openb_node_list_gpu_node.csv.gz. Seconds are of one core's processor time, without compiling.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from lilong.floors.compute.scheduler.cycle import look
from lilong.floors.compute.scheduler.decide import decide
from lilong.floors.compute.scheduler.jobs import FINISHED, REFUSED, RUNNING, Job, Jobs, Option, Shape
from lilong.floors.compute.scheduler.order import Queues, enqueue
from lilong.floors.compute.scheduler.policy import policies
from lilong.floors.compute.scheduler.simulation.run import forward, opened, simulate
from lilong.floors.compute.scheduler.start import release
from lilong.floors.compute.scheduler.state import Node
from lilong.floors.compute.scheduler.supposing import grains_for, in_this_order
from lilong.floors.compute.scheduler.tenants import Tenant, tenants, totals
from lilong.floors.compute.traces import swf
from lilong.floors.compute.traces.playing import Ask, play

# % allocated at 100 and 130 % arrived, means of the FGD authors' ten seeds
OPENB = {
    "random": (86.303, 87.470), "dotprod": (90.622, 90.849), "clustering": (91.650, 91.878),
    "packing": (91.779, 92.002), "bestfit": (92.862, 93.076), "fgd": (95.227, 95.391),
}  # fmt: skip


def row(what: str, found: object, expected: object, seconds: float | None = None) -> None:
    print(f"{what:58} {found!s:>24}  expected {expected!s:>18}" + (f"  {seconds:8.3f} s" if seconds is not None else ""), flush=True)


def published(traces: Path) -> None:
    kth = traces / "KTH-SP2-1996-2.1-cln.swf.gz"
    told = play(Ask(kth, "swf", "easy", estimate="clairvoyant"))
    row("KTH-SP2, EASY, clairvoyant: bounded slowdown", round(told["avg_bounded_slowdown"], 3), "71.5 ± 0.5", told["cpu_s"])
    for policy, expected in (("sjf", "29448.07 / 11736.46"), ("fifo", "37484.19 ± 0.01 %")):
        ask = Ask(traces / "philly.csv.gz", "philly", policy, vc="11cb48,6c71a0,b436b2,103959,2869ce", nodes_per_vc="3,2,14,10,4",
                  start=datetime(2017, 10, 1), end=datetime(2017, 10, 10))  # fmt: skip
        told = play(ask)
        row(
            f"Philly, 5 VCs, {policy}: mean completion / queue",
            f"{told['mean_completion_s']:.2f} / {told['mean_queue_s']:.2f}",
            expected,
            told["cpu_s"],
        )
    pods, nodes = (traces / "openb" / f"openb_{name}.csv.gz" for name in ("pod_list_default", "node_list_gpu_node"))
    for policy, expected in OPENB.items():
        runs = [play(Ask(pods, "openb", policy, nodes=nodes, arrival=1.3, seed=seed)) for seed in range(42, 52)]
        found = [statistics.mean(run["allocated_pct"][at] for run in runs) for at in ("100", "130")]
        rate = sum(run["jobs"] for run in runs) / sum(run["cpu_s"] for run in runs)
        row(
            f"OpenB default, {policy}: % at 100 / 130, {rate:,.0f}/s",
            " / ".join(f"{value:.2f}" for value in found),
            " / ".join(map(str, expected)),
        )


def whole_philly(traces: Path) -> None:
    two = [Job(name, (Option(Shape(1)),), 0, 1000, 1000) for name in "ab"]
    simulate([Node("n", devices=1)], two, policies()["gavel"])  # compiles what a round does, for which somebody must wait
    for policy in ("fifo", "sjf", "qssf", "easy", "easy-4", "easy-sjbf", "conservative", "drf-tree", "srtf", "las2q", "gavel"):
        told = play(Ask(traces / "philly.csv.gz", "philly", policy))
        row(f"Philly, all {told['jobs']:,} jobs, {policy}", f"{told['mean_completion_s']:.0f} s", "≤ 10 s", told["cpu_s"])


def early_ends(traces: Path) -> None:
    """Conservative backfilling where nearly every job ends before it has to, so that promises move."""
    told = play(Ask(traces / "SDSC-BLUE-2000-4.2-cln.swf.gz", "swf", "conservative", estimate="request"))
    row(f"SDSC-BLUE, all {told['jobs']:,} jobs, conservative", f"{told['mean_completion_s']:.0f} s", "", told["cpu_s"])


def million(traces: Path) -> None:
    trace = swf.read(traces / "SDSC-BLUE-2000-4.2-cln.swf.gz", None, "request")
    many, span = len(trace.jobs), trace.jobs[-1].submit
    jobs = [replace(trace.jobs[at % many], id=str(at), submit=trace.jobs[at % many].submit + at // many * span) for at in range(1_000_000)]
    began = time.process_time()
    simulate(trace.nodes, jobs, policies()["easy"])
    row("1,000,000 jobs (SDSC-BLUE again and again), easy", "", "≤ 10 s", time.process_time() - began)


def large() -> None:
    """12,500 nodes of eight devices and 10,000 waiting jobs: all looked at for the first time; again on the full cluster, later, where some
    may be preempted; and after one job has ended. Then when each of those who wait would start, if jobs ran as long as 20 draws say, in
    steps of ten minutes, and in the steps that estimates are made with.
    """
    nodes = [Node(str(at), devices=8, cpu=128_000, memory=1 << 20) for at in range(12_500)]
    jobs = [
        Job(str(at), (Option(Shape(1 << at % 4, cpu=4000 * (1 + at % 7)), 1 + at % 8 * (at % 4 == 3)),), 0, 3600 + at % 977 * 60,
            tenant=1 + at % 50, preemptible=at % 2 == 0)
        for at in range(60_000)
    ]  # fmt: skip
    quota = 100_000_000 // 50
    tree = [Tenant("city"), *(Tenant(str(at), 0, (quota,), weight=1 + at % 3, half_life=604_800) for at in range(50))]
    who = tenants(tree, 1, totals(nodes, 1))
    for name in ("easy", "fgd", "drf-tree"):
        policy = policies()[name]
        state, queue = opened(nodes, jobs, policy, 0, tenants=who if name == "drf-tree" else None)
        b, q, h, T = queue.book.jobs, queue.lines, queue.book.shapes, queue.tenants
        coming = iter([job for job in range(len(jobs)) if b.job.state[job] != REFUSED])

        def fill(q: Queues = q, b: Jobs = b, coming: Iterator[int] = coming) -> None:
            while q.waits[0] < 10_000:
                enqueue(q, b, next(coming), False)

        fill()
        for now, turn in enumerate(("full cycle", "the cluster full", "after one job has ended")):
            if turn.startswith("after"):
                ended = int(b.job.state.tolist().index(RUNNING))
                release(state, h, b, q, T, ended)
                b.job.state[ended] = FINISHED
            took, plan = _timed(lambda state=state, queue=queue, policy=policy, now=now: decide(state, queue, policy, 60 * now, 0))
            limit = "≤ 0.05 s" if turn.startswith("after") else "≤ 1 s"
            row(f"12,500 nodes, 10,000 waiting, {name}: {turn}", f"{len(plan.starts)} starts", limit, took)
            while look(state, h, b, q, queue.usual, T, policy.rules(), 0, 60 * now) > 100:
                fill()
                q.cycles[1] = q.cycles[3] = 0
            fill()
            q.cycles[1] = q.cycles[3] = 0
        chance = np.random.default_rng(1)
        runs = np.maximum((b.job.limit[:-1] * chance.uniform(0.05, 1, (20, len(jobs)))).astype(np.int64), 1)
        kept, steady = in_this_order(queue, policy)
        for steps, grains in (("of ten minutes", [(1 << 60, 600)]), ("of estimates", grains_for(120, exact=False))):
            took, found = _timed(
                lambda state=state, kept=kept, steady=steady, runs=runs, grains=grains: forward(state, kept, steady, 120, runs, grains)
            )
            row(f"20 runs forward, {name}, in steps {steps}", f"{(found < 1 << 60).sum() // 20} started", "≤ 2 s", took)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    call()
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--traces", default=os.environ.get("LILONG_TRACES"))
    parser.add_argument("--only", choices=["published", "philly", "early", "million", "large"])
    asked = parser.parse_args()
    if asked.traces is None and asked.only != "large":
        print("Left out: say where the traces are with --traces DIR or LILONG_TRACES.")
    elif asked.traces is not None:
        for name, bench in (("published", published), ("philly", whole_philly), ("early", early_ends), ("million", million)):
            if asked.only in (None, name):
                bench(Path(asked.traces))
    if asked.only in (None, "large"):
        large()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
