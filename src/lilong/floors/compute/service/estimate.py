"""When waiting jobs will start, said once of each and kept, and how well such words have held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from lilong.floors.compute.rules import estimating
from lilong.floors.compute.rules.estimating import RUNS, Ahead, Calibration, History, Ran
from lilong.floors.compute.service.why import View, plain, view
from lilong.floors.compute.store import estimates
from lilong.ground.access import Actor
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

EVERY_S = 60.0  # between two looks for jobs of which nothing was said yet
AGAIN_S = 3600.0  # after which it is said anew
DECISIONS = 20_000  # of one future; jobs that have not started by then have no estimate


@dataclass(frozen=True, slots=True)
class Estimates:
    """`runs`: futures that were played for each. `by_horizon`: by how long after it was made the P50 lay."""

    as_of: str
    runs: int
    all: Calibration
    by_horizon: Mapping[str, Calibration]


def estimates_held(house: House, actor: Actor) -> Estimates:
    """Of the last estimates of all tenants together."""
    now = house.clock.now()
    told = house.db.read(estimates.told)
    return Estimates(stamp(now), RUNS, estimating.calibration(told, now.timestamp()), estimating.by_horizon(told, now.timestamp()))


def say_starts(house: House) -> int:
    """Say of every waiting job in view when it will start, where nothing was said yet or not for long; of how many."""
    with plain(house):
        return _say_starts(house)


def _say_starts(house: House) -> int:
    if house.db.read(lambda tx: tx.row("SELECT 1 FROM compute_jobs WHERE state = 'queued' LIMIT 1")) is None:
        return 0
    seen, now = view(house), house.clock.now()
    waiting = list(seen.supposing.order)
    made = house.db.read(lambda tx: estimates.made(tx, waiting))
    due = {job for job in waiting if job not in made or (now - parse_stamp(made[job])).total_seconds() > AGAIN_S}
    if not due:
        return 0
    found = starts(house, seen)
    told = [(job, *times) for job, times in found.items() if job in due]
    at = stamp(datetime.fromtimestamp(seen.snapshot.now, UTC))
    house.db.write(lambda tx: estimates.add(tx, at, told))
    return len(told)


def starts(house: House, seen: View) -> dict[str, tuple[str, str]]:
    """P50 and P90 of every waiting job in view, as stamps."""
    jobs = seen.snapshot.jobs
    (past, lag), whose = house.db.read(lambda tx: (estimates.ran(tx), estimates.families(tx, [job.id for job in jobs])))
    ahead = {}
    for job in jobs:
        way = job.ways[job.way] if job.started is not None else job.ways[0]
        tenant, user, family = whose.get(job.id, (job.tenant, job.user, ""))
        ran = 0 if job.started is None else seen.snapshot.now - job.started
        ahead[job.id] = Ahead(tenant, user, family, way.limit, max(ran, 0))
    running = [Ran(one.tenant, one.user, one.family, one.ran / max(one.limit, 1), ended=False) for one in ahead.values() if one.ran]
    found = seen.supposing.futures(History([*past, *running]), ahead, RUNS)
    late = ceil(lag) + 1  # what is played is told in whole seconds that have begun
    return {job: (_stamp(p50 + late), _stamp(p90 + late)) for job, (p50, p90) in found.items() if p50 is not None and p90 is not None}


def _stamp(second: int) -> str:
    return stamp(datetime.fromtimestamp(second, UTC))
