"""What other settings would have done to the jobs that ran here: the same jobs, played under both."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lilong.floors.compute.rules import settings as rules
from lilong.floors.compute.rules.asking import ask_of, layouts
from lilong.floors.compute.rules.changing import World, changed, missing_of
from lilong.floors.compute.rules.feasible import over_quota
from lilong.floors.compute.rules.reading import seconds
from lilong.floors.compute.rules.settings import ComputeSettings, TenantSettings
from lilong.floors.compute.rules.ways import Place, Rates, place, speeds, ways
from lilong.floors.compute.scheduler.snapshot import SnapJob, SnapNode, Snapshot, SnapTenant, Way
from lilong.floors.compute.store import estimates, places
from lilong.floors.compute.store import settings as declared
from lilong.ground.access import Actor
from lilong.ground.db import Row, Tx
from lilong.ground.errors import Refused
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

if TYPE_CHECKING:
    from lilong.floors.compute.scheduler.simulation.comparing import Case

LONGEST_S = 366 * 86400
SMALL = 5_000  # jobs times nodes up to which it is quicker not to compile


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`since`: how far back, such as 30d. `set`: KEY=VALUE, such as quota.team-a.h20=64, weight.team-a=2, policy=easy, nodes.pudong=12.

    `add_sites`: tables with name, nodes, class, devices, cpus, memory_gib, and perhaps tariff, kgco2, price and watts.
    """

    since: str = "30d"
    set: tuple[str, ...] = ()
    add_sites: tuple[Mapping[str, Any], ...] = ()
    remove_sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """`before`, `after`: figures as of `compute simulate`; `change`: in %. `tenants`: those who gain most first.

    `refused` counts the jobs that no site could run on that side or no quota ever covers, and `jobs` the others. `curves`: at up to 200 moments (`at_s`: unix
    seconds) the jobs that wait and the devices in use, before and after. `left_out`: jobs of that time that were not played, by reason.
    `unknown`: figures that are null on a side, and the keys that somebody would have to give (with `set`, or of an added site) for them.
    """

    since: str
    until: str
    jobs: int
    left_out: Mapping[str, int]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    change: Mapping[str, float | None]
    tenants: list[Mapping[str, Any]]
    curves: Mapping[str, Any]
    unknown: Mapping[str, Sequence[str]]


class NothingToPlay(Refused):
    """No job that could be played has started here since {since}. Choose an earlier time, or give a trace of another cluster with --trace."""


def what_if(house: House, actor: Actor, ask: WhatIf) -> Compared:
    """Raises BadInput, NothingToPlay, Forbidden. Foreign use of nodes and maintenance are left out of both sides."""
    back = min(seconds(ask.since, "since"), LONGEST_S)
    now = house.clock.now()
    since = now - timedelta(seconds=back)

    def read(tx: Tx) -> tuple[World, Rates, list[Row]]:
        house.access.require(tx, actor, "house.manage")
        return _world(tx), places.rates(tx), estimates.past(tx, stamp(since))

    world, rates, rows = house.db.read(read)
    other = changed(world, ask.set, ask.add_sites, ask.remove_sites)
    told: Counter[str] = Counter()
    past = [one for row in rows if (one := _past(row, now.timestamp(), told)) is not None]
    (before, lost_before), (after, lost_after) = (_case(each, rates, past) for each in (world, other))
    if not before.jobs and not after.jobs:
        raise NothingToPlay(since=stamp(since))
    from lilong.floors.compute.scheduler.compiled import plainly
    from lilong.floors.compute.scheduler.simulation.comparing import compared

    with plainly(len(rows) * max(len(before.nodes), len(after.nodes)) <= SMALL):
        found = compared(before, after)
    _count_refused(found, lost_before, lost_after)
    left_out = {reason: many for reason, many in told.items() if many}
    return Compared(stamp(since), stamp(now), len(before.jobs), left_out, **found)


def _count_refused(found: dict[str, Any], before: Counter[str], after: Counter[str]) -> None:
    """Those that were not played are refused too, by tenant. Whose jobs are refused now loses, however soon its others are done."""
    for side, lost in (("before", before), ("after", after)):
        found[side]["refused"] += lost.total()
        for row in found["tenants"]:
            row[side]["refused"] = lost[row["tenant"]]
    one, other = found["before"]["refused"], found["after"]["refused"]
    found["change"]["refused"] = 100 * (other / one - 1) if one else 0.0 if one == other else None
    for row in found["tenants"]:
        if before[row["tenant"]] != after[row["tenant"]]:
            row["verdict"] = "loses" if before[row["tenant"]] < after[row["tenant"]] else "gains"


def _world(tx: Tx) -> World:
    row = declared.version(tx)
    document = tomllib.loads(json.loads(row["document"])["toml"]) if row is not None else {}
    names = rules.parse(document).sites
    found = {name: one.inventory for name, one in places.rows(tx).items() if name in names and one.inventory is not None}
    organisations = tx.rows("SELECT DISTINCT organisation FROM compute_queues")
    return World(document, found, frozenset(one["organisation"] for one in organisations))


@dataclass(frozen=True, slots=True)
class _Past:
    """A job that has run. `ran`: seconds at its site, on devices of its class."""

    row: Row
    site: str
    accelerator: str
    ran: int


def _past(row: Row, now: float, left_out: Counter[str]) -> _Past | None:
    if row["started_at"] is None:
        left_out["never started"] += 1
        return None
    ended = parse_stamp(row["ended_at"]).timestamp() if row["ended_at"] else now
    if not row["ended_at"]:
        left_out["still running: counted as if it ended now"] += 1
    return _Past(row, row["ran_at"] or "", row["accelerator"] or "", max(int(ended - parse_stamp(row["started_at"]).timestamp()), 1))


def _case(world: World, rates: Rates, past: Sequence[_Past]) -> tuple[Case, Counter[str]]:
    """And how many jobs of each tenant would be refused: no site could run them, or no quota ever covers them."""
    from lilong.floors.compute.scheduler.opening import Words
    from lilong.floors.compute.scheduler.policy import policies
    from lilong.floors.compute.scheduler.simulation.comparing import Case

    settings = rules.parse(world.document)
    here = [place(name, settings.sites[name].mode, inventory) for name, inventory in world.sites.items()]
    known = speeds(settings.throughput, rates)
    covered = _Covered(settings)
    laid = [(one, _laid(one, here, settings, known) if covered(one) else None) for one in past]
    jobs = [(one, job) for one, job in laid if job is not None]
    lost = Counter(_tenant(one, settings) for one, job in laid if job is None)
    snapshot = Snapshot(
        0, settings.policy, settings.seed, settings.levels, settings.reclaim_s, _nodes(world), _tenants(settings, [job for _, job in jobs]),
        tuple(job for _, job in jobs), settings.ageing_s,
    )  # fmt: skip
    words = Words(snapshot)
    nodes = [words.node(node) for node in snapshot.nodes]
    played = [replace(words.job(job, job.submit), run=_run(one, job.ways)) for one, job in jobs]
    bills = {kind: _bill(settings, world, site, accelerator) for (site, accelerator), kind in words.kinds.items()}
    names = ["(root)", *(tenant.name for tenant in snapshot.tenants)]
    return Case(nodes, played, policies()[settings.policy], names, words.tree(nodes), bills, seed=settings.seed), lost


class _Covered:
    """Whether a job's quota ever covers it, asked once for all jobs that are alike."""

    def __init__(self, settings: ComputeSettings) -> None:
        self._settings = settings
        self._known: dict[object, bool] = {}

    def __call__(self, one: _Past) -> bool:
        ask, project = ask_of(one.row["ask"]), str(one.row["project"])
        preemptible = ask.preemptible and not ask.service
        alike = layouts(ask), ask.timeout_s, preemptible, one.row["organisation"], project
        if alike not in self._known:
            self._known[alike] = not over_quota(*alike[:3], self._settings, *alike[3:])
        return self._known[alike]


def _tenant(one: _Past, settings: ComputeSettings) -> str:
    return settings.tenant(one.row["organisation"], one.row["project"]) or str(one.row["organisation"])


def _laid(one: _Past, here: Sequence[Place], settings: ComputeSettings, rates: Rates) -> SnapJob | None:
    row, ask = one.row, ask_of(one.row["ask"])
    found = tuple(way for way in ways(ask, here, settings, rates) if _fits(way, here))
    if not found:
        return None
    submit = int(parse_stamp(row["created_at"]).timestamp())
    return SnapJob(
        row["id"],
        _tenant(one, settings),
        submit,
        found,
        int(row["place"]),
        int(row["priority"]),
        row["submitted_by"],
        ask.preemptible,
        ask.checkpoint_s,
    )


def _fits(way: Way, here: Sequence[Place]) -> bool:
    return any(one.name == way.site and one.fits(way) for one in here)


def _run(one: _Past, laid: Sequence[Way]) -> int:
    """In the pace of the job's own limit, which is the longest of its ways'."""
    there = next((way.limit for way in laid if way.site == one.site and way.accelerator == one.accelerator), None)
    there = there or next((way.limit for way in laid if way.accelerator == one.accelerator), max(way.limit for way in laid))
    own = max(way.limit for way in laid)
    return one.ran if own == there else max(-(-one.ran * own // there), 1)


def _nodes(world: World) -> tuple[SnapNode, ...]:
    return tuple(
        SnapNode(f"{site}/{node.name}", site, node.accelerator, node.devices, node.cpus * 1000, node.memory_mib, dict(node.domains))
        for site, inventory in sorted(world.sites.items())
        for node in inventory.nodes
    )


def _tenants(settings: ComputeSettings, jobs: Sequence[SnapJob]) -> tuple[SnapTenant, ...]:
    told = {**{job.tenant: TenantSettings(job.tenant) for job in jobs}, **settings.tenants}
    return tuple(
        SnapTenant(name, one.parent, round(one.weight * 1000), one.half_life_s, dict(one.nominal), dict(one.borrow), dict(one.lend))
        for name, one in sorted(told.items())
    )


def _bill(settings: ComputeSettings, world: World, site: str, accelerator: str) -> Any:
    """What nobody has said is not known, which is something else than nothing."""
    from lilong.floors.compute.scheduler.simulation.comparing import Bill

    kind, spec = settings.accelerator(accelerator), settings.sites[site]
    return Bill(kind.price, kind.watts, spec.tariff, spec.kgco2, missing_of(world, site, accelerator))
