# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""One list of jobs played twice, as things are and as they might be: the figures of both, who gains and who loses, and two curves.

Money and carbon are worked out by where each job ran: the price and power of its class of device, the tariff and the carbon of its site,
which may differ by the hour of the day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from lilong.floors.compute.scheduler.jobs import FINISHED, REFUSED, Job
from lilong.floors.compute.scheduler.policy import Policy
from lilong.floors.compute.scheduler.simulation.figures import Rates, figures
from lilong.floors.compute.scheduler.simulation.run import Run, simulate
from lilong.floors.compute.scheduler.state import WHOLE, Node
from lilong.floors.compute.scheduler.tenants import Tenants

POINTS = 200  # of a curve
FIGURES = (
    "jobs", "mean_completion_s", "median_completion_s", "p99_completion_s", "mean_queue_s", "p99_queue_s", "avg_bounded_slowdown",
    "utilisation", "jain", "device_hours", "cost", "kwh", "kgco2", "energy_cost", "finished", "refused", "devices", "nodes", "span_s",
)  # fmt: skip
HANGS_ON = {"cost": ("price",), "kwh": ("watts",), "kgco2": ("watts", "kgco2"), "energy_cost": ("watts", "tariff")}  # of a Bill
SAME = 0.005  # a mean completion that differs by less is no gain and no loss
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bill:
    """What a busy device (or core) of one kind of node costs. `tariff` and `kgco2`: of a kWh, the latter by hour of the day in UTC.

    `missing`: what nobody has said of it, such as kgco2.lingang. A sum in which such a device has a part is not told.
    """

    price: float = 1.0  # of a device-hour
    watts: float = 300.0
    tariff: float = 0.0
    kgco2: tuple[float, ...] = (0.5,) * 24
    missing: tuple[str, ...] = ()

    def lacks(self, figure: str) -> tuple[str, ...]:
        return tuple(key for key in self.missing if key.partition(".")[0] in HANGS_ON.get(figure, ()))


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a run depends on. `tenants`: names by Job.tenant. `bills`: by Node.kind. `zero`: unix second of tick 0."""

    nodes: Sequence[Node]
    jobs: Sequence[Job]
    policy: Policy
    tenants: Sequence[str]
    tree: Tenants | None = None
    bills: Mapping[int, Bill] = field(default_factory=dict)
    zero: int = 0
    seed: int = 0


def compared(before: Case, after: Case, tell: Callable[[float], None] | None = None) -> dict[str, Any]:
    """`before`, `after`: figures; `tenants`: the same by tenant, with who gains and who loses; `curves`: see `_curves`;
    `unknown`: figures that are not told of a side (None), each with what somebody would have to say of nodes for it.
    """
    one, other = _played(before), None
    if tell:
        tell(0.5)
    other = _played(after)
    if tell:
        tell(1.0)
    told_one, told_other = figured(before, one), figured(after, other)
    missing = [_unknown(case, run) for case, run in ((before, one), (after, other))]
    return {
        "before": told_one,
        "after": told_other,
        "change": {name: _change(told_one[name], told_other[name]) for name in FIGURES},
        "tenants": _tenants(told_one["by_tenant"], told_other["by_tenant"]),
        "curves": _curves(one, other),
        "unknown": {figure: sorted(keys) for figure in HANGS_ON if (keys := missing[0][figure] | missing[1][figure])},
    }


def _played(case: Case) -> Run:
    return simulate(case.nodes, case.jobs, case.policy, case.seed, tenants=case.tree)


def figured(case: Case, run: Run) -> dict[str, Any]:
    """The figures of `simulate`, with money, energy and carbon by where each job ran, and those of each tenant."""
    told = figures(run, case.tenants, Rates(0.0, 0.0, 0.0), arrival=False)
    job = run.book.jobs.job[:-1]
    bill = _bills(case, run)
    parts = told.pop("by_tenant")
    shown = {name: told.get(name) for name in FIGURES if name not in bill} | {name: _sum(values) for name, values in bill.items()}
    shown["by_tenant"] = {
        name: {**part, **{what: _sum(values[job.tenant == at]) for what, values in bill.items()}}
        for at, name in enumerate(case.tenants)
        if (part := parts.get(name)) is not None
    }
    unknown = ("cost", "kwh", "kgco2")  # by size nobody has asked where it ran
    shown["by_size"] = {
        size: {what: value for what, value in part.items() if what not in unknown} for size, part in told["by_size"].items()
    }
    return shown


def _sum(values: Floats) -> float | None:
    """None where a part of it is not known."""
    total = float(values.sum())
    return None if isnan(total) else total


def _bills(case: Case, run: Run) -> dict[str, Floats]:
    """By job, of those that have ended: device-hours, cost, kWh, kg CO2 and what the energy cost."""
    job = run.book.jobs.job[:-1]
    ended = job.state == FINISHED
    hours = np.where(ended, job.end - job.start, 0) / 3600 * job.width / WHOLE
    kinds, usual = _kinds(run), Bill()
    of = [case.bills.get(kind, usual) for kind in range(int(kinds.max(initial=0)) + 1)]
    price, watts, tariff = (np.array([getattr(bill, name) for bill in of])[kinds] for name in ("price", "watts", "tariff"))
    kwh = hours * watts / 1000
    carbon = np.zeros(job.size)
    for kind, bill in enumerate(of):
        chosen = ended & (kinds == kind)
        carbon[chosen] = _mean_over(bill.kgco2, job.start[chosen] + case.zero, job.end[chosen] + case.zero)
    told = {"device_hours": hours, "cost": hours * price, "kwh": kwh, "kgco2": kwh * carbon, "energy_cost": kwh * tariff}
    for name, values in told.items():
        values[(hours > 0) & np.array([bool(bill.lacks(name)) for bill in of])[kinds]] = np.nan
    return told


def _kinds(run: Run) -> npt.NDArray[np.int64]:
    """Of each job, the kind of node on which its first task ran."""
    room, node = run.book.jobs.job[:-1].room, run.book.jobs.place.node
    first = node[np.minimum(room, max(node.size - 1, 0))] if node.size else room * 0
    return np.array([one.kind for one in run.nodes] or [0])[first]


def _unknown(case: Case, run: Run) -> dict[str, set[str]]:
    """Figure -> what nobody has said of the nodes on which jobs ran."""
    kinds, job = _kinds(run), run.book.jobs.job[:-1]
    used = [case.bills.get(int(kind), Bill()) for kind in np.unique(kinds[(job.state == FINISHED) & (job.end > job.start) & (job.width > 0)])]
    return {figure: {key for bill in used for key in bill.lacks(figure)} for figure in HANGS_ON}


def _mean_over(curve: Sequence[float], start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Floats:
    """The mean of a curve by hour of the day from `start` to `end`, in unix seconds."""
    steps = np.concatenate([[0.0], np.cumsum(curve)])  # the curve's integral, in hours, to the whole hours of a day

    def integral(at: npt.NDArray[np.int64]) -> Floats:
        hours, rest = np.divmod(at, 3600)
        days, hour = np.divmod(hours, 24)
        return days * steps[-1] + steps[hour] + np.array(curve)[hour] * rest / 3600

    return (integral(end) - integral(start)) / np.maximum((end - start) / 3600, 1e-9)


def _change(before: float | None, after: float | None) -> float | None:
    """In %, without what sums in another order make of it; None where there is nothing to compare with."""
    if before and after is not None:
        return round(100 * (after / before - 1), 9) + 0.0
    return 0.0 if before == after and before is not None else None


def _tenants(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those who gain most first. A tenant gains if its jobs are done sooner on the average, or if more of them could run."""
    found = []
    for name in sorted({*before, *after}):
        one, other = before.get(name, {}), after.get(name, {})
        was, now = one.get("mean_completion_s"), other.get("mean_completion_s")
        change = _change(was, now)
        word = "same" if change is None or abs(change) < 100 * SAME else "gains" if change < 0 else "loses"
        if (was is None) != (now is None):
            word = "gains" if was is None else "loses"
        names = ("jobs", "mean_completion_s", "mean_queue_s", "p99_queue_s", "avg_bounded_slowdown", "device_hours", "cost")
        found.append(
            {
                "tenant": name,
                "verdict": word,
                "change_pct": change,
                "before": {key: one.get(key) for key in names},
                "after": {key: other.get(key) for key in names},
            }
        )
    return sorted(found, key=lambda row: (row["change_pct"] if row["change_pct"] is not None else 0.0, row["tenant"]))


def _curves(before: Run, after: Run) -> dict[str, Any]:
    """At up to POINTS moments: seconds since tick 0, jobs that wait and devices (or cores) in use, before and after."""
    ends = [int(job.end[job.state == FINISHED].max(initial=1)) for job in (before.book.jobs.job[:-1], after.book.jobs.job[:-1])]
    begin = min((int(run.book.jobs.job.submit[:-1].min(initial=1 << 60)) for run in (before, after)), default=0)
    begin = begin if begin < max(ends) else 0
    at = np.unique(np.linspace(begin, max(ends), POINTS).astype(np.int64))
    told: dict[str, Any] = {"at_s": at.tolist()}
    for name, run in (("before", before), ("after", after)):
        job = run.book.jobs.job[:-1]
        came, began, gone = job.state != REFUSED, job.start < (1 << 59), job.state == FINISHED
        waiting = _until(np.sort(job.submit[came]), at) - _until(np.sort(job.start[came & began]), at)
        used = _weighed(job.start[began], job.width[began], at) - _weighed(job.end[gone], job.width[gone], at)
        told[name] = {"waiting": waiting.tolist(), "used": (used / WHOLE).tolist()}
    return told


def _until(times: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.searchsorted(times, at, side="right")


def _weighed(times: npt.NDArray[np.int64], weight: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    order = np.argsort(times, kind="stable")
    sums = np.concatenate([[0], np.cumsum(weight[order])])
    return sums[np.searchsorted(times[order], at, side="right")]
