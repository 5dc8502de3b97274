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
LOOKED_BACK = 1000  # estimates among which those are that have come by now


@dataclass(frozen=True, slots=True)
class Estimates:
    """`runs`: futures that were played for each. `by_horizon`: by how long after it was made the P50 lay. `stretch_p50`, `stretch_p90`: by what
    factor the next waits are stretched, because of how those of before came out.
    """

    as_of: str
    runs: int
    all: Calibration
    by_horizon: Mapping[str, Calibration]
    stretch_p50: float
    stretch_p90: float


def estimates_held(house: House, actor: Actor) -> Estimates:
    """Of the last estimates of all tenants together."""
    now = house.clock.now()
    told = house.db.read(estimates.told)
    at = now.timestamp()
    factors = [estimating.stretch(told[:LOOKED_BACK], at, part) for part in (0.5, 0.9)]
    return Estimates(stamp(now), RUNS, estimating.calibration(told, at), estimating.by_horizon(told, at), *factors)


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
    told = [(job, *both) for job, both in found.items() if job in due]
    at = stamp(datetime.fromtimestamp(seen.snapshot.now, UTC))
    house.db.write(lambda tx: estimates.add(tx, at, told))
    return len(told)


def starts(house: House, seen: View) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """P50 and P90 of every waiting job in view, as stamps: as they are told, and as futures alone make them."""
    jobs, at = seen.snapshot.jobs, seen.snapshot.now
    (past, lag), whose, before = house.db.read(
        lambda tx: (estimates.ran(tx), estimates.families(tx, [job.id for job in jobs]), estimates.told(tx, LOOKED_BACK))
    )
    ahead = {}
    for job in jobs:
        way = job.ways[job.way] if job.started is not None else job.ways[0]
        tenant, user, family = whose.get(job.id, (job.tenant, job.user, ""))
        ran = 0 if job.started is None else seen.snapshot.now - job.started
        ahead[job.id] = Ahead(tenant, user, family, way.limit, max(ran, 0))
    running = [Ran(one.tenant, one.user, one.family, one.ran / max(one.limit, 1), ended=False) for one in ahead.values() if one.ran]
    found = seen.supposing.futures(History([*past, *running]), ahead, RUNS)
    late = ceil(lag) + 1  # what is played is told in whole seconds that have begun
    factors = [estimating.stretch(before, at, part) for part in (0.5, 0.9)]
    told = {}
    for job_id, (p50, p90) in found.items():
        if p50 is not None and p90 is not None:
            half, most = (estimating.stretched(at, played + late, factor) for played, factor in zip((p50, p90), factors, strict=True))
            told[job_id] = (_stamp(half), _stamp(max(half, most))), (_stamp(p50 + late), _stamp(p90 + late))
    return told


def _stamp(second: int) -> str:
    return stamp(datetime.fromtimestamp(second, UTC))
