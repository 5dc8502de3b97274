"""What a decision looks at, read from the database and from what the sites have told.

Nothing here is remembered that cannot be read again; what is kept from one time to the next only saves work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

import structlog

from lilong.floors.compute.contract import Mode
from lilong.floors.compute.rules.asking import ask_of
from lilong.floors.compute.rules.settings import ComputeSettings, TenantSettings
from lilong.floors.compute.rules.ways import NEVER, Place, Rates, speeds, ways
from lilong.floors.compute.scheduler.snapshot import SnapJob, SnapNode, Snapshot, SnapTenant, Way, job_of, text
from lilong.floors.compute.store import attempts, places, waiting
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.store.attempts import Open
from lilong.floors.compute.work.sites import Known, Sites
from lilong.ground.db import Row, Tx
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

log = structlog.get_logger("lilong.compute")

LOOK_A_NODE = 100  # waiting jobs for each node that a decision looks at, up to what the settings say
_CLOSED = 0  # since ever
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class View:
    """`texts`: the snapshot's entries as canonical JSON. `rows`: of the waiting jobs. `cut`: more wait than were looked at."""

    snapshot: Snapshot
    texts: Mapping[str, str]
    rows: Mapping[str, Row]
    at: datetime
    aside: Mapping[str, str]  # waiting jobs that are not in the snapshot, and why
    homeless: tuple[str, ...]  # waiting jobs that no known site could lay out in any way
    reachable: frozenset[str]  # waiting jobs that a site could run which answers
    windows: Mapping[str, int]  # delegated site -> how many more it may be handed now
    cut: bool
    again_at: int | None  # unix second at which something is otherwise just because time has passed
    changes: int


_Kept = tuple[object, SnapJob, str]  # what it follows from, and the entry as JSON


class Viewer:
    """Reads views, and keeps what does not change from one to the next."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Kept] = {}
        self._stand: object = None  # what all jobs' ways follow from
        self._nodes: dict[str, tuple[object, tuple[SnapNode, ...], dict[str, str]]] = {}

    def look(self, tx: Tx, known: Mapping[str, Known], now: datetime, changes: int, aside: Mapping[str, str] | None = None) -> View:
        """`changes`: of the sites, see `changes_of`. `aside`: jobs to be left out, and why; those that cannot be read are too."""
        aside = dict(aside or {})
        version, settings = declared.current(tx)
        second = int(now.timestamp())
        held = [one for one in attempts.open_attempts(tx) if not one.preempted]
        nodes, texts, again = self._all_nodes(tx, known, settings, held, second)
        here = {name: one.place for name, one in known.items() if one.declared and one.place is not None}
        rates = speeds(settings.throughput, places.rates(tx))
        rows, cut = window(tx, stamp(now), min(settings.look, max(LOOK_A_NODE * len(nodes), 1)))
        rank = _submits(rows)
        found, homeless, reachable = [], [], set()
        kept: dict[str, _Kept] = {}
        expected: dict[str, int] = {}
        asks = self._asks(tx, [row for row in rows if row["id"] not in self._jobs])
        stand: object = (version, here, rates)
        for row in rows:
            if row["id"] in aside:
                continue
            key = (row["attempt"], rank.get(row["id"]), row["done"])
            before = self._jobs.get(row["id"])
            if before is None or before[0] != key or stand != self._stand:
                if row["id"] not in asks:
                    asks |= self._asks(tx, [row])
                try:
                    job = _waiting(row, asks[row["id"]], tuple(here.values()), settings, rates, rank.get(row["id"]))
                except Exception as problem:  # whatever it is, it is about this job alone
                    log.error("job cannot be read", job=row["id"], error=repr(problem), exc_info=problem)
                    aside[row["id"]] = f"{type(problem).__name__}: {problem}"
                    continue
                if row["submitted_by"] not in expected:
                    expected[row["submitted_by"]] = waiting.expected(tx, row["submitted_by"])
                attained = attempts.attained(tx, row["id"]) if int(row["attempt"]) else 0
                job = replace(job, predicted=expected[row["submitted_by"]], attained=attained, stops=int(row["stops"]))
                before = (key, job, text(job))
            kept[row["id"]] = before
            job = before[1]
            if not job.ways:
                homeless.append(job.id)
                continue
            found.append(job)
            texts[f"job/{job.id}"] = before[2]
            if any(known[way.site].problem is None and known[way.site].inventory is not None for way in job.ways):
                reachable.add(job.id)
        taken: dict[str, int] = {}
        for job, told in self._running(held, known, settings, nodes, kept, taken):
            found.append(job)
            texts[f"job/{job.id}"] = told
        nodes = _widened(nodes, taken, texts)
        self._jobs, self._stand = kept, stand
        tenants = _tenants(tx, settings, found, held, second)
        texts |= {f"tenant/{one.name}": text(one) for one in tenants}
        number = declared_number(tx)
        snap = Snapshot(
            second, settings.policy, (settings.seed + number) % (1 << 31), settings.levels, settings.reclaim_s, tuple(sorted(nodes, key=lambda node: node.name)),
            tenants, tuple(sorted(found, key=lambda job: job.id)), settings.ageing_s,
        )  # fmt: skip
        texts |= snap.rules()
        pause = waiting.next_pause(tx, stamp(now))
        times = [*again, *([int(parse_stamp(pause).timestamp()) + 1] if pause else [])]
        begun = attempts.waiting_at(tx)
        windows = {n: one.spec.window - begun.get(n, 0) for n, one in known.items() if one.site.mode is Mode.DELEGATED}
        return View(
            snap, texts, {row["id"]: row for row in rows}, now, aside, tuple(homeless), frozenset(reachable), windows, cut, min(times, default=None), changes
        )  # fmt: skip

    @staticmethod
    def _asks(tx: Tx, rows: Sequence[Row]) -> dict[str, str]:
        found: dict[str, str] = {}
        for at in range(0, len(rows), 200):
            names = {f"id{number}": row["id"] for number, row in enumerate(rows[at : at + 200])}
            listed = ", ".join(f":{name}" for name in names)
            found |= {row["id"]: row["ask"] for row in tx.rows(f"SELECT id, ask FROM compute_jobs WHERE id IN ({listed})", **names)}
        return found

    def _running(
        self, held: Sequence[Open], known: Mapping[str, Known], settings: ComputeSettings, nodes: Sequence[SnapNode], kept: dict[str, _Kept],
        taken: dict[str, int],
    ) -> Iterable[tuple[SnapJob, str]]:  # fmt: skip
        """`taken` is filled with the devices that jobs of ours have on nodes whose engine places, as bit sets."""
        delegated = {name for name, one in known.items() if one.site.mode is Mode.DELEGATED}
        for one in held:
            base = _of_text(one.snap) if one.snap else _before_ways(one, nodes)
            way, spots = base.ways[0], base.places
            if one.site in delegated:
                spots = tuple((f"{one.site}/{spot.node}", at) for spot, (_, at) in zip(one.placed, base.places, strict=True))
                if way.devices and way.milli == 1000:
                    spots = tuple(_somewhere(taken, nodes, node, way.devices) for node, _ in spots)
            job = replace(
                base, tenant=tenant(settings, one.organisation, one.project), places=spots,
                preemptible=base.preemptible and one.state != "ready",
            )  # fmt: skip
            before = self._jobs.get(one.job)
            if before is None or before[0] != job:
                before = (job, job, text(job))
            kept[one.job] = before
            yield before[1], before[2]

    # --- nodes -------------------------------------------------------------------------------------------------------------

    def _all_nodes(
        self, tx: Tx, known: Mapping[str, Known], settings: ComputeSettings, held: Sequence[Open], now: int
    ) -> tuple[list[SnapNode], dict[str, str], list[int]]:
        drained = places.drains(tx)
        nodes: list[SnapNode] = []
        texts: dict[str, str] = {}
        again = [int(edge.timestamp()) for one in settings.maintenance for edge in (one.start, one.end)]
        for name, one in known.items():
            closed = frozenset(node for site, node in drained if site == name)
            windows = tuple(w for w in settings.maintenance if w.site == name and w.end.timestamp() > now)
            key = (one.inventory, one.declared, one.problem is None, closed, windows)
            before = self._nodes.get(name)
            # an inventory is compared by its identity first, so one that has not changed costs nothing
            if before is None or before[0] != key:
                made = _site_nodes(name, one, closed, windows)
                before = (key, made, {f"node/{node.name}": text(node) for node in made})
                self._nodes[name] = before
            nodes += before[1]
            texts |= before[2]
        for ghost in _ghosts(held, {node.name: node for node in nodes}):
            nodes = [node for node in nodes if node.name != ghost.name] + [ghost]
            texts[f"node/{ghost.name}"] = text(ghost)
        return nodes, texts, [edge for edge in again if edge > now]


def snapshot(house: House, tx: Tx) -> Snapshot:
    """What a decision would see now, for those who only ask."""
    sites = house.port(Sites)
    return Viewer().look(tx, sites.known(), house.clock.now(), 0, sites.aside).snapshot


def changes_of(tx: Tx) -> tuple[int, ...]:
    """Grows with whatever happens to the queue or is declared about the nodes."""
    queue = tx.row("SELECT COALESCE(SUM(changes), 0) AS changes, COALESCE(SUM(waiting), 0) AS waiting FROM compute_queues")
    settings = tx.value("SELECT MAX(version) FROM compute_settings")
    drains = tx.row("SELECT COUNT(*) AS n, MAX(at) AS at FROM compute_drains")
    assert queue is not None and drains is not None
    at = int(parse_stamp(drains["at"]).timestamp() * 1e6) if drains["at"] else 0
    return int(queue["changes"]), int(queue["waiting"]), int(settings or 0), int(drains["n"]), at


def declared_number(tx: Tx) -> int:
    """Of the decision that comes next."""
    return int(tx.value("SELECT COALESCE(MAX(number), 0) FROM compute_decisions") or 0) + 1


def window(tx: Tx, now: str, look: int) -> tuple[list[Row], bool]:
    """The first waiting jobs of each tenant, `look` in all: each tenant gets the same, and what one has no use for goes to the others."""
    lines = sorted(
        (line for line in waiting.lines(tx) if line.waiting > 0), key=lambda line: (line.waiting, line.organisation, line.project)
    )
    rows: list[Row] = []
    cut = False
    for at, line in enumerate(lines):
        share = max(-(-(look - len(rows)) // (len(lines) - at)), 1)
        found = waiting.first(tx, line.organisation, line.project, now, share)
        cut = cut or (len(found) == share and line.waiting > share)
        rows += found
    return rows, cut


# --- jobs ------------------------------------------------------------------------------------------------------------------


def _submits(rows: Sequence[Row]) -> dict[str, int]:
    """When those jobs were submitted, as decisions see it, whose tenant has deadlines.

    Within a tenant and priority the earliest deadline goes first. To that end its jobs swap their times of submission, so that it gains
    nothing over other tenants.
    """
    found: dict[str, int] = {}
    alike: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        alike.setdefault((row["organisation"], row["project"], int(row["priority"])), []).append(row)
    for group in alike.values():
        if any(int(row["rank"]) != int(group[0]["rank"]) for row in group):
            times = sorted(int(parse_stamp(row["created_at"]).timestamp()) for row in group)
            # strictly later, so that the order of submission does not come before that of deadlines
            for at, row in enumerate(group):
                times[at] = max(times[at], times[at - 1] + 1) if at else times[0]
                found[row["id"]] = times[at]
    return found


def _waiting(row: Row, ask: str, here: Sequence[Place], settings: ComputeSettings, rates: Rates, submit: int | None) -> SnapJob:
    asked = ask_of(ask)
    done = int(row["done"])
    laid = ways(asked, here, settings, rates, row["site"] if done else None)
    longest = max((way.limit for way in laid), default=0)
    return SnapJob(
        id=row["id"],
        tenant=tenant(settings, row["organisation"], row["project"]),
        submit=int(parse_stamp(row["created_at"]).timestamp()) if submit is None else submit,
        ways=laid,
        place=int(row["place"]),
        priority=int(row["priority"]),
        user=row["submitted_by"],
        preemptible=asked.preemptible,
        checkpoint=asked.checkpoint_s,
        done=min(done * longest // asked.timeout_s, max(longest - 1, 0)) if longest < NEVER else 0,
    )


def _somewhere(taken: dict[str, int], nodes: Sequence[SnapNode], name: str, devices: int) -> tuple[str, int]:
    """Where a job of ours is whose engine places: on its node any devices that no other of ours has, or, if there are not as many, on one like it.

    An attempt that the engine has not begun is expected where a decision would have put it, and the engine may have put others there.
    """
    here = next((node for node in nodes if node.name == name), None)
    alike = [node for node in nodes if here is not None and (node.site, node.accelerator) == (here.site, here.accelerator)]
    for node in ([here] if here is not None else []) + alike:
        if taken.get(node.name, 0).bit_count() + devices + node.foreign[2] <= node.devices:
            name = node.name
            break
    found, used, device = 0, taken.get(name, 0), 0
    while devices:
        if not (used >> device) & 1:
            found |= 1 << device
            devices -= 1
        device += 1
    taken[name] = used | found
    return name, found


def _widened(nodes: list[SnapNode], taken: Mapping[str, int], texts: dict[str, str]) -> list[SnapNode]:
    """With more devices where more of ours is expected than there are: what an engine has not begun yet it may begin elsewhere."""
    found = []
    for node in nodes:
        needed = taken.get(node.name, 0).bit_length()
        if needed and needed + node.foreign[2] > node.devices:
            node = replace(node, devices=needed + node.foreign[2])
            texts[f"node/{node.name}"] = text(node)
        found.append(node)
    return found


def _before_ways(one: Open, nodes: Sequence[SnapNode]) -> SnapJob:
    """Of an attempt that an earlier release started."""
    service, row = bool(int(one.row["service"])), one.row
    cpu = 0 if service else int(row["cpus"]) * 1000
    way = Way(one.site, cpu=cpu, memory=int(row["memory_mib"]), limit=NEVER if service else 86400)
    node = next((node.name for node in nodes if node.site == one.site), f"{one.site}/unknown")
    return SnapJob(
        one.job, one.organisation, int(parse_stamp(row["created_at"]).timestamp()), (way,), int(row["place"]), int(row["priority"]),
        row["submitted_by"], started=one.began, places=((node, 0),),
    )  # fmt: skip


@lru_cache(maxsize=10_000)
def _of_text(snap: str) -> SnapJob:
    return job_of(json.loads(snap))


# --- nodes and tenants -----------------------------------------------------------------------------------------------------


def _site_nodes(name: str, one: Known, drained: frozenset[str], windows: Sequence[object]) -> tuple[SnapNode, ...]:
    if one.inventory is None:
        return ()
    shut = one.problem is not None or not one.declared
    found = []
    for node in one.inventory.nodes:
        starts = [int(w.start.timestamp()) for w in windows if not w.nodes or node.name in w.nodes]  # type: ignore[attr-defined]
        closes = _CLOSED if shut or not node.open or node.name in drained else min(starts, default=None)
        found.append(
            SnapNode(
                f"{name}/{node.name}", name, node.accelerator, node.devices, node.cpus * 1000, node.memory_mib, dict(node.domains), closes,
                tuple(_foreign(one, node.name)),  # type: ignore[arg-type]
            )
        )  # fmt: skip
    return tuple(found)


def _foreign(one: Known, node: str) -> tuple[int, int, int]:
    cores, memory, devices = one.inventory.foreign.get(node, (0, 0, 0)) if one.inventory else (0, 0, 0)
    return cores * 1000, memory, devices


def _ghosts(held: Sequence[Open], nodes: Mapping[str, SnapNode]) -> list[SnapNode]:
    """Nodes on which something of ours still runs though their site tells of them no longer, or of fewer devices: nothing new starts there."""
    found: dict[str, SnapNode] = {}
    for one in held:
        for spot in one.placed:
            name, wide = f"{one.site}/{spot.node}", max(spot.devices, default=-1) + 1
            node = found.get(name) or nodes.get(name)
            if node is None or node.devices < wide:
                ghost = node or SnapNode(name, one.site, one.accelerator)
                found[name] = replace(ghost, devices=max(wide, ghost.devices), closes=_CLOSED)
    return list(found.values())


def tenant(settings: ComputeSettings, organisation: str, project: str) -> str:
    """The tenant under which a job counts: the declared one that is nearest, or its organisation."""
    return settings.tenant(organisation, project) or organisation


def _tenants(tx: Tx, settings: ComputeSettings, jobs: Sequence[SnapJob], held: Sequence[Open], now: int) -> tuple[SnapTenant, ...]:
    """The declared ones, and organisations with something in the queue that nobody declared, side by side under the root.

    Past use is told as of the last full minute, so that it does not change with every look.
    """
    at = now // _MINUTE * _MINUTE
    told = {**{job.tenant: TenantSettings(job.tenant) for job in jobs}, **settings.tenants}
    used: dict[str, dict[str, int]] = {name: {} for name in told}
    for row in tx.rows("SELECT organisation, project, accelerator, amount, at FROM compute_usage"):
        name = tenant(settings, row["organisation"], row["project"])
        if name in told:
            left = attempts.faded(int(row["amount"]), row["at"], at, told[name].half_life_s)
            used[name][row["accelerator"]] = used[name].get(row["accelerator"], 0) + left
    for one in held:
        name = tenant(settings, one.organisation, one.project)
        gained = one.amount * max(at - one.began, 0)
        if gained:
            used[name][one.accelerator] = used[name].get(one.accelerator, 0) + gained
    return tuple(
        SnapTenant(
            name, one.parent, round(one.weight * 1000), one.half_life_s, dict(one.nominal), dict(one.borrow), dict(one.lend),
            dict(sorted(used[name].items())), at,
        )
        for name, one in sorted(told.items())
    )  # fmt: skip
