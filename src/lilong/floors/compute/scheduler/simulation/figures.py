"""What a simulation tells: times, use, fairness, energy; in all, by tenant and by size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lilong.floors.compute.scheduler.jobs import FINISHED, REFUSED, RUNNING
from lilong.floors.compute.scheduler.simulation.run import Run
from lilong.floors.compute.scheduler.state import WHOLE

SHORTEST_COUNTED = 10  # s: a bounded slowdown counts no run as shorter
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device-hour costs and draws. The traces do not say; the figures name what was assumed."""

    price: float  # per device-hour
    watts: float  # per busy device
    kgco2: float  # per kWh


def figures(run: Run, tenants: Sequence[str], rates: Rates, *, arrival: bool) -> dict[str, Any]:
    """A tick is a second. With `arrival` nothing ends, so there are no times, only what was allocated."""
    job = run.book.jobs.job[:-1]
    ended, width = job.state == FINISHED, job.width / WHOLE
    devices = sum(node.devices for node in run.nodes) or sum(node.cpu for node in run.nodes) / WHOLE
    told: dict[str, Any] = {"jobs": int(job.size), **_times(job, ended)}
    everybody = np.ones(job.size, bool)
    used = float(_held(job)[ended].sum())
    span = float(job.end[ended].max() - job.submit.min()) if ended.any() else 0.0
    held = float(width[(job.state == RUNNING)].sum())
    told["utilisation"] = used / (devices * span) if span else held / devices if devices else 0.0
    told["jain"] = _jain(job, ended, len(tenants))
    told["allocated_pct"] = _allocated(job, width, devices, everybody) if arrival else {}
    told |= _bill(used / 3600, rates)
    told["rates"] = asdict(rates)
    told["finished"], told["running"], told["preemptions"] = int(ended.sum()), int((job.state == RUNNING).sum()), int(job.stops.sum())
    told["refused"] = int((job.state == REFUSED).sum())
    told["waiting"] = told["jobs"] - told["finished"] - told["running"] - told["refused"]
    told["devices"], told["nodes"], told["span_s"] = devices, len(run.nodes), span

    def part(chosen: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Times and bill of some jobs, and what they had of all devices: over all groups it sums up to the whole."""
        both, mine = ended & chosen, float(width[chosen & (job.state == RUNNING)].sum())
        took = float(_held(job)[both].sum())
        return {
            "jobs": int(chosen.sum()),
            **_times(job, both),
            "utilisation": took / (devices * span) if span else mine / devices if devices else 0.0,
            "allocated_pct": _allocated(job, width, devices, chosen) if arrival else {},
            **_bill(took / 3600, rates),
        }

    told["by_tenant"] = {name: part(job.tenant == at) for at, name in enumerate(tenants) if (job.tenant == at).any()}
    size = np.searchsorted(SIZES, width)
    names = ["≤1"] + [f"{low + 1}–{high}" for low, high in pairwise(SIZES)] + [f">{SIZES[-1]}"]
    told["by_size"] = {
        name: {**part(size == at), "jain": _jain(job, ended & (size == at), len(tenants))}
        for at, name in enumerate(names)
        if (size == at).any()
    }
    return told


def _held(job: Any) -> Floats:
    """Device-ticks that each job was given, in all of its attempts."""
    last: Floats = (job.end - job.start) * (job.width / WHOLE) + job.attained / WHOLE
    return last


def _times(job: Any, chosen: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    names = ("mean_completion_s", "median_completion_s", "p99_completion_s", "mean_queue_s", "p99_queue_s", "avg_bounded_slowdown")
    if not chosen.any():
        return dict.fromkeys(names)
    stay = (job.end - job.submit)[chosen].astype(float)
    queue = stay - job.run[chosen]  # with what was lost by preemption, if there was any
    slowdown = np.maximum(stay / np.maximum(job.run[chosen], SHORTEST_COUNTED), 1.0)
    values = (stay.mean(), np.median(stay), np.percentile(stay, 99), queue.mean(), np.percentile(queue, 99), slowdown.mean())
    return dict(zip(names, map(float, values), strict=True))


def _jain(job: Any, ended: npt.NDArray[np.bool_], tenants: int) -> float | None:
    """Jain's index over tenants of the part of their jobs' stay that was service, weighed by size: 1 is even, 1/n one has all."""
    if not ended.any():
        return None
    of, width = job.tenant[ended], job.width[ended].astype(float)
    service = np.bincount(of, job.run[ended] * width, tenants)
    stay = np.bincount(of, (job.end - job.submit)[ended] * width, tenants)
    share = service[stay > 0] / stay[stay > 0]
    return float(share.sum() ** 2 / (share.size * (share**2).sum())) if share.size else None


def _allocated(job: Any, width: Floats, devices: float, chosen: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Arrival in % of the devices -> % of them that the chosen jobs have then."""
    arrived = 100 * np.cumsum(width) / devices
    held = 100 * np.cumsum(np.where(chosen & (job.state == RUNNING), width, 0)) / devices
    last = int(np.floor(arrived[-1] + 0.5)) if arrived.size else 0
    return {str(step): float(held[min(int(np.searchsorted(arrived, step)), held.size - 1)]) for step in range(10, last + 1, 10)}


def _bill(hours: float, rates: Rates) -> dict[str, float]:
    kwh = hours * rates.watts / 1000
    return {"device_hours": hours, "cost": hours * rates.price, "kwh": kwh, "kgco2": kwh * rates.kgco2}
