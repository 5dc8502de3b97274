"""What explanations, estimates and trials cost, in processor time of one core, without compiling.

python bench/explain.py [--nodes 12500] [--waiting 10000] [--trace philly.csv.gz]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from lilong.floors.compute.rules.estimating import RUNS, Ahead, History, Ran
from lilong.floors.compute.rules.explaining import explained
from lilong.floors.compute.rules.scene import Scene
from lilong.floors.compute.scheduler.snapshot import SnapJob, SnapNode, Snapshot, SnapTenant, Way
from lilong.floors.compute.scheduler.supposing import Supposing

SITES = (("pudong", "h20"), ("lingang", "910b"), ("minhang", "h20"), ("songjiang", "mlu590"))
NOW = 1_000_000


def row(what: str, found: object, expected: object = "") -> None:
    print(f"{what:72} {found!s:>24}" + (f"  expected {expected!s:>14}" if expected else ""), flush=True)


def house(nodes: int, waiting: int, tenants: int = 200, seed: int = 1) -> Snapshot:
    """Nearly full: of every node 8 or 6 devices run something; a tree of tenants, three levels deep."""
    chance = random.Random(seed)
    tree = [SnapTenant(f"district-{at}") for at in range(10)]
    quota = {kind: nodes * 8000 // parts for kind, parts in (("h20", 200), ("910b", 400), ("mlu590", 400))}
    tree += [SnapTenant(f"team-{at}", f"district-{at % 10}", 1000 + at, nominal=quota if at % 4 == 0 else {}) for at in range(tenants)]
    there, jobs = [], []
    for at in range(nodes):
        site, kind = SITES[at % len(SITES)]
        name = f"{site}/n{at}"
        there.append(SnapNode(name, site, kind, 8, 128_000, 1_000_000, {"zone": f"z{at % 8}", "rack": f"r{at // 32}"}))
        wide = chance.choice([8, 8, 8, 6])
        limit = chance.randint(3600, 172_800)
        way = Way(site, kind, wide, cpu=8000 * wide, memory=1000, limit=limit, price=chance.randint(1, 9))
        job = SnapJob(f"running-{at}", f"team-{chance.randrange(tenants)}", NOW - limit, (way,), at, user=f"u{at % 500}",
                      preemptible=chance.random() < 0.2, started=NOW - chance.randrange(limit), places=((name, (1 << wide) - 1),))  # fmt: skip
        jobs.append(job)
    for at in range(waiting):
        site, kind = chance.choice(SITES)
        size = chance.choice([1, 1, 2, 4, 8])
        tasks = chance.choice([1, 1, 1, 2, 4, 16]) if size == 8 else 1
        ways = tuple(
            Way(
                where, kind, size, cpu=4000 * size, memory=1000, tasks=tasks, limit=chance.randint(600, 172_800), price=chance.randint(1, 9)
            )
            for where in (site, *([] if chance.random() < 0.5 else ["minhang"]))
        )
        jobs.append(SnapJob(f"waiting-{at}", f"team-{chance.randrange(tenants)}", NOW - chance.randrange(80_000), ways, at, chance.choice([0, 0, 0, 1]), f"u{at % 500}"))  # fmt: skip
    return Snapshot(NOW, "drf-tree", 0, ("zone", "rack"), 3600, tuple(there), tuple(tree), tuple(jobs))


def spent(what: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = what()
    return time.process_time() - began, found


def asking(nodes: int, waiting: int, policy: str) -> None:
    from dataclasses import replace

    small = replace(house(40, 60), policy=policy)
    warm = Supposing(small)
    for job in warm.order[:5]:
        warm.counterfactuals(job, [Way("lingang", "910b", 8, cpu=8000)])
    people = [(job.tenant, job.user) for job in small.jobs]
    history = History(Ran(tenant, user, "train", (at % 97) / 97) for at, (tenant, user) in enumerate(people * 20))
    warm.futures(history, _ahead(small), 2)
    found = replace(house(nodes, waiting), policy=policy)
    seconds, supposing = spent(lambda: Supposing(found))
    row(f"{policy}: prepared once, {nodes:,} nodes, {len(supposing.order):,} waiting", f"{seconds:.2f} s")
    seconds, scene = spent(lambda: Scene(supposing.snapshot, supposing.decision, supposing.order))
    row(f"{policy}: and for the first who asks why", f"{seconds:.2f} s")
    chosen = random.Random(3).sample(supposing.order, min(30, len(supposing.order)))
    other = [Way("lingang", "910b", 8, cpu=8000, memory=1000, limit=7200, price=3), Way("songjiang", "mlu590", 8, cpu=8000, limit=7200)]
    whys: list[float] = []
    changes = 0
    for job in [supposing.order[0], *chosen]:
        seconds, made = spent(
            lambda job=job: (
                explained(scene, job, set()),
                supposing.counterfactuals(job, other),
            )
        )
        whys.append(seconds)
        changes += len(made[1])
    row(
        f"{policy}: why, median and largest of {len(whys)} ({changes} changes found)",
        f"{1000 * statistics.median(whys):.0f} and {1000 * max(whys):.0f} ms",
        "≤ 100 ms",
    )
    seconds, made = spent(lambda: supposing.futures(history, _ahead(found), RUNS))
    told = [pair for pair in made.values() if pair[1] is not None]
    row(f"{policy}: {RUNS} futures of all that waits; {len(told):,} with an estimate", f"{seconds:.2f} s", "≤ 2 s")


def _ahead(found: Snapshot) -> dict[str, Ahead]:
    return {
        job.id: Ahead(job.tenant, job.user, "train", job.ways[job.way].limit, 0 if job.started is None else found.now - job.started)
        for job in found.jobs
    }


def trying(trace: Path) -> None:
    from lilong.floors.compute.traces.playing import Ask
    from lilong.floors.compute.traces.trying import try_trace

    ask = Ask(trace, "philly", "easy")
    try_trace(ask, ["policy=fifo"], [], [])
    for sets in (["policy=drf-tree"], ["pools=one"], ["policy=sjf"]):
        seconds, found = spent(lambda sets=sets: try_trace(ask, sets, [], []))
        row(f"Philly, all jobs, easy → {' '.join(sets)}, with reading", f"{seconds:.1f} s")
        row("  mean completion before and after, Jain", f"{found['before']['mean_completion_s']:.0f} → {found['after']['mean_completion_s']:.0f} s, {found['before']['jain']:.3f} → {found['after']['jain']:.3f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=12_500)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--policy", default="drf-tree,easy")
    parser.add_argument("--trace", type=Path)
    given = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}")
    for policy in given.policy.split(","):
        asking(given.nodes, given.waiting, policy)
    if given.trace:
        trying(given.trace)


if __name__ == "__main__":
    main()
