"""What a queued job costs the server, by the number of jobs that are queued: CPU time for a submit, a decision and a start.

    python bench/compute_queue.py [--queued 1000,100000,1000000] [--database postgresql+psycopg://…] [--nodes 1]

The queue is filled by copying one job's row in the database; then jobs are submitted through the service, decided on, started and settled
at a site in memory, on a clock that stands still, so that all that is measured is the house's own work. CPU time is of the whole process.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.compute.memory_site import MemorySite, TestClock, opened, program, submitted

from lilong.floors.compute.contract import SiteNode
from lilong.floors.compute.work import Dispatcher
from lilong.ground.db import Tx
from lilong.ground.house import House

SUBMITS, STARTS, DECISIONS = 200, 50, 20


def cpu(work: Callable[[], Any], times: int = 1) -> float:
    """Milliseconds of CPU time for each of so many."""
    before = time.process_time()
    work()
    return round((time.process_time() - before) * 1000 / times, 3)


def fill(house: House, many: int, like: str) -> None:
    columns = list(house.db.read(lambda tx: tx.row("SELECT * FROM compute_jobs WHERE id = :id", id=like)) or ())
    given = {"id": "'fill-' || n", "place": "1000000 + n", "request_key": "''"}
    chosen = ", ".join(given.get(name, name) for name in columns)
    text = "CAST(n AS TEXT)" if house.db.dialect == "postgresql" else "n"
    sql = (
        "WITH RECURSIVE numbers(n) AS (SELECT CAST(:first AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :last)"
        f" INSERT INTO compute_jobs ({', '.join(columns)}) SELECT {chosen.replace('|| n', '|| ' + text)} FROM numbers, compute_jobs WHERE id = :id"
    )

    def write(tx: Tx, first: int, last: int) -> None:
        tx.run(sql, first=first, last=last, id=like)
        tx.run("UPDATE compute_queues SET waiting = waiting + :more, changes = changes + 1", more=last - first)

    for first in range(0, many, 50_000):
        house.db.write(lambda tx, first=first: write(tx, first, min(many, first + 50_000)))


def measure(folder: Path, queued: int, nodes: int, database: str | None) -> dict[str, Any]:
    clock = TestClock()
    site = MemorySite("local", clock, tuple(SiteNode(f"n{at}", STARTS, 1 << 22) for at in range(nodes)))
    house = opened(folder, clock, [site], **({"database": database} if database else {}))
    work = house.port(Dispatcher)
    small = program(1000, timeout_s=3000)
    blocking = [submitted(house, replace(small, cpus=STARTS)) for _ in range(nodes)]
    work.step()
    waiting = submitted(house, small)
    fill(house, queued, waiting.id)
    if house.db.dialect == "postgresql":
        house.db.write(lambda tx: tx.run("ANALYZE compute_jobs"))
    work.step()
    told: dict[str, Any] = {"queued": queued, "nodes": nodes, "database": house.db.dialect}
    told["submit_ms"] = cpu(lambda: [submitted(house, small) for _ in range(SUBMITS)], SUBMITS)

    def decide() -> None:
        for _ in range(DECISIONS):
            clock.sleep(31)
            work._decider.decide()

    told["decision_ms"] = cpu(decide, DECISIONS)
    told["idle_step_ms"] = cpu(lambda: [work._turn() for _ in range(50)], 50)
    clock.sleep(1000)
    before = len(site.begun)

    def start() -> None:
        while len(site.begun) - before < STARTS * nodes:
            work.step()

    told["start_ms"] = cpu(start, STARTS * nodes)
    told["started"] = len(site.begun) - before
    clock.sleep(1000)
    ended = len(blocking)
    told["settle_and_start_ms"] = cpu(lambda: [work.step() for _ in range(2)], STARTS * nodes)
    told["ended"] = sum(1 for one in site.begun.values() if one.sight.ending) - ended
    house.close()
    return told


def main() -> None:
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--queued", default="1000,100000,1000000")
    asked.add_argument("--nodes", type=int, default=1)
    asked.add_argument("--database")
    given = asked.parse_args()
    for queued in map(int, given.queued.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Path(folder) / "house", queued, given.nodes, given.database)), flush=True)


if __name__ == "__main__":
    main()
